//! Trains trials again and compares what comes with what is stored, bit for bit and without writing anything.
//!
//! Rows are put into the store's own columns first, so what is compared is exactly what would be written: null where a value
//! is not finite, `epoch` and `diverged` included.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_plan::{Plan, Trial};
use clr_spec::{Checkpointing, Every, Keep};
use clr_store::StoreError;
use clr_store::derived::complete;
use clr_store::flight::Flight;
use clr_store::manifest::{Manifest, Segment, TrialRecord};
use clr_store::schema::{Columns, Table};
use clr_store::source::Sources;
use clr_store::verify::rows::text_at;
use clr_train::{Layout, Resources};
use jiff::Timestamp;

use super::{Selection, VerifyError};

/// The findings of training again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Trials whose rows, as far as they were asked for, are the stored ones.
    pub proven: usize,
    /// Their rows of metrics that were compared.
    pub rows: u64,
    /// Their evaluations that were compared.
    pub evaluations: u64,
    /// The first difference of each trial that has one, in the plan's order.
    pub differences: Vec<(String, String)>,
    /// Trials that were stopped before their end, by a signal or by the machine.
    pub stopped: usize,
}

/// The choices of training again.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Rows to compare. Those after them are not made.
    pub rows: Range<u64>,
    /// The states that the events are to have.
    pub keep: Keep,
}

/// Trains the selected trials of the output `folder` again and compares. `watch` sees every event.
///
/// # Errors
///
/// Where stored rows cannot be read.
#[expect(clippy::too_many_arguments, reason = "what a run takes, and what to compare")]
pub fn again(
    folder: &Path,
    plan: &Plan,
    selection: &Selection,
    wanted: Wanted,
    resources: &Resources,
    layout: &Layout,
    cancel: &AtomicBool,
    mut watch: impl FnMut(&Event) + Send,
) -> Result<Proof, VerifyError> {
    let manifest = Manifest::load(folder)?.ok_or_else(|| VerifyError::NoOutput { folder: folder.to_owned() })?;
    let columns = Columns::of(plan)?;
    let mut comparison = Comparison {
        plan,
        manifest: &manifest,
        columns: &columns,
        values: [Table::Metrics, Table::Evals].map(|table| columns.layout(table).values),
        range: wanted.rows.clone(),
        sources: Sources::new(folder, &manifest),
        in_flight: BTreeMap::new(),
        differences: BTreeMap::new(),
        proof: Proof::default(),
    };
    let shortened = shorten(plan, &wanted);
    let work = selection.trials.iter().map(|&trial| Work::new(trial)).collect();
    clr_train::run(&shortened, work, resources, layout, cancel, |event| {
        watch(&event);
        comparison.take(&event)
    })?;
    let Comparison { differences, mut proof, .. } = comparison;
    let labelled = differences.into_iter().map(|(trial, what)| (plan.trials[trial].label.to_string(), what));
    proof.differences = labelled.collect();
    Ok(proof)
}

/// The plan with no trial longer than is wanted, and none saved but for what is wanted of it. A schedule is a function of the
/// step, so the rows before are the same.
fn shorten(plan: &Plan, wanted: &Wanted) -> Plan {
    let end = wanted.rows.end;
    let mut plan = plan.clone();
    Arc::make_mut(&mut plan.trials).iter_mut().for_each(|trial| trial.iterations = trial.iterations.min(end));
    plan.checkpointing = Checkpointing { every: Every::Never, keep: wanted.keep };
    plan
}

struct Comparison<'a> {
    plan: &'a Plan,
    manifest: &'a Manifest,
    columns: &'a Columns,
    /// The value columns of metrics and evals.
    values: [Vec<Field>; 2],
    range: Range<u64>,
    sources: Sources<'a>,
    /// By index of the trial.
    in_flight: BTreeMap<usize, InFlight<'a>>,
    differences: BTreeMap<usize, String>,
    proof: Proof,
}

/// A trial that is being trained again.
struct InFlight<'a> {
    flight: Flight,
    record: &'a TrialRecord,
    /// Rows that came, compared or not.
    rows: u64,
    /// Stored evaluations that were met.
    evaluations: u64,
    /// Those that are equal, of metrics and of evals.
    equal: [u64; 2],
}

