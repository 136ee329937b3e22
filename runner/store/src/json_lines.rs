//! Rows of an output as lines of JSON, one an object, for whatever reads those.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use arrow_array::Array;
use clr_plan::TrialId;
use serde_json::Value as Json;

use super::csv::{CsvRows, Written, push};
use super::kept::{load, wanted};
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
    let wanted = wanted(folder, &manifest, trial)?;
    let mut sources = Sources::new(folder, &manifest);
    let mut written = Written::default();
    files::write_atomically_from(out, |out| {
        write_all(&plan, &manifest, wanted, rows.table(), &mut sources, out, &mut written)
    })?;
    Ok(written)
}

fn write_all<'a>(
    plan: &PlanFile,
    manifest: &'a Manifest,
    wanted: Option<TrialId>,
    table: Table,
    sources: &mut Sources<'a>,
    out: &mut dyn Write,
    written: &mut Written,
) -> Result<(), StoreError> {
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
                        if !push(&mut line, values, row, |line, text| line.push_str(&Json::from(text).to_string())) {
                            line.push_str("null");
                        }
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
