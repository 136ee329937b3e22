//! The rows of all trials of an output as one CSV file, for whoever has no reader of Parquet.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{DataType, Field};
use clr_plan::TrialId;
use clr_system::regular;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::csv::push;
use super::kept::load;
use super::manifest::{Manifest, Segment};
use super::result::Status;
use super::schema::Table;
use super::source::Sources;
use super::{StoreError, files};

/// The table of which rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvRows {
    /// One for each trial and iteration.
    #[default]
    Metrics,
    /// One for each trial and evaluation.
    Evals,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Trials that have rows.
    pub trials: usize,
    /// Rows, without the line of names.
    pub rows: u64,
}

#[derive(Deserialize)]
struct PlanFile {
    axes: Vec<PlannedAxis>,
    trials: Vec<PlannedTrial>,
}

#[derive(Deserialize)]
struct PlannedAxis {
    name: String,
}

#[derive(Deserialize)]
struct PlannedTrial {
    id: TrialId,
    label: String,
    axes: Map<String, Json>,
}

/// Writes the rows that `folder` holds of every trial of its plan, in its order, those before a failure and of trials that
/// are not over too: `status` says what became of each. The columns are `trial`, `label`, `status`, the axes, and those of the
/// table; what is null is empty, and floats are printed so that reading them gives the same bits.
///
/// # Errors
///
/// Where there is no output, or its files are damaged.
pub fn csv_of_all(folder: &Path, rows: CsvRows, out: &Path) -> Result<Written, StoreError> {
    let table = match rows {
        CsvRows::Metrics => Table::Metrics,
        CsvRows::Evals => Table::Evals,
    };
    let manifest = load(folder)?;
    let path = folder.join("plan.json");
    let bytes =
        regular::read(&path, regular::LARGEST_RECORD).map_err(|source| StoreError::io("read", &path, source))?;
    let plan: PlanFile = serde_json::from_slice(&bytes)
        .map_err(|source| StoreError::Corrupt { path: path.clone(), what: source.to_string() })?;

    let mut sources = Sources::new(folder, &manifest);
    let mut columns: Vec<Field> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let segments: Vec<&[Segment]> = plan.trials.iter().map(|trial| segments(&manifest, trial.id, table)).collect();
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
    let mut failure = None;
    let result = files::write_atomically_with(out, |out| {
        write_all(&plan, &manifest, &segments, &columns, &mut sources, out, &mut written).map_err(|error| {
            let at_writing = io::Error::other(error.to_string());
            failure = Some(error);
            at_writing
        })
    });
    // What cannot be read is not the fault of the file that is written.
    match failure {
        Some(error) => Err(error),
        None => result.map(|_| written),
    }
}

fn segments(manifest: &Manifest, id: TrialId, table: Table) -> &[Segment] {
    let known = manifest.trials.get(&id).filter(|record| record.status != Status::Unfinished);
    let saved = || manifest.unfinished.get(&id).map(|record| record.segments(table));
    known.map(|record| record.segments(table)).or_else(saved).unwrap_or_default()
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
    let wrong = |source| StoreError::io("write", Path::new("the CSV file"), source);
    let axis = |axis: &PlannedAxis| match columns.iter().any(|column| *column.name() == axis.name) {
        true => format!("axis_{}", axis.name),
        false => axis.name.clone(),
    };
    let names = ["trial", "label", "status"].map(str::to_owned).into_iter().chain(plan.axes.iter().map(axis));
    let names = names.chain(columns.iter().map(|column| column.name().clone()));
    writeln!(out, "{}", names.map(|name| quoted(&name)).collect::<Vec<_>>().join(",")).map_err(wrong)?;
    let mut line = String::new();
    for (trial, segments) in plan.trials.iter().zip(segments) {
        let status = manifest.trials.get(&trial.id).map_or(Status::Unfinished, |record| record.status);
        let mut own = format!("{},{},{}", trial.id, quoted(&trial.label), status.name());
        for axis in &plan.axes {
            own.push(',');
            own += &trial.axes.get(&axis.name).map_or(String::new(), plain);
        }
        for segment in *segments {
            sources.read(segment, columns, |values| {
                let count = values.first().map_or(0, |column| column.len());
                for row in 0..count {
                    line.clone_from(&own);
                    for (column, values) in columns.iter().zip(values) {
                        line.push(',');
                        push_value(&mut line, column, values, row);
                    }
                    line.push('\n');
                    out.write_all(line.as_bytes()).map_err(wrong)?;
                }
                written.rows += count as u64;
                Ok(())
            })?;
        }
        written.trials += usize::from(!segments.is_empty());
    }
    Ok(())
}

fn push_value(line: &mut String, column: &Field, values: &ArrayRef, row: usize) {
    if values.is_null(row) {
        return;
    }
    if let DataType::Dictionary(..) = column.data_type() {
        let texts = values.as_dictionary::<Int32Type>().downcast_dict::<StringArray>();
        *line += &texts.map_or(String::new(), |texts| quoted(arrow_array::ArrayAccessor::value(&texts, row)));
    } else {
        push(line, column.data_type(), values, row);
    }
}

/// A value of an axis.
fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => quoted(text),
        Json::Number(number) if number.is_f64() => number.as_f64().map_or(String::new(), |it| format!("{it:?}")),
        other => other.to_string(),
    }
}

/// In quotes, where a reader would else take it for several. (RFC 4180.)
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
