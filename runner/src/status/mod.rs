//! The state of an output, from its files alone: no lock is taken, nothing is written, and what is torn or missing is said.
//!
//! The manifest says what counts. While a command runs, the journal and the heartbeat know more than it: what ended since the
//! last commit, what runs, and how fast. Once nothing runs, they know less: what a killed command had not committed is lost.

mod files;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use clr_plan::{Axis, AxisValue};
use clr_store::Status;
use clr_store::holder::Holder;
use clr_store::journal::{self, Ending, Heartbeat, Record};
use clr_store::looks::look_again;
use clr_store::manifest::NAME;
use clr_store::plan_file::{self, PlanFile, PlannedAxis};

use self::files::ManifestFile;

/// After so many seconds without a heartbeat, a command on another host is taken to be gone. They come every two.
const SILENT_SECONDS: f64 = 60.0;

/// The state of an output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub folder: PathBuf,
    pub name: String,
    pub state: State,
    /// Who holds the output, or held it when it was cut off.
    pub holder: Option<Holder>,
    /// True if that process lives; null if it is another host's.
    pub holder_lives: Option<bool>,
    /// Since it was last heard of.
    pub heartbeat_seconds: Option<f64>,
    /// Memory of the command and its workers.
    pub memory_bytes: Option<u64>,
    /// Trials by what became of them.
    pub counts: Counts,
    /// Iterations of trials that are done, and those done of trials that run.
    pub iterations_done: u64,
    /// Iterations of all trials.
    pub iterations: u64,
    /// Iterations a second, of the command that runs.
    pub per_second: Option<f64>,
    /// Until all is done, at that rate.
    pub seconds_left: Option<f64>,
    /// The last trial that failed, session that died, or command that could not write.
    pub last_error: Option<LastError>,
    /// Files of results that are missing or are not what was written: path and what is wrong, as far as that shows without
    /// reading them to their ends.
    pub damage: Vec<String>,
    /// Notes about files that could not be read.
    pub notes: Vec<String>,
    /// Every trial of the spec, in its order.
    pub trials: Vec<TrialState>,
    /// The axes that tell trials apart; empty without a plan.
    #[serde(skip)]
    pub axes: Vec<Axis>,
}

/// The state of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A command holds the output.
    Running,
    /// Nothing runs, and files of results are missing or damaged.
    Damaged,
    /// Every trial is done or failed.
    Done,
    /// The last command ended with trials left.
    Stopped,
    /// The last command was killed, or its machine was.
    Killed,
}

impl State {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Damaged => "damaged",
            State::Done => "done",
            State::Stopped => "stopped",
            State::Killed => "killed",
        }
    }
}

/// Trials by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of the spec.
    pub trials: usize,
    /// All iterations were done.
    pub finished: usize,
    /// The divergence rule stopped them.
    pub diverged: usize,
    /// The plugin reported an error.
    pub failed: usize,
    /// They ended the process that trained them.
    pub crashed: usize,
    /// They are being trained.
    pub running: usize,
    /// The number of trials that neither ended nor run.
    pub left: usize,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// RFC 3339, UTC.
    pub time: String,
    /// Of the trial, or of the trials of a session that failed; null where it was the command.
    pub label: Option<String>,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialState {
    pub trial: String,
    pub label: String,
    pub status: TrialStatus,
    /// Updates made that count, or are being made.
    pub step: u64,
    /// The number of updates to make.
    pub iterations: u64,
    /// Of a trial that runs: updates a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// The reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its values on [`Report::axes`].
    #[serde(skip)]
    pub values: Vec<Option<AxisValue>>,
}

/// The state of a trial so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialStatus {
    /// All iterations were done.
    Finished,
    /// The divergence rule stopped it.
    Diverged,
    /// The plugin reported an error.
    Failed,
    /// It ended the process that trained it.
    Crashed,
    /// It is being trained.
    Running,
    Unfinished,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// None of the files of an output is there.
    #[error("{} is no output of a run: it has no plan.json, manifest.json or events.jsonl", folder.display())]
    NoOutput { folder: PathBuf },
}

