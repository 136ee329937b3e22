//! Writes runs of rows, each of one trial, as a table: one file or several of fixed length.
//!
//! The bytes depend on the sequence of rows and on nothing else. Parquet's pages end where the library's writer was
//! handed enough values, so it is handed batches of one fixed size, however the rows arrived.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::ArrowError;
use arrow_select::concat::concat;
use clr_plan::{AxisKind, AxisValue, Trial, TrialId};
use clr_schedule::ratio::Ratio;

use super::StoreError;
use super::files::{ParquetFile, Unnamed};
use super::schema::{Layout, writer_properties};

/// Whose rows they are: what the columns `trial` and the axes hold.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub id: TrialId,
    /// One for each axis of the layout.
    pub axes: &'a [Option<AxisValue>],
    /// How many iterations an epoch is; none where it is not known, which leaves the column `epoch` as it was.
    pub epoch: Option<Ratio>,
}

impl<'a> Owner<'a> {
    pub fn of(trial: &'a Trial) -> Owner<'a> {
        Owner { id: trial.id, axes: &trial.axes, epoch: Some(trial.shape.data.iterations_per_epoch()) }
    }

    /// One of which nothing but the id is known.
    pub fn known_by(id: TrialId) -> Owner<'a> {
        Owner { id, axes: &[], epoch: None }
    }
}

/// The fixed row counts at which a table is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Rows handed to the Parquet writer at once.
    pub batch_rows: usize,
    /// Rows of a row group: the unit that is read back, skipped by filters and spread over a reader's threads.
    pub group_rows: usize,
    /// Rows of a file. A multiple of `batch_rows`.
    pub file_rows: u64,
}

/// Takes rows in the order in which they will be stored.
pub struct TableWriter<'a> {
    layout: &'a Layout,
    directory: &'a Path,
    cut: Cut,
    /// Whose rows wait to fill a batch, and how many each has.
    queue: Vec<(Owner<'a>, usize)>,
    values: Pieces,
    queued_rows: usize,
    /// Rows taken so far.
    rows: u64,
    open: Option<(ParquetFile, u64)>,
    done: Vec<Unnamed>,
}

/// Consecutive rows in pieces, each with one array for each value column.
///
/// A piece of a few rows is mostly bookkeeping, 100 bytes and more for each of its arrays. So small pieces are joined
/// before there are many of them, which copies every value once more.
#[derive(Default)]
struct Pieces {
    joined: Vec<Vec<ArrayRef>>,
    small: Vec<Vec<ArrayRef>>,
}

/// So many small pieces are joined: of pieces of two rows, 64 joined ones fill a batch.
const SMALL_PIECES: usize = 64;

impl Pieces {
    fn push(&mut self, piece: Vec<ArrayRef>) -> Result<(), ArrowError> {
        self.small.push(piece);
        if self.small.len() == SMALL_PIECES {
            let joined = join(&std::mem::take(&mut self.small))?;
            self.joined.push(joined);
        }
        Ok(())
    }

    /// All of them as one.
    fn take(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut pieces = std::mem::take(&mut self.joined);
        pieces.append(&mut self.small);
        join(&pieces)
    }
}

