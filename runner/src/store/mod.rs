//! The store: events to Parquet, so that a run can be cut off at any instant and lose nothing that was finished.
//!
//! ```text
//! outputs/NAME/
//!   spec.toml  plan.json        what was asked, and what it resolved to
//!   manifest.json               which files count, which trials are done, where their rows are, who wrote when
//!   trials.parquet              one row per trial
//!   metrics/*.parquet           one row per trial and iteration
//!   evals/*.parquet             one row per trial and evaluation
//!   timings.parquet             the only table that may differ between two runs
//!   parts/                      sealed parts of a run that goes on; rows of trials that the spec no longer covers
//!   checkpoints/                what unfinished trials go on from; what was asked to be kept of others
//! ```
//!
//! The life of a row: it waits in its trial's `Flight`; every so many rows or seconds all that wait are sealed as
//! a part, which holds rows of many trials and is readable at once; a commit replaces the manifest, and a trial is
//! finished when the manifest says so; at the end `compact` merges parts and earlier tables into tables in the spec's
//! order. All columns are in [`schema`].
//!
//! The life of a checkpoint: a commit seals the rows behind it, writes its file, and says in the manifest that the trial
//! goes on from there; the file of the one before is deleted after that. So at every instant the manifest names a state
//! and exactly the rows up to it ([`resume`] reads them back), whichever operation was the last.

mod compact;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod example;
pub(crate) mod files;
pub(crate) mod flight;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod kept;
pub(crate) mod manifest;
mod notes;
mod records;
pub(crate) mod result;
mod resume;
mod saved;
pub mod schema;
pub(crate) mod source;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use jiff::Timestamp;
use parquet::file::properties::WriterProperties;

pub use self::error::StoreError;
pub use self::kept::{Kept, kept, write};
pub use self::result::{Numbers, Status, TrialResult};
pub use self::summary::{Summary, text};

use self::files::FileEntry;
use self::flight::Flight;
use self::folder::{delete_unlisted, folder_name, forget_unused};
use self::manifest::{Manifest, RunHistory, RunRecord, Segment, TrialRecord, UnfinishedRecord};
use self::notes::some_of;
use self::resume::Resumable;
use self::schema::{Columns, Table, writer_properties};
use self::table::{Cut, Owner, TableWriter};
use crate::checkpoint::{Checkpoint, Keep};
use crate::event::{Event, Outcome};
use crate::plan::{Plan, Trial};
use crate::train::Work;

/// An output folder, open for writing. One process at a time has it.
pub struct Store {
    folder: PathBuf,
    plan: Plan,
    columns: Columns,
    limits: Limits,
    /// For each trial of the plan.
    numerics: Vec<String>,
    rerun_other_numerics: bool,
    retry_failed: bool,
    notes: Vec<String>,
    manifest: Manifest,
    /// Trials that were saved by an earlier command, by index, until they start.
    resumable: HashMap<usize, Resumable>,
    /// Trials that have a lane, by index.
    flights: HashMap<usize, Flight>,
    /// Trials that are done and whose rows are not all sealed.
    landed: Vec<(Flight, TrialRecord)>,
    /// Trials that were stopped after they were saved, until the manifest speaks of it.
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
    commit_cost: Duration,
    /// When all rows that waited were sealed.
    sealed: Instant,
    /// Held until the store is dropped. None where there is nothing to write.
    lock: Option<files::Lock>,
}

/// What a run is, besides its plan: kept in the folder so that results carry their recipe.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// The spec as it was read.
    pub spec_text: String,
    /// Its folder, in which tables of values are looked for.
    pub spec_folder: PathBuf,
    /// What `--set` changed of it.
    pub sets: Vec<String>,
    /// The plan as `clr-run plan --json` prints it.
    pub plan_json: serde_json::Value,
    /// The command line.
    pub command: Vec<String>,
    /// How many trials or threads ran at once.
    pub jobs: usize,
    /// For each of [`Plan::groups`]: what decides bits besides the plan, such as `cifar/1 cpu-avx2`.
    pub numerics: Vec<String>,
    /// The devices used, in words.
    pub devices: Vec<String>,
    /// Versions of the program, its plugins and drivers, and digests of the plugins' files.
    pub versions: BTreeMap<String, String>,
    /// Run finished trials again whose numerics differ.
    pub rerun_other_numerics: bool,
    /// Run trials again that failed or crashed.
    pub retry_failed: bool,
}