impl<'a> Comparison<'a> {
    fn take(&mut self, event: &Event) -> Result<(), StoreError> {
        match event {
            Event::Started { trial, .. } => {
                let asked = &self.plan.trials[*trial];
                if let Some(record) = self.manifest.trials.get(&asked.id) {
                    let flight = Flight::new(*trial, asked, Timestamp::UNIX_EPOCH);
                    self.in_flight.insert(*trial, InFlight { flight, record, rows: 0, evaluations: 0, equal: [0; 2] });
                }
                Ok(())
            }
            Event::Rows(rows) => {
                let Some((asked, in_flight)) = self.open(rows.trial) else { return Ok(()) };
                if let Err(message) = in_flight.flight.push_rows(rows, asked) {
                    return Err(bug(asked, message));
                }
                let first = in_flight.rows;
                in_flight.rows += rows.count as u64;
                self.compare(rows.trial, Table::Metrics, first)
            }
            Event::Evaluated(evaluation) => {
                let (columns, end) = (self.columns, self.range.end);
                let is_wanted = self.range.contains(&evaluation.iteration) || evaluation.iteration == end;
                let Some((asked, in_flight)) = self.open(evaluation.trial) else { return Ok(()) };
                // A shortened trial is evaluated at its end, where the whole one may not have been.
                let is_extra = evaluation.iteration == end && end < asked.iterations && !asked.eval_every.is_due(end);
                if is_extra {
                    return Ok(());
                }
                if let Err(message) = in_flight.flight.push_evaluation(*evaluation) {
                    return Err(bug(asked, message));
                }
                let first = in_flight.evaluations;
                in_flight.evaluations += 1;
                if is_wanted {
                    return self.compare(evaluation.trial, Table::Evals, first);
                }
                in_flight.flight.take_values(Table::Evals, asked, columns);
                Ok(())
            }
            Event::Saved { .. } | Event::Retried { .. } => Ok(()),
            Event::Ended { trial, outcome, .. } => {
                self.end(*trial, outcome);
                Ok(())
            }
        }
    }

    /// A trial that is being compared: none once it differs.
    fn open(&mut self, trial: usize) -> Option<(&'a Trial, &mut InFlight<'a>)> {
        let in_flight = self.in_flight.get_mut(&trial).filter(|_| !self.differences.contains_key(&trial))?;
        Some((&self.plan.trials[trial], in_flight))
    }

    /// Compares what came last with the stored rows of `table` from the trial's row `first` on.
    fn compare(&mut self, trial: usize, table: Table, first: u64) -> Result<(), StoreError> {
        let (asked, columns) = (&self.plan.trials[trial], self.columns);
        let Some(in_flight) = self.in_flight.get_mut(&trial) else { return Ok(()) };
        let Some(mut made) = in_flight.flight.take_values(table, asked, columns) else { return Ok(()) };
        let mut rows = first..first + made.first().map_or(0, |column| column.len() as u64);
        if table == Table::Metrics {
            let wanted = rows.start.max(self.range.start)..rows.end.min(self.range.end);
            if wanted.is_empty() {
                return Ok(());
            }
            let (offset, length) = ((wanted.start - rows.start) as usize, (wanted.end - wanted.start) as usize);
            made.iter_mut().for_each(|column| *column = column.slice(offset, length));
            rows = wanted;
        }
        let record = in_flight.record;
        if self.manifest.leaves_out(record.segments(table)) {
            return Ok(());
        }
        let values = &self.values[table as usize];
        let mut difference = None;
        let mut at = rows.start;
        for (file, stored) in located(record.segments(table), rows.clone()) {
            self.sources.read_rows(file, stored, values, |stored| {
                let count = stored.first().map_or(0, |column| column.len());
                let mut stored = stored.to_vec();
                complete(asked, columns, table, &mut stored);
                let offset = (at - rows.start) as usize;
                let made: Vec<ArrayRef> = made.iter().map(|column| column.slice(offset, count)).collect();
                if difference.is_none() {
                    difference = first_difference(values, &stored, &made).map(|what| format!("{file}: {what}"));
                }
                at += count as u64;
                Ok(())
            })?;
        }
        if difference.is_none() && at < rows.end {
            let iteration = iteration(&made, (at - rows.start) as usize);
            difference = Some(format!("{}: iteration {iteration} is made again and was not stored", table.name()));
        }
        match difference {
            Some(what) => drop(self.differences.insert(trial, what)),
            None => in_flight.equal[table as usize] += rows.end - rows.start,
        }
        Ok(())
    }

