//! The columns of every table that a run leaves, their types, and how they are encoded.
//!
//! **`metrics/*.parquet`**, one row per trial and iteration, sorted by (trial in the spec's order, `iteration`):
//!
//! | column | type | holds |
//! |---|---|---|
//! | `trial` | dictionary of text | the trial's id, 32 hexadecimal digits |
//! | one per axis | see below | what sets the trial apart: `policy`, `optimizer`, `seed`, `max_lr`, ...; null where a trial has none |
//! | `iteration` | int64 | from 0; row i is update i + 1 |
//! | `epoch` | float64 | epochs that are over: iteration / iterations of an epoch, which are training images / batch size, with `last_batch` "drop" or "keep" rounded down or up |
//! | one per hyper-parameter | float64 | the scheduled value, such as `lr`; null only where the trial's optimizer does not use it: a plan has none that is not finite |
//! | one per metric | float32 | what the model measured, such as `loss`; null where not finite or not measured |
//! | `diverged` | boolean | some metric of this row was not finite, or the loss was above `max_loss` |
//!
//! **`evals/*.parquet`**, one row per trial and evaluation, sorted the same way:
//!
//! | column | type | holds |
//! |---|---|---|
//! | `trial`, axes, `iteration`, `epoch` | as above | after so many updates |
//! | one per hyper-parameter | float64 | the value in force, such as `lr`: that of the last update before, which is row `iteration` - 1 of `metrics`; at iteration 0 that of the first update |
//! | `split` | dictionary of text | `train`, `validation` or `test` |
//! | `loss`, `accuracy` | float32 | means over the split; accuracy is a fraction; null where not finite |
//! | `diverged` | boolean | loss or accuracy was not finite |
//!
//! **`failed/metrics-*.parquet`** and **`failed/evals-*.parquet`**, rows of trials that failed or crashed, up to the step that
//! they failed in: the same columns, and after the axes `status`, a dictionary of text. They are apart, so that no mean over
//! `metrics` or `evals` has them in it by accident.
//!
//! **`trials.parquet`**, one row per trial of the spec, in its order:
//!
//! | column | type | holds |
//! |---|---|---|
//! | `trial`, axes | as above | |
//! | `label` | text | for people: `triangular2 nesterov seed=1` |
//! | `plugin`, `architecture`, `precision`, `dataset`, `dataset_digest`, `order`, `last_batch`, `normalize`, `optimizer_kind`, `model_json`, `optimizer_json` | dictionary of text | resolved settings |
//! | `batch_size`, `accumulate`, `train_count`, `validation_count`, `pad`, `init_seed`, `data_seed`, `iterations` | int64 | resolved settings |
//! | `scale`, `eval_every`, `clip_gradients`, `max_loss` | float64 | resolved settings; `eval_every` in iterations, of which an epoch may be a fraction; `max_loss` is null where there is none |
//! | `flip`, `stop_on_divergence` | boolean | resolved settings |
//! | `model.KEY`, `policy.KEY`, `optimizer.KEY`, with the key's path | as the key is | resolved settings, see [`clr_plan::settings`]: all that the trial has, axes too; null where it lacks the key |
//! | `status` | dictionary of text | `finished`, `diverged`, `failed`, `crashed` or `unfinished` |
//! | `error` | text | why it failed or crashed |
//! | `numerics` | dictionary of text | what else decides the bits: plugin revision, backend, instruction set |
//! | `plugin_digest` | dictionary of text | BLAKE3 of the plugin's file; several with `+` between, where the trial went on under another build; null where it is not known |
//! | `rows` | int64 | rows in `metrics`, or of a trial that failed in `failed/metrics-*.parquet` |
//! | `diverged_at` | int64 | iteration of the row that broke the divergence rule |
//! | `non_finite_losses` | int64 | rows whose loss was not finite, whatever became of the trial; null for a model without loss, and for trials that a version before format 2 trained |
//! | `first_non_finite_loss` | int64 | iteration of the first of them |
//! | `final_train_loss` | float64 | mean of `loss` over the last epoch's rows (all, if fewer); null if one is not finite |
//! | `final_validation_loss`, `final_validation_accuracy`, `final_test_loss`, `final_test_accuracy` | float32 | after the last iteration; null if the trial diverged |
//! | `best_iteration` | int64 | where accuracy was highest on the validation split if there is one, else on test; ties go to the lower loss, then to the earlier |
//! | `best_split` | dictionary of text | on which split that was chosen: `validation` or `test` |
//! | `best_validation_accuracy`, `best_test_accuracy` | float32 | at `best_iteration`; what is chosen on validation is reported on test |
//!
//! **`timings.parquet`**, the only table that may differ between two runs of one spec:
//!
//! | column | type | holds |
//! |---|---|---|
//! | `trial` | dictionary of text | |
//! | `started` | timestamp (ms, UTC) | when its first attempt began |
//! | `seconds` | float64 | wall time of all attempts, as far as the manifest knows |
//! | `attempts` | int64 | how often the trial was started, as far as the manifest knows |
//!
//! An axis column is a dictionary of text, int64, float64 or boolean, as its key is, whatever values there are: numbers of
//! schedules, hyper-parameters and durations (in iterations) are float64, `iterations` and what else counts is int64,
//! options of plugins are what their schemas say. An axis named like another column
//! of these tables is called `axis_NAME` (an axis `momentum` beside the scheduled hyper-parameter `momentum`), except
//! that one named like a setting (`batch_size`) shares the setting's column in `trials.parquet`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use clr_plan::{Axis, AxisKind, AxisValue, OTHER_COLUMNS, Plan, ROW_COLUMNS};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::StoreError;
use super::names::FORMAT;

