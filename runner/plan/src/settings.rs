//! Every resolved setting of a trial, as a column of `trials.parquet`: what tells two outputs apart though it is one value
//! in each.
//!
//! Keys of `[data]` and `[train]`, and what they came to, stand under their own names. Those of the policy, the optimizer
//! and the model's options stand under their paths, `policy.base_lr`, `optimizer.momentum`, `optimizer.momentum.max`,
//! `optimizer.groups.1.lr_mult`, `model.width`, `policy.stages.2.max_lr`: whether they are axes too or not, defaults filled in, durations in iterations.
//! All of it is made from the trial when it is asked for, so that none of it takes memory.

use std::collections::{HashMap, HashSet};

use clr_schedule::Schedule;
use clr_spec::DatasetQuery;
use clr_spec::keys::Kind;
use clr_spec::kinds::{self, Naming, SCHEDULE_KINDS, STAGE_LENGTH};
use clr_terminal::words::Number;
use serde_json::{Map, Value as Json};

use super::facts::Facts;
use super::grid::SECTIONS;
use super::json::{last_batch_name, normalize_name, order_name};
use super::resolve::GROUPS;
use super::{Axis, AxisKind, AxisValue, Trial, source_file, types};

/// A setting that every plan has.
pub struct Fixed {
    /// The name of its column.
    pub name: &'static str,
    /// The key that it is the value of; none where it is what several keys came to.
    pub path: Option<&'static str>,
    pub kind: AxisKind,
    pub value: fn(&Trial) -> Option<AxisValue>,
}

const fn fixed(
    name: &'static str,
    path: Option<&'static str>,
    kind: AxisKind,
    value: fn(&Trial) -> Option<AxisValue>,
) -> Fixed {
    Fixed { name, path, kind, value }
}

/// The settings that every plan has, in order.
#[rustfmt::skip]
pub static FIXED: [Fixed; 25] = [
    fixed("plugin", Some("model.plugin"), AxisKind::Text, |trial| text(&trial.shape.plugin)),
    fixed("architecture", Some("model.architecture"), AxisKind::Text, |trial| text(&trial.shape.architecture)),
    fixed("precision", Some("train.precision"), AxisKind::Text, |trial| from_json(object(&trial.shape.model_json).get("precision")?)),
    fixed("dataset", Some("data.dataset"), AxisKind::Text, |trial| text(&trial.shape.data.dataset.name)),
    fixed("dataset_digest", None, AxisKind::Text, |trial| text(trial.shape.data.digest.as_deref()?)),
    fixed("batch_size", Some("data.batch_size"), AxisKind::Integer, |trial| integer(u64::from(trial.shape.data.batch_size))),
    fixed("accumulate", Some("train.accumulate"), AxisKind::Integer, |trial| integer(u64::from(trial.shape.data.accumulate))),
    fixed("train_count", None, AxisKind::Integer, |trial| integer(trial.shape.data.train_count)),
    fixed("validation_count", Some("data.validation"), AxisKind::Integer, |trial| integer(trial.shape.data.validation_count)),
    fixed("order", Some("data.order"), AxisKind::Text, |trial| text(order_name(trial.shape.data.order))),
    fixed("last_batch", Some("data.last_batch"), AxisKind::Text, |trial| text(last_batch_name(trial.shape.data.last_batch))),
    fixed("normalize", Some("data.normalize"), AxisKind::Text, |trial| text(normalize_name(trial.shape.data.normalize))),
    fixed("scale", Some("data.scale"), AxisKind::Float, |trial| Some(AxisValue::Float(trial.shape.data.scale))),
    fixed("flip", Some("data.flip"), AxisKind::Boolean, |trial| Some(AxisValue::Boolean(trial.shape.data.flip))),
    fixed("pad", Some("data.pad"), AxisKind::Integer, |trial| integer(u64::from(trial.shape.data.pad))),
    fixed("optimizer_kind", None, AxisKind::Text, |trial| text(&trial.optimizer.kind)),
    fixed("init_seed", None, AxisKind::Integer, |trial| integer(trial.init_seed)),
    fixed("data_seed", None, AxisKind::Integer, |trial| integer(trial.data_seed)),
    fixed("iterations", Some("train.iterations"), AxisKind::Integer, |trial| integer(trial.iterations)),
    fixed("eval_every", Some("train.eval_every"), AxisKind::Float, |trial| Some(AxisValue::Float(trial.eval_every.iterations().to_f64()))),
    fixed("clip_gradients", Some("train.clip_gradients"), AxisKind::Float, |trial| {
        // Where the optimizer cannot clip, or need not.
        Some(object(&trial.optimizer.json).get(CLIP).and_then(from_json).unwrap_or(AxisValue::Float(0.0)))
    }),
    fixed("stop_on_divergence", Some("train.stop_on_divergence"), AxisKind::Boolean, |trial| Some(AxisValue::Boolean(trial.divergence.non_finite))),
    fixed("max_loss", Some("train.max_loss"), AxisKind::Float, |trial| trial.divergence.loss_above.map(AxisValue::Float)),
    fixed("model_json", None, AxisKind::Text, |trial| text(&trial.shape.model_json)),
    fixed("optimizer_json", None, AxisKind::Text, |trial| text(&trial.optimizer.json)),
];

