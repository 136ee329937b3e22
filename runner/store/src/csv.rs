//! Rows of an output as CSV, for whoever has no reader of Parquet.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use ::csv::Writer;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayAccessor, ArrayRef, StringArray};
use arrow_schema::{DataType, Field};
use serde_json::Value as Json;

use super::kept::{find, load};
use super::manifest::{Manifest, Segment};
use super::plan_file::{PlanFile, PlannedAxis};
use super::reader::{plan, segments};
use super::result::Status;
use super::schema::Table;
use super::source::Sources;
use super::{StoreError, files};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialCsv {
    /// As in the spec that ran it.
    pub label: String,
    pub rows: u64,
    /// A line with the columns' names, `iteration` first, and a line a row. What is null is empty; floats are printed so
    /// that reading them gives the same bits.
    pub text: Vec<u8>,
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
    let (mut out, mut rows) = (Writer::from_writer(Vec::new()), 0);
    if let Some(Segment(file, ..)) = segments.first() {
        let columns = sources.values(file)?;
        out.write_record(columns.iter().map(|column| column.name())).map_err(wrong)?;
        rows = write_rows(&mut out, &[], segments, &columns, &mut sources)?;
    }
    let text = out.into_inner().map_err(|error| wrong(error.into_error().into()))?;
    Ok(TrialCsv { label: label.to_owned(), rows, text })
}

/// The table of which rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvRows {
    /// One for each trial and iteration.
    #[default]
    Metrics,
    /// One for each trial and evaluation.
    Evals,
}

impl CsvRows {
    pub(super) fn table(self) -> Table {
        match self {
            CsvRows::Metrics => Table::Metrics,
            CsvRows::Evals => Table::Evals,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Trials that have rows.
    pub trials: usize,
    /// Rows, without the line of names.
    pub rows: u64,
}

/// Writes the rows that `folder` holds of every trial of its plan, in its order, those before a failure and of trials that
/// are not over too: `status` says what became of each. The columns are `trial`, `label`, `status`, the axes, and those of the
/// table; what is null is empty, and floats are printed so that reading them gives the same bits.
///
/// # Errors
///
/// Where there is no output, or its files are damaged.
pub fn csv_of_all(folder: &Path, rows: CsvRows, out: &Path) -> Result<Written, StoreError> {
    let manifest = load(folder)?;
    let plan = plan(folder)?;

    let mut sources = Sources::new(folder, &manifest);
    let mut columns: Vec<Field> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let segments: Vec<&[Segment]> =
        plan.trials.iter().map(|trial| segments(&manifest, trial.id, rows.table())).collect();
    for Segment(file, ..) in segments.iter().copied().flatten() {
        if seen.insert(file) {
            for field in sources.values(file)? {
                if !columns.iter().any(|known| known.name() == field.name()) {
                    columns.push(field);
                }
            }
        }
    }

    let mut written = Written::default();
    files::write_atomically_from(out, |out| {
        write_all(&plan, &manifest, &segments, &columns, &mut sources, out, &mut written)
    })?;
    Ok(written)
}

fn write_all<'a>(
    plan: &PlanFile,
    manifest: &Manifest,
    segments: &[&'a [Segment]],
    columns: &[Field],
    sources: &mut Sources<'a>,
    out: &mut dyn Write,
    written: &mut Written,
) -> Result<(), StoreError> {
    let axis = |axis: &PlannedAxis| match columns.iter().any(|column| *column.name() == axis.name) {
        true => format!("axis_{}", axis.name),
        false => axis.name.clone(),
    };
    let mut out = Writer::from_writer(out);
    let names = ["trial", "label", "status"].map(str::to_owned).into_iter().chain(plan.axes.iter().map(axis));
    out.write_record(names.chain(columns.iter().map(|column| column.name().clone()))).map_err(wrong)?;
    for (trial, segments) in plan.trials.iter().zip(segments) {
        let status = manifest.trials.get(&trial.id).map_or(Status::Unfinished, |record| record.status);
        let mut own = vec![trial.id.to_string(), trial.label.clone(), status.name().to_owned()];
        own.extend(plan.axes.iter().map(|axis| trial.axes.get(&axis.name).map_or(String::new(), plain)));
        written.rows += write_rows(&mut out, &own, segments, columns, sources)?;
        written.trials += usize::from(!segments.is_empty());
    }
    out.flush().map_err(|error| wrong(error.into()))
}

/// Writes rows of a table, each behind the fields `own`. Returns how many.
fn write_rows<'a>(
    out: &mut Writer<impl Write>,
    own: &[String],
    segments: &'a [Segment],
    columns: &[Field],
    sources: &mut Sources<'a>,
) -> Result<u64, StoreError> {
    let mut rows = 0;
    let mut field = String::new();
    for segment in segments {
        sources.read(segment, columns, |values| {
            let count = values.first().map_or(0, |column| column.len());
            for row in 0..count {
                own.iter().try_for_each(|field| out.write_field(field)).map_err(wrong)?;
                for values in values {
                    field.clear();
                    push(&mut field, values, row, String::push_str);
                    out.write_field(&field).map_err(wrong)?;
                }
                out.write_record(None::<&[u8]>).map_err(wrong)?;
            }
            rows += count as u64;
            Ok(())
        })?;
    }
    Ok(rows)
}

fn wrong(error: ::csv::Error) -> StoreError {
    StoreError::io("write", Path::new("the CSV file"), error.into())
}

/// Writes a value: of floats the shortest digits that read back as the same bits, a text as `write_text` does. False where it is
/// null, and nothing is written.
pub(super) fn push(out: &mut String, values: &ArrayRef, row: usize, write_text: fn(&mut String, &str)) -> bool {
    if values.is_null(row) {
        return false;
    }
    // Writing to a string cannot fail.
    let _ = match values.data_type() {
        DataType::Int64 => write!(out, "{}", values.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => write!(out, "{:?}", values.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => write!(out, "{:?}", values.as_primitive::<Float32Type>().value(row)),
        DataType::Boolean => write!(out, "{}", values.as_boolean().value(row)),
        DataType::Dictionary(..) => {
            let Some(texts) = values.as_dictionary::<Int32Type>().downcast_dict::<StringArray>() else { return false };
            write_text(out, texts.value(row));
            Ok(())
        }
        _ => return false,
    };
    true
}

/// A value of an axis.
fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Number(number) if number.is_f64() => number.as_f64().map_or(String::new(), |it| format!("{it:?}")),
        other => other.to_string(),
    }
}
