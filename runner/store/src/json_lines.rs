//! Rows of an output as lines of JSON, one an object, for whatever reads those.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayAccessor, ArrayRef, StringArray};
use arrow_schema::DataType;
use clr_plan::TrialId;
use serde_json::Value as Json;

use super::csv::{CsvRows, Written};
use super::kept::{find, load};
use super::manifest::Manifest;
use super::plan_file::PlanFile;
use super::reader::{plan, segments};
use super::result::Status;
use super::schema::Table;
use super::source::Sources;
use super::{StoreError, files};

/// Writes the rows that `folder` holds of every trial of its plan, in its order, or of one by its label or id: an object a
/// line, with `trial`, `label`, `status`, the axes and the columns of the table. What is null is null, and numbers read back
/// as the same bits.
///
/// # Errors
///
/// Where there is no output or no such trial, or its files are damaged.
pub fn json_lines(folder: &Path, rows: CsvRows, trial: Option<&str>, out: &Path) -> Result<Written, StoreError> {
    let manifest = load(folder)?;
    let plan = plan(folder)?;
    let wanted: Option<TrialId> = match trial {
        Some(_) => Some(find(folder, &manifest, trial)?.0),
        None => None,
    };
    let mut sources = Sources::new(folder, &manifest);
    let mut written = Written::default();
    let mut failure = None;
    let result = files::write_atomically_with(out, |out| {
        write_all(&plan, &manifest, wanted, rows, &mut sources, out, &mut written).map_err(|error| {
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

fn write_all<'a>(
    plan: &PlanFile,
    manifest: &'a Manifest,
    wanted: Option<TrialId>,
    rows: CsvRows,
    sources: &mut Sources<'a>,
    out: &mut dyn Write,
    written: &mut Written,
) -> Result<(), StoreError> {
    let table = match rows {
        CsvRows::Metrics => Table::Metrics,
        CsvRows::Evals => Table::Evals,
    };
    let mut line = String::new();
    for trial in plan.trials.iter().filter(|trial| wanted.is_none_or(|wanted| wanted == trial.id)) {
        let status = manifest.trials.get(&trial.id).map_or(Status::Unfinished, |record| record.status);
        let segments = segments(manifest, trial.id, table);
        written.trials += usize::from(!segments.is_empty());
        for segment in segments {
            let columns = sources.values(&segment.0)?;
            // A column of the table goes before an axis of its name, as in CSV.
            let axis = |name: &str| match columns.iter().any(|column| column.name() == name) {
                true => format!("axis_{name}"),
                false => name.to_owned(),
            };
            let mut own = format!("{{\"trial\":\"{}\"", trial.id);
            let mut add = |name: &str, value: &Json| {
                let _ = write!(own, ",{}:{value}", Json::from(name));
            };
            add("label", &Json::from(trial.label.as_str()));
            add("status", &Json::from(status.name()));
            for planned in &plan.axes {
                add(&axis(&planned.name), trial.axes.get(&planned.name).unwrap_or(&Json::Null));
            }
            sources.read(segment, &columns, |values| {
                let count = values.first().map_or(0, |column| column.len());
                for row in 0..count {
                    line.clone_from(&own);
                    for (field, values) in columns.iter().zip(values) {
                        let _ = write!(line, ",{}:", Json::from(field.name().as_str()));
                        push(&mut line, values, row);
                    }
                    line.push_str("}\n");
                    out.write_all(line.as_bytes())
                        .map_err(|source| StoreError::io("write", Path::new("the lines of JSON"), source))?;
                }
                written.rows += count as u64;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// A value as JSON: of floats the shortest digits that read back as the same bits.
fn push(line: &mut String, values: &ArrayRef, row: usize) {
    if values.is_null(row) {
        line.push_str("null");
        return;
    }
    // Writing to a string cannot fail.
    let _ = match values.data_type() {
        DataType::Int64 => write!(line, "{}", values.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => write!(line, "{:?}", values.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => write!(line, "{:?}", values.as_primitive::<Float32Type>().value(row)),
        DataType::Boolean => write!(line, "{}", values.as_boolean().value(row)),
        DataType::Dictionary(..) => {
            let texts = values.as_dictionary::<Int32Type>().downcast_dict::<StringArray>();
            write!(line, "{}", texts.map_or(Json::Null, |texts| Json::from(texts.value(row))))
        }
        _ => line.write_str("null"),
    };
}