/// Keys of `[data]` that have a column, under their paths, where some trial uses them: so that tables of other plans keep theirs.
#[cfg(test)]
const WHERE_USED: [&str; 3] = ["data.input_size", "data.min_area", "data.lighting"];

/// The constant of an optimizer that is a key of `[train]`.
const CLIP: &str = "clip_gradients";

/// A list longer than this is told by its length and a digest.
const LISTED: usize = 32;

/// The columns of the settings that [`FIXED`] lacks, of all `trials`, in the order of the spec's sections.
pub fn columns(trials: &[Trial], facts: &Facts) -> Vec<Axis> {
    let mut columns: Vec<Axis> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for trial in trials {
        for (name, value) in of(trial) {
            let column = *known.entry(name).or_insert_with_key(|name| {
                let kind = if types::is_free(name) { types::of_value(&value) } else { types::of(name, facts) };
                columns.push(Axis { name: name.clone(), kind });
                columns.len() - 1
            });
            if types::is_free(&columns[column].name) {
                columns[column].kind = types::joined(columns[column].kind, types::of_value(&value));
            }
            // Of a schedule, words that are no key of a spec are told by their values.
            if matches!(value, AxisValue::Text(_)) {
                columns[column].kind = AxisKind::Text;
            }
        }
    }
    let taken: HashSet<&str> = FIXED.iter().map(|setting| setting.name).collect();
    columns.retain(|column| !taken.contains(column.name.as_str()));
    columns.sort_by_key(|column| SECTIONS.iter().position(|section| column.name.starts_with(section)));
    columns
}

