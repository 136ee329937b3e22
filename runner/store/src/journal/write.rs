//! Writes the journal: lines into a buffer, and a thread that carries it to the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clr_event::{Evaluation, Event, Outcome};
use clr_host::Split;
use clr_plan::Plan;
use clr_system::regular;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;

use super::memory;
use super::record::{EVENTS, Ending, HEARTBEAT, Heartbeat, InFlight, Line, Record};
use crate::holder::Holder;

/// How often lines go to the file.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// How often the heartbeat is replaced.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// So many bytes go to the file at once, whoever wrote the last of them.
const BUFFER_BYTES: usize = 1 << 18;

/// The journal of one command, from its start to its end.
///
/// Ten thousand trials of ten iterations are thirty thousand lines: 5 MB and 50 ms in all.
pub struct Journal<'a> {
    plan: &'a Plan,
    /// How often each trial was started, over all commands.
    attempts: Vec<u32>,
    /// The highest accuracy so far, on the validation and on the test split.
    best: [f32; 2],
    shared: Arc<Mutex<Shared>>,
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The state that the thread shares with the run.
struct Shared {
    folder: PathBuf,
    holder: Holder,
    /// None where it could not be opened, and once writing failed.
    file: Option<File>,
    buffer: Vec<u8>,
    lanes: BTreeMap<usize, Lane>,
    /// Iterations done by this command.
    iterations: u64,
    started: Instant,
}

struct Lane {
    trial: String,
    label: String,
    step: u64,
    iterations: u64,
    first_step: u64,
    started: Instant,
}

impl<'a> Journal<'a> {
    /// Begins the journal of a command that holds `folder` and runs `unfinished` trials of `plan`, which were started
    /// `attempts` times each before.
    pub fn start(folder: &Path, plan: &'a Plan, unfinished: usize, attempts: Vec<u32>) -> Journal<'a> {
        let file = match open(&folder.join(EVENTS)) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be opened");
                None
            }
        };
        let holder = Holder::this();
        let command: Vec<String> = std::env::args().collect();
        let shared = Shared {
            folder: folder.to_owned(),
            holder: holder.clone(),
            file,
            buffer: Vec::new(),
            lanes: BTreeMap::new(),
            iterations: 0,
            started: Instant::now(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let (stop, stopped) = bounded(0);
        let thread = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("journal".to_owned());
            thread
                .spawn(move || beat(&shared, &stopped))
                .inspect_err(|error| tracing::warn!(%error, "no heartbeat"))
                .ok()
        };
        let journal = Journal { plan, attempts, best: [f32::NEG_INFINITY; 2], shared, stop: Some(stop), thread };
        let mut guard = lock(&journal.shared);
        guard.push(Record::RunStarted {
            holder,
            version: env!("CARGO_PKG_VERSION").into(),
            command: command.iter().map(|argument| argument.into()).collect(),
            trials: plan.trials.len(),
            unfinished,
        });
        guard.flush();
        guard.beat();
        drop(guard);
        journal
    }

    /// Takes note of an event. Touches no file, but for every 256 KiB of lines.
    pub fn record(&mut self, event: &Event) {
        let mut shared = lock(&self.shared);
        match event {
            Event::Started { trial, step } => {
                let Some(asked) = self.plan.trials.get(*trial) else { return };
                let attempt = self.attempts.get_mut(*trial).map_or(1, |attempts| {
                    *attempts += 1;
                    *attempts
                });
                let (id, label) = (asked.id.to_string().into(), (&*asked.label).into());
                shared.push(Record::Started { trial: id, label, attempt, step: *step });
                let lane = Lane {
                    trial: asked.id.to_string(),
                    label: asked.label.to_string(),
                    step: *step,
                    iterations: asked.iterations,
                    first_step: *step,
                    started: Instant::now(),
                };
                shared.lanes.insert(*trial, lane);
            }
            Event::Rows(rows) => {
                shared.iterations += rows.count as u64;
                if let Some(lane) = shared.lanes.get_mut(&rows.trial) {
                    lane.step += rows.count as u64;
                }
            }
            Event::Evaluated(evaluation) => {
                if let Some(record) = evaluated(self.plan, &mut self.best, evaluation) {
                    shared.push(record);
                }
            }
            Event::Saved { trial, checkpoint, .. } => {
                let Some(asked) = self.plan.trials.get(*trial) else { return };
                let (id, label) = (asked.id.to_string().into(), (&*asked.label).into());
                shared.push(Record::Saved { trial: id, label, step: checkpoint.step });
            }
            Event::Retried { trials, message } => {
                let asked = || trials.iter().filter_map(|&trial| self.plan.trials.get(trial));
                shared.push(Record::Retried {
                    trials: asked().map(|trial| trial.id.to_string().into()).collect(),
                    labels: asked().map(|trial| (&*trial.label).into()).collect(),
                    message: message.into(),
                });
            }
            Event::Ended { trial, outcome, elapsed } => {
                let Some(asked) = self.plan.trials.get(*trial) else { return };
                let (outcome, message) = ending(outcome);
                let step = shared.lanes.remove(trial).map_or(0, |lane| lane.step);
                shared.push(Record::Ended {
                    trial: asked.id.to_string().into(),
                    label: (&*asked.label).into(),
                    step,
                    outcome,
                    message: message.map(Into::into),
                    seconds: elapsed.as_secs_f64(),
                });
            }
        }
        if shared.buffer.len() >= BUFFER_BYTES {
            shared.flush();
        }
    }

