//! The rows of one file: whose they are, whether their iterations follow on each other, and what numbers they amount to.

use std::collections::VecDeque;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, DictionaryArray, Float32Array, Int64Array, RecordBatch};
use clr_event::Evaluation;
use clr_host::Split;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::result::NonFinite;
use crate::schema::Table;
use crate::source::{open_table, project};

/// Consecutive rows of a file that are one trial's.
pub struct Stretch {
    /// The trial's id, which every row must have.
    pub trial: String,
    pub first: u64,
    pub count: u64,
    /// So many of the trial's last losses are kept.
    pub window: usize,
}

impl Stretch {
    /// One past the last.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// Sums over a stretch of rows.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The first thing that is wrong within the stretch.
    pub problem: Option<String>,
    /// Of metrics: the iterations of the first and the last row.
    pub iterations: Option<(i64, i64)>,
    /// Of metrics: the last losses, NaN where null.
    pub losses: VecDeque<f32>,
    /// Of metrics: the losses that were not finite.
    pub non_finite: NonFinite,
    /// Of evaluations: all, in order.
    pub evaluations: Vec<Evaluation>,
}

/// Reads the rows of a file whose digest is right. `stretches` do not overlap and are sorted; rows between them are skipped.
///
/// # Errors
///
/// Where the file is not the table that it should be.
pub fn read(path: &Path, table: Table, stretches: &[Stretch]) -> Result<Vec<Content>, String> {
    let vetted = open_table(path).map_err(|fault| fault.to_string())?;
    let wanted: &[&str] = match table {
        Table::Metrics => &["trial", "iteration", "loss"],
        Table::Evals => &["trial", "iteration", "split", "loss", "accuracy"],
    };
    let schema = vetted.metadata.schema();
    let roots = wanted.iter().filter_map(|name| schema.index_of(name).ok());
    let projection = project(&vetted, roots).map_err(|fault| fault.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(vetted.file, vetted.metadata);
    let reader =
        builder.with_projection(projection).with_batch_size(1 << 16).build().map_err(|error| error.to_string())?;
    let mut contents = vec![Content::default(); stretches.len()];
    let (mut start, mut next) = (0, 0);
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let columns = Columns::of(&batch, table)?;
        let end = start + batch.num_rows() as u64;
        // A stretch may go on in the next batch.
        while let Some(stretch) = stretches.get(next) {
            let (first, last) = (stretch.first.max(start), stretch.first.saturating_add(stretch.count).min(end));
            if first < last {
                contents[next].add(stretch, first, &columns, (first - start) as usize..(last - start) as usize);
            }
            if stretch.first.saturating_add(stretch.count) > end {
                break;
            }
            next += 1;
        }
        start = end;
    }
    Ok(contents)
}

/// The columns that are looked at.
struct Columns<'a> {
    trial: &'a DictionaryArray<Int32Type>,
    iteration: &'a Int64Array,
    split: Option<&'a DictionaryArray<Int32Type>>,
    /// A model may have no loss.
    loss: Option<&'a Float32Array>,
    accuracy: Option<&'a Float32Array>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch, table: Table) -> Result<Columns<'a>, String> {
        let column = |name: &str| batch.column_by_name(name);
        let absent = |name: &str| format!("it has no column `{name}` of the right type");
        let text = |name: &str| column(name).and_then(|column| column.as_dictionary_opt::<Int32Type>());
        let single = |name: &str| column(name).and_then(|column| column.as_primitive_opt::<Float32Type>());
        let iteration = column("iteration").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let columns = Columns {
            trial: text("trial").ok_or_else(|| absent("trial"))?,
            iteration: iteration.ok_or_else(|| absent("iteration"))?,
            split: text("split"),
            loss: single("loss"),
            accuracy: single("accuracy"),
        };
        if table == Table::Evals {
            columns.split.ok_or_else(|| absent("split"))?;
            columns.loss.and(columns.accuracy).ok_or_else(|| absent("loss` or `accuracy"))?;
        }
        Ok(columns)
    }
}

/// The text of row `row` of a dictionary column; none where it is null or no text.
pub fn text_at(column: &DictionaryArray<Int32Type>, row: usize) -> Option<&str> {
    let key = column.is_valid(row).then(|| column.keys().value(row))?;
    let values = column.values().as_string_opt::<i32>()?;
    let key = usize::try_from(key).ok().filter(|&key| key < values.len())?;
    Some(values.value(key))
}

impl Content {
    /// Takes the rows `range` of a batch, the first of which is row `first` of the file.
    fn add(&mut self, stretch: &Stretch, first: u64, columns: &Columns<'_>, range: std::ops::Range<usize>) {
        for row in range.clone() {
            let place = || first + (row - range.start) as u64;
            let owner = text_at(columns.trial, row);
            if owner != Some(&*stretch.trial) {
                let owner = owner.unwrap_or("none");
                self.note(|| format!("row {} is of trial {owner} instead of {}", place(), stretch.trial));
            }
            if columns.iteration.is_null(row) {
                self.note(|| format!("row {} has no iteration", place()));
                continue;
            }
            let iteration = columns.iteration.value(row);
            match columns.split {
                Some(split) => {
                    let evaluation = evaluation(columns, split, row, iteration);
                    match evaluation {
                        Ok(evaluation) => self.evaluations.push(evaluation),
                        Err(problem) => self.note(|| format!("row {}: {problem}", place())),
                    }
                }
                None => {
                    if let Some((_, last)) = self.iterations
                        && let Some(problem) = out_of_order(last, iteration)
                    {
                        self.note(|| format!("row {}: {problem}", place()));
                    }
                    self.iterations = Some((self.iterations.map_or(iteration, |(first, _)| first), iteration));
                    if let Some(loss) = columns.loss {
                        if loss.is_null(row) {
                            self.non_finite.add(u64::try_from(iteration).unwrap_or(0), std::iter::once(f32::NAN));
                        }
                        if self.losses.len() == stretch.window {
                            self.losses.pop_front();
                        }
                        if stretch.window > 0 {
                            self.losses.push_back(if loss.is_null(row) { f32::NAN } else { loss.value(row) });
                        }
                    }
                }
            }
        }
    }

    fn note(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }
}

/// The problem with an iteration that comes after `last`; they go up by one.
pub fn out_of_order(last: i64, iteration: i64) -> Option<String> {
    match iteration.checked_sub(last) {
        Some(1) => None,
        Some(2) => Some(format!("iteration {} is missing", last + 1)),
        Some(gap) if gap > 2 => Some(format!("iterations {} to {} are missing", last + 1, iteration - 1)),
        Some(0) => Some(format!("iteration {iteration} is there twice")),
        _ => Some(format!("iteration {iteration} comes after {last}")),
    }
}

fn evaluation(
    columns: &Columns<'_>,
    split: &DictionaryArray<Int32Type>,
    row: usize,
    iteration: i64,
) -> Result<Evaluation, String> {
    let name = text_at(split, row).unwrap_or("null");
    let split = Split::named(name).ok_or_else(|| format!("`{name}` is no split"))?;
    let iteration = u64::try_from(iteration).map_err(|_| format!("iteration {iteration} is negative"))?;
    let value = |column: Option<&Float32Array>| {
        column.filter(|column| column.is_valid(row)).map_or(f32::NAN, |column| column.value(row))
    };
    Ok(Evaluation { trial: 0, iteration, split, loss: value(columns.loss), accuracy: value(columns.accuracy) })
}