/// The settings of a trial that [`FIXED`] lacks, by the names of their columns.
pub fn of(trial: &Trial) -> Vec<(String, AxisValue)> {
    let mut settings = Settings(Vec::with_capacity(24));
    let DatasetQuery { fit, test_share, .. } = trial.shape.data.dataset;
    for (name, side) in [("data.resize", fit.resize), ("data.crop", fit.crop)] {
        settings.0.extend(side.map(|side| (name.to_owned(), AxisValue::Integer(side.into()))));
    }
    if fit.exif_orientation {
        settings.push("data.exif_orientation", AxisValue::Boolean(true));
    }
    settings.0.extend(test_share.map(|share| ("data.test_share".to_owned(), AxisValue::Float(f64::from(share) / 1e6))));
    let is_option = |name: &str| name != "precision" && name != "accumulate";
    for (name, value) in object(&trial.shape.model_json).iter().filter(|(name, _)| is_option(name)) {
        settings.add(&format!("model.{name}"), value);
    }
    settings.0.extend(trial.shape.data.test_count.and_then(|count| Some(("data.test".to_owned(), integer(count)?))));
    let data = &trial.shape.data;
    if data.input_size > 0 {
        settings.push("data.input_size", AxisValue::Integer(i64::from(data.input_size)));
    }
    for (name, value) in [("data.min_area", data.min_area), ("data.lighting", data.lighting)] {
        if value > 0.0 {
            settings.push(name, AxisValue::Float(value));
        }
    }
    settings.schedule("policy", Naming::LearningRate, &trial.lr);
    let constants = object(&trial.optimizer.json);
    settings.push("optimizer.kind", AxisValue::Text((&*trial.optimizer.kind).into()));
    let is_constant = |name: &str| ![CLIP, GROUPS, "optimizer"].contains(&name);
    for (name, value) in constants.iter().filter(|(name, _)| is_constant(name)) {
        settings.add(&format!("optimizer.{name}"), value);
    }
    for (group, number) in trial.optimizer.groups.iter().zip(1..) {
        let path = |key: &str| format!("optimizer.groups.{number}.{key}");
        settings.push(&path("parameters"), AxisValue::Text((&*group.parameters).into()));
        for (key, mult) in [("lr_mult", group.lr_mult), ("decay_mult", group.decay_mult)] {
            settings.0.extend(mult.map(|mult| (path(key), AxisValue::Float(mult))));
        }
    }
    for (name, schedule) in &trial.optimizer.hypers {
        let path = format!("optimizer.{name}");
        match schedule {
            Schedule::Constant(value) => settings.push(&path, AxisValue::Float(*value)),
            schedule => settings.schedule(&path, Naming::Plain, schedule),
        }
    }
    settings.0
}

/// What a key of the schedule below `prefix` came to.
pub fn of_schedule(prefix: &str, naming: Naming, schedule: &Schedule, path: &str) -> Option<AxisValue> {
    let mut settings = Settings(Vec::new());
    settings.schedule(prefix, naming, schedule);
    settings.0.into_iter().find(|(name, _)| name == path).map(|(_, value)| value)
}

struct Settings(Vec<(String, AxisValue)>);

impl Settings {
    fn push(&mut self, name: &str, value: AxisValue) {
        self.0.push((name.to_owned(), value));
    }

    /// A value of JSON: of an object, each of its values.
    fn add(&mut self, name: &str, value: &Json) {
        if let Some((file, text)) = source_file::of(value) {
            self.push(name, AxisValue::Text(source_file::shown(file, text).into()));
            return;
        }
        match value {
            Json::Object(fields) => {
                fields.iter().for_each(|(field, value)| self.add(&format!("{name}.{field}"), value))
            }
            Json::Array(items) => self.push(name, AxisValue::Text(list(items).into())),
            value => self.0.extend(from_json(value).map(|value| (name.to_owned(), value))),
        }
    }

    /// A schedule by the keys of a spec, with all that was left to a default.
    fn schedule(&mut self, prefix: &str, naming: Naming, schedule: &Schedule) {
        match kinds::json(schedule) {
            Json::Object(fields) => {
                let per = if is_per_epoch(&fields) { "epoch" } else { "iteration" };
                self.push(&format!("{prefix}.per"), AxisValue::Text(per.into()));
                self.fields(prefix, naming, &fields, 1.0);
            }
            constant => self.constant(prefix, naming, &constant),
        }
    }

    fn constant(&mut self, prefix: &str, naming: Naming, value: &Json) {
        self.push(&format!("{prefix}.kind"), AxisValue::Text("fixed".into()));
        self.add(&format!("{prefix}.{}", naming.name("base_lr")), value);
    }

