//! The JSON Schema of a spec, for editors (Taplo, Even Better TOML): made from the definitions that the reader uses.

use serde_json::{Map, Value, json};

use super::keys::{
    CHECKPOINT, DATA, Default, EXPERIMENT, GRID, GROUP, Key, Kind, LIMITS, MODEL, OPTIMIZER, OVERRIDABLE, POLICY,
    RANGE_TEST, Range, Section, TRAIN,
};
use super::kinds::{COMMON, Naming, SCHEDULE_KINDS, STAGE_LENGTH, ScheduleKind};

/// The schema, draft 7, which is what editors of TOML read.
pub fn json_schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "clr-run spec",
        "type": "object",
        "additionalProperties": false,
        "required": ["experiment", "model", "data", "train", "policies", "optimizers"],
        "properties": {
            "experiment": section(&EXPERIMENT, true),
            "model": section(&MODEL, true),
            "data": section(&DATA, true),
            "train": section(&TRAIN, true),
            "policies": {
                "type": "object",
                "description": POLICY.doc,
                "minProperties": 1,
                "additionalProperties": { "oneOf": schedules(Naming::LearningRate, &policy_keys()) },
            },
            "optimizers": {
                "type": "object",
                "description": OPTIMIZER.doc,
                "minProperties": 1,
                "additionalProperties": optimizer(),
            },
            "range_test": section(&RANGE_TEST, true),
            "grid": section(&GRID, true),
            "checkpoint": section(&CHECKPOINT, true),
            "limits": section(&LIMITS, true),
        },
        "definitions": {
            "model": section(&MODEL, false),
            "data": section(&DATA, false),
            "train": section(&TRAIN, false),
            "duration": duration(false),
            "duration_or_0": duration(true),
            "linspace": range("linspace", "A grid axis: so many values from the first to the last, evenly spaced."),
            "logspace": range("logspace", "A grid axis: so many values from the first to the last, each the same factor apart."),
            "option": {
                "anyOf": [{ "type": ["number", "string", "boolean"] }, { "type": "array", "minItems": 1, "items": { "type": ["number", "string", "boolean"] } },
                          { "$ref": "#/definitions/linspace" }, { "$ref": "#/definitions/logspace" }],
            },
            "hyper": {
                "description": "A hyper-parameter or constant: a value, a grid axis, or a schedule.",
                "anyOf": [{ "$ref": "#/definitions/option" }, { "oneOf": schedules(Naming::Plain, &Map::new()) }],
            },
        },
    })
}

fn section(section: &Section, whole: bool) -> Value {
    let properties = keys_of(section).collect();
    let required = section.keys.iter().filter(|_| whole);
    let mut schema = object(section.doc, properties, required, Naming::LearningRate);
    if section.open {
        schema["additionalProperties"] = json!({ "$ref": "#/definitions/option" });
    }
    schema
}

fn keys_of(section: &Section) -> impl Iterator<Item = (String, Value)> {
    section.keys.iter().map(|key| (key.name.to_owned(), key_schema(key)))
}

/// The keys of a policy besides those of its schedule.
fn policy_keys() -> Map<String, Value> {
    let mut keys = overrides();
    keys.extend(keys_of(&POLICY).filter(|(name, _)| name != "kind"));
    let optimizer = json!({
        "description": "Overrides keys of the optimizer.",
        "type": "object",
        "properties": { "groups": groups() },
        "additionalProperties": { "$ref": "#/definitions/hyper" },
    });
    keys.insert("optimizer".to_owned(), optimizer);
    keys
}

fn overrides() -> Map<String, Value> {
    let reference = |name: &str| json!({ "$ref": format!("#/definitions/{name}") });
    OVERRIDABLE.iter().map(|section| (section.name.to_owned(), reference(section.name))).collect()
}

fn optimizer() -> Value {
    let mut properties: Map<String, Value> = keys_of(&OPTIMIZER).collect();
    properties.extend(overrides());
    properties.insert("groups".to_owned(), groups());
    let mut schema = object(OPTIMIZER.doc, properties, OPTIMIZER.keys.iter(), Naming::LearningRate);
    schema["additionalProperties"] = json!({ "$ref": "#/definitions/hyper" });
    schema
}

fn groups() -> Value {
    json!({ "description": GROUP.doc, "type": "array", "items": section(&GROUP, true) })
}

/// One schema for each kind; `more` are keys that stand in the same table.
fn schedules(naming: Naming, more: &Map<String, Value>) -> Vec<Value> {
    SCHEDULE_KINDS.iter().map(|kind| schedule(kind, naming, more)).collect()
}

fn schedule(kind: &ScheduleKind, naming: Naming, more: &Map<String, Value>) -> Value {
    let mut properties = Map::new();
    properties.insert("kind".to_owned(), json!({ "const": kind.name, "description": kind.doc }));
    for key in kind.keys.iter().chain(COMMON) {
        let schema = if let Kind::Stages = key.kind { stages(naming, key) } else { key_schema(&naming.key(key)) };
        properties.insert(naming.name(key.name).to_owned(), schema);
    }
    properties.extend(more.clone());
    let mut schema = object(kind.doc, properties, kind.keys.iter(), naming);
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.insert(0, json!("kind"));
    }
    schema
}

