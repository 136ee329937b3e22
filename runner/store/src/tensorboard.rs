//! Rows of an output as TensorBoard reads them: a folder for each trial, with a file of events.
//!
//! A file is a sequence of records: the length of the data (u64, little endian), the masked CRC-32C of these eight bytes, the
//! data, and its masked CRC-32C. The data is an `Event` in protocol buffers: 1 `wall_time` (double), 2 `step` (int64), 3
//! `file_version` (string, in the first alone), 5 `summary`, which has 1 `value` again and again, each with 1 `tag` (string) and
//! 2 `simple_value` (float). (tensorflow/core/util/event.proto, tensorboard/summary/writer/record_writer.py.)

use std::collections::HashSet;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use clr_event::Evaluation;

use super::csv::Written;
use super::kept::{load, wanted};
use super::manifest::Manifest;
use super::names::file_name_of;
use super::plan_file::PlannedTrial;
use super::reader::{plan, read_evaluations, segments};
use super::schema::Table;
use super::source::Sources;
use super::{StoreError, files};

/// Writes the rows that `folder` holds of every trial, or of one by its label or id, into the folder `out`: of metrics every
/// so many, which is `train/loss` and the like, of scheduled values `hyper/lr`, and all evaluations, `test/accuracy`.
///
/// # Errors
///
/// Where there is no output or no such trial, its files are damaged, or the new ones cannot be written.
pub fn tensorboard(folder: &Path, trial: Option<&str>, every: u64, out: &Path) -> Result<Written, StoreError> {
    let manifest = load(folder)?;
    let plan = plan(folder)?;
    let wanted = wanted(folder, &manifest, trial)?;
    let mut sources = Sources::new(folder, &manifest);
    let mut written = Written::default();
    let mut names: HashSet<String> = HashSet::new();
    for planned in &plan.trials {
        // Names are given whatever is wanted, so that a trial always has the same.
        let mut name = file_name_of(&planned.label);
        if !names.insert(name.clone()) {
            name = format!("{name}-{}", planned.id);
        }
        if wanted.is_some_and(|wanted| wanted != planned.id) {
            continue;
        }
        let rows = write_trial(&manifest, planned, every.max(1), &mut sources, &out.join(name))?;
        written.rows += rows;
        written.trials += usize::from(rows > 0);
    }
    Ok(written)
}

/// Writes the file of a trial, if it has rows. Returns how many it had.
fn write_trial<'a>(
    manifest: &'a Manifest,
    planned: &PlannedTrial,
    every: u64,
    sources: &mut Sources<'a>,
    folder: &Path,
) -> Result<u64, StoreError> {
    let metrics = segments(manifest, planned.id, Table::Metrics);
    let evaluations = read_evaluations(0, segments(manifest, planned.id, Table::Evals), sources)?;
    if metrics.is_empty() && evaluations.is_empty() {
        return Ok(0);
    }
    let record = manifest.trials.get(&planned.id);
    let began = record.and_then(|record| record.started).map_or(0.0, |started| started.as_millisecond() as f64 / 1e3);
    let seconds = record.map_or(0.0, |record| record.elapsed().as_secs_f64());
    let per_step = seconds / planned.iterations.max(1) as f64;
    let mut events = Events { out: Vec::new(), began, per_step, rows: 0 };
    events.version();

    let mut evaluations = evaluations.iter().peekable();
    for segment in metrics {
        let columns = sources.values(&segment.0)?;
        sources.read(segment, &columns, |values| {
            for row in 0..values.first().map_or(0, |column| column.len()) {
                let step =
                    column(&columns, values, "iteration").map_or(0, |it| it.as_primitive::<Int64Type>().value(row));
                let step = u64::try_from(step).unwrap_or(0);
                while let Some(evaluation) = evaluations.next_if(|evaluation| evaluation.iteration <= step) {
                    events.evaluation(evaluation);
                }
                if step % every == 0 {
                    events.row(step, &columns, values, row);
                }
            }
            Ok(())
        })?;
    }
    evaluations.for_each(|evaluation| events.evaluation(evaluation));

    files::create_directory(folder)?;
    let path = folder.join(format!("events.out.tfevents.{:010}.clr-run", began as u64));
    files::write_atomically_with(&path, |out| out.write_all(&events.out))?;
    Ok(events.rows)
}

