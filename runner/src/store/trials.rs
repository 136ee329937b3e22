//! `trials.parquet` and `timings.parquet`: one row per trial of the spec.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_schema::ArrowError;
use arrow_schema::{Field, Schema};
use jiff::Timestamp;

use super::result::{Numbers, TrialResult};
use super::schema::Columns;
use super::table::{axis_column, text_column};
use crate::plan::{Axis, AxisKind, AxisValue, LastBatch, Normalize, Order, Plan, Trial};

/// The table of trials: what each was, and what it came to. Pure, so equal results give equal bytes.
pub(crate) fn trials_batch(plan: &Plan, columns: &Columns, results: &[TrialResult]) -> Result<RecordBatch, ArrowError> {
    let trials = &plan.trials;
    let settings: Vec<Vec<Option<AxisValue>>> = trials.iter().map(settings).collect();
    let mut table = TableColumns::default();
    table.text("trial", trials.iter().map(|trial| Some(&*trial.id)));

    // An axis that is also a setting shares its column: the axis is null where a trial lacks it, the setting never is.
    let setting_of = |axis: &Axis| SETTINGS.iter().position(|&(name, kind)| name == axis.name && kind == axis.kind);
    for (index, axis) in columns.axes.iter().enumerate() {
        let setting = setting_of(&columns.plan_axes[index]);
        let values = trials.iter().zip(&settings).map(|(trial, settings)| {
            let value = trial.axes[index].as_ref();
            (value.or_else(|| setting.and_then(|setting| settings[setting].as_ref())), 1)
        });
        table.push(&axis.name, axis_column(axis.kind, values), true);
    }
    table.push("label", Arc::new(StringArray::from_iter_values(trials.iter().map(|trial| &*trial.label))), false);
    for (index, (name, kind)) in SETTINGS.into_iter().enumerate() {
        if !columns.axes.iter().any(|axis| axis.name == name) {
            let values = settings.iter().map(|settings| (settings[index].as_ref(), 1));
            table.push(name, axis_column(kind, values), true);
        }
    }

    table.text("status", results.iter().map(|result| Some(result.status.name())));
    table.push("error", Arc::new(StringArray::from_iter(results.iter().map(|result| result.error.as_deref()))), true);
    table.text("numerics", results.iter().map(|result| result.numerics.as_deref()));
    let mut integers = |name: &str, value: fn(&Numbers) -> Option<u64>| {
        let values = results.iter().map(|result| value(&result.numbers).map(|value| value as i64));
        table.push(name, Arc::new(Int64Array::from_iter(values)), true);
    };
    integers("rows", |numbers| Some(numbers.rows));
    integers("diverged_at", |numbers| numbers.diverged_at);
    integers("best_iteration", |numbers| numbers.best_iteration);
    let losses = results.iter().map(|result| result.numbers.final_train_loss);
    table.push("final_train_loss", Arc::new(Float64Array::from_iter(losses)), true);
    let mut singles = |name: &str, value: fn(&Numbers) -> Option<f64>| {
        let values = results.iter().map(|result| value(&result.numbers).map(|value| value as f32));
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
pub(crate) fn timings_batch(plan: &Plan, results: &[TrialResult]) -> Result<RecordBatch, ArrowError> {
    let mut table = TableColumns::default();
    table.text("trial", plan.trials.iter().map(|trial| Some(&*trial.id)));
    let started = results.iter().map(|result| {
        let text = result.started.as_deref()?;
        text.parse::<Timestamp>().ok().map(|timestamp| timestamp.as_millisecond())
    });
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

    fn text<'v>(&mut self, name: &str, values: impl Iterator<Item = Option<&'v str>>) {
        self.push(name, text_column(values.map(|value| (value, 1))), true);
    }

    fn into_batch(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
    }
}

/// The resolved settings that `trials.parquet` shows, in order.
const SETTINGS: [(&str, AxisKind); 21] = [
    ("plugin", AxisKind::Text),
    ("architecture", AxisKind::Text),
    ("precision", AxisKind::Text),
    ("dataset", AxisKind::Text),
    ("dataset_digest", AxisKind::Text),
    ("batch_size", AxisKind::Integer),
    ("train_count", AxisKind::Integer),
    ("validation_count", AxisKind::Integer),
    ("order", AxisKind::Text),
    ("last_batch", AxisKind::Text),
    ("normalize", AxisKind::Text),
    ("scale", AxisKind::Float),
    ("flip", AxisKind::Boolean),
    ("pad", AxisKind::Integer),
    ("optimizer_kind", AxisKind::Text),
    ("init_seed", AxisKind::Integer),
    ("data_seed", AxisKind::Integer),
    ("iterations", AxisKind::Integer),
    ("eval_every", AxisKind::Integer),
    ("model_json", AxisKind::Text),
    ("optimizer_json", AxisKind::Text),
];

/// The values of [`SETTINGS`] for one trial.
fn settings(trial: &Trial) -> Vec<Option<AxisValue>> {
    let shape = &*trial.shape;
    let data = &shape.data;
    let text = |text: &str| Some(AxisValue::Text(text.into()));
    // Seeds and counts come from TOML, whose integers are signed; what exceeds them cannot be shown.
    let integer = |value: u64| i64::try_from(value).ok().map(AxisValue::Integer);
    let precision = serde_json::from_str::<serde_json::Value>(&shape.model_json).ok();
    vec![
        text(&shape.plugin),
        text(&shape.architecture),
        precision.as_ref().and_then(|model| model.get("precision")?.as_str()).and_then(text),
        text(&data.dataset),
        data.digest.as_deref().and_then(text),
        integer(u64::from(data.batch_size)),
        integer(data.train_count),
        integer(data.validation_count),
        text(match data.order {
            Order::Shuffled => "shuffled",
            Order::Stored => "stored",
        }),
        text(match data.last_batch {
            LastBatch::Wrap => "wrap",
            LastBatch::Drop => "drop",
            LastBatch::Keep => "keep",
        }),
        text(match data.normalize {
            Normalize::None => "none",
            Normalize::PixelMean => "pixel_mean",
            Normalize::ChannelMean => "channel_mean",
            Normalize::ChannelStandard => "channel_standard",
        }),
        Some(AxisValue::Float(data.scale)),
        Some(AxisValue::Boolean(data.flip)),
        integer(u64::from(data.pad)),
        text(&trial.optimizer_kind),
        integer(trial.init_seed),
        integer(trial.data_seed),
        integer(trial.iterations),
        integer(trial.eval_every),
        text(&shape.model_json),
        text(&trial.optimizer_json),
    ]
}