/// One of the two tables that grow with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Metrics,
    Evals,
}

impl Table {
    /// The folder of its files, and the prefix of its parts.
    pub fn name(self) -> &'static str {
        match self {
            Table::Metrics => "metrics",
            Table::Evals => "evals",
        }
    }
}

/// The columns that a plan gives rise to.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The plan's axes, in order, under their names in the tables.
    pub axes: Vec<Axis>,
    /// The axes under the plan's names, for `trials.parquet`'s shared columns.
    pub plan_axes: Vec<Axis>,
    /// The plan's settings, for `trials.parquet`.
    pub settings: Vec<Axis>,
    /// Every hyper-parameter that some trial schedules, in order of first appearance.
    pub hypers: Vec<String>,
    /// Every metric of some trial's model, in order of first appearance.
    pub metrics: Vec<String>,
}

impl Columns {
    /// The columns for `plan`, or what is wrong with its names.
    pub fn of(plan: &Plan) -> Result<Columns, StoreError> {
        let mut hypers: Vec<String> = Vec::new();
        let mut metrics: Vec<String> = Vec::new();
        let mut seen_hypers = HashSet::new();
        let mut seen_metrics = HashSet::new();
        for trial in plan.trials.iter() {
            for (name, _) in trial.schedules() {
                if seen_hypers.insert(name) {
                    hypers.push(name.to_owned());
                }
            }
            for name in &trial.shape.metrics {
                if seen_metrics.insert(name.as_str()) {
                    metrics.push(name.clone());
                }
            }
        }
        // Renaming one of these would make the name depend on the rest of the spec, and rows are read back by name.
        for name in &hypers {
            if seen_metrics.contains(name.as_str()) || ROW_COLUMNS.contains(&name.as_str()) {
                return Err(StoreError::Column { kind: "hyper-parameter", name: name.clone() });
            }
        }
        if let Some(name) = metrics.iter().find(|name| ROW_COLUMNS.contains(&name.as_str())) {
            return Err(StoreError::Column { kind: "metric", name: name.clone() });
        }

        let mut taken: HashSet<String> =
            ROW_COLUMNS.iter().chain(&OTHER_COLUMNS).map(|name| name.to_string()).collect();
        taken.extend(hypers.iter().chain(&metrics).cloned());
        let mut axes = Vec::with_capacity(plan.axes.len());
        for axis in &plan.axes {
            let mut name = axis.name.clone();
            while !taken.insert(name.clone()) {
                name.insert_str(0, "axis_");
            }
            axes.push(Axis { name, kind: axis.kind });
        }
        for trial in plan.trials.iter() {
            let fits = trial.axes.len() == axes.len()
                && trial
                    .axes
                    .iter()
                    .zip(&axes)
                    .all(|(value, axis)| value.as_ref().is_none_or(|v| has_kind(v, axis.kind)));
            if !fits {
                return Err(StoreError::Axes { label: trial.label.to_string() });
            }
        }
        Ok(Columns { axes, plan_axes: plan.axes.clone(), settings: plan.settings.clone(), hypers, metrics })
    }

