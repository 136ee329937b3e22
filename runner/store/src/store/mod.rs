//! The output folder while a command writes it.

mod commit;
mod open;
mod records;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clr_event::checkpoint::Checkpoint;
use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_plan::{Plan, Trial};
use jiff::Timestamp;

pub use open::table_path;

use crate::error::StoreError;
use crate::files;
use crate::flight::Flight;
use crate::manifest::{Manifest, TrialRecord, UnfinishedRecord};
use crate::result::{Numbers, Status, TrialResult};
use crate::resume::Resumable;
use crate::run::{BUILDS, RunInfo};
use crate::schema::Columns;
use crate::table::Cut;

/// An output folder, open for writing. One process at a time has it.
pub struct Store {
    folder: PathBuf,
    plan: Plan,
    pub(crate) columns: Columns,
    limits: Limits,
    /// For each trial of the plan.
    numerics: Vec<Arc<str>>,
    /// For each trial of the plan, the digest of its plugin's file.
    builds: Vec<Option<Arc<str>>>,
    rerun_other_numerics: bool,
    rerun_other_builds: bool,
    retry_failed: bool,
    notes: Vec<String>,
    manifest: Manifest,
    /// Trials that were saved by an earlier command, by index, until they start.
    resumable: HashMap<usize, Resumable>,
    /// Trials that have a lane, by index.
    flights: HashMap<usize, Flight>,
    /// Trials that are done and whose rows are not all sealed.
    landed: Vec<(Flight, TrialRecord)>,
    /// Trials that were stopped after they were saved, or that failed, until the manifest speaks of it.
    parked: Vec<Flight>,
    pending_rows: usize,
    /// Checkpoints of which the next manifest no longer speaks, to be deleted after it is written.
    replaced: BTreeSet<String>,
    /// Something ended or was saved since the last commit.
    has_news: bool,
    /// Checkpoints were written since the last sync of their folder.
    has_new_checkpoints: bool,
    opened: Instant,
    /// When the run, or a worker of it, last began: what was to come may go wrong again.
    disturbed: Instant,
    committed: Instant,
    /// When the manifest was last copied.
    backed_up: Instant,
    commit_cost: Duration,
    /// When all rows that waited were sealed.
    sealed: Instant,
    /// Held until the store is dropped. None where there is nothing to write.
    lock: Option<files::Lock>,
}

/// When rows are sealed and committed, and where tables are cut.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows that may wait: about 10 MB.
    pub part_rows: usize,
    /// Trials that are over and may wait: about 2 MB.
    pub part_trials: usize,
    /// The least time between two commits.
    pub commit_every: Duration,
    /// The longest time for which rows of a trial wait that is neither over nor saved.
    pub seal_every: Duration,
    /// Of parts.
    pub parts: Cut,
    pub tables: Cut,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            part_rows: 1 << 18,
            part_trials: 1 << 10,
            commit_every: Duration::from_millis(500),
            seal_every: Duration::from_secs(30),
            parts: Cut { batch_rows: 8192, group_rows: 8192, file_rows: u64::MAX },
            // Row groups of 131,072 rows are what DuckDB and polars spread over threads; 32 make a file of about 100 MB.
            tables: Cut { batch_rows: 8192, group_rows: 1 << 17, file_rows: 1 << 22 },
        }
    }
}

impl Store {
    /// Creates or reopens `outputs`/NAME for `plan`.
    ///
    /// Trials that were finished there, in whatever spec, are kept, and so is what unfinished ones go on from; rows of
    /// others are dropped. Where all that `plan` asks for is there already, nothing is written and no lock is taken, so the
    /// folder may be read-only.
    pub fn open(outputs: &Path, plan: &Plan, run: RunInfo) -> Result<Store, StoreError> {
        Store::open_with(outputs, plan, run, Limits::default())
    }