fn join(pieces: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>, ArrowError> {
    let column_count = pieces.first().map_or(0, Vec::len);
    (0..column_count).map(|column| concat(&pieces.iter().map(|piece| &*piece[column]).collect::<Vec<_>>())).collect()
}

impl<'a> TableWriter<'a> {
    /// A writer whose files will live in `directory`.
    pub fn new(layout: &'a Layout, directory: &'a Path, cut: Cut) -> TableWriter<'a> {
        TableWriter {
            layout,
            directory,
            cut,
            queue: Vec::new(),
            values: Pieces::default(),
            queued_rows: 0,
            rows: 0,
            open: None,
            done: Vec::new(),
        }
    }

    /// Appends rows of one trial; `values` has an equally long array for each value column of the layout.
    /// Returns where they lie, counted over all files.
    pub fn push(&mut self, owner: Owner<'a>, values: &[ArrayRef]) -> Result<Range<u64>, StoreError> {
        let count = values.first().map_or(0, |column| column.len());
        let start = self.rows;
        let mut offset = 0;
        while offset < count {
            let rows = (count - offset).min(self.cut.batch_rows - self.queued_rows);
            let values = values.iter().map(|column| column.slice(offset, rows)).collect();
            self.values.push(values).map_err(|source| StoreError::arrow(self.directory, source))?;
            self.queue.push((owner, rows));
            self.queued_rows += rows;
            self.rows += rows as u64;
            offset += rows;
            if self.queued_rows == self.cut.batch_rows {
                self.write_queue()?;
            }
        }
        Ok(start..self.rows)
    }

    /// Completes the last file. No rows make no file.
    pub fn finish(mut self) -> Result<Vec<Unnamed>, StoreError> {
        if self.queued_rows > 0 {
            self.write_queue()?;
        }
        if let Some((file, _)) = self.open.take() {
            self.done.push(file.close()?);
        }
        Ok(self.done)
    }

    fn write_queue(&mut self) -> Result<(), StoreError> {
        let batch = self.batch().map_err(|source| StoreError::arrow(self.directory, source))?;
        self.queue.clear();
        self.queued_rows = 0;

        let (mut file, mut rows) = match self.open.take() {
            Some(open) => open,
            None => {
                let repeated = 1 + self.layout.axes.len();
                let properties = writer_properties(&self.layout.schema, repeated, self.cut.group_rows);
                (ParquetFile::create(self.directory, self.layout.schema.clone(), properties)?, 0)
            }
        };
        file.write(&batch)?;
        rows += batch.num_rows() as u64;
        if rows >= self.cut.file_rows {
            self.done.push(file.close()?);
        } else {
            self.open = Some((file, rows));
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.layout.schema.fields().len());
        columns.push(id_column(self.queue.iter().map(|(owner, rows)| (owner.id, *rows))));
        for (index, axis) in self.layout.axes.iter().enumerate() {
            let runs = self.queue.iter().map(|(owner, rows)| (owner.axes[index].as_ref(), *rows));
            columns.push(axis_column(axis.kind, runs));
        }
        columns.append(&mut self.values.take()?);
        RecordBatch::try_new(self.layout.schema.clone(), columns)
    }
}

/// A column of `kind` from runs of equal values.
pub fn axis_column<'v>(kind: AxisKind, runs: impl Iterator<Item = (Option<&'v AxisValue>, usize)>) -> ArrayRef {
    match kind {
        AxisKind::Text => text_column(runs.map(|(value, rows)| match value {
            Some(AxisValue::Text(text)) => (Some(&**text), rows),
            _ => (None, rows),
        })),
        AxisKind::Integer => Arc::new(Int64Array::from_iter(repeat(runs, |value| match value {
            AxisValue::Integer(integer) => Some(*integer),
            _ => None,
        }))),
        AxisKind::Float => Arc::new(Float64Array::from_iter(repeat(runs, |value| match value {
            AxisValue::Float(float) => float.is_finite().then_some(*float),
            AxisValue::Integer(integer) => Some(*integer as f64),
            _ => None,
        }))),
        AxisKind::Boolean => Arc::new(BooleanArray::from_iter(repeat(runs, |value| match value {
            AxisValue::Boolean(boolean) => Some(*boolean),
            _ => None,
        }))),
    }
}

fn repeat<'v, T: Copy>(
    runs: impl Iterator<Item = (Option<&'v AxisValue>, usize)>,
    convert: impl Fn(&AxisValue) -> Option<T>,
) -> impl Iterator<Item = Option<T>> {
    runs.flat_map(move |(value, rows)| std::iter::repeat_n(value.and_then(&convert), rows))
}

/// A dictionary column from runs of equal ids.
pub fn id_column(runs: impl Iterator<Item = (TrialId, usize)>) -> ArrayRef {
    let runs: Vec<(String, usize)> = runs.map(|(id, rows)| (id.to_string(), rows)).collect();
    text_column(runs.iter().map(|(id, rows)| (Some(&**id), *rows)))
}

/// A dictionary column from runs of equal text.
pub fn text_column<'v>(runs: impl Iterator<Item = (Option<&'v str>, usize)>) -> ArrayRef {
    let mut dictionary: Vec<&str> = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::new();
    for (text, rows) in runs {
        let key = text.map(|text| {
            // Neighbours are often alike, and seldom are there many: a short search saves a hash map.
            const RECENT: usize = 8;
            let recent = dictionary.len().saturating_sub(RECENT);
            let index = dictionary[recent..].iter().position(|&known| known == text).map(|index| recent + index);
            index.unwrap_or_else(|| {
                dictionary.push(text);
                dictionary.len() - 1
            }) as i32
        });
        keys.extend(std::iter::repeat_n(key, rows));
    }
    let values = Arc::new(StringArray::from(dictionary));
    Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys), values))
}
