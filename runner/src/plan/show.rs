//! A plan for people and for programs: `clr-run plan`, as text and as JSON.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use comfy_table::{CellAlignment, LineStyle, Table, presets};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json, json};

use super::{Axis, AxisKind, AxisValue, DataPlan, Group, LastBatch, Normalize, Order, Plan, Shape, Trial};
use crate::schedule::{Amplitude, Cyclic, Decline, OneCycle, OneCycleForm, Schedule, Window};
use crate::spec::{Number, thousands};
use crate::words;

/// What is known of a run before it starts, besides its plan. Whoever measures or computes it fills it in.
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

/// Every trial with every value that differs, then what all share, the groups and the rows to be written.
pub fn text(plan: &Plan, estimates: &Estimates) -> String {
    let mut out = trial_table(plan);
    out.push('\n');
    for (index, group) in plan.groups.iter().enumerate() {
        let shape = &group.shape;
        let number = if plan.groups.len() > 1 { format!("group {}: ", index + 1) } else { String::new() };
        let trials = if group.trials.len() == 1 {
            "1 trial".to_owned()
        } else {
            format!("{} trials", thousands(group.trials.len() as u128))
        };
        let _ = writeln!(out, "{number}{trials} of {} {} {}", shape.plugin, shape.architecture, shape.model_json);
        let _ = writeln!(out, "  on {}", data_line(&shape.data));
    }
    let rows = row_count(plan);
    let _ = write!(out, "{} rows of metrics", thousands(u128::from(rows)));
    if let Some(bytes) = estimates.bytes_written {
        let _ = write!(out, ", about {}", words::bytes(bytes));
    }
    out.push('\n');
    if let Some(bytes) = estimates.bytes_per_trial {
        let shared =
            estimates.bytes_shared.map(|shared| format!(", and {} shared", words::bytes(shared))).unwrap_or_default();
        let _ = writeln!(out, "{} of memory for each trial in flight{shared}", words::bytes(bytes));
    }
    if let Some(seconds) = estimates.seconds {
        let _ = writeln!(out, "about {}", words::duration(seconds));
    }
    out
}