fn column<'v>(columns: &[Field], values: &'v [ArrayRef], name: &str) -> Option<&'v ArrayRef> {
    columns.iter().position(|field| field.name() == name).map(|place| &values[place])
}

/// The bytes of a file of events.
struct Events {
    out: Vec<u8>,
    /// Seconds since 1970 at which the trial began.
    began: f64,
    per_step: f64,
    rows: u64,
}

impl Events {
    /// The first event of a file.
    fn version(&mut self) {
        let mut event = self.event(0);
        text(3, "brain.Event:2", &mut event);
        record(&event, &mut self.out);
    }

    fn event(&self, step: u64) -> Vec<u8> {
        let mut event = Vec::new();
        event.push(key(1, 1));
        event.extend((self.began + self.per_step * step as f64).to_le_bytes());
        // What is 0 is left out.
        if step > 0 {
            event.push(key(2, 0));
            varint(step, &mut event);
        }
        event
    }

    fn scalars(&mut self, step: u64, values: &[(String, f32)]) {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut scalar = Vec::new();
            text(1, tag, &mut scalar);
            scalar.push(key(2, 5));
            scalar.extend(value.to_le_bytes());
            message(1, &scalar, &mut summary);
        }
        let mut event = self.event(step);
        message(5, &summary, &mut event);
        record(&event, &mut self.out);
        self.rows += 1;
    }

    /// What is null was not finite where the row says that it had diverged, else not measured.
    fn row(&mut self, step: u64, columns: &[Field], values: &[ArrayRef], row: usize) {
        let diverged = column(columns, values, "diverged").is_some_and(|it| it.as_boolean().value(row));
        let mut scalars = Vec::new();
        for (field, values) in columns.iter().zip(values).filter(|(field, _)| field.name() != "epoch") {
            let value = match field.data_type() {
                DataType::Float32 if values.is_null(row) => diverged.then_some(f32::NAN),
                DataType::Float32 => Some(values.as_primitive::<Float32Type>().value(row)),
                DataType::Float64 if values.is_valid(row) => {
                    Some(values.as_primitive::<Float64Type>().value(row) as f32)
                }
                _ => None,
            };
            let group = if *field.data_type() == DataType::Float32 { "train" } else { "hyper" };
            scalars.extend(value.map(|value| (format!("{group}/{}", field.name()), value)));
        }
        self.scalars(step, &scalars);
    }

    fn evaluation(&mut self, evaluation: &Evaluation) {
        let Evaluation { iteration, split, loss, accuracy, .. } = *evaluation;
        let tag = |name: &str| format!("{}/{name}", split.name());
        self.scalars(iteration, &[(tag("loss"), loss), (tag("accuracy"), accuracy)]);
    }
}

/// The key of a field of protocol buffers: its number and how its value is encoded.
fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(key(field, 2));
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn text(field: u8, text: &str, out: &mut Vec<u8>) {
    message(field, text.as_bytes(), out);
}

fn record(data: &[u8], out: &mut Vec<u8>) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
}

/// CRCs are masked, since those of data that has CRCs in it would be weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4, and the check value of the catalogue of CRCs.
    #[test]
    fn checksums_are_those_of_the_standard() {
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!((crc32c(&rising), crc32c(&falling)), (0x46dd_794e, 0x113f_db5c));
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The bytes that `tensorboard.summary.writer.event_file_writer` 2.21.0 writes for the same events: `make_events.py`.
    #[test]
    fn events_are_the_bytes_of_the_original() {
        let mut events = Events { out: Vec::new(), began: 1_700_000_000.25, per_step: 0.5, rows: 0 };
        events.version();
        events.scalars(300, &[("train/loss".to_owned(), 1.5), ("hyper/lr".to_owned(), 0.01)]);
        events.scalars(70_000, &[("train/loss".to_owned(), f32::NAN)]);
        assert_eq!(events.out, include_bytes!("tensorboard/events.tfevents"));
    }
}