    /// The layout of `table` with the axes repeated in every row.
    pub fn layout(&self, table: Table) -> Layout {
        Layout::new(table, self.axes.clone(), self.values(table))
    }

    /// The layout of `table` for trials that failed: after the axes comes what became of them.
    pub fn layout_of_failed(&self, table: Table) -> Layout {
        let status = Axis { name: "status".to_owned(), kind: AxisKind::Text };
        Layout::new(table, self.axes.iter().cloned().chain([status]).collect(), self.values(table))
    }

    /// The columns of `table` that differ from row to row.
    fn values(&self, table: Table) -> Vec<Field> {
        let mut values =
            vec![Field::new("iteration", DataType::Int64, false), Field::new("epoch", DataType::Float64, true)];
        values.extend(self.hypers.iter().map(|name| Field::new(name, DataType::Float64, true)));
        match table {
            Table::Metrics => {
                values.extend(self.metrics.iter().map(|name| Field::new(name, DataType::Float32, true)));
            }
            Table::Evals => {
                values.push(Field::new("split", text_type(), false));
                values.push(Field::new("loss", DataType::Float32, true));
                values.push(Field::new("accuracy", DataType::Float32, true));
            }
        }
        values.push(Field::new("diverged", DataType::Boolean, false));
        values
    }
}

/// A table's columns in order: `trial`, the axes, then the values.
#[derive(Clone, Debug)]
pub struct Layout {
    pub table: Table,
    pub axes: Vec<Axis>,
    pub values: Vec<Field>,
    pub schema: SchemaRef,
}

impl Layout {
    pub fn new(table: Table, axes: Vec<Axis>, values: Vec<Field>) -> Layout {
        let mut fields = vec![Field::new("trial", text_type(), false)];
        fields.extend(axes.iter().map(|axis| Field::new(&axis.name, axis_type(axis.kind), true)));
        fields.extend(values.iter().cloned());
        Layout { table, axes, values, schema: Arc::new(Schema::new(fields)) }
    }
}

/// Text with few distinct values: categories in pandas and polars, `VARCHAR` in DuckDB.
pub fn text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

pub fn axis_type(kind: AxisKind) -> DataType {
    match kind {
        AxisKind::Text => text_type(),
        AxisKind::Integer => DataType::Int64,
        AxisKind::Float => DataType::Float64,
        AxisKind::Boolean => DataType::Boolean,
    }
}

/// True if a column of values, not of axes, may be of this type.
pub fn is_value_type(data_type: &DataType) -> bool {
    let types = [DataType::Int64, DataType::Float64, DataType::Float32, DataType::Boolean, text_type()];
    types.contains(data_type)
}

/// True if `value` can stand in a column of `kind`; whole numbers can among floats.
fn has_kind(value: &AxisValue, kind: AxisKind) -> bool {
    matches!(
        (value, kind),
        (AxisValue::Text(_), AxisKind::Text)
            | (AxisValue::Integer(_), AxisKind::Integer | AxisKind::Float)
            | (AxisValue::Float(_), AxisKind::Float)
            | (AxisValue::Boolean(_), AxisKind::Boolean)
    )
}

/// How Parquet is written: every property by name, so that equal rows give equal bytes whatever the library's defaults.
///
/// Values that differ from row to row are split into byte streams (floats) or stored as differences (integers), which
/// costs less time than a dictionary and compresses better; what repeats gets a dictionary.
pub fn writer_properties(schema: &Schema, repeated_columns: usize, group_rows: usize) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by("clr-run".to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new("clr_run.format".to_owned(), FORMAT.to_string())]))
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(group_rows))
        .set_max_row_group_bytes(None)
        .set_write_batch_size(1024)
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(1 << 20)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(64))
        .set_write_page_header_statistics(false)
        .set_offset_index_disabled(true)
        .set_bloom_filter_enabled(false)
        .set_coerce_types(false);
    for field in schema.fields().iter().skip(repeated_columns) {
        let encoding = match field.data_type() {
            DataType::Int64 => Encoding::DELTA_BINARY_PACKED,
            DataType::Float32 | DataType::Float64 => Encoding::BYTE_STREAM_SPLIT,
            _ => continue,
        };
        let path = ColumnPath::new(vec![field.name().clone()]);
        builder = builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    builder.build()
}
