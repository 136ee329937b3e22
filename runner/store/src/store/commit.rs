//! From memory to the disk: rows that wait are sealed as parts, the manifest is replaced, parts become tables.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::now;
use crate::Limits;
use crate::Store;
use crate::StoreError;
use crate::Summary;
use crate::compact;
use crate::files::{self, FileEntry, ParquetFile};
use crate::flight::Flight;
use crate::folder::{delete_unlisted, forget_unused};
use crate::manifest::Segment;
use crate::names::CHECKPOINTS;
use crate::schema::Table;
use crate::swap;
use crate::table::{Owner, TableWriter};
use crate::trials::{self, TrialsBatch};

impl Store {
    /// Puts on the disk what has waited long enough for company. Also for when nothing happens: what ended last would else
    /// be as good as lost until the next event.
    pub fn commit_if_due(&mut self) -> Result<(), StoreError> {
        let has_news = self.has_news || self.sealed.elapsed() >= self.seal_interval();
        if has_news && self.committed.elapsed() >= self.commit_interval() {
            self.commit()?;
        } else if self.pending_rows >= self.limits.part_rows {
            self.seal(true)?;
        } else if self.landed.len() >= self.limits.part_trials {
            self.seal(false)?;
        }
        Ok(())
    }

    /// Compacts all rows into the tables and says what came of the plan's trials. Of trials that have not ended, what was
    /// saved is kept.
    pub fn finish(mut self) -> Result<Summary, StoreError> {
        if !self.is_writing() {
            return Ok(Summary::new(self.folder, self.plan, self.manifest));
        }
        let flights: Vec<Flight> = self.flights.drain().map(|(_, flight)| flight).collect();
        // Those were stopped, so none of them has failed.
        self.parked.extend(flights.into_iter().filter(|flight| flight.saved.is_some()));
        self.seal(true)?;
        let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
        if !compact::is_compacted(&self.plan, &digest, &self.manifest) {
            self.manifest.save(&self.folder)?;
            self.compact(digest)?;
        }
        self.write_of_trials("trials.parquet", trials::trials_batch)?;
        self.write_of_trials("timings.parquet", trials::timings_batch)?;
        if let Some(run) = self.manifest.runs.last_mut() {
            run.ended = Some(now());
        }
        // The copy first: while a run goes on, it may be another manifest's.
        self.back_up()?;
        self.manifest.save(&self.folder)?;
        delete_unlisted(&self.folder, &self.manifest, false)?;
        Ok(Summary::new(self.folder, self.plan, self.manifest))
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
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        self.seal(self.sealed.elapsed() >= self.seal_interval())?;
        self.manifest.save(&self.folder)?;
        if self.backed_up.elapsed() >= self.seal_interval() {
            self.back_up()?;
        }
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
    pub(crate) fn seal(&mut self, everything: bool) -> Result<(), StoreError> {
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
            let flight = self.keep_unfinished(flight)?;
            self.enter_failed(&flight);
        }
        let saved: Vec<usize> = self.flights.values().filter(|it| it.saved.is_some()).map(|it| it.trial).collect();
        for index in saved {
            if let Some(flight) = self.flights.remove(&index) {
                let flight = self.keep_unfinished(flight)?;
                self.flights.insert(index, flight);
            }
        }
        if std::mem::take(&mut self.has_new_checkpoints) {
            files::sync_directory(&self.folder.join(CHECKPOINTS))?;
        }
        Ok(())
    }

    fn seal_table(&mut self, table: Table, everything: bool) -> Result<(), StoreError> {
        let start = Instant::now();
        let layout = self.columns.layout(table);
        let directory = self.folder.join("parts");
        let name: Arc<str> = compact::part_name(table, self.manifest.next_part).into();
        let mut writer = TableWriter::new(&layout, &directory, self.limits.parts);
        let going = self.flights.values_mut().filter(|flight| everything || flight.saved.is_some());
        let over = self.landed.iter_mut().map(|(flight, _)| flight).chain(&mut self.parked);
        let mut flights: Vec<&mut Flight> = going.chain(over).collect();
        flights.sort_by_key(|flight| flight.trial);
        for flight in flights {
            let trial = &self.plan.trials[flight.trial];
            if let Some(values) = flight.take_values(table, trial, &self.columns) {
                let range = writer.push(Owner::of(trial), &values)?;
                flight.add_segment(table, Segment(Arc::clone(&name), range.start, range.end - range.start));
            }
        }
        for file in writer.finish()? {
            let entry = file.rename(&self.folder.join(&*name))?;
            files::sync_directory(&directory)?;
            tracing::debug!(part = &*name, rows = entry.rows, bytes = entry.bytes, took = ?start.elapsed(), "sealed");
            self.manifest.files.insert(name.to_string(), entry);
        }
        Ok(())
    }

    /// Replaces the tables: new files are written, synced and named in folders beside, the manifest changes over, the folders
    /// take the places of the old ones.
    fn compact(&mut self, digest: String) -> Result<(), StoreError> {
        let start = Instant::now();
        let Limits { tables, parts, .. } = self.limits;
        let new = swap::prepare(&self.folder, compact::has_failed(&self.plan, &self.manifest))?;
        let mut compaction = compact::compact(&self.folder, &self.plan, &self.columns, &self.manifest, tables, parts)?;
        for (name, file) in std::mem::take(&mut compaction.files) {
            let entry = file.rename(&swap::place(&self.folder, &name))?;
            self.manifest.files.insert(name, entry);
        }
        for directory in [self.folder.join("parts")].into_iter().chain(new).chain([self.folder.clone()]) {
            files::sync_directory(&directory)?;
        }
        compaction.enter(&self.plan, &mut self.manifest);
        self.manifest.layout = Some(digest);
        forget_unused(&mut self.manifest);
        self.manifest.save(&self.folder)?;
        self.back_up()?;
        tracing::info!(files = self.manifest.files.len(), took = ?start.elapsed(), "compacted");
        swap::replace(&self.folder, &self.manifest)?;
        delete_unlisted(&self.folder, &self.manifest, false)
    }

    /// Writes a table of one row per trial.
    fn write_of_trials(&mut self, name: &str, batch: TrialsBatch) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let wrong = |source| StoreError::arrow(&path, source);
        let batches = self.batches_of_trials(batch);
        let empty = batches(0..0).map_err(wrong)?;
        let mut file = ParquetFile::create(&self.folder, empty.schema(), trials::properties(&empty))?;
        for rows in trials::batches(self.plan.trials.len()) {
            file.write(&batches(rows).map_err(wrong)?)?;
        }
        drop(batches);
        let entry = file.close()?.rename(&path)?;
        self.manifest.files.insert(name.to_owned(), entry);
        files::sync_directory(&self.folder)
    }

    /// The manifest's entry for that table, were it written.
    pub(super) fn entry_of_trials(&self, batch: TrialsBatch) -> Option<FileEntry> {
        let batches = self.batches_of_trials(batch);
        let empty = batches(0..0).ok()?;
        let rows = trials::batches(self.plan.trials.len()).map(|rows| batches(rows).ok());
        files::entry_of(empty.schema(), trials::properties(&empty), rows).ok().flatten()
    }

    /// Makes some rows of a table of one row per trial.
    fn batches_of_trials(&self, batch: TrialsBatch) -> impl Fn(Range<usize>) -> Result<RecordBatch, ArrowError> {
        move |rows| {
            let (trials, first) = (&self.plan.trials[rows.clone()], rows.start);
            batch(trials, &self.columns, &self.manifest.results(trials, first).collect::<Vec<_>>())
        }
    }
}
