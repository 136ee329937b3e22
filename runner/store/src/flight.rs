//! A trial in flight: the rows that are not sealed yet, and what is needed for its final numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, new_null_array};
use arrow_schema::DataType;
use clr_event::checkpoint::Checkpoint;
use clr_event::{Evaluation, Rows};
use clr_plan::{DataPlan, Trial};
use clr_schedule::ratio::Ratio;
use clr_spec::Keep;
use jiff::Timestamp;

use super::derived::{complete, rows_per_epoch};
use super::manifest::{Segment, TrialRecord};
use super::result::{NonFinite, Numbers, Status, best_iteration};
use super::resume::Resumable;
use super::schema::{Columns, Table};
use super::table::text_column;

/// One attempt at one trial: its rows that wait, and the places of those that are sealed.
pub struct Flight {
    pub trial: usize,
    /// When the first attempt began.
    started: Timestamp,
    /// Wall time of earlier attempts that came to nothing.
    pub wasted: Duration,
    rows: u64,
    /// Columns of the rows received and not sealed, in the trial's order.
    hypers: Vec<Vec<f64>>,
    metrics: Vec<Vec<f32>>,
    pending_rows: usize,
    evaluations: Vec<Evaluation>,
    sealed_evaluations: usize,
    /// The last epoch's losses.
    recent_losses: VecDeque<f32>,
    /// Those that were not finite.
    non_finite: NonFinite,
    /// The last checkpoint, until the manifest speaks of it, and the wall time that went into the trial.
    pub saved: Option<(Arc<Checkpoint>, Duration)>,
    /// The state at the best evaluation, where that is to be kept.
    pub best: Option<State>,
    /// Of a flight that goes on: the build of the plugin that trained it so far, where that is known.
    pub earlier_build: Option<Option<String>>,
    /// The states at the ends of cycles, in order, where they are to be kept.
    pub cycles: Vec<State>,
    metrics_segments: Vec<Segment>,
    evals_segments: Vec<Segment>,
}

/// A state that is to be kept.
#[derive(Clone, Debug)]
pub enum State {
    /// Not written yet.
    Pending(Arc<Checkpoint>),
    /// Its path in the folder, and its step.
    Written(String, u64),
}

impl State {
    pub fn step(&self) -> u64 {
        match self {
            State::Pending(checkpoint) => checkpoint.step,
            State::Written(_, step) => *step,
        }
    }
}

impl Flight {
    pub fn new(index: usize, trial: &Trial, started: Timestamp) -> Flight {
        Flight {
            trial: index,
            started,
            wasted: Duration::ZERO,
            rows: 0,
            hypers: vec![Vec::new(); trial.schedules().count()],
            metrics: vec![Vec::new(); trial.shape.metrics.len()],
            pending_rows: 0,
            evaluations: Vec::new(),
            sealed_evaluations: 0,
            recent_losses: VecDeque::new(),
            non_finite: NonFinite::default(),
            saved: None,
            best: None,
            earlier_build: None,
            cycles: Vec::new(),
            metrics_segments: Vec::new(),
            evals_segments: Vec::new(),
        }
    }

    /// A flight as it was when its checkpoint was taken.
    pub fn resume(index: usize, trial: &Trial, resumable: Resumable) -> Flight {
        let Resumable { record, evaluations, recent_losses, non_finite, .. } = resumable;
        Flight {
            rows: record.step,
            sealed_evaluations: evaluations.len(),
            evaluations,
            recent_losses,
            non_finite,
            earlier_build: Some(record.build),
            best: record.best.map(|(path, step)| State::Written(path, step)),
            cycles: record.cycles.into_iter().map(|(path, step)| State::Written(path, step)).collect(),
            metrics_segments: record.metrics,
            evals_segments: record.evals,
            ..Flight::new(index, trial, record.started)
        }
    }

    /// Rows that are not sealed.
    pub fn pending_rows(&self) -> usize {
        self.pending_rows
    }

    /// Takes a block of rows, which must follow on those before.
    pub fn push_rows(&mut self, block: &Rows, trial: &Trial) -> Result<(), String> {
        if block.first_iteration != self.rows {
            return Err(format!("rows from iteration {} came after {} rows", block.first_iteration, self.rows));
        }
        if block.hypers.len() != self.hypers.len() || block.metrics.len() != self.metrics.len() {
            return Err(format!(
                "rows came with {} hyper-parameters and {} metrics instead of {} and {}",
                block.hypers.len(),
                block.metrics.len(),
                self.hypers.len(),
                self.metrics.len()
            ));
        }
        let lengths = block.hypers.iter().map(Vec::len).chain(block.metrics.iter().map(Vec::len));
        if let Some(length) = lengths.into_iter().find(|&length| length != block.count) {
            return Err(format!("a column of {length} values came in a block of {} rows", block.count));
        }
        for (column, values) in self.hypers.iter_mut().zip(&block.hypers) {
            column.extend_from_slice(values);
        }
        for (column, values) in self.metrics.iter_mut().zip(&block.metrics) {
            column.extend_from_slice(values);
        }
        if let Some(loss) = trial.shape.metric("loss") {
            let window = rows_per_epoch(&trial.shape.data);
            self.non_finite.add(self.rows, block.metrics[loss].iter().copied());
            self.recent_losses.extend(&block.metrics[loss]);
            self.recent_losses.drain(..self.recent_losses.len().saturating_sub(window));
        }
        self.rows += block.count as u64;
        self.pending_rows += block.count;
        Ok(())
    }

