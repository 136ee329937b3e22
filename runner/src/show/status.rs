//! What `clr-run status` prints.

use std::fmt::Write;

use clr_plan::Names;
use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, thousands};

use crate::status::{LastError, Report, State, TrialState, TrialStatus};

/// Trials of a kind that are listed where not all are asked for.
const LISTED: usize = 20;

/// The state in a few lines; with `all_trials` also a line for every trial, else for those that run.
pub fn status(report: &Report, all_trials: bool, terminal: &Terminal) -> String {
    let names = Names::new(&report.axes, report.trials.iter().map(|trial| (&trial.trial, &trial.values[..])));
    let mut lines = vec![format!("{}: {}", report.folder.display(), state(report)), counts(report), iterations(report)];
    lines.extend(report.damage.iter().map(|damage| format!("damaged: {damage}")));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    let mut out: String = lines.iter().map(|line| words::wrapped(line, terminal.width, 2) + "\n").collect();
    let is_listed = |trial: &&TrialState| all_trials || trial.status == TrialStatus::Running;
    let listed: Vec<&TrialState> = report.trials.iter().filter(is_listed).collect();
    list(&mut out, &names, &listed, if all_trials { listed.len() } else { LISTED }, terminal);
    failures(&mut out, &names, report, terminal);
    out
}

fn state(report: &Report) -> String {
    let holder = report.holder.as_ref().map(ToString::to_string).unwrap_or_default();
    let heard = report
        .heartbeat_seconds
        .map_or(String::new(), |seconds| format!(", heard of {} ago", words::duration(seconds)));
    match (report.state, report.holder_lives) {
        (State::Running, Some(_)) => format!("running, {holder}"),
        (State::Running, None) => format!("running, {holder}{heard}"),
        (State::Damaged, _) => {
            let files = words::counted(report.damage.len(), "file");
            let are = if report.damage.len() == 1 { "is" } else { "are" };
            format!("damaged: {files} of this output {are} missing or changed; the same command mends that")
        }
        (State::Done, _) => "done".to_owned(),
        (State::Stopped, _) => "stopped; the same command goes on".to_owned(),
        (State::Killed, Some(_)) => format!("not running: {holder} is gone{heard}; the same command goes on"),
        (State::Killed, None) if report.holder.is_some() => {
            format!("silent: {holder}{heard}; if it is gone, the same command goes on")
        }
        (State::Killed, None) => "not running: the last command was cut off; the same command goes on".to_owned(),
    }
}

fn counts(report: &Report) -> String {
    let counts = &report.counts;
    let parts = [
        (counts.finished, "finished"),
        (counts.diverged, "diverged"),
        (counts.failed, "failed"),
        (counts.crashed, "crashed"),
        (counts.running, "running"),
        (counts.left, "left"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|&(count, name)| count > 0 || name == "finished")
        .map(|(count, name)| format!("{} {name}", thousands(count as u128)))
        .collect();
    format!("{}: {}", words::counted(counts.trials, "trial"), parts.join(", "))
}

fn iterations(report: &Report) -> String {
    let (done, all) = (report.iterations_done, report.iterations);
    let percent = 100.0 * done as f64 / all.max(1) as f64;
    let mut text =
        format!("{percent:.0}%, {} of {} iterations", thousands(u128::from(done)), thousands(u128::from(all)));
    if let Some(rate) = report.per_second {
        let _ = write!(text, ", {}", words::rate(rate));
    }
    if let Some(seconds) = report.seconds_left {
        let _ = write!(text, ", {} left", words::duration(seconds));
    }
    if let Some(bytes) = report.memory_bytes {
        let _ = write!(text, ", {} of memory", words::bytes(bytes));
    }
    text
}

/// A line for each of the first `limit` trials.
fn list(out: &mut String, names: &Names, trials: &[&TrialState], limit: usize, terminal: &Terminal) {
    if trials.is_empty() {
        return;
    }
    let shown = &trials[..limit.min(trials.len())];
    let column = |of: &dyn Fn(&TrialState) -> String| -> Vec<String> { shown.iter().map(|trial| of(trial)).collect() };
    let mut columns = vec![
        Column::left("status", 0, column(&|trial| status_name(trial.status))),
        Column::left("trial", 0, column(&|trial| names.handle(&trial.trial))),
    ];
    let axes = names.columns(shown.iter().map(|trial| &trial.values[..]), &[]);
    if axes.is_empty() {
        columns.push(Column::left("label", 1, column(&|trial| trial.label.clone())));
    }
    columns.extend(axes);
    columns.push(Column::right("iteration", 0, column(&|trial| format!("{}/{}", trial.step, trial.iterations))));
    if shown.iter().any(|trial| trial.per_second.is_some()) {
        columns.push(Column::right("rate", 2, column(&|trial| trial.per_second.map_or(String::new(), words::rate))));
    }
    out.push('\n');
    if let Some(common) = names.common() {
        out.push_str(&words::wrapped(&common, terminal.width, 2));
        out.push('\n');
    }
    out.push_str(&columns::text(&columns, terminal));
    if shown.len() < trials.len() {
        let _ = writeln!(out, "and {} more; --trials lists all", thousands((trials.len() - shown.len()) as u128));
    }
}

/// Why trials failed, and what went wrong last.
fn failures(out: &mut String, names: &Names, report: &Report, terminal: &Terminal) {
    let went_wrong = |trial: &&TrialState| matches!(trial.status, TrialStatus::Failed | TrialStatus::Crashed);
    let failed: Vec<&TrialState> = report.trials.iter().filter(went_wrong).collect();
    let mut lines = Vec::new();
    for trial in failed.iter().take(LISTED) {
        let words = if report.axes.is_empty() { trial.label.clone() } else { names.words(&trial.values) };
        let why = trial.error.as_deref().and_then(|error| error.lines().next());
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        let at = format!("at iteration {} of {}", trial.step, trial.iterations);
        lines.push(format!("{} {} ({words}) {at}{why}", status_name(trial.status), names.handle(&trial.trial)));
    }
    if failed.len() > LISTED {
        lines.push(format!("and {} more failed; --trials lists all", thousands((failed.len() - LISTED) as u128)));
    }
    let is_told = |error: &LastError| {
        let mut told = failed.iter().take(LISTED);
        told.any(|trial| error.label.as_ref() == Some(&trial.label) && trial.error.as_ref() == Some(&error.message))
    };
    if let Some(error) = report.last_error.as_ref().filter(|error| !is_told(error)) {
        let of = error.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
        lines.push(format!("last error, {}: {of}{}", error.time, error.message.trim_end()));
    }
    if !lines.is_empty() {
        out.push('\n');
    }
    for line in lines {
        out.push_str(&words::wrapped(&line, terminal.width, 2));
        out.push('\n');
    }
}

fn status_name(status: TrialStatus) -> String {
    format!("{status:?}").to_lowercase()
}
