//! The type of each key's column, which follows from the key and never from the values that happen to be there: tables of
//! two outputs go together.
//!
//! - Numbers of policies and of other schedules, and hyper-parameters, are float64, whole ones too.
//! - Durations are float64, in iterations, since an epoch need not be a whole number of them; `iterations`, the number of
//!   updates, is int64.
//! - Other keys of `[data]` and `[train]` are int64 where they count, float64 where they measure.
//! - Options of a plugin are of the type that its JSON Schema gives them, in all of its models or optimizers together;
//!   text where it gives none.
//! - In a table of a model's options, whose keys no schema need know, the values tell.
//! - Words and lists are text, flags boolean.

use clr_spec::keys::{self, Key, Kind};
use clr_spec::kinds::{COMMON, Naming, SCHEDULE_KINDS, STAGE_LENGTH};
use serde_json::Value as Json;

use super::facts::{Facts, PluginFacts};
use super::options::Schema;
use super::{AxisKind, AxisValue};

/// The type of the column of the key at `path`, such as `policy.max_lr`.
pub fn of(path: &str, facts: &Facts) -> AxisKind {
    let plugins = || facts.plugins.values().flatten();
    let (section, key) = path.split_once('.').unwrap_or(("", path));
    match (section, key.rsplit_once('.')) {
        ("data", _) => of_section(keys::DATA.keys, key).unwrap_or(AxisKind::Text),
        ("train", _) => of_section(keys::TRAIN.keys, key).unwrap_or(AxisKind::Text),
        ("model", _) => of_section(keys::MODEL.keys, key)
            .or_else(|| of_option(key, plugins().flat_map(|plugin| &plugin.models).map(|model| &model.options_schema)))
            .unwrap_or(AxisKind::Text),
        ("policy", below) => of_schedule(Naming::LearningRate, below.map_or(key, |(_, last)| last)),
        ("optimizer", Some((group, last))) if group.starts_with("groups.") => {
            of_section(keys::GROUP.keys, last).unwrap_or(AxisKind::Text)
        }
        ("optimizer", Some((_, last))) => of_schedule(Naming::Plain, last),
        ("optimizer", None) if key == "kind" => AxisKind::Text,
        ("optimizer", None) if plugins().any(|plugin| is_hyper(plugin, key)) => AxisKind::Float,
        ("optimizer", None) => {
            let schemas = plugins().flat_map(|plugin| &plugin.optimizers).map(|optimizer| &optimizer.options_schema);
            of_option(key, schemas).unwrap_or(AxisKind::Text)
        }
        _ => AxisKind::Text,
    }
}

fn is_hyper(plugin: &PluginFacts, name: &str) -> bool {
    plugin.models.iter().any(|model| model.hypers.iter().any(|hyper| hyper == name))
}

fn of_section(keys: &[Key], name: &str) -> Option<AxisKind> {
    let key = keys.iter().find(|key| key.name == name)?;
    Some(match key.kind {
        Kind::Duration { .. } if name == "iterations" => AxisKind::Integer,
        // A share comes to a number of images.
        Kind::Integer { .. } | Kind::CountOrShare => AxisKind::Integer,
        Kind::Duration { .. } | Kind::Number(_) | Kind::Seconds | Kind::Bytes => AxisKind::Float,
        Kind::Boolean => AxisKind::Boolean,
        Kind::Text | Kind::OneOf(_) | Kind::Durations | Kind::Interval | Kind::Stages => AxisKind::Text,
        Kind::Names | Kind::Seeds | Kind::Axes | Kind::Cells => AxisKind::Text,
    })
}

/// Of a key of schedules by its last name: what is no known word is a number that the schedule came to.
fn of_schedule(naming: Naming, name: &str) -> AxisKind {
    let known = SCHEDULE_KINDS.iter().flat_map(|kind| kind.keys).chain(COMMON).chain([&STAGE_LENGTH]);
    match known.into_iter().find(|key| naming.name(key.name) == name).map(|key| key.kind) {
        Some(Kind::Text | Kind::OneOf(_) | Kind::Durations | Kind::Interval | Kind::Stages) => AxisKind::Text,
        Some(Kind::Names | Kind::Seeds | Kind::Axes | Kind::Cells) => AxisKind::Text,
        Some(Kind::Boolean) => AxisKind::Boolean,
        Some(Kind::Integer { .. } | Kind::CountOrShare | Kind::Number(_)) => AxisKind::Float,
        Some(Kind::Duration { .. } | Kind::Seconds | Kind::Bytes) => AxisKind::Float,
        None if name == "kind" => AxisKind::Text,
        None => AxisKind::Float,
    }
}