/// Of all kinds but the one that has stages itself.
fn stages(naming: Naming, key: &Key) -> Value {
    let length = Map::from_iter([(STAGE_LENGTH.name.to_owned(), key_schema(&STAGE_LENGTH))]);
    let has_stages = |kind: &ScheduleKind| kind.keys.iter().any(|key| matches!(key.kind, Kind::Stages));
    let kinds = SCHEDULE_KINDS.iter().filter(|kind| !has_stages(kind));
    let items: Vec<Value> = kinds.map(|kind| schedule(kind, naming, &length)).collect();
    json!({ "description": key.doc, "type": "array", "minItems": 1, "items": { "oneOf": items } })
}

fn object<'a>(doc: &str, properties: Map<String, Value>, keys: impl Iterator<Item = &'a Key>, naming: Naming) -> Value {
    let required: Vec<&str> = keys.filter(|key| key.required).map(|key| naming.name(key.name)).collect();
    json!({
        "description": doc,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// A key with its default; where a list makes an axis, a list or a range too.
fn key_schema(key: &Key) -> Value {
    let mut value = value_schema(key.kind);
    if key.auto {
        value = json!({ "anyOf": [value, { "const": super::Value::AUTO }] });
    }
    let mut schema = match key.kind {
        Kind::Durations => json!({ "anyOf": [value, {
            "type": "object", "additionalProperties": false, "required": ["each"],
            "properties": { "each": { "type": "array", "minItems": 1, "items": value } },
        }] }),
        Kind::Stages | Kind::Seeds => value,
        _ if !key.axis => value,
        _ => {
            let mut any = vec![value.clone(), json!({ "type": "array", "minItems": 1, "items": value })];
            if matches!(key.kind, Kind::Integer { .. } | Kind::Number(_) | Kind::Duration { .. }) {
                any.push(json!({ "$ref": "#/definitions/linspace" }));
                any.push(json!({ "$ref": "#/definitions/logspace" }));
            }
            json!({ "anyOf": any })
        }
    };
    schema["description"] = json!(key.doc);
    match key.default {
        Some(Default::Text(default)) => schema["default"] = json!(default),
        Some(Default::Integer(default)) => schema["default"] = json!(default),
        Some(Default::Number(default)) => schema["default"] = json!(default),
        Some(Default::Boolean(default)) => schema["default"] = json!(default),
        None => {}
    }
    schema
}

fn value_schema(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::OneOf(names) => json!({ "type": "string", "enum": names }),
        Kind::Integer { min, max: i64::MAX } => json!({ "type": "integer", "minimum": min }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(Range::Any) => json!({ "type": "number" }),
        Kind::Number(Range::NotNegative) => json!({ "type": "number", "minimum": 0 }),
        Kind::Number(Range::Positive) => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Kind::Number(Range::Fraction) => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Number(Range::Share) => json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
        Kind::CountOrShare => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 },
        ] }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Duration { zero: false } => json!({ "$ref": "#/definitions/duration" }),
        Kind::Duration { zero: true } => json!({ "$ref": "#/definitions/duration_or_0" }),
        Kind::Durations => {
            json!({ "type": "array", "minItems": 1, "items": value_schema(Kind::Duration { zero: false }) })
        }
        Kind::Seconds => json!({ "type": "string", "pattern": "^[0-9][0-9_.]* (s|min|h|days?)$" }),
        Kind::Interval => {
            json!({ "type": "string", "pattern": "^([0-9][0-9_.]* (s|min|h|days?)|[1-9][0-9_]* iterations?|[0-9][0-9_.]* epochs?|[0-9][0-9_.]*%|never)$" })
        }
        Kind::Bytes => json!({ "type": "string", "pattern": "^[0-9][0-9_.]* (KiB|MiB|GiB|MB|GB)$" }),
        Kind::Stages => json!({ "type": "array", "minItems": 1, "items": { "type": "object" } }),
        Kind::Names => json!({ "type": ["array", "string"], "minItems": 1, "items": { "type": "string" } }),
        Kind::Seeds => json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "integer", "minimum": 0 } },
        ] }),
        Kind::Axes => {
            json!({ "type": "array", "items": { "type": "array", "minItems": 2, "items": { "type": "string" } } })
        }
        Kind::Cells => json!({ "type": "array", "items": { "type": "object", "minProperties": 1 } }),
    }
}

fn duration(zero: bool) -> Value {
    json!({
        "description": "Iterations, or a string that says the unit.",
        "anyOf": [
            { "type": "integer", "minimum": if zero { 0 } else { 1 } },
            { "type": "string", "pattern": "^([0-9][0-9_.]* (iterations?|epochs?)|[0-9][0-9_.]*%)$" },
        ],
    })
}

fn range(name: &str, doc: &str) -> Value {
    json!({
        "description": doc,
        "type": "object",
        "additionalProperties": false,
        "required": [name],
        "properties": { name: {
            "type": "array",
            "minItems": 3,
            "maxItems": 3,
            "items": [{ "type": "number" }, { "type": "number" }, { "type": "integer", "minimum": 2 }],
        } },
    })
}
