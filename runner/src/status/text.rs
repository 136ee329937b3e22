//! `clr-run status` for people.

use std::fmt::Write;

use super::{Report, State, TrialState, TrialStatus};
use crate::spec::thousands;
use crate::words;

/// Trials of a kind that are listed where not all are asked for.
const LISTED: usize = 20;

/// The state in a few lines; with `all_trials` also a line for every trial.
pub fn text(report: &Report, all_trials: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", report.folder.display(), state(report));
    let _ = writeln!(out, "{}", counts(report));
    let _ = writeln!(out, "{}", iterations(report));
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    if all_trials {
        let lines: Vec<&TrialState> = report.trials.iter().collect();
        list(&mut out, &lines, lines.len());
    } else {
        let running: Vec<&TrialState> =
            report.trials.iter().filter(|trial| trial.status == TrialStatus::Running).collect();
        list(&mut out, &running, LISTED);
        let went_wrong = |trial: &&TrialState| matches!(trial.status, TrialStatus::Failed | TrialStatus::Crashed);
        let failed: Vec<&TrialState> = report.trials.iter().filter(went_wrong).collect();
        list(&mut out, &failed, LISTED);
    }
    if let Some(error) = &report.last_error {
        let of = error.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
        let _ = writeln!(out, "last error, {}: {of}{}", error.time, error.message.trim_end());
    }
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
    let trials = if counts.trials == 1 { "trial" } else { "trials" };
    format!("{} {trials}: {}", thousands(counts.trials as u128), parts.join(", "))
}

fn iterations(report: &Report) -> String {
    let (done, all) = (report.iterations_done, report.iterations);
    let percent = 100.0 * done as f64 / all.max(1) as f64;
    let mut text =
        format!("{percent:.0}%, {} of {} iterations", thousands(u128::from(done)), thousands(u128::from(all)));
    if let Some(rate) = report.per_second {
        let _ = write!(text, ", {}", rate_text(rate));
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
fn list(out: &mut String, trials: &[&TrialState], limit: usize) {
    let shown = &trials[..limit.min(trials.len())];
    let width = shown.iter().map(|trial| trial.label.chars().count()).max().unwrap_or(0);
    for trial in shown {
        let status = format!("{:?}", trial.status).to_lowercase();
        let _ = write!(out, "{status:<10}  {:<width$}  {}/{}", trial.label, trial.step, trial.iterations);
        if let Some(rate) = trial.per_second {
            let _ = write!(out, "  {}", rate_text(rate));
        }
        if let Some(error) = &trial.error {
            let _ = write!(out, "  {}", error.lines().next().unwrap_or_default());
        }
        out.push('\n');
    }
    if shown.len() < trials.len() {
        let _ = writeln!(out, "... and {} more; --trials lists all", trials.len() - shown.len());
    }
}

fn rate_text(rate: f64) -> String {
    let digits = if rate < 10.0 { 1 } else { 0 };
    format!("{rate:.digits$}/s")
}
