//! A trial's rows of metrics as text, for whoever has no reader of Parquet.

use std::fmt::Write as _;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};

use super::StoreError;
use super::kept::{find, load};
use super::manifest::Segment;
use super::source::Sources;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialCsv {
    /// As in the spec that ran it.
    pub label: String,
    /// How many rows there are.
    pub rows: usize,
    /// A line with the columns' names, `iteration` first, and a line a row. What is null is empty; floats are printed so
    /// that reading them gives the same bits.
    pub text: String,
}

/// The rows of metrics that `folder` holds of a trial, by its label, its id or the beginning of its id, or of the only trial.
///
/// # Errors
///
/// Where there is no such trial, or its files are damaged.
pub fn csv(folder: &Path, trial: Option<&str>) -> Result<TrialCsv, StoreError> {
    let manifest = load(folder)?;
    let (id, label) = find(folder, &manifest, trial)?;
    let of_finished = manifest.trials.get(&id).map(|record| record.metrics.as_slice()).filter(|it| !it.is_empty());
    let of_unfinished = || manifest.unfinished.get(&id).map(|record| record.metrics.as_slice());
    let segments: &[Segment] = of_finished.or_else(of_unfinished).unwrap_or_default();
    let mut sources = Sources::new(folder, &manifest);
    let Some(Segment(file, ..)) = segments.first() else {
        return Ok(TrialCsv { label: label.to_owned(), rows: 0, text: String::new() });
    };
    let columns = sources.values(file)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let mut csv = TrialCsv { label: label.to_owned(), rows: 0, text: names.join(",") + "\n" };
    for segment in segments {
        sources.read(segment, &columns, |values| {
            csv.add(&columns, values);
            Ok(())
        })?;
    }
    Ok(csv)
}

impl TrialCsv {
    fn add(&mut self, columns: &[Field], values: &[ArrayRef]) {
        let count = values.first().map_or(0, |column| column.len());
        for row in 0..count {
            for (index, (column, values)) in columns.iter().zip(values).enumerate() {
                if index > 0 {
                    self.text.push(',');
                }
                if values.is_valid(row) {
                    push(&mut self.text, column.data_type(), values, row);
                }
            }
            self.text.push('\n');
        }
        self.rows += count;
    }
}

/// Text columns are those of evaluations: metrics have none.
pub(super) fn push(text: &mut String, data_type: &DataType, values: &ArrayRef, row: usize) {
    // Writing to a string cannot fail.
    let _ = match data_type {
        DataType::Int64 => write!(text, "{}", values.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => write!(text, "{:?}", values.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => write!(text, "{:?}", values.as_primitive::<Float32Type>().value(row)),
        DataType::Boolean => write!(text, "{}", values.as_boolean().value(row)),
        _ => Ok(()),
    };
}
