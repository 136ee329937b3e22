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
//! ```
//!
//! The life of a row: it waits in its trial's `Flight`; every so many rows or seconds all that wait are sealed as
//! a part, which holds rows of many trials and is readable at once; a commit replaces the manifest, and a trial is
//! finished when the manifest says so; at the end `compact` merges parts and earlier tables into tables in the spec's
//! order. All columns are in [`schema`].

mod compact;
mod error;
#[cfg(test)]
pub(crate) mod example;
mod files;
mod flight;
mod manifest;
pub(crate) mod result;
pub mod schema;
mod source;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use jiff::Timestamp;

pub use self::error::StoreError;
pub use self::result::{Numbers, Status, TrialResult};
pub use self::summary::{Summary, text};

use self::files::FileEntry;
use self::flight::Flight;
use self::manifest::{Manifest, RunHistory, RunRecord, Segment, TrialRecord};
use self::schema::{Columns, Table, writer_properties};
use self::table::{Cut, Owner, TableWriter};
use crate::event::{Event, Outcome};
use crate::plan::{Plan, Trial};

/// An output folder, open for writing. One process at a time has it.
pub struct Store {
    folder: PathBuf,
    plan: Plan,
    columns: Columns,
    limits: Limits,
    /// For each trial of the plan.
    numerics: Vec<String>,
    rerun_other_numerics: bool,
    manifest: Manifest,
    /// Trials that have a lane, by index.
    flights: HashMap<usize, Flight>,
    /// Trials that are done and whose rows are not all sealed.
    landed: Vec<(Flight, TrialRecord)>,
    pending_rows: usize,
    opened: Instant,
    committed: Instant,
    commit_cost: Duration,
    /// Held until the store is dropped.
    _lock: File,
}

/// What a run is, besides its plan: kept in the folder so that results carry their recipe.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// The spec as it was read.
    pub spec_text: String,
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
}

/// When rows are sealed and committed, and where tables are cut.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rows that may wait: about 10 MB.
    part_rows: usize,
    /// The least time between two commits.
    commit_every: Duration,
    parts: Cut,
    tables: Cut,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            part_rows: 1 << 18,
            commit_every: Duration::from_secs(5),
            parts: Cut { batch_rows: 8192, group_rows: 8192, file_rows: u64::MAX },
            // Row groups of 131,072 rows are what DuckDB and polars spread over threads; 32 make a file of about 100 MB.
            tables: Cut { batch_rows: 8192, group_rows: 1 << 17, file_rows: 1 << 22 },
        }
    }
}

impl Store {
    /// Creates or reopens `outputs`/NAME for `plan`.
    ///
    /// Trials that were finished there, in whatever spec, are kept; rows of others are dropped.
    pub fn open(outputs: &Path, plan: &Plan, run: RunInfo) -> Result<Store, StoreError> {
        Store::open_with(outputs, plan, run, Limits::default())
    }

    fn open_with(outputs: &Path, plan: &Plan, run: RunInfo, limits: Limits) -> Result<Store, StoreError> {
        let columns = Columns::of(plan)?;
        let numerics = numerics_of_trials(plan, &run)?;
        check_ids(plan)?;
        let folder = outputs.join(folder_name(&plan.name)?);
        files::create_directory(&folder)?;
        let lock = files::lock(&folder)?;
        let mut manifest = match Manifest::load(&folder)? {
            Some(manifest) => manifest,
            None => {
                if let Some(found) = files::names(&folder)?.into_iter().find(|name| !name.starts_with('.')) {
                    return Err(StoreError::Foreign { folder, found });
                }
                Manifest::new(&plan.name)
            }
        };
        manifest.runs.push(RunRecord { started: now(), ended: None, info: RunHistory::of(&run) });
        forget_unused(&mut manifest);
        manifest.save(&folder)?;

        for name in ["parts", "metrics", "evals"] {
            files::create_directory(&folder.join(name))?;
        }
        delete_unlisted(&folder, &manifest)?;
        files::write_atomically(&folder.join("spec.toml"), run.spec_text.as_bytes())?;
        let plan_json = format!("{:#}\n", run.plan_json);
        files::write_atomically(&folder.join("plan.json"), plan_json.as_bytes())?;

        let opened = Instant::now();
        Ok(Store {
            folder,
            plan: plan.clone(),
            columns,
            limits,
            numerics,
            rerun_other_numerics: run.rerun_other_numerics,
            manifest,
            flights: HashMap::new(),
            landed: Vec::new(),
            pending_rows: 0,
            opened,
            committed: opened,
            commit_cost: Duration::ZERO,
            _lock: lock,
        })
    }