    /// `step` is how many iterations a step of the schedule has.
    fn fields(&mut self, prefix: &str, naming: Naming, fields: &Map<String, Json>, step: f64) {
        let per_epoch = is_per_epoch(fields);
        let inner_step = match fields.get("iterations_per_epoch").and_then(Json::as_f64) {
            Some(iterations) if per_epoch => step * iterations,
            _ => step,
        };
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("schedule", Json::Object(inner)) => self.fields(prefix, naming, inner, inner_step),
                ("schedule", constant) => self.constant(prefix, naming, constant),
                ("stages", Json::Array(stages)) => {
                    for (stage, number) in stages.iter().filter_map(Json::as_object).zip(1..) {
                        let prefix = format!("{prefix}.stages.{number}");
                        if let Some(steps) = stage.get("steps").and_then(Json::as_f64) {
                            self.push(&format!("{prefix}.{}", STAGE_LENGTH.name), AxisValue::Float(steps * step));
                        }
                        match stage.get("schedule") {
                            Some(Json::Object(inner)) => {
                                if is_per_epoch(inner) {
                                    self.push(&format!("{prefix}.per"), AxisValue::Text("epoch".into()));
                                }
                                self.fields(&prefix, naming, inner, step);
                            }
                            Some(constant) => self.constant(&prefix, naming, constant),
                            None => {}
                        }
                    }
                }
                ("kind" | "iterations_per_epoch", _) if per_epoch => {}
                (name, Json::Number(number)) => {
                    let key = key_name(name);
                    let factor = if is_duration(key) { step } else { 1.0 };
                    let value = number.as_f64().map(|number| AxisValue::Float(number * factor));
                    self.0.extend(value.map(|value| (format!("{prefix}.{}", naming.name(key)), value)));
                }
                // The steps of a table's values are not its length, which has that name.
                (name @ ("milestones" | "steps"), Json::Array(items)) => {
                    let name = if name == "steps" { "values_at" } else { name };
                    let items: Vec<Json> =
                        items.iter().filter_map(Json::as_f64).map(|item| Json::from(item * step)).collect();
                    self.push(&format!("{prefix}.{name}"), AxisValue::Text(list(&items).into()));
                }
                (name, value) => self.add(&format!("{prefix}.{}", naming.name(key_name(name))), value),
            }
        }
    }
}

fn is_per_epoch(fields: &Map<String, Json>) -> bool {
    fields.get("kind").is_some_and(|kind| kind == "per_epoch")
}

/// The key of a spec that sets what a resolved schedule calls so.
fn key_name(name: &str) -> &str {
    match name {
        "base" | "initial" => "base_lr",
        "max" => "max_lr",
        "min" => "min_lr",
        "from" => "from_lr",
        "to" => "to_lr",
        "last" => "last_lr",
        other => other,
    }
}

fn is_duration(key: &str) -> bool {
    let mut keys = SCHEDULE_KINDS.iter().flat_map(|kind| kind.keys);
    keys.any(|known| known.name == key && matches!(known.kind, Kind::Duration { .. }))
}

fn list(items: &[Json]) -> String {
    if items.len() > LISTED {
        let digest = blake3::hash(Json::from(items).to_string().as_bytes()).to_hex();
        return format!("{} values, blake3 {:.16}", items.len(), digest);
    }
    let item = |item: &Json| match (item.as_f64(), item.as_str()) {
        (Some(number), _) => Number(number).to_string(),
        (_, Some(text)) => text.to_owned(),
        _ => item.to_string(),
    };
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
}

fn object(json: &str) -> Map<String, Json> {
    serde_json::from_str(json).unwrap_or_default()
}

/// A scalar of JSON.
pub(super) fn from_json(json: &Json) -> Option<AxisValue> {
    match json {
        Json::Bool(boolean) => Some(AxisValue::Boolean(*boolean)),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Some(AxisValue::Integer(integer)),
            None => number.as_f64().map(AxisValue::Float),
        },
        Json::String(text) => Some(AxisValue::Text(text.as_str().into())),
        _ => None,
    }
}

fn text(text: &str) -> Option<AxisValue> {
    Some(AxisValue::Text(text.into()))
}

/// Seeds and counts come from TOML, whose integers are signed; what exceeds them cannot be shown.
fn integer(value: u64) -> Option<AxisValue> {
    i64::try_from(value).ok().map(AxisValue::Integer)
}

#[cfg(test)]
mod tests {
    use clr_spec::keys;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::example::planned_of;