/// Reads the state of the output `folder`.
///
/// # Errors
///
/// Where the folder has none of an output's files.
pub fn read(folder: &Path) -> Result<Report, StatusError> {
    let mut notes = Vec::new();
    let plan = match PlanFile::read(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        plan => noting(plan, &folder.join(plan_file::NAME), &mut notes),
    };
    let (manifest, damage) = manifest_and_damage(folder);
    let manifest = noting(manifest, &folder.join(NAME), &mut notes).flatten();
    let heartbeat = journal::read_heartbeat(folder);
    let mut history = History::default();
    let events = folder.join(journal::EVENTS);
    match journal::read(folder, |line| history.add(line)) {
        Ok(0) => {}
        // The last line is being written while a command runs, and is cut off where one was killed.
        Ok(1) if heartbeat.is_some() => {}
        Ok(skipped) => notes.push(format!("{}: {skipped} lines were cut off or are not ours", events.display())),
        Err(error) => notes.push(format!("{}: {error}", events.display())),
    }
    if plan.is_none() && manifest.is_none() && history.is_empty() && notes.is_empty() {
        return Err(StatusError::NoOutput { folder: folder.to_owned() });
    }
    if plan.is_none() {
        notes.push("without plan.json, only trials that began are known".to_owned());
    }
    let found = Found { plan, manifest: manifest.unwrap_or_default(), damage, heartbeat, history, notes };
    Ok(report(folder, found, Timestamp::now()))
}

/// The manifest, and the damage of the files that it lists.
fn manifest_and_damage(folder: &Path) -> (io::Result<Option<ManifestFile>>, Vec<String>) {
    let look = || -> Result<_, Infallible> {
        let manifest = ManifestFile::read(folder);
        let damage = match &manifest {
            Ok(Some(manifest)) => manifest.damage(folder),
            _ => Vec::new(),
        };
        Ok((manifest, damage))
    };
    let Ok(looked) = look_again(folder, look, |(_, damage)| damage.is_empty());
    let (manifest, damage) = looked.found;
    (manifest, if looked.is_settled { damage } else { Vec::new() })
}

/// The content of a file; a problem with it becomes a note.
fn noting<T>(file: io::Result<T>, path: &Path, notes: &mut Vec<String>) -> Option<T> {
    file.map_err(|problem| notes.push(format!("{}: {problem}", path.display()))).ok()
}

/// The content of an output's files.
struct Found {
    plan: Option<PlanFile>,
    manifest: ManifestFile,
    damage: Vec<String>,
    heartbeat: Option<Heartbeat>,
    history: History,
    notes: Vec<String>,
}

/// The story of the last command, as the journal tells it.
#[derive(Default)]
struct History {
    /// True once a command has begun; `ended` is about the last one.
    began: bool,
    ended: bool,
    /// The trials of the last command, by id.
    trials: HashMap<String, Told>,
    /// By id, of all commands.
    labels: HashMap<String, String>,
    last_error: Option<LastError>,
}

/// The story of a trial in the last command.
#[derive(Clone, Copy, Default)]
struct Told {
    step: u64,
    ended: Option<Ending>,
}

impl History {
    fn is_empty(&self) -> bool {
        !self.began && self.labels.is_empty()
    }