    /// Ends the journal: the command is done with the output.
    pub fn finish(mut self, outcome: Ending, message: Option<&str>) {
        self.join();
        let mut shared = lock(&self.shared);
        shared.push(Record::RunEnded { outcome, message: message.map(Into::into) });
        shared.flush();
        // One that stays is seen to be of a process that is gone.
        let _ = fs::remove_file(shared.folder.join(HEARTBEAT));
    }

    fn join(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and if it panicked, the message was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal<'_> {
    fn drop(&mut self) {
        self.join();
        lock(&self.shared).flush();
    }
}

/// The thread: lines to the file and heartbeats, until `stopped` is closed.
fn beat(shared: &Mutex<Shared>, stopped: &Receiver<()>) {
    let mut beaten = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(FLUSH_EVERY) {
        let mut shared = lock(shared);
        shared.flush();
        if beaten.elapsed() >= BEAT_EVERY {
            beaten = Instant::now();
            shared.beat();
        }
    }
}

/// Whoever panicked while it held the lock had at worst half a line in the buffer.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn push(&mut self, record: Record<'_>) {
        if self.file.is_none() {
            return;
        }
        let line = Line { time: now().into(), record };
        let length = self.buffer.len();
        // Into memory, and every map has text for keys: it cannot fail.
        match serde_json::to_writer(&mut self.buffer, &line) {
            Ok(()) => self.buffer.push(b'\n'),
            Err(_) => self.buffer.truncate(length),
        }
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.buffer)
        {
            tracing::warn!(%error, "the journal cannot be written; it ends here");
            self.file = None;
        }
        self.buffer.clear();
    }

    fn beat(&mut self) {
        let seconds = |since: Instant| since.elapsed().as_secs_f64().max(1e-3);
        let in_flight = |lane: &Lane| InFlight {
            trial: lane.trial.clone(),
            label: lane.label.clone(),
            step: lane.step,
            iterations: lane.iterations,
            per_second: lane.step.saturating_sub(lane.first_step) as f64 / seconds(lane.started),
        };
        let heartbeat = Heartbeat {
            time: now(),
            holder: self.holder.clone(),
            memory_bytes: memory::of_this_process_and_children(),
            iterations: self.iterations,
            per_second: self.iterations as f64 / seconds(self.started),
            trials: self.lanes.values().map(in_flight).collect(),
        };
        if let Err(error) = replace(&self.folder, &heartbeat) {
            tracing::warn!(%error, "the heartbeat cannot be written");
        }
    }
}

/// Opens a journal to go on with it. What a crash cut off stays, on a line of its own.
fn open(path: &Path) -> io::Result<File> {
    let mut file = regular::open_with(File::options().create(true).append(true).read(true), path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Replaces the heartbeat of `folder`. Not synced: after a power cut it is of no interest.
fn replace(folder: &Path, heartbeat: &Heartbeat) -> io::Result<()> {
    let temporary = folder.join(".heartbeat.tmp");
    let written = regular::open_with(File::options().create(true).write(true).truncate(true), &temporary)
        .and_then(|mut file| file.write_all(&serde_json::to_vec(heartbeat)?))
        .and_then(|()| fs::rename(&temporary, folder.join(HEARTBEAT)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A line for the evaluation, if it is a trial's last or the best so far on its split.
fn evaluated<'a>(plan: &'a Plan, best: &mut [f32; 2], evaluation: &Evaluation) -> Option<Record<'a>> {
    let trial = plan.trials.get(evaluation.trial)?;
    let best = match evaluation.split {
        Split::Validation => &mut best[0],
        Split::Test | Split::Train => &mut best[1],
    };
    let is_best = evaluation.accuracy > *best;
    if is_best {
        *best = evaluation.accuracy;
    }
    let finite = |value: f32| value.is_finite().then_some(value);
    (is_best || evaluation.iteration >= trial.iterations).then(|| Record::Evaluated {
        trial: trial.id.to_string().into(),
        label: (&*trial.label).into(),
        step: evaluation.iteration,
        split: evaluation.split.name().into(),
        loss: finite(evaluation.loss),
        accuracy: finite(evaluation.accuracy),
    })
}

fn ending(outcome: &Outcome) -> (Ending, Option<&str>) {
    match outcome {
        Outcome::Finished => (Ending::Finished, None),
        Outcome::Diverged { .. } => (Ending::Diverged, None),
        Outcome::Failed { message } => (Ending::Failed, Some(message)),
        Outcome::Crashed { message } => (Ending::Crashed, Some(message)),
        Outcome::Interrupted { message } => (Ending::Interrupted, Some(message)),
        Outcome::Stopped => (Ending::Stopped, None),
    }
}

/// RFC 3339, UTC, to the millisecond.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).to_string()
}
