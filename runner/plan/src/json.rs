//! A plan as JSON, for programs: `plan.json` and `clr-run plan --json`.

use std::io;
use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_spec::kinds;
use clr_spec::{LastBatch, Normalize, Order};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json, json};

use super::{Axis, AxisKind, AxisValue, Group, Measurement, ParameterGroup, Plan, Shape, Trial};

/// Facts about a run before it starts, besides its plan. Whoever measures or computes one fills it in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimates {
    /// Wall time of the whole run, from a probe.
    pub seconds: Option<f64>,
    /// Memory that each trial in flight takes.
    pub bytes_per_trial: Option<u64>,
    /// Memory that the trials of a session share.
    pub bytes_shared: Option<u64>,
    /// Bytes that the tables will have.
    pub bytes_written: Option<u64>,
}

/// Rows of the metrics table, if no trial diverges.
pub fn row_count(plan: &Plan) -> u64 {
    plan.trials.iter().fold(0, |sum, trial| sum.saturating_add(trial.iterations))
}

/// Everything about every trial. Schedules are data too, so that a program need not know the formulas' names.
///
/// # Errors
///
/// Those of `out`.
pub fn write_json(plan: &Plan, estimates: &Estimates, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Document { plan, estimates })?;
    out.write_all(b"\n")
}

/// Written trial by trial: of ten thousand trials the text is 8 MB, and a tree of values ten times that.
struct Document<'a> {
    plan: &'a Plan,
    estimates: &'a Estimates,
}

struct Trials<'a>(&'a Plan);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { plan, estimates } = *self;
        let axis = |axis: &Axis| json!({ "name": axis.name, "kind": kind_name(axis.kind) });
        let group = |group: &Group| json!({ "shape": shape_json(&group.shape), "trials": group.trials });
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &plan.name)?;
        map.serialize_entry("axes", &plan.axes.iter().map(axis).collect::<Vec<_>>())?;
        map.serialize_entry("trials", &Trials(plan))?;
        map.serialize_entry("groups", &plan.groups.iter().map(group).collect::<Vec<_>>())?;
        if !plan.range_tests.is_empty() {
            map.serialize_entry("range_tests", &plan.range_tests.iter().map(measurement_json).collect::<Vec<_>>())?;
        }
        map.serialize_entry("rows", &row_count(plan))?;
        let estimates = json!({
            "seconds": estimates.seconds,
            "bytes_per_trial": estimates.bytes_per_trial,
            "bytes_shared": estimates.bytes_shared,
            "bytes_written": estimates.bytes_written,
        });
        map.serialize_entry("estimates", &estimates)?;
        map.end()
    }
}

impl Serialize for Trials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.trials.iter().map(|trial| trial_json(self.0, trial)))
    }
}

fn trial_json(plan: &Plan, trial: &Trial) -> Json {
    let axes: Map<String, Json> = plan
        .axes
        .iter()
        .zip(&trial.axes)
        .map(|(axis, value)| (axis.name.clone(), value.as_ref().map_or(Json::Null, axis_json)))
        .collect();
    let schedules: Map<String, Json> =
        trial.schedules().map(|(name, schedule)| (name.to_owned(), kinds::json(schedule))).collect();
    let optimizer: Json = serde_json::from_str(&trial.optimizer.json).unwrap_or(Json::Null);
    let group = plan.groups.iter().position(|group| Arc::ptr_eq(&group.shape, &trial.shape));
    let of_parameters = |group: &ParameterGroup| {
        let ParameterGroup { parameters, lr_mult, decay_mult, tensors, values } = group;
        json!({
            "parameters": &**parameters, "lr_mult": lr_mult, "decay_mult": decay_mult, "tensors": tensors, "values": values,
        })
    };
    let groups: Vec<Json> = trial.optimizer.groups.iter().map(of_parameters).collect();
    json!({
        "id": trial.id,
        "label": trial.label,
        "axes": axes,
        "group": group,
        "optimizer": optimizer,
        "parameter_groups": groups,
        "schedules": schedules,
        "init_seed": trial.init_seed,
        "data_seed": trial.data_seed,
        "iterations": trial.iterations,
        "eval_every": exact(trial.eval_every.iterations()),
        "stop_on_divergence": trial.divergence.non_finite,
        "max_loss": trial.divergence.loss_above,
    })
}

fn shape_json(shape: &Shape) -> Json {
    let data = &shape.data;
    let options: Json = serde_json::from_str(&shape.model_json).unwrap_or(Json::Null);
    let mut shape = json!({
        "plugin": shape.plugin,
        "architecture": shape.architecture,
        "options": options,
        "hypers": shape.hypers,
        "metrics": shape.metrics,
        "data": {
            "dataset": data.dataset.name,
            "digest": data.digest,
            "batch_size": data.batch_size,
            "accumulate": data.accumulate,
            "train_count": data.train_count,
            "validation_count": data.validation_count,
            "order": order_name(data.order),
            "last_batch": last_batch_name(data.last_batch),
            "normalize": normalize_name(data.normalize),
            "scale": data.scale,
            "flip": data.flip,
            "pad": data.pad,
        },
    });
    if let Some(count) = data.test_count {
        shape["data"]["test_count"] = json!(count);
    }
    let used = [
        ("input_size", (data.input_size > 0).then(|| json!(data.input_size))),
        ("min_area", (data.min_area > 0.0).then(|| json!(data.min_area))),
        ("lighting", (data.lighting > 0.0).then(|| json!(data.lighting))),
    ];
    for (key, value) in used {
        if let Some(value) = value {
            shape["data"][key] = value;
        }
    }
    shape
}

/// A range test that bounds are taken from; without them, it is still to be made.
fn measurement_json(test: &Measurement) -> Json {
    json!({
        "policies": test.policies,
        "optimizer": test.optimizer,
        "base_lr": test.bounds.map(|bounds| bounds.base),
        "max_lr": test.bounds.map(|bounds| bounds.max),
        "iterations": test.iterations,
        "trials": test.trials,
    })
}

fn axis_json(value: &AxisValue) -> Json {
    match value {
        AxisValue::Text(text) => json!(&**text),
        AxisValue::Integer(integer) => json!(integer),
        AxisValue::Float(float) => json!(float),
        AxisValue::Boolean(boolean) => json!(boolean),
    }
}

fn kind_name(kind: AxisKind) -> &'static str {
    match kind {
        AxisKind::Text => "text",
        AxisKind::Integer => "integer",
        AxisKind::Float => "float",
        AxisKind::Boolean => "boolean",
    }
}

pub(crate) fn order_name(order: Order) -> &'static str {
    match order {
        Order::Shuffled => "shuffled",
        Order::Stored => "stored",
    }
}

pub(crate) fn last_batch_name(last_batch: LastBatch) -> &'static str {
    match last_batch {
        LastBatch::Wrap => "wrap",
        LastBatch::Drop => "drop",
        LastBatch::Keep => "keep",
    }
}

pub(crate) fn normalize_name(normalize: Normalize) -> &'static str {
    match normalize {
        Normalize::None => "none",
        Normalize::PixelMean => "pixel_mean",
        Normalize::ChannelMean => "channel_mean",
        Normalize::ChannelStandard => "channel_standard",
    }
}

/// A whole number as one, a fraction as its text, such as `625/4`.
fn exact(ratio: Ratio) -> Json {
    ratio.whole().map_or_else(|| json!(ratio.to_string()), |whole| json!(whole))
}
