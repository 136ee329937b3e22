//! `trials.parquet` and `timings.parquet`: one row per trial of the spec.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_schema::ArrowError;
use arrow_schema::{Field, Schema};
use jiff::Timestamp;
use parquet::file::properties::WriterProperties;

use super::result::{Numbers, TrialResult};
use super::schema::{Columns, writer_properties};
use super::table::{axis_column, id_column, text_column};
use crate::plan::{Axis, AxisKind, AxisValue, LastBatch, Normalize, Order, Trial};

/// Rows of a table of trials, made of trials and what they came to. Pure, so equal results give equal bytes.
pub(crate) type TrialsBatch = fn(&[Trial], &Columns, &[TrialResult<'_>]) -> Result<RecordBatch, ArrowError>;

/// Rows that are made at once.
const BATCH: usize = 1024;

/// The rows of each batch of a table of so many trials.
pub(crate) fn batches(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(BATCH).map(move |first| first..count.min(first + BATCH))
}

/// How a table with the columns of `batch` is written.
pub(crate) fn properties(batch: &RecordBatch) -> WriterProperties {
    writer_properties(&batch.schema(), batch.num_columns(), 2 * BATCH)
}

/// The table of trials: what each was, and what it came to.
pub(crate) fn trials_batch(
    trials: &[Trial],
    columns: &Columns,
    results: &[TrialResult<'_>],
) -> Result<RecordBatch, ArrowError> {
    let mut table = TableColumns::default();
    table.ids(trials);

    // An axis that is also a setting shares its column: the axis is null where a trial lacks it, the setting never is.
    let setting_of = |axis: &Axis| SETTINGS.iter().find(|&&(name, kind, _)| name == axis.name && kind == axis.kind);
    for (index, axis) in columns.axes.iter().enumerate() {
        let setting = setting_of(&columns.plan_axes[index]);
        let value = |trial: &Trial| trial.axes[index].clone().or_else(|| setting.and_then(|(_, _, of)| of(trial)));
        table.setting(&axis.name, axis.kind, trials, value);
    }
    table.push("label", Arc::new(StringArray::from_iter_values(trials.iter().map(|trial| &*trial.label))), false);
    for (name, kind, value) in SETTINGS {
        if !columns.axes.iter().any(|axis| axis.name == name) {
            table.setting(name, kind, trials, value);
        }
    }

    table.text("status", results.iter().map(|result| Some(result.status.name())));
    table.push("error", Arc::new(StringArray::from_iter(results.iter().map(|result| result.error))), true);
    table.text("numerics", results.iter().map(|result| result.numerics));
    let mut integers = |name: &str, value: fn(&Numbers) -> Option<u64>| {
        let values = results.iter().map(|result| value(result.numbers).map(|value| value as i64));
        table.push(name, Arc::new(Int64Array::from_iter(values)), true);
    };
    integers("rows", |numbers| Some(numbers.rows));
    integers("diverged_at", |numbers| numbers.diverged_at);
    integers("best_iteration", |numbers| numbers.best_iteration);
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

/// The table of timings.
pub(crate) fn timings_batch(
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
    fn setting(&mut self, name: &str, kind: AxisKind, trials: &[Trial], value: impl Fn(&Trial) -> Option<AxisValue>) {
        let values: Vec<Option<AxisValue>> = trials.iter().map(value).collect();
        self.push(name, axis_column(kind, values.iter().map(|value| (value.as_ref(), 1))), true);
    }

    fn into_batch(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
    }
}

/// A setting's name, the type of its column, and its value.
type Setting = (&'static str, AxisKind, fn(&Trial) -> Option<AxisValue>);

/// The resolved settings that `trials.parquet` shows, in order.
const SETTINGS: [Setting; 21] = [
    ("plugin", AxisKind::Text, |trial| text(&trial.shape.plugin)),
    ("architecture", AxisKind::Text, |trial| text(&trial.shape.architecture)),
    ("precision", AxisKind::Text, |trial| {
        let model: serde_json::Value = serde_json::from_str(&trial.shape.model_json).ok()?;
        text(model.get("precision")?.as_str()?)
    }),
    ("dataset", AxisKind::Text, |trial| text(&trial.shape.data.dataset)),
    ("dataset_digest", AxisKind::Text, |trial| text(trial.shape.data.digest.as_deref()?)),
    ("batch_size", AxisKind::Integer, |trial| integer(u64::from(trial.shape.data.batch_size))),
    ("train_count", AxisKind::Integer, |trial| integer(trial.shape.data.train_count)),
    ("validation_count", AxisKind::Integer, |trial| integer(trial.shape.data.validation_count)),
    ("order", AxisKind::Text, |trial| {
        text(match trial.shape.data.order {
            Order::Shuffled => "shuffled",
            Order::Stored => "stored",
        })
    }),
    ("last_batch", AxisKind::Text, |trial| {
        text(match trial.shape.data.last_batch {
            LastBatch::Wrap => "wrap",
            LastBatch::Drop => "drop",
            LastBatch::Keep => "keep",
        })
    }),
    ("normalize", AxisKind::Text, |trial| {
        text(match trial.shape.data.normalize {
            Normalize::None => "none",
            Normalize::PixelMean => "pixel_mean",
            Normalize::ChannelMean => "channel_mean",
            Normalize::ChannelStandard => "channel_standard",
        })
    }),
    ("scale", AxisKind::Float, |trial| Some(AxisValue::Float(trial.shape.data.scale))),
    ("flip", AxisKind::Boolean, |trial| Some(AxisValue::Boolean(trial.shape.data.flip))),
    ("pad", AxisKind::Integer, |trial| integer(u64::from(trial.shape.data.pad))),
    ("optimizer_kind", AxisKind::Text, |trial| text(&trial.optimizer.kind)),
    ("init_seed", AxisKind::Integer, |trial| integer(trial.init_seed)),
    ("data_seed", AxisKind::Integer, |trial| integer(trial.data_seed)),
    ("iterations", AxisKind::Integer, |trial| integer(trial.iterations)),
    ("eval_every", AxisKind::Integer, |trial| integer(trial.eval_every)),
    ("model_json", AxisKind::Text, |trial| text(&trial.shape.model_json)),
    ("optimizer_json", AxisKind::Text, |trial| text(&trial.optimizer.json)),
];

fn text(text: &str) -> Option<AxisValue> {
    Some(AxisValue::Text(text.into()))
}

/// Seeds and counts come from TOML, whose integers are signed; what exceeds them cannot be shown.
fn integer(value: u64) -> Option<AxisValue> {
    i64::try_from(value).ok().map(AxisValue::Integer)
}