/// Of an option that some of the schemas have.
fn of_option<'f>(name: &str, schemas: impl Iterator<Item = &'f Json>) -> Option<AxisKind> {
    let types = schemas.filter_map(|schema| Schema(schema).property(name)).map(|property| {
        match property.get("type").and_then(Json::as_str) {
            Some("integer") => AxisKind::Integer,
            Some("number") => AxisKind::Float,
            Some("boolean") => AxisKind::Boolean,
            _ => AxisKind::Text,
        }
    });
    types.reduce(joined)
}

/// The type of a column with values of both.
pub fn joined(a: AxisKind, b: AxisKind) -> AxisKind {
    match (a, b) {
        _ if a == b => a,
        (AxisKind::Integer, AxisKind::Float) | (AxisKind::Float, AxisKind::Integer) => AxisKind::Float,
        _ => AxisKind::Text,
    }
}

/// True if no schema knows the type of the column: of a key in a table of a model's options, which are a function's arguments
/// or the like. Their values tell it.
pub fn is_free(path: &str) -> bool {
    path.strip_prefix("model.").is_some_and(|option| option.contains('.'))
}

/// The type of a column that has just this value.
pub fn of_value(value: &AxisValue) -> AxisKind {
    match value {
        AxisValue::Text(_) => AxisKind::Text,
        AxisValue::Integer(_) => AxisKind::Integer,
        AxisValue::Float(_) => AxisKind::Float,
        AxisValue::Boolean(_) => AxisKind::Boolean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::facts;

    /// A key is looked up by its name alone, so wherever a name stands it must be of one type.
    #[test]
    fn a_name_has_one_type_in_all_kinds_of_schedules() {
        for kind in SCHEDULE_KINDS {
            for key in kind.keys {
                let expected = match key.kind {
                    Kind::Number(_) | Kind::Integer { .. } | Kind::Duration { .. } => AxisKind::Float,
                    Kind::Boolean => AxisKind::Boolean,
                    _ => AxisKind::Text,
                };
                for (naming, path) in [
                    (Naming::LearningRate, "policy"),
                    (Naming::LearningRate, "policy.stages.2"),
                    (Naming::Plain, "optimizer.momentum"),
                    (Naming::Plain, "optimizer.beta1.stages.1"),
                ] {
                    let path = format!("{path}.{}", naming.name(key.name));
                    assert_eq!(of(&path, &facts()), expected, "{path} of {}", kind.name);
                }
            }
        }
    }

    #[track_caller]
    fn check(expected: AxisKind, paths: &[&str]) {
        for path in paths {
            assert_eq!(of(path, &facts()), expected, "{path}");
        }
    }

    #[test]
    fn the_type_of_a_column_follows_the_key() {
        let float = [
            "policy.base_lr",
            "policy.gamma",
            "policy.step_size",
            "policy.mult",
            "policy.first_epoch",
            "policy.stages.1.iterations",
            "optimizer.momentum",
            "optimizer.momentum.step_size",
            "optimizer.epsilon",
            "optimizer.rms_decay",
            "model.dropout",
            "data.scale",
            "train.eval_every",
            "train.clip_gradients",
            "train.max_loss",
        ];
        check(AxisKind::Float, &float);
        let integer = ["train.iterations", "data.batch_size", "data.validation", "data.pad", "model.width"];
        check(AxisKind::Integer, &integer);
        let text = [
            "policy.kind",
            "policy.milestones",
            "policy.stages.1.window",
            "policy.file",
            "optimizer.kind",
            "optimizer.momentum.kind",
            "model.pool",
            "model.architecture",
            "data.order",
            "train.precision",
        ];
        check(AxisKind::Text, &text);
        check(AxisKind::Boolean, &["data.flip", "train.stop_on_divergence"]);
    }

    #[test]
    fn the_type_of_an_option_is_that_of_all_schemas_together() {
        let schemas = |types: &[&str]| -> Option<AxisKind> {
            let schema = |&name: &&str| match name {
                "" => serde_json::json!({ "properties": { "x": {} } }),
                name => serde_json::json!({ "properties": { "x": { "type": name } } }),
            };
            let schemas: Vec<Json> = types.iter().map(schema).collect();
            of_option("x", schemas.iter())
        };
        assert_eq!(schemas(&["integer", "integer"]), Some(AxisKind::Integer));
        assert_eq!(schemas(&["integer", "number"]), Some(AxisKind::Float));
        assert_eq!(schemas(&["boolean"]), Some(AxisKind::Boolean));
        assert_eq!(schemas(&["number", "string"]), Some(AxisKind::Text));
        assert_eq!(schemas(&[""]), Some(AxisKind::Text));
        assert_eq!(schemas(&[]), None);
    }
}