    /// True if this command writes the folder: not where all was there already.
    pub fn is_writing(&self) -> bool {
        self.lock.is_some()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes on this folder for the user before the run, in sentences: trials that the spec no longer covers, that
    /// failed before, or that start over.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The trials that have to be run, in the plan's order, and from where: those that are neither finished nor diverged,
    /// and have not failed unless that is to be tried again.
    pub fn unfinished(&self) -> Vec<Work> {
        let trials = self.plan.trials.iter().enumerate();
        trials.filter(|&(index, trial)| self.is_wanted(index, trial)).map(|(index, _)| self.work(index)).collect()
    }

    fn is_wanted(&self, index: usize, trial: &Trial) -> bool {
        let Some(record) = self.manifest.trials.get(&trial.id) else { return true };
        let same = record.numerics.as_ref() == Some(&self.numerics[index]);
        match record.status {
            Status::Unfinished => true,
            Status::Finished | Status::Diverged => {
                (!same && self.rerun_other_numerics) || (self.rerun_other_builds && record.build != self.builds[index])
            }
            Status::Failed | Status::Crashed => self.retry_failed,
        }
    }

    fn work(&self, index: usize) -> Work {
        if let Some(Resumable { record, checkpoint, .. }) = self.resumable.get(&index) {
            return Work {
                trial: index,
                checkpoint: Some(checkpoint.clone()),
                started: false,
                sent_rows: checkpoint.step,
                sent_evaluation: checkpoint.evaluated,
                elapsed: record.elapsed(),
                ..Work::default()
            };
        }
        Work::new(index)
    }

    /// The results of every trial of the plan, in its order, as far as it was committed.
    pub fn results(&self) -> impl Iterator<Item = TrialResult<'_>> + Clone {
        self.manifest.results(&self.plan.trials, 0)
    }

    /// Takes note of an event. Rows are in memory until the next seal, so this seldom touches a file.
    pub fn record(&mut self, event: &Event) -> Result<(), StoreError> {
        match event {
            Event::Started { trial, step } => self.start(*trial, *step)?,
            Event::Rows(rows) => {
                let (flight, trial) = self.flight(rows.trial)?;
                flight.push_rows(rows, trial).map_err(|message| unexpected(trial, message))?;
                self.pending_rows += rows.count;
            }
            Event::Evaluated(evaluation) => {
                let (flight, trial) = self.flight(evaluation.trial)?;
                flight.push_evaluation(*evaluation).map_err(|message| unexpected(trial, message))?;
            }
            Event::Saved { trial, checkpoint, elapsed } => self.save(*trial, checkpoint, *elapsed)?,
            Event::Retried { .. } => self.disturbed = Instant::now(),
            Event::Ended { trial, outcome, elapsed } => self.end(*trial, outcome, *elapsed)?,
        }
        self.commit_if_due()
    }

    fn start(&mut self, index: usize, step: u64) -> Result<(), StoreError> {
        let trial = self.trial(index)?;
        let (id, label) = (trial.id, trial.label.clone());
        let mut flight = match (step, self.resumable.get(&index)) {
            (0, _) => Flight::new(index, trial, now()),
            (_, Some(resumable)) if resumable.record.step == step => match self.resumable.remove(&index) {
                Some(resumable) => Flight::resume(index, &self.plan.trials[index], resumable),
                None => Flight::new(index, &self.plan.trials[index], now()),
            },
            _ => return Err(unexpected(trial, format!("it started at step {step}, where no checkpoint is"))),
        };
        if step == 0 {
            self.update_checkpoints(id, |manifest| drop(manifest.unfinished.remove(&id)));
        }
        let counted = self.manifest.unfinished.get(&id).map_or(Duration::ZERO, UnfinishedRecord::elapsed);
        let record = self.manifest.trials.entry(id).or_default();
        if !record.status.is_done() {
            flight.wasted = record.elapsed().saturating_sub(counted);
        }
        record.label = label;
        record.attempts = record.attempts.saturating_add(1);
        if record.status.is_failure() {
            // Its rows are the manifest's until the tables are written anew.
            record.numbers = Numbers::default();
        }
        if !record.status.is_done() {
            (record.status, record.error) = (Status::Unfinished, None);
        }
        if let Some(abandoned) = self.flights.insert(index, flight) {
            self.pending_rows -= abandoned.pending_rows();
        }
        Ok(())
    }

    fn save(&mut self, index: usize, checkpoint: &Arc<Checkpoint>, elapsed: Duration) -> Result<(), StoreError> {
        let keep = self.plan.checkpointing.keep;
        let (flight, trial) = self.flight(index)?;
        if checkpoint.trial_id != trial.id {
            return Err(unexpected(trial, format!("a checkpoint came of trial {}", checkpoint.trial_id)));
        }
        flight.push_checkpoint(checkpoint, elapsed, keep, trial).map_err(|message| unexpected(trial, message))?;
        self.has_news = true;
        Ok(())
    }