    #[test]
    fn every_key_of_data_and_train_is_a_column_of_its_type() {
        let facts = crate::example::facts();
        for section in [&keys::MODEL, &keys::DATA, &keys::TRAIN] {
            for key in section.keys {
                let path = format!("{}.{}", section.name, key.name);
                // What not all plans have is a column only of those that do.
                if path == "data.test" {
                    let with = planned_of(
                        "[policies.p]\nkind = \"fixed\"\nbase_lr = 1\ndata.test = 7\n[optimizers.sgd]\nkind = \"sgd\"\n",
                    );
                    assert!(with.settings.contains(&Axis { name: path, kind: AxisKind::Integer }));
                    continue;
                }
                if WHERE_USED.contains(&path.as_str()) {
                    continue;
                }
                let setting = FIXED.iter().find(|setting| setting.path == Some(path.as_str()));
                // How images are brought to one size stands in the tables of those plans only that say it.
                let sizes = |key: &str| section.name == "data" && DatasetQuery::KEYS[1..].contains(&key);
                if setting.is_none() && sizes(key.name) {
                    continue;
                }
                let setting = setting.unwrap_or_else(|| panic!("`{path}` is in no column of trials.parquet"));
                assert_eq!(setting.kind, types::of(&path, &facts), "{path}");
            }
        }
    }

    #[test]
    fn what_is_done_to_images_is_a_column_where_some_trial_uses_it() {
        let body = "[policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n[optimizers.o]\nkind = \"sgd\"\n";
        let used = "data.input_size = 24\ndata.min_area = 0.25\ndata.lighting = 0.1\n";
        let plan = planned_of(&body.replace("[optimizers.o]", &format!("{used}[optimizers.o]")));
        let columns: Vec<(&str, AxisKind)> = plan
            .settings
            .iter()
            .filter(|column| column.name.starts_with("data."))
            .map(|column| (&*column.name, column.kind))
            .collect();
        let kinds = [AxisKind::Integer, AxisKind::Float, AxisKind::Float];
        assert_eq!(columns, WHERE_USED.into_iter().zip(kinds).collect::<Vec<_>>());
        let values: Vec<AxisValue> = of(&plan.trials[0])
            .into_iter()
            .filter(|(name, _)| name.starts_with("data."))
            .map(|(_, value)| value)
            .collect();
        assert_eq!(values, [AxisValue::Integer(24), AxisValue::Float(0.25), AxisValue::Float(0.1)]);
        let plan = planned_of(body);
        assert!(plan.settings.iter().all(|column| !column.name.starts_with("data.")));
    }