    /// Takes an evaluation; they come in order of iteration.
    pub fn push_evaluation(&mut self, evaluation: Evaluation) -> Result<(), String> {
        if let Some(last) = self.evaluations.last()
            && evaluation.iteration < last.iteration
        {
            return Err(format!("an evaluation at {} came after one at {}", evaluation.iteration, last.iteration));
        }
        self.evaluations.push(evaluation);
        Ok(())
    }

    /// Takes a checkpoint, whose rows must be here, and notes whether it is one to `keep`.
    pub fn push_checkpoint(
        &mut self,
        checkpoint: &Arc<Checkpoint>,
        elapsed: Duration,
        keep: Keep,
        trial: &Trial,
    ) -> Result<(), String> {
        if checkpoint.step > self.rows {
            return Err(format!("a checkpoint at step {} came after {} rows", checkpoint.step, self.rows));
        }
        // A trial that goes over its steps again, since its session was lost, may be saved where it was before.
        if self.saved.as_ref().is_none_or(|(last, _)| last.step <= checkpoint.step) {
            self.saved = Some((checkpoint.clone(), elapsed));
        }
        if keep == Keep::Best && best_iteration(&self.evaluations) == Some(checkpoint.step) {
            self.best = Some(State::Pending(checkpoint.clone()));
        }
        let is_new = self.cycles.last().is_none_or(|last| last.step() < checkpoint.step);
        if keep == Keep::Cycles && is_new && trial.is_cycle_end(checkpoint.step) {
            self.cycles.push(State::Pending(checkpoint.clone()));
        }
        Ok(())
    }

    /// The state to keep as that of the best evaluation, if it was saved.
    pub fn best(&self) -> Option<&State> {
        self.best.as_ref().filter(|best| best_iteration(&self.evaluations) == Some(best.step()))
    }

    /// The segments of the rows up to a checkpoint: `rows` of metrics, and the evaluations up to `evaluated`.
    pub fn segments_up_to(&self, rows: u64, evaluated: Option<u64>) -> (Vec<Segment>, Vec<Segment>) {
        let evaluations = self.evaluations.iter().filter(|evaluation| Some(evaluation.iteration) <= evaluated).count();
        (first_rows(&self.metrics_segments, rows), first_rows(&self.evals_segments, evaluations as u64))
    }

    /// Hands over what is not sealed of `table`, as its value columns, if there is anything.
    pub fn take_values(&mut self, table: Table, trial: &Trial, columns: &Columns) -> Option<Vec<ArrayRef>> {
        match table {
            Table::Metrics => self.take_metrics(trial, columns),
            Table::Evals => self.take_evaluations(trial, columns),
        }
    }

    fn take_metrics(&mut self, trial: &Trial, columns: &Columns) -> Option<Vec<ArrayRef>> {
        let count = std::mem::take(&mut self.pending_rows);
        if count == 0 {
            return None;
        }
        let first = self.rows - count as u64;
        let mut diverged = vec![false; count];
        for column in &self.metrics {
            for (diverged, value) in diverged.iter_mut().zip(column) {
                *diverged |= !value.is_finite();
            }
        }
        let (iteration, epoch) = iterations(first..self.rows, &trial.shape.data);
        let mut values = vec![iteration, epoch];
        for name in &columns.hypers {
            let index = trial.schedules().position(|(known, _)| known == name);
            values.push(match index {
                // Null would mean that the optimizer does not use it.
                Some(index) => Arc::new(Float64Array::from(std::mem::take(&mut self.hypers[index]))),
                None => new_null_array(&DataType::Float64, count),
            });
        }
        for name in &columns.metrics {
            let index = trial.shape.metrics.iter().position(|known| known == name);
            values.push(match index {
                Some(index) => singles(std::mem::take(&mut self.metrics[index])),
                None => new_null_array(&DataType::Float32, count),
            });
        }
        values.push(Arc::new(BooleanArray::from(diverged)));
        complete(trial, columns, Table::Metrics, &mut values);
        Some(values)
    }