    fn end(&mut self, index: usize, outcome: &Outcome, elapsed: Duration) -> Result<(), StoreError> {
        let diverged_at = match outcome {
            Outcome::Finished => None,
            Outcome::Diverged { iteration } => Some(*iteration),
            Outcome::Failed { .. } | Outcome::Crashed { .. } | Outcome::Interrupted { .. } | Outcome::Stopped => {
                self.note_interruption(index, outcome, elapsed)?;
                if let Some(flight) = self.flights.remove(&index) {
                    if flight.saved.is_some() || self.has_failed(&flight) {
                        self.parked.push(flight);
                    } else {
                        self.pending_rows -= flight.pending_rows();
                    }
                }
                return Ok(());
            }
        };
        let (flight, trial) = self.flight(index)?;
        let expected_rows = diverged_at.map_or(trial.iterations, |iteration| iteration.saturating_add(1));
        flight.check_end(expected_rows).map_err(|message| unexpected(trial, message))?;
        let mut record = flight.record(trial, diverged_at, elapsed);
        record.numerics = Some(self.numerics[index].clone());
        record.build = self.flights.get(&index).and_then(|flight| self.build_of(flight));
        self.landed.extend(self.flights.remove(&index).map(|flight| (flight, record)));
        self.has_news = true;
        Ok(())
    }

    /// Notes why a trial is not over. That does not replace the result of an earlier attempt on other numerics.
    fn note_interruption(&mut self, index: usize, outcome: &Outcome, elapsed: Duration) -> Result<(), StoreError> {
        let (status, error) = match outcome {
            Outcome::Failed { message } => (Status::Failed, Some(message.as_str().into())),
            Outcome::Crashed { message } => (Status::Crashed, Some(message.as_str().into())),
            Outcome::Interrupted { message } => (Status::Unfinished, Some(message.as_str().into())),
            Outcome::Finished | Outcome::Diverged { .. } | Outcome::Stopped => (Status::Unfinished, None),
        };
        let trial = self.trial(index)?;
        let (id, label) = (trial.id, trial.label.clone());
        let build = self.flights.get(&index).map_or_else(|| self.builds[index].clone(), |it| self.build_of(it));
        let record = self.manifest.trials.entry(id).or_default();
        if !record.status.is_done() {
            // A session that could not be opened fails trials that never started.
            if let Some(flight) = self.flights.get(&index) {
                record.started = Some(flight.started());
                record.seconds = Some((flight.wasted + elapsed).as_secs_f64());
            }
            (record.status, record.error, record.label) = (status, error, label);
            record.numerics = Some(self.numerics[index].clone());
            record.build = build;
            self.has_news = true;
        }
        Ok(())
    }

    /// The digest of the plugin's file that trains a trial; of several where it went on under another build. None where one of
    /// them is not known.
    fn build_of(&self, flight: &Flight) -> Option<Arc<str>> {
        let own = self.builds[flight.trial].as_ref();
        match (&flight.earlier_build, own) {
            (None, own) => own.cloned(),
            (Some(earlier), Some(own)) => {
                let earlier = earlier.as_deref()?;
                let is_same = earlier.split(BUILDS).any(|build| build == &**own);
                Some(if is_same { earlier.into() } else { format!("{earlier}{BUILDS}{own}").into() })
            }
            (Some(earlier), None) => earlier.as_deref().map(Arc::from),
        }
    }

    /// True if the trial counts as failed: not where an earlier attempt, on other numerics, has a result.
    fn has_failed(&self, flight: &Flight) -> bool {
        let record = self.manifest.trials.get(&self.plan.trials[flight.trial].id);
        record.is_some_and(|record| record.status.is_failure())
    }

    fn trial(&self, index: usize) -> Result<&Trial, StoreError> {
        self.plan.trials.get(index).ok_or_else(|| StoreError::Event {
            trial: index.to_string(),
            message: format!("the plan has {} trials", self.plan.trials.len()),
        })
    }

    fn flight(&mut self, index: usize) -> Result<(&mut Flight, &Trial), StoreError> {
        self.trial(index)?;
        let trial = &self.plan.trials[index];
        match self.flights.get_mut(&index) {
            Some(flight) => Ok((flight, trial)),
            None => Err(unexpected(trial, "it has not started".to_owned())),
        }
    }
}

fn unexpected(trial: &Trial, message: String) -> StoreError {
    StoreError::Event { trial: format!("`{}`", trial.label), message }
}

/// To the millisecond.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
