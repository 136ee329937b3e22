//! Options: JSON objects, checked against the JSON Schema that the plugin declares for them.

use clr_plugin::Error;
use serde_json::{Map, Value};

/// Checked options with defaults filled in.
///
/// The schema is an object with `properties`; of each property `type` (`number`, `integer`, `boolean` or `string`), `enum`,
/// `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum` and `default` are understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    values: Map<String, Value>,
}

impl Options {
    /// Reads `json` by `schema`; `what` says in errors whose options they are.
    pub(crate) fn parse(json: &str, schema: &str, what: &str) -> Result<Options, Error> {
        let schema: Value = serde_json::from_str(schema)
            .map_err(|error| Error::internal(format!("the schema of {what} is no JSON: {error}")))?;
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let given: Value =
            serde_json::from_str(json).map_err(|error| Error::invalid(format!("{what} are no JSON: {error}")))?;
        let Value::Object(given) = given else {
            return Err(Error::invalid(format!("{what} are no JSON object, but {given}")));
        };
        for (name, value) in &given {
            let Some(property) = properties.get(name) else {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                let known = if known.is_empty() {
                    "there are none".to_owned()
                } else {
                    format!("expected {}", known.join(", "))
                };
                return Err(Error::invalid(format!("unknown option `{name}` in {what}: {known}")));
            };
            if let Some(expected) = violation(value, property) {
                return Err(Error::invalid(format!("option `{name}` in {what} is {value}: expected {expected}")));
            }
        }
        let mut values = given;
        for (name, property) in properties {
            if let (false, Some(default)) = (values.contains_key(name), property.get("default")) {
                values.insert(name.clone(), default.clone());
            }
        }
        Ok(Options { values })
    }

    /// A number; none where it is neither given nor has a default.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.as_f64()
    }

    /// An integer that is not negative.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.as_u64()
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.values.get(name)?.as_bool()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }
}

/// The schema's expectation, if the value violates it.
fn violation(value: &Value, property: &Value) -> Option<String> {
    let expected = property["type"].as_str().unwrap_or("number");
    let fits = match expected {
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        _ => value.is_number(),
    };
    if !fits {
        return Some(format!("a value of type {expected}"));
    }
    if let Some(allowed) = property["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Some(format!("one of {}", allowed.join(", ")));
    }
    let number = value.as_f64()?;
    let limit = |key: &str| property[key].as_f64();
    let fits = |key: &str, holds: fn(f64, f64) -> bool| limit(key).is_none_or(|limit| holds(number, limit));
    let checks = [
        ("minimum", "at least", fits("minimum", |number, limit| number >= limit)),
        ("maximum", "at most", fits("maximum", |number, limit| number <= limit)),
        ("exclusiveMinimum", "more than", fits("exclusiveMinimum", |number, limit| number > limit)),
        ("exclusiveMaximum", "less than", fits("exclusiveMaximum", |number, limit| number < limit)),
    ];
    let (key, words, _) = checks.into_iter().find(|(_, _, fits)| !fits)?;
    Some(format!("{words} {}", limit(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "object", "properties": {
        "form": {"type": "string", "enum": ["caffe", "torch"], "default": "caffe"},
        "depth": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "rate": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "wide": {"type": "boolean", "default": false}
    }}"#;

    #[track_caller]
    fn check(json: &str, expected: Result<&str, &str>) {
        let found = Options::parse(json, SCHEMA, "model options")
            .map(|options| {
                let Options { values } = &options;
                serde_json::to_string(values).unwrap()
            })
            .map_err(|error| error.message);
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn defaults_are_filled_in() {
        check("{}", Ok(r#"{"form":"caffe","depth":20,"wide":false}"#));
        check(r#"{"rate": 0.5, "depth": 3}"#, Ok(r#"{"rate":0.5,"depth":3,"form":"caffe","wide":false}"#));
    }

    #[test]
    fn what_the_schema_does_not_allow_is_refused() {
        check("[]", Err("model options are no JSON object, but []"));
        check(r#"{"dept": 3}"#, Err("unknown option `dept` in model options: expected form, depth, rate, wide"));
        check(r#"{"depth": 3.5}"#, Err("option `depth` in model options is 3.5: expected a value of type integer"));
        check(r#"{"depth": 0}"#, Err("option `depth` in model options is 0: expected at least 1"));
        check(r#"{"depth": 101}"#, Err("option `depth` in model options is 101: expected at most 100"));
        check(r#"{"rate": 0}"#, Err("option `rate` in model options is 0: expected more than 0"));
        check(r#"{"rate": 1}"#, Err("option `rate` in model options is 1: expected less than 1"));
        check(r#"{"wide": 1}"#, Err("option `wide` in model options is 1: expected a value of type boolean"));
        check(
            r#"{"form": "keras"}"#,
            Err(r#"option `form` in model options is "keras": expected one of "caffe", "torch""#),
        );
    }

    #[test]
    fn values_are_read_by_type() {
        let options = Options::parse(r#"{"rate": 0.5}"#, SCHEMA, "model options").unwrap();
        assert_eq!(options.number("rate"), Some(0.5));
        assert_eq!(options.integer("depth"), Some(20));
        assert_eq!(options.boolean("wide"), Some(false));
        assert_eq!(options.text("form"), Some("caffe"));
        assert_eq!(Options::parse("{}", SCHEMA, "model options").unwrap().number("rate"), None);
    }
}