    fn add(&mut self, line: journal::Line<'_>) {
        let journal::Line { time, record } = line;
        match record {
            Record::RunStarted { .. } => {
                (self.began, self.ended) = (true, false);
                self.trials.clear();
            }
            Record::Started { trial, label, step, .. } => {
                self.trials.insert(trial.clone().into_owned(), Told { step, ended: None });
                self.labels.insert(trial.into_owned(), label.into_owned());
            }
            Record::Saved { trial, step, .. } => self.told(&trial).step = step,
            Record::Ended { trial, label, step, outcome, message, .. } => {
                *self.told(&trial) = Told { step, ended: Some(outcome) };
                if let (Ending::Failed | Ending::Crashed | Ending::Interrupted, Some(message)) = (outcome, message) {
                    self.last_error = Some(LastError {
                        time: time.into_owned(),
                        label: Some(label.into_owned()),
                        message: message.into_owned(),
                    });
                }
            }
            Record::Retried { labels, message, .. } => {
                let (label, message) = (Some(labels.join(", ")), format!("retried: {message}"));
                self.last_error = Some(LastError { time: time.into_owned(), label, message });
            }
            Record::RunEnded { outcome, message } => {
                self.ended = true;
                if let (Ending::Failed, Some(message)) = (outcome, message) {
                    let message = message.into_owned();
                    self.last_error = Some(LastError { time: time.into_owned(), label: None, message });
                }
            }
            Record::Evaluated { .. } | Record::Unknown => {}
        }
    }

    fn told(&mut self, trial: &str) -> &mut Told {
        // Almost always there: it started before.
        if !self.trials.contains_key(trial) {
            self.trials.insert(trial.to_owned(), Told::default());
        }
        self.trials.entry(trial.to_owned()).or_default()
    }
}

/// Pure: the same files at the same time give the same report.
fn report(folder: &Path, found: Found, now: Timestamp) -> Report {
    let Found { plan, manifest, damage, heartbeat, history, notes } = found;
    let heartbeat_seconds = heartbeat.as_ref().and_then(|beat| age(&beat.time, now));
    let holder_lives = heartbeat.as_ref().and_then(|beat| beat.holder.lives());
    let is_held = match (&heartbeat, holder_lives) {
        (None, _) | (_, Some(false)) => false,
        (Some(_), Some(true)) => true,
        (Some(_), None) => heartbeat_seconds.is_some_and(|seconds| seconds < SILENT_SECONDS),
    };
    let is_planned = plan.is_some();
    let (axes, planned): (Vec<Axis>, Vec<Planned>) = match plan {
        Some(PlanFile { axes, trials, .. }) => {
            let axes: Vec<Axis> = axes.iter().map(PlannedAxis::axis).collect();
            let planned = trials.into_iter().map(|trial| Planned {
                id: trial.id.to_string(),
                values: axes.iter().map(|axis| trial.value(axis)).collect(),
                label: trial.label,
                iterations: trial.iterations,
            });
            let planned = planned.collect();
            (axes, planned)
        }
        None => (Vec::new(), began(&manifest, &history)),
    };
    let in_flight: HashMap<&str, &journal::InFlight> = match &heartbeat {
        Some(beat) if is_held => beat.trials.iter().map(|trial| (trial.trial.as_str(), trial)).collect(),
        _ => HashMap::new(),
    };
    let mut trials = Vec::with_capacity(planned.len());
    for Planned { id, label, iterations, values } in planned {
        let known = manifest.trials.get(&id);
        let told = history.trials.get(&id).filter(|_| is_held);
        let mut status = known.map_or(TrialStatus::Unfinished, |known| progress(known.status));
        let mut step = known.map_or(0, |known| known.numbers.rows);
        if !matches!(status, TrialStatus::Finished | TrialStatus::Diverged) {
            // Of a trial that failed, all rows are known; earlier versions knew those up to its checkpoint.
            step = manifest.unfinished.get(&id).map_or(0, |saved| saved.step).max(step);
        }
        let mut per_second = None;
        if let Some(told) = told {
            match told.ended {
                Some(Ending::Stopped | Ending::Interrupted) => {}
                Some(ended) => (status, step) = (ended_as(ended), told.step),
                None => {
                    (status, step) = (TrialStatus::Running, told.step);
                    if let Some(lane) = in_flight.get(id.as_str()) {
                        (step, per_second) = (lane.step, Some(lane.per_second));
                    }
                }
            }
        }
        let error = known.and_then(|known| known.error.clone());
        let step = step.min(iterations);
        trials.push(TrialState { trial: id, label, status, step, iterations, per_second, error, values });
    }
    let counts = count(&trials);
    let iterations = trials.iter().fold(0, |sum: u64, trial| sum.saturating_add(trial.iterations));
    let iterations_done = trials.iter().fold(0, |sum: u64, trial| sum.saturating_add(trial.done()));
    let per_second = heartbeat.as_ref().filter(|_| is_held).map(|beat| beat.per_second);
    let seconds_left = per_second
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .map(|rate| iterations.saturating_sub(iterations_done) as f64 / rate);
    let state = match () {
        () if is_held => State::Running,
        () if !damage.is_empty() => State::Damaged,
        () if counts.left == 0 && is_planned => State::Done,
        () if heartbeat.is_some() || (history.began && !history.ended) => State::Killed,
        () => State::Stopped,
    };
    Report {
        folder: folder.to_owned(),
        name: manifest.name,
        state,
        memory_bytes: heartbeat.as_ref().filter(|_| is_held).and_then(|beat| beat.memory_bytes),
        holder: heartbeat.map(|beat| beat.holder),
        holder_lives,
        heartbeat_seconds,
        counts,
        iterations_done,
        iterations,
        per_second,
        seconds_left,
        last_error: history.last_error,
        damage,
        notes,
        trials,
        axes,
    }
}

