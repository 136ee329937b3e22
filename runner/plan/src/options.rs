//! Options of models and optimizers, checked against the JSON Schema that the plugin declares.
//!
//! The subset: `properties`, each with `type` (integer, number, string, boolean, or object for a table of options), `format`
//! (file or program: see [`super::source_file`]), `enum`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum` and `default`; and `required`. Other keywords say nothing here: the plugin
//! itself has the last word when a session is created.
//!
//! The crate `jsonschema` would bring 34 others and say yes or no. Here a value also gets the type that the schema asks for (`1`
//! is 1.0 where that is a number), which is what trials are identified by, and the answer is a sentence for the spec's author.

use clr_spec::Value;
use clr_terminal::suggest;
use clr_terminal::words::Number;
use serde_json::{Number as JsonNumber, Value as Json};

use super::source_file;

/// A JSON Schema of an object.
#[derive(Clone, Copy)]
pub struct Schema<'a>(pub &'a Json);

impl<'a> Schema<'a> {
    /// Names and schemas of the options.
    pub fn properties(self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        let properties = self.0.get("properties").and_then(Json::as_object);
        properties.into_iter().flatten().map(|(name, property)| (name.as_str(), property))
    }

    /// The schema of one option.
    pub fn property(self, name: &str) -> Option<&'a Json> {
        self.0.get("properties")?.get(name)
    }

    /// Names of the options that are files.
    pub fn files(self) -> impl Iterator<Item = &'a str> {
        self.properties().filter(|(_, property)| source_file::is_named_by(property)).map(|(name, _)| name)
    }

    /// True if the option must be given, there being no default.
    pub fn requires(self, name: &str) -> bool {
        let required = self.0.get("required").and_then(Json::as_array);
        required.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
    }
}

/// `value` as JSON, of the type that the property asks for; or what was expected.
pub fn check(property: &Json, value: &Value) -> Result<Json, String> {
    let expected_type = property.get("type").and_then(Json::as_str);
    let json = match (expected_type, value) {
        (Some("integer"), Value::Integer(integer)) => Json::from(*integer),
        (Some("integer"), Value::Number(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Json::from(*number as i64)
        }
        (Some("number") | None, Value::Number(number)) => float(*number)?,
        (Some("number"), Value::Integer(integer)) => float(*integer as f64)?,
        (Some("string") | None, Value::Text(text)) => Json::from(&**text),
        (Some("boolean") | None, Value::Boolean(boolean)) => Json::from(*boolean),
        (None, Value::Integer(integer)) => Json::from(*integer),
        (Some("array") | None, Value::List(values)) => {
            values.iter().map(|value| check(&Json::Null, value)).collect::<Result<_, _>>()?
        }
        (Some("object"), _) => return Err("expected a table, such as `{ width = 64 }`".to_owned()),
        (Some("integer"), _) => return Err("expected an integer".to_owned()),
        (Some("number"), _) => return Err("expected a number".to_owned()),
        (Some("string"), _) => return Err("expected a string".to_owned()),
        (Some("boolean"), _) => return Err("expected `true` or `false`".to_owned()),
        (Some(other), _) => {
            return Err(format!("the plugin asks for a value of type {other}, which a spec cannot give"));
        }
        (None, _) => return Err("expected a number, a string or a boolean".to_owned()),
    };
    if let Some(allowed) = property.get("enum").and_then(Json::as_array)
        && !allowed.iter().any(|allowed| equal(allowed, &json))
    {
        let names: Vec<String> =
            allowed.iter().map(|value| value.as_str().map_or(value.to_string(), str::to_owned)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return Err(format!("expected {}", suggest::one_of(&names)));
    }
    let bounds = Bounds::of(property);
    match json.as_f64() {
        Some(integer) if !json.is_f64() && !bounds.contains_float64(integer) => Err(bounds.expected()),
        Some(number) if json.is_f64() => bounds.check(number).map(|()| json),
        _ => Ok(json),
    }
}

/// The range of an option or a hyper-parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    minimum: Option<f64>,
    maximum: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
}

/// The meaning of names is the same in every plugin; a plugin's schema that bounds a hyper-parameter itself has the last word.
const HYPERS: [(&str, Bounds); 5] = [
    ("lr", NOT_NEGATIVE),
    ("weight_decay", NOT_NEGATIVE),
    ("momentum", FRACTION),
    ("beta1", FRACTION),
    ("beta2", FRACTION),
];
const NOT_NEGATIVE: Bounds = Bounds { minimum: Some(0.0), maximum: None, above: None, below: None };
/// The range of the part of an average that is kept at each step.
const FRACTION: Bounds = Bounds { below: Some(1.0), ..NOT_NEGATIVE };

impl Bounds {
    /// Those that a property's schema states.
    fn of(property: &Json) -> Bounds {
        let bound = |name: &str| property.get(name).and_then(Json::as_f64);
        Bounds {
            minimum: bound("minimum"),
            maximum: bound("maximum"),
            above: bound("exclusiveMinimum"),
            below: bound("exclusiveMaximum"),
        }
    }

    /// Those of the hyper-parameter `name` of an optimizer with this schema.
    pub fn of_hyper(name: &str, optimizer: Schema<'_>) -> Bounds {
        let stated = optimizer.property(name).map(Bounds::of).filter(|bounds| *bounds != Bounds::default());
        let known = || HYPERS.iter().find(|(known, _)| *known == name).map(|(_, bounds)| *bounds);
        stated.or_else(known).unwrap_or_default()
    }

    fn contains_float64(self, number: f64) -> bool {
        number.is_finite()
            && self.minimum.is_none_or(|bound| number >= bound)
            && self.maximum.is_none_or(|bound| number <= bound)
            && self.above.is_none_or(|bound| number > bound)
            && self.below.is_none_or(|bound| number < bound)
    }

    /// True if `number` is finite and within the bounds, as float64 and as float32, in which plugins compute: there 1 - 1e-9
    /// is 1, and 1e39 is infinite.
    pub fn contains(self, number: f64) -> bool {
        let single = |number: f64| number as f32;
        self.contains_float64(number)
            && single(number).is_finite()
            && self.above.is_none_or(|bound| single(number) > single(bound))
            && self.below.is_none_or(|bound| single(number) < single(bound))
    }

    /// The expectation that `number` does not meet.
    pub fn check(self, number: f64) -> Result<(), String> {
        match (self.contains(number), self.contains_float64(number)) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("{} as float32 too, in which plugins compute", self.expected())),
            (false, false) => Err(self.expected()),
        }
    }

    /// As in "expected at least 0 and below 1".
    fn expected(self) -> String {
        let words =
            [("at least", self.minimum), ("at most", self.maximum), ("above", self.above), ("below", self.below)];
        let words: Vec<String> =
            words.iter().filter_map(|(words, bound)| Some(format!("{words} {}", Number((*bound)?)))).collect();
        if words.is_empty() {
            "expected a finite number".to_owned()
        } else {
            format!("expected {}", words.join(" and "))
        }
    }
}

/// The default of a property, typed as [`check`] would.
pub fn default(property: &Json) -> Option<Json> {
    let default = property.get("default")?;
    Some(match (property.get("type").and_then(Json::as_str), default.as_f64()) {
        (Some("number"), Some(number)) => float(number).ok()?,
        _ => default.clone(),
    })
}

fn float(number: f64) -> Result<Json, String> {
    JsonNumber::from_f64(number).map(Json::Number).ok_or_else(|| "expected a finite number".to_owned())
}

fn equal(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