    /// The output folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The trials that have to be run, in the plan's order: those that are neither finished nor diverged.
    pub fn unfinished(&self) -> Vec<usize> {
        let is_kept = |index: usize, trial: &Trial| {
            self.manifest.trials.get(&trial.id).is_some_and(|record| {
                let same = record.numerics.as_ref() == Some(&self.numerics[index]);
                record.status.is_done() && (same || !self.rerun_other_numerics)
            })
        };
        let trials = self.plan.trials.iter().enumerate();
        trials.filter(|&(index, trial)| !is_kept(index, trial)).map(|(index, _)| index).collect()
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
            Event::Started { trial } => self.start(*trial)?,
            Event::Rows(rows) => {
                let (flight, trial) = self.flight(rows.trial)?;
                flight.push_rows(rows, trial).map_err(|message| unexpected(trial, message))?;
                self.pending_rows += rows.count;
            }
            Event::Evaluated(evaluation) => {
                let (flight, trial) = self.flight(evaluation.trial)?;
                flight.push_evaluation(*evaluation).map_err(|message| unexpected(trial, message))?;
            }
            Event::Ended { trial, outcome, elapsed } => self.end(*trial, outcome, *elapsed)?,
        }
        if self.committed.elapsed() >= self.commit_interval() {
            self.commit()?;
        } else if self.pending_rows >= self.limits.part_rows {
            self.seal()?;
        }
        Ok(())
    }

    /// Compacts all rows into the tables and says what came of the plan's trials. Trials that have not ended are dropped.
    pub fn finish(mut self) -> Result<Summary, StoreError> {
        self.flights.clear();
        self.seal()?;
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
        let of_tables = |(name, _): &(&String, &FileEntry)| !name.starts_with("parts/");
        let bytes = self.manifest.files.iter().filter(of_tables).map(|(_, entry)| entry.bytes).sum();
        Ok(Summary { results, folder: self.folder, bytes })
    }

    fn start(&mut self, index: usize) -> Result<(), StoreError> {
        let trial = self.trial(index)?;
        let flight = Flight::new(index, trial, now());
        self.manifest.trials.entry(trial.id.clone()).or_default().attempts += 1;
        if let Some(abandoned) = self.flights.insert(index, flight) {
            self.pending_rows -= abandoned.pending_rows();
        }
        Ok(())
    }

    fn end(&mut self, index: usize, outcome: &Outcome, elapsed: Duration) -> Result<(), StoreError> {
        let (flight, trial) = self.flight(index)?;
        let diverged_at = match outcome {
            Outcome::Finished => None,
            Outcome::Diverged { iteration } => Some(*iteration),
            Outcome::Failed { .. } | Outcome::Stopped => {
                if let Some(flight) = self.flights.remove(&index) {
                    self.pending_rows -= flight.pending_rows();
                    self.note_failure(&flight, outcome, elapsed);
                }
                return Ok(());
            }
        };
        let expected_rows = diverged_at.map_or(trial.iterations, |iteration| iteration.saturating_add(1));
        flight.check_end(expected_rows).map_err(|message| unexpected(trial, message))?;
        let mut record = flight.record(diverged_at, elapsed);
        record.numerics = Some(self.numerics[index].clone());
        self.landed.extend(self.flights.remove(&index).map(|flight| (flight, record)));
        Ok(())
    }

    /// A failure does not replace the result of an earlier attempt on other numerics.
    fn note_failure(&mut self, flight: &Flight, outcome: &Outcome, elapsed: Duration) {
        let Outcome::Failed { message } = outcome else { return };
        let record = self.manifest.trials.entry(self.plan.trials[flight.trial].id.clone()).or_default();
        if !record.status.is_done() {
            record.status = Status::Failed;
            record.error = Some(message.clone());
            record.numerics = Some(self.numerics[flight.trial].clone());
            record.started = Some(flight.started().to_owned());
            record.seconds = Some(elapsed.as_secs_f64());
        }
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

    /// Time between commits. Parts grow with the run, so that a long one has hundreds, not thousands, at the price of
    /// losing up to 2% to a crash; and writing manifests stays under 1% of the time.
    fn commit_interval(&self) -> Duration {
        self.limits.commit_every.max(self.opened.elapsed() / 50).max(self.commit_cost * 100)
    }

    /// Seals what waits and replaces the manifest.
    fn commit(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        self.seal()?;
        self.manifest.save(&self.folder)?;
        self.commit_cost = start.elapsed();
        self.committed = Instant::now();
        Ok(())
    }

    /// Writes all rows that wait as one part, and one of evaluations.
    fn seal(&mut self) -> Result<(), StoreError> {
        for table in [Table::Metrics, Table::Evals] {
            self.seal_table(table)?;
        }
        self.pending_rows = 0;
        self.manifest.next_part += 1;
        for (flight, mut record) in self.landed.drain(..) {
            for table in [Table::Metrics, Table::Evals] {
                *record.segments_mut(table) = flight.segments(table).to_vec();
            }
            let known = self.manifest.trials.entry(self.plan.trials[flight.trial].id.clone()).or_default();
            record.attempts = known.attempts;
            *known = record;
        }
        Ok(())
    }

    fn seal_table(&mut self, table: Table) -> Result<(), StoreError> {
        let layout = self.columns.layout(table);
        let directory = self.folder.join("parts");
        let name = compact::part_name(table, self.manifest.next_part);
        let mut writer = TableWriter::new(&layout, &directory, self.limits.parts);
        let mut flights: Vec<&mut Flight> =
            self.flights.values_mut().chain(self.landed.iter_mut().map(|(flight, _)| flight)).collect();
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
            self.manifest.files.insert(name.clone(), entry);
        }
        Ok(())
    }

    /// Replaces the tables: new files are written, synced and named beside the old ones, the manifest changes over, the
    /// old ones are deleted.
    fn compact(&mut self, digest: String) -> Result<(), StoreError> {
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
        delete_unlisted(&self.folder, &self.manifest)
    }

    /// Writes a table of one row per trial, unless it is there already.
    fn write_small(&mut self, name: &str, batch: Result<RecordBatch, ArrowError>) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let batch = batch.map_err(|source| StoreError::arrow(&path, source))?;
        let columns = batch.num_columns();
        let properties = writer_properties(&batch.schema(), columns, self.limits.tables.group_rows);
        let mut file = files::ParquetFile::create(&self.folder, batch.schema(), properties)?;
        file.write(&batch)?;
        let entry = file.close()?.rename(&path)?;
        self.manifest.files.insert(name.to_owned(), entry);
        files::sync_directory(&self.folder)
    }
}