    /// The settings of the trials of a policy and an optimizer, and the types of their columns.
    #[track_caller]
    fn check(policy: &str, optimizer: &str, expected: Expect) {
        let plan = planned_of(&format!("[policies.p]\n{policy}\n[optimizers.o]\n{optimizer}\n"));
        let mut out = String::new();
        for (name, value) in plan.trials.iter().flat_map(of) {
            let column = plan.settings.iter().find(|column| column.name == name).expect("each has a column");
            let value = value.of_kind(column.kind).expect("it is of its column's type");
            out += &format!("{name} = {value} ({:?})\n", column.kind);
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn constants_and_defaults_of_policy_optimizer_and_model_are_settings() {
        check(
            "kind = \"fixed\"\nbase_lr = 1",
            "kind = \"adam\"\nbeta1 = 0",
            expect![[r#"
            model.width = 32 (Integer)
            model.pool = max (Text)
            model.dropout = 0 (Float)
            policy.kind = fixed (Text)
            policy.base_lr = 1 (Float)
            optimizer.kind = adam (Text)
            optimizer.epsilon = 1e-8 (Float)
            optimizer.weight_decay = 0.004 (Float)
            optimizer.beta1 = 0 (Float)
            optimizer.beta2 = 0.999 (Float)
        "#]],
        );
    }

    #[test]
    fn schedules_of_any_hyper_parameter_are_settings_with_durations_in_iterations() {
        check(
            "kind = \"triangular\"\nbase_lr = 0.001\nmax_lr = 0.01\nstep_size = \"2 epochs\"",
            "kind = \"sgd\"\nmomentum = { kind = \"cosine\", max = 0.95, min = 0.5 }",
            expect![[r#"
                model.width = 32 (Integer)
                model.pool = max (Text)
                model.dropout = 0 (Float)
                policy.per = iteration (Text)
                policy.kind = triangular (Text)
                policy.base_lr = 0.001 (Float)
                policy.max_lr = 0.01 (Float)
                policy.step_size = 1000 (Float)
                policy.step_size_down = 1000 (Float)
                policy.window = linear (Text)
                policy.amplitude = constant (Text)
                optimizer.kind = sgd (Text)
                optimizer.momentum.per = iteration (Text)
                optimizer.momentum.kind = cosine (Text)
                optimizer.momentum.max = 0.95 (Float)
                optimizer.momentum.min = 0.5 (Float)
                optimizer.momentum.steps = 25000 (Float)
                optimizer.weight_decay = 0.004 (Float)
            "#]],
        );
    }

    #[test]
    fn stages_are_numbered_and_epochs_are_iterations() {
        check(
            "kind = \"sequence\"\nstages = [{ kind = \"fixed\", base_lr = 0.1, iterations = \"2 epochs\" }, { kind = \"multistep\", per = \"epoch\", base_lr = 0.1, gamma = 0.5, milestones = [\"3 epochs\", \"4 epochs\"] }]",
            "kind = \"sgd\"",
            expect![[r#"
                model.width = 32 (Integer)
                model.pool = max (Text)
                model.dropout = 0 (Float)
                policy.per = iteration (Text)
                policy.kind = sequence (Text)
                policy.stages.1.iterations = 1000 (Float)
                policy.stages.1.kind = fixed (Text)
                policy.stages.1.base_lr = 0.1 (Float)
                policy.stages.2.iterations = 24000 (Float)
                policy.stages.2.per = epoch (Text)
                policy.stages.2.first_epoch = 1 (Float)
                policy.stages.2.kind = multistep (Text)
                policy.stages.2.base_lr = 0.1 (Float)
                policy.stages.2.gamma = 0.5 (Float)
                policy.stages.2.milestones = [1500, 2000] (Text)
                optimizer.kind = sgd (Text)
                optimizer.momentum = 0.9 (Float)
                optimizer.weight_decay = 0.004 (Float)
            "#]],
        );
    }

    #[test]
    fn what_a_policy_left_to_a_default_is_resolved() {
        check(
            "kind = \"one_cycle\"\nform = \"two_phase\"\nmax_lr = 0.1",
            "kind = \"rmsprop\"",
            expect![[r#"
            model.width = 32 (Integer)
            model.pool = max (Text)
            model.dropout = 0 (Float)
            policy.per = iteration (Text)
            policy.kind = one_cycle (Text)
            policy.form = two_phase (Text)
            policy.base_lr = 0.004 (Float)
            policy.max_lr = 0.1 (Float)
            policy.last_lr = 4e-7 (Float)
            policy.steps = 25000 (Float)
            policy.pct_start = 0.3 (Float)
            policy.anneal = cosine (Text)
            optimizer.kind = rmsprop (Text)
            optimizer.rms_decay = 0.98 (Float)
            optimizer.weight_decay = 0.004 (Float)
        "#]],
        );
        check(
            "kind = \"table\"\nfile = \"lr.csv\"",
            "kind = \"rmsprop\"",
            expect![[r#"
            model.width = 32 (Integer)
            model.pool = max (Text)
            model.dropout = 0 (Float)
            policy.per = iteration (Text)
            policy.kind = table (Text)
            policy.values = [0.1, 0.2] (Text)
            optimizer.kind = rmsprop (Text)
            optimizer.rms_decay = 0.98 (Float)
            optimizer.weight_decay = 0.004 (Float)
        "#]],
        );
    }

    #[test]
    fn a_long_list_is_told_by_its_length_and_a_digest() {
        let items = |last: f64| (0..40).map(f64::from).chain([last]).map(Json::from).collect::<Vec<_>>();
        let [a, b] = [1.0, 2.0].map(|last| list(&items(last)));
        assert!(a.starts_with("41 values, blake3 ") && a.len() < 64, "{a}");
        assert_ne!(a, b);
    }
}