    fn take_evaluations(&mut self, trial: &Trial, columns: &Columns) -> Option<Vec<ArrayRef>> {
        let new = &self.evaluations[self.sealed_evaluations..];
        if new.is_empty() {
            return None;
        }
        let (iteration, epoch) = iterations(new.iter().map(|e| e.iteration), &trial.shape.data);
        let diverged: Vec<bool> = new.iter().map(|e| !(e.loss.is_finite() && e.accuracy.is_finite())).collect();
        let mut values: Vec<ArrayRef> = vec![iteration, epoch];
        values.extend(columns.hypers.iter().map(|_| new_null_array(&DataType::Float64, new.len())));
        values.push(text_column(new.iter().map(|e| (Some(e.split.name()), 1))));
        values.push(singles(new.iter().map(|e| e.loss).collect()));
        values.push(singles(new.iter().map(|e| e.accuracy).collect()));
        values.push(Arc::new(BooleanArray::from(diverged)));
        complete(trial, columns, Table::Evals, &mut values);
        self.sealed_evaluations = self.evaluations.len();
        Some(values)
    }

    /// Notes where rows were sealed.
    pub fn add_segment(&mut self, table: Table, segment: Segment) {
        match table {
            Table::Metrics => self.metrics_segments.push(segment),
            Table::Evals => self.evals_segments.push(segment),
        }
    }

    /// Checks that a trial that ended so has the rows it should.
    pub fn check_end(&self, expected_rows: u64) -> Result<(), String> {
        if self.rows == expected_rows {
            Ok(())
        } else {
            Err(format!("it ended after {} rows instead of {expected_rows}", self.rows))
        }
    }

    /// The segments of the rows sealed so far.
    pub fn segments(&self, table: Table) -> &[Segment] {
        match table {
            Table::Metrics => &self.metrics_segments,
            Table::Evals => &self.evals_segments,
        }
    }

    /// The record of a trial that is done, without its segments: they are known once all its rows are sealed.
    pub fn record(&self, trial: &Trial, diverged_at: Option<u64>, elapsed: Duration) -> TrialRecord {
        let mut numbers = Numbers { diverged_at, final_train_loss: mean(&self.recent_losses), ..self.counts(trial) };
        numbers.set_evaluations(&self.evaluations, diverged_at.is_none().then_some(self.rows));
        TrialRecord {
            status: if diverged_at.is_some() { Status::Diverged } else { Status::Finished },
            started: Some(self.started),
            seconds: Some((self.wasted + elapsed).as_secs_f64()),
            numbers,
            ..TrialRecord::default()
        }
    }

    /// The numbers of the rows so far, which hold however the trial ends.
    pub fn counts(&self, trial: &Trial) -> Numbers {
        let mut numbers = Numbers { rows: self.rows, ..Numbers::default() };
        if trial.shape.metric("loss").is_some() {
            numbers.set_non_finite(self.non_finite);
        }
        numbers
    }

    pub fn started(&self) -> Timestamp {
        self.started
    }
}

/// The first `count` rows of consecutive segments.
fn first_rows(segments: &[Segment], count: u64) -> Vec<Segment> {
    let mut left = count;
    let mut first = Vec::new();
    for Segment(file, start, rows) in segments {
        let taken = left.min(*rows);
        left -= taken;
        if taken > 0 {
            first.push(Segment(file.clone(), *start, taken));
        }
    }
    first
}

/// The columns `iteration` and `epoch`: how many epochs were over, by the length that [`clr_spec::duration`] gives them.
fn iterations(iterations: impl Iterator<Item = u64>, data: &DataPlan) -> (ArrayRef, ArrayRef) {
    let iterations = Int64Array::from_iter_values(iterations.map(|iteration| iteration as i64));
    let epochs = epochs(&iterations, data.iterations_per_epoch());
    (Arc::new(iterations), epochs)
}

/// The column `epoch` beside a column `iteration`, where an epoch is so many of them.
pub fn epochs(iterations: &Int64Array, epoch: Ratio) -> ArrayRef {
    let (length, unit) = (epoch.numerator() as f64, epoch.denominator() as f64);
    floats(iterations.values().iter().map(|&iteration| iteration as f64 * unit / length).collect())
}

/// A column of f64, null where not finite.
fn floats(values: Vec<f64>) -> ArrayRef {
    if values.iter().all(|value| value.is_finite()) {
        return Arc::new(Float64Array::from(values));
    }
    Arc::new(Float64Array::from_iter(values.into_iter().map(|value| value.is_finite().then_some(value))))
}

/// A column of f32, null where not finite.
fn singles(values: Vec<f32>) -> ArrayRef {
    if values.iter().all(|value| value.is_finite()) {
        return Arc::new(Float32Array::from(values));
    }
    Arc::new(Float32Array::from_iter(values.into_iter().map(|value| value.is_finite().then_some(value))))
}

/// The mean of losses that are all finite, summed in order.
fn mean(losses: &VecDeque<f32>) -> Option<f64> {
    let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
    (!losses.is_empty() && sum.is_finite()).then(|| sum / losses.len() as f64)
}