    fn end(&mut self, trial: usize, outcome: &Outcome) {
        let Some(InFlight { record, rows, evaluations, equal, .. }) = self.in_flight.remove(&trial) else {
            // It never began: its session could not be opened.
            match outcome {
                Outcome::Failed { message } | Outcome::Crashed { message } => {
                    self.differences.insert(trial, format!("it cannot be trained again: {message}"));
                }
                Outcome::Interrupted { .. } => self.proof.stopped += 1,
                Outcome::Finished | Outcome::Diverged { .. } | Outcome::Stopped => {}
            }
            return;
        };
        if self.differences.contains_key(&trial) {
            return;
        }
        let is_shortened = self.range.end < record.numbers.rows;
        let stored: u64 = record.evals.iter().map(|segment| segment.2).sum();
        let difference = match outcome {
            Outcome::Stopped | Outcome::Interrupted { .. } => {
                self.proof.stopped += 1;
                return;
            }
            Outcome::Failed { message } | Outcome::Crashed { message } => {
                Some(format!("it cannot be trained again: {message}"))
            }
            Outcome::Finished | Outcome::Diverged { .. } if is_shortened && rows >= self.range.end => None,
            Outcome::Finished | Outcome::Diverged { .. } => {
                let whole = format!("{} rows and {stored} evaluations are stored", record.numbers.rows);
                let is_equal = rows == record.numbers.rows && evaluations == stored;
                (!is_equal).then(|| format!("{whole}, and it ended after {rows} and {evaluations}"))
            }
        };
        match difference {
            Some(what) => drop(self.differences.insert(trial, what)),
            None => {
                self.proof.proven += 1;
                self.proof.rows += equal[0];
                self.proof.evaluations += equal[1];
            }
        }
    }
}

/// The places of the rows `rows` of a trial: files, and rows in them.
fn located(segments: &[Segment], rows: Range<u64>) -> Vec<(&str, Range<u64>)> {
    let mut found = Vec::new();
    let mut start = 0;
    for Segment(file, first, count) in segments {
        let end = start + count;
        let (from, to) = (rows.start.max(start), rows.end.min(end));
        if from < to {
            found.push((&**file, first + (from - start)..first + (to - start)));
        }
        start = end;
    }
    found
}

/// The first row, and in it the first column, in which `stored` and `made` differ.
fn first_difference(fields: &[Field], stored: &[ArrayRef], made: &[ArrayRef]) -> Option<String> {
    let mut first: Option<(usize, usize)> = None;
    for (column, (stored, made)) in stored.iter().zip(made).enumerate() {
        let before = first.map_or(stored.len(), |(row, _)| row);
        if let Some(row) = (0..before).find(|&row| differs(stored, made, row)) {
            first = Some((row, column));
        }
    }
    let (row, column) = first?;
    let (stored_value, made_value) = (value(&stored[column], row), value(&made[column], row));
    let (iteration, name) = (iteration(made, row), fields[column].name());
    Some(format!("iteration {iteration}, column {name}: {stored_value} is stored, {made_value} was made again"))
}

/// The iteration of a row; the first column has it.
fn iteration(columns: &[ArrayRef], row: usize) -> String {
    columns.first().map_or(String::new(), |column| value(column, row))
}

/// Floats are compared by their bits.
fn differs(stored: &ArrayRef, made: &ArrayRef, row: usize) -> bool {
    if stored.is_null(row) || made.is_null(row) {
        return stored.is_null(row) != made.is_null(row);
    }
    match stored.data_type() {
        DataType::Float32 => {
            let bits = |column: &ArrayRef| column.as_primitive::<Float32Type>().value(row).to_bits();
            bits(stored) != bits(made)
        }
        DataType::Float64 => {
            let bits = |column: &ArrayRef| column.as_primitive::<Float64Type>().value(row).to_bits();
            bits(stored) != bits(made)
        }
        DataType::Int64 => stored.as_primitive::<Int64Type>().value(row) != made.as_primitive::<Int64Type>().value(row),
        DataType::Boolean => stored.as_boolean().value(row) != made.as_boolean().value(row),
        _ => value(stored, row) != value(made, row),
    }
}

/// A value for people: floats with their bits, as two that differ may look alike.
fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            format!("{value} (0x{:08x})", value.to_bits())
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            format!("{value} (0x{:016x})", value.to_bits())
        }
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        _ => {
            let dictionary = column.as_dictionary_opt::<Int32Type>();
            dictionary.and_then(|column| text_at(column, row)).unwrap_or("?").to_owned()
        }
    }
}

fn bug(trial: &Trial, message: String) -> StoreError {
    StoreError::Event { trial: trial.label.to_string(), message }
}