impl TrialState {
    /// Iterations that need not be done any more.
    fn done(&self) -> u64 {
        match self.status {
            TrialStatus::Running | TrialStatus::Unfinished => self.step,
            TrialStatus::Finished | TrialStatus::Diverged | TrialStatus::Failed | TrialStatus::Crashed => {
                self.iterations
            }
        }
    }
}

/// Seconds since `time`, which other hosts' clocks may put into the future.
fn age(time: &str, now: Timestamp) -> Option<f64> {
    let time: Timestamp = time.parse().ok()?;
    Some(now.duration_since(time).as_secs_f64().max(0.0))
}

/// A trial of the spec.
struct Planned {
    id: String,
    label: String,
    iterations: u64,
    values: Vec<Option<AxisValue>>,
}

/// Without a plan: the trials that the manifest and the journal know.
fn began(manifest: &ManifestFile, history: &History) -> Vec<Planned> {
    let ids: HashSet<&String> = manifest.trials.keys().chain(history.labels.keys()).collect();
    let planned = ids.into_iter().map(|id| {
        let known = manifest.trials.get(id);
        let label = known.map(|known| &known.label).filter(|label| !label.is_empty());
        Planned {
            id: id.clone(),
            label: label.or_else(|| history.labels.get(id)).unwrap_or(id).clone(),
            iterations: known.map_or(0, |known| known.numbers.rows),
            values: Vec::new(),
        }
    });
    let mut planned: Vec<Planned> = planned.collect();
    planned.sort_by(|a, b| (&a.label, &a.id).cmp(&(&b.label, &b.id)));
    planned
}

fn progress(status: Status) -> TrialStatus {
    match status {
        Status::Unfinished => TrialStatus::Unfinished,
        Status::Finished => TrialStatus::Finished,
        Status::Diverged => TrialStatus::Diverged,
        Status::Failed => TrialStatus::Failed,
        Status::Crashed => TrialStatus::Crashed,
    }
}

fn ended_as(ending: Ending) -> TrialStatus {
    match ending {
        Ending::Finished => TrialStatus::Finished,
        Ending::Diverged => TrialStatus::Diverged,
        Ending::Failed => TrialStatus::Failed,
        Ending::Crashed => TrialStatus::Crashed,
        Ending::Stopped | Ending::Interrupted => TrialStatus::Unfinished,
    }
}

fn count(trials: &[TrialState]) -> Counts {
    let mut counts = Counts { trials: trials.len(), ..Counts::default() };
    for trial in trials {
        *match trial.status {
            TrialStatus::Finished => &mut counts.finished,
            TrialStatus::Diverged => &mut counts.diverged,
            TrialStatus::Failed => &mut counts.failed,
            TrialStatus::Crashed => &mut counts.crashed,
            TrialStatus::Running => &mut counts.running,
            TrialStatus::Unfinished => &mut counts.left,
        } += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