/// Drops files from the manifest that hold no trial's rows, such as parts of trials that were cut off.
fn forget_unused(manifest: &mut Manifest) {
    let used: BTreeSet<String> = manifest.used_files().into_iter().map(str::to_owned).collect();
    // What is not in a folder is `trials.parquet` and `timings.parquet`.
    manifest.files.retain(|name, _| used.contains(name) || !name.contains('/'));
}

/// Deletes files of ours that the manifest does not list: what a crash left, and what was replaced.
fn delete_unlisted(folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for directory in ["", "parts", "metrics", "evals"] {
        for name in files::names(&folder.join(directory))? {
            let path = format!("{directory}/{name}");
            let temporary = name.starts_with('.') && name.ends_with(files::TEMPORARY_SUFFIX);
            if temporary || (is_ours(&path) && !manifest.files.contains_key(&path)) {
                files::remove(folder.join(directory).join(name))?;
            }
        }
    }
    Ok(())
}

/// Whether a path has the form of a part or of a compacted file. What a user put beside them is left alone.
fn is_ours(path: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let Some((directory, name)) = path.strip_suffix(".parquet").and_then(|path| path.split_once('/')) else {
        return false;
    };
    match (directory, name.split_once('-')) {
        ("parts", Some(("metrics" | "evals", number))) => digits(number, 10),
        ("metrics" | "evals", Some((index, digest))) => digits(index, 10) && digits(digest, 16),
        _ => false,
    }
}

/// The experiment's name, if it can be a folder in the outputs.
fn folder_name(name: &str) -> Result<&str, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(StoreError::Name { name: name.to_owned() }),
    }
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