/// When rows are sealed and committed, and where tables are cut.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rows that may wait: about 10 MB.
    part_rows: usize,
    /// The least time between two commits.
    commit_every: Duration,
    /// The longest time for which rows of a trial wait that is neither over nor saved.
    seal_every: Duration,
    parts: Cut,
    tables: Cut,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            part_rows: 1 << 18,
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

    fn open_with(outputs: &Path, plan: &Plan, run: RunInfo, limits: Limits) -> Result<Store, StoreError> {
        let columns = Columns::of(plan)?;
        let numerics = numerics_of_trials(plan, &run)?;
        check_ids(plan)?;
        let opened = Instant::now();
        let mut store = Store {
            folder: outputs.join(folder_name(&plan.name)?),
            plan: plan.clone(),
            columns,
            limits,
            numerics,
            rerun_other_numerics: run.rerun_other_numerics,
            retry_failed: run.retry_failed,
            notes: Vec::new(),
            manifest: Manifest::new(&plan.name),
            resumable: HashMap::new(),
            flights: HashMap::new(),
            landed: Vec::new(),
            parked: Vec::new(),
            pending_rows: 0,
            replaced: BTreeSet::new(),
            has_news: false,
            has_new_checkpoints: false,
            opened,
            disturbed: opened,
            committed: opened,
            commit_cost: Duration::ZERO,
            sealed: opened,
            lock: None,
        };
        // Whoever has the lock may be replacing what this looks at: what is wrong here is looked at again under the lock.
        let seen = Manifest::load(&store.folder);
        if let Ok(Some(manifest)) = &seen {
            store.manifest = manifest.clone();
            store.notes = notes::failed(plan, manifest).filter(|_| !run.retry_failed).into_iter().collect();
        }
        let is_complete = store.is_complete();
        if is_complete && store.has_recipe(&run) {
            tracing::info!(folder = %store.folder.display(), "store complete: nothing to write");
            return Ok(store);
        }
        match store.begin(&run) {
            Ok(()) => Ok(store),
            Err(error) if !error.is_read_only() || store.lock.is_some() => Err(error),
            // Only the recipe is another: in the spec's comments, say.
            Err(_) if is_complete => Ok(store),
            Err(error) => match (seen?, error) {
                (Some(_), StoreError::Io { source, .. }) => {
                    let left = store.unfinished().len();
                    Err(StoreError::ReadOnly { folder: store.folder, left, source })
                }
                (_, error) => Err(error),
            },
        }
    }

    /// Takes the lock and prepares the folder for writing.
    fn begin(&mut self, run: &RunInfo) -> Result<(), StoreError> {
        let (folder, plan) = (&self.folder, &self.plan);
        files::create_directory(folder)?;
        self.lock = Some(files::lock(folder)?);
        let mut manifest = match Manifest::load(folder)? {
            Some(manifest) => {
                manifest.check_plan(folder, plan)?;
                manifest
            }
            None => {
                if let Some(found) = files::names(folder)?.into_iter().find(|name| !name.starts_with('.')) {
                    return Err(StoreError::Foreign { folder: folder.clone(), found });
                }
                Manifest::new(&plan.name)
            }
        };
        let plan_json = plan_text(run);
        // Missing or not, the plan of the last command is only compared.
        let is_changed = fs::read_to_string(folder.join("plan.json")).is_ok_and(|last| last != plan_json);
        let mut notes: Vec<String> = notes::uncovered(plan, &manifest).filter(|_| is_changed).into_iter().collect();
        if !run.retry_failed {
            notes.extend(notes::failed(plan, &manifest));
        }
        let (resumable, more) = resume::resumable(folder, plan, &self.numerics, &manifest);
        notes.extend(more);

        manifest.runs.push(RunRecord { started: now(), ended: None, info: RunHistory::of(run) });
        forget_unused(&mut manifest);
        manifest.save(folder)?;

        for name in ["parts", "metrics", "evals"] {
            files::create_directory(&folder.join(name))?;
        }
        delete_unlisted(folder, &manifest)?;
        files::write_atomically(&folder.join("spec.toml"), run.spec_text.as_bytes())?;
        files::write_atomically(&folder.join("plan.json"), plan_json.as_bytes())?;
        (self.manifest, self.resumable, self.notes) = (manifest, resumable, notes);
        let (known, saved) = (self.manifest.trials.len(), self.resumable.len());
        tracing::info!(folder = %self.folder.display(), known, saved, took = ?self.opened.elapsed(), "store opened");
        Ok(())
    }

    /// Whether the folder has all that a run of the plan would leave.
    fn is_complete(&self) -> bool {
        let is_there = |name: &str, batch: Result<RecordBatch, ArrowError>| {
            let entry = batch.ok().and_then(|batch| files::entry_of(&batch, self.small_properties(&batch)).ok());
            entry.is_some() && self.manifest.files.get(name) == entry.as_ref() && self.folder.join(name).exists()
        };
        let trials = self.plan.trials.iter().enumerate();
        if trials.clone().any(|(index, trial)| self.is_wanted(index, trial)) {
            return false;
        }
        let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
        let results = self.results();
        compact::is_compacted(&self.plan, &digest, &self.manifest)
            && is_there("trials.parquet", trials::trials_batch(&self.plan, &self.columns, &results))
            && is_there("timings.parquet", trials::timings_batch(&self.plan, &results))
    }

    /// Whether the folder's spec and plan are those of `run`.
    fn has_recipe(&self, run: &RunInfo) -> bool {
        let has = |name: &str, text: &str| fs::read(self.folder.join(name)).is_ok_and(|bytes| bytes == text.as_bytes());
        let sets = self.manifest.runs.last().map(|record| &record.info.sets);
        sets == Some(&run.sets) && has("spec.toml", &run.spec_text) && has("plan.json", &plan_text(run))
    }

    /// Whether this command writes the folder: not where all was there already.
    pub fn is_writing(&self) -> bool {
        self.lock.is_some()
    }

    /// The output folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the user should know of this folder before the run, in sentences: trials that the spec no longer covers, that
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
            Status::Finished | Status::Diverged => !same && self.rerun_other_numerics,
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
            };
        }
        Work::new(index)
    }

    /// What is known of every trial of the plan, in its order, as far as it was committed.
    pub fn results(&self) -> Vec<TrialResult> {
        let unknown = TrialRecord::default();
        let trials = self.plan.trials.iter().enumerate();
        trials
            .map(|(index, trial)| {
                let record = self.manifest.trials.get(&trial.id).unwrap_or(&unknown);
                TrialResult {
                    trial: index,
                    status: record.status,
                    error: record.error.clone(),
                    numerics: record.numerics.clone(),
                    seconds: record.seconds,
                    attempts: record.attempts,
                    started: record.started.clone(),
                    numbers: record.numbers,
                }
            })
            .collect()
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
        let has_news = self.has_news || self.sealed.elapsed() >= self.seal_interval();
        if has_news && self.committed.elapsed() >= self.commit_interval() {
            self.commit()?;
        } else if self.pending_rows >= self.limits.part_rows {
            self.seal(true)?;
        }
        Ok(())
    }

    /// Compacts all rows into the tables and says what came of the plan's trials. Of trials that have not ended, what was
    /// saved is kept.
    pub fn finish(mut self) -> Result<Summary, StoreError> {
        if !self.is_writing() {
            return Ok(self.summary());
        }
        let flights: Vec<Flight> = self.flights.drain().map(|(_, flight)| flight).collect();
        self.parked.extend(flights.into_iter().filter(|flight| flight.saved.is_some()));
        self.seal(true)?;
        let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
        if !compact::is_compacted(&self.plan, &digest, &self.manifest) {
            self.manifest.save(&self.folder)?;
            self.compact(digest)?;
        }
        let results = self.results();
        self.write_small("trials.parquet", trials::trials_batch(&self.plan, &self.columns, &results))?;
        self.write_small("timings.parquet", trials::timings_batch(&self.plan, &results))?;
        if let Some(run) = self.manifest.runs.last_mut() {
            run.ended = Some(now());
        }
        self.manifest.save(&self.folder)?;
        delete_unlisted(&self.folder, &self.manifest)?;
        Ok(self.summary())
    }

    fn summary(&self) -> Summary {
        let of_tables = |(name, _): &(&String, &FileEntry)| name.ends_with(".parquet") && !name.starts_with("parts/");
        let bytes = self.manifest.files.iter().filter(of_tables).map(|(_, entry)| entry.bytes).sum();
        Summary { results: self.results(), folder: self.folder.clone(), bytes }
    }

    fn start(&mut self, index: usize, step: u64) -> Result<(), StoreError> {
        let trial = self.trial(index)?;
        let (id, label) = (trial.id.clone(), trial.label.clone());
        let mut flight = match (step, self.resumable.get(&index)) {
            (0, _) => Flight::new(index, trial, now()),
            (_, Some(resumable)) if resumable.record.step == step => match self.resumable.remove(&index) {
                Some(resumable) => Flight::resume(index, &self.plan.trials[index], resumable),
                None => Flight::new(index, &self.plan.trials[index], now()),
            },
            _ => return Err(unexpected(trial, format!("it started at step {step}, where no checkpoint is"))),
        };
        if step == 0 {
            self.update_checkpoints(&id, |manifest| drop(manifest.unfinished.remove(&id)));
        }
        let counted = self.manifest.unfinished.get(&id).map_or(Duration::ZERO, UnfinishedRecord::elapsed);
        let record = self.manifest.trials.entry(id).or_default();
        if !record.status.is_done() {
            flight.wasted = record.elapsed().saturating_sub(counted);
        }
        record.label = label;
        record.attempts = record.attempts.saturating_add(1);
        if record.status.is_failure() {
            (record.status, record.error) = (Status::Unfinished, None);
        }
        if let Some(abandoned) = self.flights.insert(index, flight) {
            self.pending_rows -= abandoned.pending_rows();
        }
        Ok(())
    }

    fn save(&mut self, index: usize, checkpoint: &Arc<Checkpoint>, elapsed: Duration) -> Result<(), StoreError> {
        let keep_best = self.plan.checkpointing.keep == Keep::Best;
        let (flight, trial) = self.flight(index)?;
        if checkpoint.trial_id != trial.id {
            return Err(unexpected(trial, format!("a checkpoint came of trial {}", checkpoint.trial_id)));
        }
        flight.push_checkpoint(checkpoint, elapsed, keep_best).map_err(|message| unexpected(trial, message))?;
        self.has_news = true;
        Ok(())
    }

    fn end(&mut self, index: usize, outcome: &Outcome, elapsed: Duration) -> Result<(), StoreError> {
        let diverged_at = match outcome {
            Outcome::Finished => None,
            Outcome::Diverged { iteration } => Some(*iteration),
            Outcome::Failed { .. } | Outcome::Crashed { .. } | Outcome::Stopped => {
                self.note_interruption(index, outcome, elapsed)?;
                if let Some(flight) = self.flights.remove(&index) {
                    if flight.saved.is_some() {
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
        let mut record = flight.record(diverged_at, elapsed);
        record.numerics = Some(self.numerics[index].clone());
        self.landed.extend(self.flights.remove(&index).map(|flight| (flight, record)));
        self.has_news = true;
        Ok(())
    }

    /// Notes why a trial is not over. That does not replace the result of an earlier attempt on other numerics.
    fn note_interruption(&mut self, index: usize, outcome: &Outcome, elapsed: Duration) -> Result<(), StoreError> {
        let (status, error) = match outcome {
            Outcome::Failed { message } => (Status::Failed, Some(message.clone())),
            Outcome::Crashed { message } => (Status::Crashed, Some(message.clone())),
            Outcome::Finished | Outcome::Diverged { .. } | Outcome::Stopped => (Status::Unfinished, None),
        };
        let trial = self.trial(index)?;
        let (id, label) = (trial.id.clone(), trial.label.clone());
        let record = self.manifest.trials.entry(id).or_default();
        if !record.status.is_done() {
            // A session that could not be opened fails trials that never started.
            if let Some(flight) = self.flights.get(&index) {
                record.started = Some(flight.started().to_owned());
                record.seconds = Some((flight.wasted + elapsed).as_secs_f64());
            }
            (record.status, record.error, record.label) = (status, error, label);
            record.numerics = Some(self.numerics[index].clone());
            self.has_news = true;
        }
        Ok(())
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

    /// The least time between commits: half a second, growing to 5 s as a run goes on, so that a long one has thousands
    /// of parts, not hundreds of thousands. Commits stay under 0.5% of the time, but on a slow disk there are some more
    /// after a start, so that a run that is killed every few seconds, or whose workers are, gets on: each waits for a
    /// quarter of the time since.
    fn commit_interval(&self) -> Duration {
        let age = self.disturbed.elapsed();
        let of_age = (age / 200).min(self.limits.commit_every * 10);
        self.limits.commit_every.max(of_age).max((self.commit_cost * 200).min(age / 4))
    }

    /// How long rows wait that no commit needs. Sealed, they can be read while the run goes on.
    fn seal_interval(&self) -> Duration {
        self.limits.seal_every.max(self.opened.elapsed() / 50)
    }

    /// Seals and writes what came since the last commit, and replaces the manifest.
    fn commit(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        self.seal(self.sealed.elapsed() >= self.seal_interval())?;
        self.manifest.save(&self.folder)?;
        for path in std::mem::take(&mut self.replaced) {
            if !self.manifest.files.contains_key(&path) {
                files::remove(self.folder.join(path))?;
            }
        }
        self.has_news = false;
        self.commit_cost = start.elapsed();
        self.committed = Instant::now();
        tracing::debug!(took = ?self.commit_cost, "committed");
        Ok(())
    }

    /// Writes the rows and evaluations of trials that are over or were saved, each table's as one part, and then their
    /// checkpoints; with `everything`, the rows of all others too. The manifest in memory speaks of it, the file not yet.
    fn seal(&mut self, everything: bool) -> Result<(), StoreError> {
        for table in [Table::Metrics, Table::Evals] {
            self.seal_table(table, everything)?;
        }
        self.pending_rows = self.flights.values().map(Flight::pending_rows).sum();
        self.manifest.next_part += 1;
        if everything {
            self.sealed = Instant::now();
        }

        for (flight, record) in std::mem::take(&mut self.landed) {
            self.land(flight, record)?;
        }
        for flight in std::mem::take(&mut self.parked) {
            self.keep_unfinished(flight)?;
        }
        let saved: Vec<usize> = self.flights.values().filter(|it| it.saved.is_some()).map(|it| it.trial).collect();
        for index in saved {
            if let Some(flight) = self.flights.remove(&index) {
                let flight = self.keep_unfinished(flight)?;
                self.flights.insert(index, flight);
            }
        }
        if std::mem::take(&mut self.has_new_checkpoints) {
            files::sync_directory(&self.folder.join(saved::DIRECTORY))?;
        }
        Ok(())
    }

    fn seal_table(&mut self, table: Table, everything: bool) -> Result<(), StoreError> {
        let start = Instant::now();
        let layout = self.columns.layout(table);
        let directory = self.folder.join("parts");
        let name = compact::part_name(table, self.manifest.next_part);
        let mut writer = TableWriter::new(&layout, &directory, self.limits.parts);
        let going = self.flights.values_mut().filter(|flight| everything || flight.saved.is_some());
        let over = self.landed.iter_mut().map(|(flight, _)| flight).chain(&mut self.parked);
        let mut flights: Vec<&mut Flight> = going.chain(over).collect();
        flights.sort_by_key(|flight| flight.trial);
        for flight in flights {
            let trial = &self.plan.trials[flight.trial];
            if let Some(values) = flight.take_values(table, trial, &self.columns) {
                let range = writer.push(Owner { id: &trial.id, axes: &trial.axes }, &values)?;
                flight.add_segment(table, Segment(name.clone(), range.start, range.end - range.start));
            }
        }
        for file in writer.finish()? {
            let entry = file.rename(&self.folder.join(&name))?;
            files::sync_directory(&directory)?;
            tracing::debug!(part = name, rows = entry.rows, bytes = entry.bytes, took = ?start.elapsed(), "sealed");
            self.manifest.files.insert(name.clone(), entry);
        }
        Ok(())
    }

    /// Replaces the tables: new files are written, synced and named beside the old ones, the manifest changes over, the
    /// old ones are deleted.
    fn compact(&mut self, digest: String) -> Result<(), StoreError> {
        let start = Instant::now();
        let Limits { tables, parts, .. } = self.limits;
        let compaction = compact::compact(&self.folder, &self.plan, &self.columns, &self.manifest, tables, parts)?;
        for (name, file) in compaction.files {
            let entry = file.rename(&self.folder.join(&name))?;
            self.manifest.files.insert(name, entry);
        }
        for name in ["parts", "metrics", "evals"] {
            files::sync_directory(&self.folder.join(name))?;
        }
        for ((id, table), segments) in compaction.segments {
            if let Some(record) = self.manifest.trials.get_mut(&id) {
                *record.segments_mut(table) = segments;
            }
        }
        self.manifest.next_part = compaction.next_part;
        self.manifest.layout = Some(digest);
        forget_unused(&mut self.manifest);
        self.manifest.save(&self.folder)?;
        tracing::info!(files = self.manifest.files.len(), took = ?start.elapsed(), "compacted");
        delete_unlisted(&self.folder, &self.manifest)
    }

    /// How a table of one row per trial is written.
    fn small_properties(&self, batch: &RecordBatch) -> WriterProperties {
        writer_properties(&batch.schema(), batch.num_columns(), self.limits.tables.group_rows)
    }

    /// Writes a table of one row per trial.
    fn write_small(&mut self, name: &str, batch: Result<RecordBatch, ArrowError>) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let batch = batch.map_err(|source| StoreError::arrow(&path, source))?;
        let properties = self.small_properties(&batch);
        let mut file = files::ParquetFile::create(&self.folder, batch.schema(), properties)?;
        file.write(&batch)?;
        let entry = file.close()?.rename(&path)?;
        self.manifest.files.insert(name.to_owned(), entry);
        files::sync_directory(&self.folder)
    }
}

/// The content of `plan.json`.
fn plan_text(run: &RunInfo) -> String {
    format!("{:#}\n", run.plan_json)
}

fn numerics_of_trials(plan: &Plan, run: &RunInfo) -> Result<Vec<String>, StoreError> {
    if run.numerics.len() != plan.groups.len() {
        return Err(StoreError::Numerics { found: run.numerics.len(), expected: plan.groups.len() });
    }
    let mut numerics = vec![String::new(); plan.trials.len()];
    for (group, name) in plan.groups.iter().zip(&run.numerics) {
        for &trial in &group.trials {
            if let Some(slot) = numerics.get_mut(trial) {
                slot.clone_from(name);
            }
        }
    }
    Ok(numerics)
}

fn check_ids(plan: &Plan) -> Result<(), StoreError> {
    let mut labels = HashMap::new();
    for trial in &plan.trials {
        if let Some(first) = labels.insert(&trial.id, &trial.label) {
            return Err(StoreError::Duplicate { first: first.clone(), second: trial.label.clone() });
        }
    }
    Ok(())
}

fn unexpected(trial: &Trial, message: String) -> StoreError {
    StoreError::Event { trial: format!("`{}`", trial.label), message }
}

/// RFC 3339, UTC, to the millisecond.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).to_string()
}
