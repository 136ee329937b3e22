//! `trials.parquet` and `timings.parquet`: one row per trial of the spec.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_schema::ArrowError;
use arrow_schema::{Field, Schema};
use clr_plan::settings::{self, FIXED};
use clr_plan::{AxisKind, AxisValue, Trial};
use jiff::Timestamp;
use parquet::file::properties::WriterProperties;

use super::result::{Numbers, TrialResult, choosing_split};
use super::schema::{Columns, writer_properties};
use super::table::{axis_column, id_column, text_column};

/// Rows of a table of trials, made of trials and what they came to. Pure, so equal results give equal bytes.
pub type TrialsBatch = fn(&[Trial], &Columns, &[TrialResult<'_>]) -> Result<RecordBatch, ArrowError>;

/// Rows that are made at once.
const BATCH: usize = 1024;

/// The rows of each batch of a table of so many trials.
pub fn batches(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(BATCH).map(move |first| first..count.min(first + BATCH))
}

/// How a table with the columns of `batch` is written.
pub fn properties(batch: &RecordBatch) -> WriterProperties {
    writer_properties(&batch.schema(), batch.num_columns(), 2 * BATCH)
}

/// The table of trials: what each was, and what it came to.
pub fn trials_batch(
    trials: &[Trial],
    columns: &Columns,
    results: &[TrialResult<'_>],
) -> Result<RecordBatch, ArrowError> {
    let mut table = TableColumns::default();
    table.ids(trials);

    let settings = settings_of(trials, columns);
    // An axis that is also a setting shares its column: the axis is null where a trial lacks it, the setting seldom is.
    for (index, axis) in columns.axes.iter().enumerate() {
        let name = &columns.plan_axes[index].name;
        let fixed = FIXED.iter().find(|setting| setting.name == name && setting.kind == axis.kind);
        let other = columns.settings.iter().position(|setting| setting.name == *name && setting.kind == axis.kind);
        let mut values: Vec<Option<AxisValue>> = trials.iter().map(|trial| trial.axes[index].clone()).collect();
        for ((row, value), trial) in values.iter_mut().enumerate().zip(trials) {
            if value.is_none() {
                *value = fixed.and_then(|fixed| (fixed.value)(trial)).or_else(|| settings[other?][row].clone());
            }
        }
        table.setting(&axis.name, axis.kind, &values);
    }
    table.push("label", Arc::new(StringArray::from_iter_values(trials.iter().map(|trial| &*trial.label))), false);
    let is_axis = |name: &str| columns.axes.iter().any(|axis| axis.name == name);
    for setting in FIXED.iter().filter(|setting| !is_axis(setting.name)) {
        table.setting(setting.name, setting.kind, &trials.iter().map(setting.value).collect::<Vec<_>>());
    }
    for (setting, values) in columns.settings.iter().zip(&settings).filter(|(setting, _)| !is_axis(&setting.name)) {
        table.setting(&setting.name, setting.kind, values);
    }

    table.text("status", results.iter().map(|result| Some(result.status.name())));
    table.push("error", Arc::new(StringArray::from_iter(results.iter().map(|result| result.error))), true);
    table.text("numerics", results.iter().map(|result| result.numerics));
    table.text("plugin_digest", results.iter().map(|result| result.build));
    let mut integers = |name: &str, value: fn(&Numbers) -> Option<u64>| {
        let values = results.iter().map(|result| value(result.numbers).map(|value| value as i64));
        table.push(name, Arc::new(Int64Array::from_iter(values)), true);
    };
    integers("rows", |numbers| Some(numbers.rows));
    integers("diverged_at", |numbers| numbers.diverged_at);
    integers("non_finite_losses", |numbers| numbers.non_finite_losses);
    integers("first_non_finite_loss", |numbers| numbers.first_non_finite_loss);
    integers("best_iteration", |numbers| numbers.best_iteration);
    let chosen_on = trials.iter().zip(results).map(|(trial, result)| {
        let split = choosing_split(trial.shape.data.validation_count > 0);
        result.numbers.best_iteration.map(|_| split.name())
    });
    table.text("best_split", chosen_on);
    let losses = results.iter().map(|result| result.numbers.final_train_loss);
    table.push("final_train_loss", Arc::new(Float64Array::from_iter(losses)), true);
    let mut singles = |name: &str, value: fn(&Numbers) -> Option<f32>| {
        let values = results.iter().map(|result| value(result.numbers));
        table.push(name, Arc::new(Float32Array::from_iter(values)), true);
    };
    singles("final_validation_loss", |numbers| numbers.final_validation_loss);
    singles("final_validation_accuracy", |numbers| numbers.final_validation_accuracy);
    singles("final_test_loss", |numbers| numbers.final_test_loss);
    singles("final_test_accuracy", |numbers| numbers.final_test_accuracy);
    singles("best_validation_accuracy", |numbers| numbers.best_validation_accuracy);
    singles("best_test_accuracy", |numbers| numbers.best_test_accuracy);
    table.into_batch()
}

/// For each of the plan's settings, its values.
fn settings_of(trials: &[Trial], columns: &Columns) -> Vec<Vec<Option<AxisValue>>> {
    let names = columns.settings.iter().enumerate();
    let positions: HashMap<&str, usize> = names.map(|(index, setting)| (setting.name.as_str(), index)).collect();
    let mut values = vec![vec![None; trials.len()]; columns.settings.len()];
    for (row, trial) in trials.iter().enumerate() {
        for (name, value) in settings::of(trial) {
            if let Some(&column) = positions.get(name.as_str()) {
                values[column][row] = value.of_kind(columns.settings[column].kind);
            }
        }
    }
    values
}

/// The table of timings.
pub fn timings_batch(
    trials: &[Trial],
    _columns: &Columns,
    results: &[TrialResult<'_>],
) -> Result<RecordBatch, ArrowError> {
    let mut table = TableColumns::default();
    table.ids(trials);
    let started = results.iter().map(|result| result.started.map(Timestamp::as_millisecond));
    table.push("started", Arc::new(TimestampMillisecondArray::from_iter(started).with_timezone("UTC")), true);
    table.push("seconds", Arc::new(Float64Array::from_iter(results.iter().map(|result| result.seconds))), true);
    let attempts = results.iter().map(|result| i64::from(result.attempts));
    table.push("attempts", Arc::new(Int64Array::from_iter_values(attempts)), false);
    table.into_batch()
}

/// Columns of a table of trials as they are added.
#[derive(Default)]
struct TableColumns {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl TableColumns {
    fn push(&mut self, name: &str, column: ArrayRef, nullable: bool) {
        self.fields.push(Field::new(name, column.data_type().clone(), nullable));
        self.columns.push(column);
    }

    fn ids(&mut self, trials: &[Trial]) {
        self.push("trial", id_column(trials.iter().map(|trial| (trial.id, 1))), true);
    }

    fn text<'v>(&mut self, name: &str, values: impl Iterator<Item = Option<&'v str>>) {
        self.push(name, text_column(values.map(|value| (value, 1))), true);
    }

    /// A column of a value of each trial.
    fn setting(&mut self, name: &str, kind: AxisKind, values: &[Option<AxisValue>]) {
        self.push(name, axis_column(kind, values.iter().map(|value| (value.as_ref(), 1))), true);
    }

    fn into_batch(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
    }
}