fn trial_table(plan: &Plan) -> String {
    let mut hypers: Vec<&str> = Vec::new();
    for (name, _) in plan.trials.iter().flat_map(Trial::schedules) {
        if !hypers.contains(&name) {
            hypers.push(name);
        }
    }
    let mut header: Vec<String> = plan.axes.iter().map(|axis| axis.name.clone()).collect();
    header.extend(hypers.iter().map(|name| name.to_string()));
    header.extend(["iterations", "optimizer constants", "id"].map(str::to_owned));
    let rows: Vec<Vec<String>> = plan.trials.iter().map(|trial| row(trial, &hypers)).collect();
    // A column in which all trials agree says nothing here; it is said once, below the table. One that repeats another
    // says nothing at all.
    let axis_count = plan.axes.len();
    let id = header.len() - 1;
    let differs = |column: usize| rows.iter().any(|row| row[column] != rows[0][column]);
    let repeats = |column: usize| (0..column).any(|other| rows.iter().all(|row| row[column] == row[other]));
    let (shown, common): (Vec<usize>, Vec<usize>) = (0..header.len())
        .filter(|&column| column < axis_count || column == id || !differs(column) || !repeats(column))
        .partition(|&column| column < axis_count || column == id || differs(column));

    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(shown.iter().map(|&column| header[column].as_str()));
    for row in &rows {
        table.add_row(shown.iter().map(|&column| row[column].as_str()));
    }
    for (position, &column) in shown.iter().enumerate() {
        let numeric = column < axis_count && matches!(plan.axes[column].kind, AxisKind::Integer | AxisKind::Float);
        if let (true, Some(column)) = (numeric, table.column_mut(position)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let table: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let table = table.join("\n");
    let mut out = format!("{} trials\n{table}\n", thousands(plan.trials.len() as u128));
    if let Some(first) = rows.first() {
        for column in common.into_iter().filter(|&column| !first[column].is_empty()) {
            let _ = writeln!(out, "{}: {}", header[column], first[column]);
        }
    }
    out
}

fn row(trial: &Trial, hypers: &[&str]) -> Vec<String> {
    let mut row: Vec<String> =
        trial.axes.iter().map(|value| value.as_ref().map_or(String::new(), AxisValue::to_string)).collect();
    row.extend(hypers.iter().map(|name| {
        let schedule = trial.schedules().find(|(own, _)| own == name);
        schedule.map_or(String::new(), |(_, schedule)| describe(schedule))
    }));
    row.push(trial.iterations.to_string());
    row.push(trial.optimizer.json.to_string());
    row.push(format!("{:.8}", trial.id));
    row
}

fn data_line(data: &DataPlan) -> String {
    let mut line = format!("{}: {} images", data.dataset, thousands(u128::from(data.train_count)));
    if data.validation_count > 0 {
        let _ = write!(line, " and {} for validation", thousands(u128::from(data.validation_count)));
    }
    if data.accumulate > 1 {
        let _ = write!(line, ", updates of {} batches of {}", data.accumulate, data.batch_size);
    } else {
        let _ = write!(line, ", batches of {}", data.batch_size);
    }
    let _ = write!(
        line,
        ", {}, {}, {}",
        order_name(data.order),
        last_batch_name(data.last_batch),
        normalize_name(data.normalize)
    );
    if data.scale != 1.0 {
        let _ = write!(line, ", scale {}", Number(data.scale));
    }
    if data.flip {
        line.push_str(", flipped at random");
    }
    if data.pad > 0 {
        let _ = write!(line, ", cropped from a padding of {}", data.pad);
    }
    line
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
        trial.schedules().map(|(name, schedule)| (name.to_owned(), schedule_json(schedule))).collect();
    let optimizer: Json = serde_json::from_str(&trial.optimizer.json).unwrap_or(Json::Null);
    let group = plan.groups.iter().position(|group| Arc::ptr_eq(&group.shape, &trial.shape));
    json!({
        "id": trial.id,
        "label": trial.label,
        "axes": axes,
        "group": group,
        "optimizer": optimizer,
        "schedules": schedules,
        "init_seed": trial.init_seed,
        "data_seed": trial.data_seed,
        "iterations": trial.iterations,
        "eval_every": trial.eval_every,
        "stop_on_divergence": trial.divergence.non_finite,
        "max_loss": trial.divergence.loss_above,
    })
}

fn shape_json(shape: &Shape) -> Json {
    let data = &shape.data;
    let options: Json = serde_json::from_str(&shape.model_json).unwrap_or(Json::Null);
    json!({
        "plugin": shape.plugin,
        "architecture": shape.architecture,
        "options": options,
        "hypers": shape.hypers,
        "metrics": shape.metrics,
        "data": {
            "dataset": data.dataset,
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

fn order_name(order: Order) -> &'static str {
    match order {
        Order::Shuffled => "shuffled",
        Order::Stored => "stored",
    }
}

fn last_batch_name(last_batch: LastBatch) -> &'static str {
    match last_batch {
        LastBatch::Wrap => "wrap",
        LastBatch::Drop => "drop",
        LastBatch::Keep => "keep",
    }
}

fn normalize_name(normalize: Normalize) -> &'static str {
    match normalize {
        Normalize::None => "none",
        Normalize::PixelMean => "pixel_mean",
        Normalize::ChannelMean => "channel_mean",
        Normalize::ChannelStandard => "channel_standard",
    }
}

/// One line: the kind and its values.
pub fn describe(schedule: &Schedule) -> String {
    describe_json(&schedule_json(schedule))
}

fn describe_json(json: &Json) -> String {
    match json {
        Json::Number(number) => number.as_f64().map_or(number.to_string(), |number| Number(number).to_string()),
        Json::String(text) => text.clone(),
        Json::Array(items) if items.len() > 8 => format!("{} values", items.len()),
        Json::Array(items) => format!("[{}]", items.iter().map(describe_json).collect::<Vec<_>>().join(", ")),
        Json::Object(fields) => {
            let kind = fields.get("kind").and_then(Json::as_str).unwrap_or_default();
            let fields = fields.iter().filter(|(name, value)| !goes_without_saying(fields, name, value));
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", describe_json(value))).collect();
            format!("{kind}({})", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// The kind itself, and what a spec would have by default.
fn goes_without_saying(fields: &Map<String, Json>, name: &str, value: &Json) -> bool {
    match (name, value) {
        ("kind", _) | (_, Json::Null) => true,
        ("window", Json::String(window)) => window == "linear",
        ("amplitude", Json::String(amplitude)) => amplitude == "constant" || fields["kind"] == "triangular2",
        ("decline", Json::String(decline)) => decline == "boundaries",
        ("step_size_down", down) => Some(down) == fields.get("step_size"),
        _ => false,
    }
}

/// The kind under `kind`, and the values; a constant is its value.
fn schedule_json(schedule: &Schedule) -> Json {
    match schedule {
        Schedule::Constant(value) => json!(value),
        Schedule::Step { base, gamma, step_size } => {
            json!({ "kind": "step", "base": base, "gamma": gamma, "step_size": step_size })
        }
        Schedule::MultiStep { base, gamma, milestones } => {
            json!({ "kind": "multistep", "base": base, "gamma": gamma, "milestones": milestones })
        }
        Schedule::Exp { base, gamma } => json!({ "kind": "exp", "base": base, "gamma": gamma }),
        Schedule::Inv { base, gamma, power } => json!({ "kind": "inv", "base": base, "gamma": gamma, "power": power }),
        Schedule::Poly { base, power, steps } => {
            json!({ "kind": "poly", "base": base, "power": power, "steps": steps })
        }
        Schedule::Sigmoid { base, gamma, step_size } => {
            json!({ "kind": "sigmoid", "base": base, "gamma": gamma, "step_size": step_size })
        }
        Schedule::Decay { base, max, step_size } => {
            json!({ "kind": "decay", "base": base, "max": max, "step_size": step_size })
        }
        Schedule::Cyclic(cyclic) => cyclic_json(cyclic),
        Schedule::OneCycle(one_cycle) => one_cycle_json(one_cycle),
        Schedule::Cosine { max, min, steps } => json!({ "kind": "cosine", "max": max, "min": min, "steps": steps }),
        Schedule::Sgdr { max, min, first_cycle, mult } => {
            json!({ "kind": "sgdr", "max": max, "min": min, "first_cycle": first_cycle, "mult": mult })
        }
        Schedule::Linear { from, to, steps } => json!({ "kind": "linear", "from": from, "to": to, "steps": steps }),
        Schedule::RangeTest { min, max, steps, geometric } => {
            json!({ "kind": "range_test", "min": min, "max": max, "steps": steps, "spacing": if *geometric { "geometric" } else { "linear" } })
        }
        Schedule::Table(values) => json!({ "kind": "table", "values": **values }),
        Schedule::Points { points, linear } => json!({
            "kind": "table",
            "steps": points.iter().map(|(step, _)| *step).collect::<Vec<f64>>(),
            "values": points.iter().map(|(_, value)| *value).collect::<Vec<f64>>(),
            "between": if *linear { "linear" } else { "hold" },
        }),
        Schedule::Sequence(stages) => {
            let stages: Vec<Json> = stages.iter().map(|stage| json!({ "kind": "stage", "steps": stage.steps, "schedule": schedule_json(&stage.schedule) })).collect();
            json!({ "kind": "sequence", "stages": stages })
        }
        Schedule::PerEpoch { iterations_per_epoch, first_epoch, inner } => json!({
            "kind": "per_epoch", "iterations_per_epoch": iterations_per_epoch, "first_epoch": first_epoch, "schedule": schedule_json(inner),
        }),
    }
}

fn cyclic_json(cyclic: &Cyclic) -> Json {
    let window = match cyclic.window {
        Window::Linear => "linear",
        Window::Welch => "welch",
        Window::Hann => "hann",
    };
    let amplitude = match cyclic.amplitude {
        Amplitude::Constant => "constant",
        Amplitude::HalfPerCycle => "half_per_cycle",
        Amplitude::OneOverCycle => "one_over_cycle",
    };
    let (decline, gamma) = match cyclic.decline {
        Some(Decline::Boundaries { gamma }) => (Some("boundaries"), Some(gamma)),
        Some(Decline::Amplitude { gamma }) => (Some("amplitude"), Some(gamma)),
        None => (None, None),
    };
    let kind = match (cyclic.decline, cyclic.amplitude) {
        (Some(_), _) => "exp_range",
        (None, Amplitude::HalfPerCycle) => "triangular2",
        _ => "triangular",
    };
    json!({
        "kind": kind, "base": cyclic.base, "max": cyclic.max, "step_size": cyclic.up, "step_size_down": cyclic.down, "window": window,
        "amplitude": amplitude, "decline": decline, "gamma": gamma, "cycles": cyclic.cycles,
    })
}

fn one_cycle_json(one_cycle: &OneCycle) -> Json {
    let (form, pct_start, step_size) = match one_cycle.form {
        OneCycleForm::Smith { step_size } => ("smith", None, Some(step_size)),
        OneCycleForm::TwoPhase { pct_start } => ("two_phase", Some(pct_start), None),
        OneCycleForm::ThreePhase { pct_start } => ("three_phase", Some(pct_start), None),
        OneCycleForm::Fraction { pct_start } => ("fastai", Some(pct_start), None),
    };
    json!({
        "kind": "one_cycle", "form": form, "initial": one_cycle.initial, "max": one_cycle.max, "last": one_cycle.last,
        "steps": one_cycle.steps, "pct_start": pct_start, "step_size": step_size,
        "anneal": if one_cycle.cosine { "cosine" } else { "linear" },
    })
}
