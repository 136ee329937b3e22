//! Entering trials in the manifest: those that are done, and what unfinished ones go on from.

use clr_event::checkpoint::Checkpoint;
use clr_plan::TrialId;
use clr_spec::Keep;

use crate::flight::{Flight, State};
use crate::manifest::{Manifest, TrialRecord, UnfinishedRecord};
use crate::result::Status;
use crate::schema::Table;
use crate::{Store, StoreError, saved};

impl Store {
    /// Enters a trial that is done, all of whose rows are sealed, with the checkpoint that is kept of it.
    pub(super) fn land(&mut self, mut flight: Flight, mut record: TrialRecord) -> Result<(), StoreError> {
        for table in [Table::Metrics, Table::Evals] {
            *record.segments_mut(table) = flight.segments(table).into();
        }
        let id = self.plan.trials[flight.trial].id;
        let last_step = Some(record.numbers.rows).filter(|_| record.status == Status::Finished);
        record.checkpoint = match (self.plan.checkpointing.keep, &flight.saved, flight.best()) {
            (Keep::Last, Some((last, _)), _) if Some(last.step) == last_step => {
                Some(self.write_checkpoint(&flight, last)?.into())
            }
            (Keep::Last, _, _) => {
                let unfinished = self.manifest.unfinished.get(&id).filter(|known| Some(known.step) == last_step);
                unfinished.map(|known| known.checkpoint.as_str().into())
            }
            (Keep::Best, _, Some(best)) => Some(self.written(&flight, best)?.0.into()),
            // That after the last iteration, if it is among them.
            (Keep::Cycles, _, _) => {
                record.cycles = self.write_cycles(&mut flight)?;
                record.cycles.last().filter(|(_, step)| Some(*step) == last_step).map(|(path, _)| path.as_str().into())
            }
            (Keep::Nothing, _, _) | (Keep::Best, _, None) => None,
        };
        self.update_checkpoints(id, |manifest| {
            let known = manifest.trials.entry(id).or_default();
            record.attempts = known.attempts;
            record.label = std::mem::take(&mut known.label);
            **known = record;
            manifest.unfinished.remove(&id);
        });
        Ok(())
    }

    /// Enters the rows of a trial that failed, all of which are sealed.
    pub(super) fn enter_failed(&mut self, flight: &Flight) {
        let trial = &self.plan.trials[flight.trial];
        let Some(record) = self.manifest.trials.get_mut(&trial.id).filter(|record| record.status.is_failure()) else {
            return;
        };
        for table in [Table::Metrics, Table::Evals] {
            *record.segments_mut(table) = flight.segments(table).into();
        }
        record.numbers = flight.counts(trial);
    }

    /// Enters what an unfinished trial goes on from: its last checkpoint, and the rows up to there, which are sealed.
    pub(super) fn keep_unfinished(&mut self, mut flight: Flight) -> Result<Flight, StoreError> {
        let Some((checkpoint, elapsed)) = flight.saved.take() else { return Ok(flight) };
        let best = flight.best().map(|best| self.written(&flight, best)).transpose()?;
        if let Some((path, step)) = &best {
            flight.best = Some(State::Written(path.clone(), *step));
        }
        let cycles = self.write_cycles(&mut flight)?;
        let (metrics, evals) = flight.segments_up_to(checkpoint.step, checkpoint.evaluated);
        let record = UnfinishedRecord {
            checkpoint: self.write_checkpoint(&flight, &checkpoint)?,
            step: checkpoint.step,
            evaluated: checkpoint.evaluated,
            numerics: self.numerics[flight.trial].to_string(),
            build: self.build_of(&flight).map(|build| build.to_string()),
            best,
            cycles,
            started: flight.started(),
            seconds: elapsed.as_secs_f64(),
            metrics,
            evals,
        };
        let id = self.plan.trials[flight.trial].id;
        self.update_checkpoints(id, |manifest| {
            let known = manifest.trials.entry(id).or_default();
            if !known.status.is_done() {
                // Time after the checkpoint may be known already, of a trial that was stopped.
                known.seconds = Some(known.elapsed().max(flight.wasted + elapsed).as_secs_f64());
            }
            manifest.unfinished.insert(id, record);
        });
        Ok(flight)
    }

    /// Writes the states at the ends of cycles that are not written yet. Returns the paths of all, with their steps.
    fn write_cycles(&mut self, flight: &mut Flight) -> Result<Box<[(String, u64)]>, StoreError> {
        let written: Vec<(String, u64)> =
            flight.cycles.iter().map(|state| self.written(flight, state)).collect::<Result<_, _>>()?;
        flight.cycles = written.iter().map(|(path, step)| State::Written(path.clone(), *step)).collect();
        Ok(written.into())
    }

    /// The path of a state that is to be kept, and its step. Writes it where that was not done yet.
    fn written(&mut self, flight: &Flight, state: &State) -> Result<(String, u64), StoreError> {
        Ok(match state {
            State::Written(path, step) => (path.clone(), *step),
            State::Pending(checkpoint) => (self.write_checkpoint(flight, checkpoint)?, checkpoint.step),
        })
    }

    /// Writes a checkpoint's file, unless it is there, and returns its path. The caller syncs the directory.
    fn write_checkpoint(&mut self, flight: &Flight, checkpoint: &Checkpoint) -> Result<String, StoreError> {
        self.has_new_checkpoints = true;
        saved::write(&self.folder, &mut self.manifest, checkpoint, &self.numerics[flight.trial])
    }

    /// Changes the records of a trial, and forgets those of its checkpoints that they speak of no longer.
    pub(super) fn update_checkpoints(&mut self, id: TrialId, change: impl FnOnce(&mut Manifest)) {
        let before = self.manifest.checkpoints_of(id);
        change(&mut self.manifest);
        for path in before.difference(&self.manifest.checkpoints_of(id)) {
            self.manifest.files.remove(path);
            self.replaced.insert(path.clone());
        }
    }
}
