//! What a spec's keys were set to: a flat list of paths, each with one value or, for a grid axis, several.
//!
//! A path is the section and the key, `train.iterations`; nested tables go on with dots, `optimizer.momentum.base`,
//! and stages are counted from 1, `policy.stages.2.max_lr`. So an override replaces a path, wherever it comes from.

use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_terminal::words::Number;

use super::source::Span;
use crate::Every;
use crate::duration::Duration;

/// A key and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Section and key: `policy.max_lr`.
    pub path: Arc<str>,
    /// The place of the key; `None` for a default.
    pub key_span: Option<Span>,
    /// One value, or those of an axis, each with its place (`None` for a default).
    pub values: Vec<(Value, Option<Span>)>,
    /// True if the values make an axis, which one value in a list does too.
    pub axis: bool,
}

/// A value of the type that its key asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Arc<str>),
    /// An integer where the key asks for one; of a plugin's option, as it was written.
    Integer(i64),
    /// A number where the key asks for one.
    Number(f64),
    Boolean(bool),
    /// A length of time in training.
    Duration(Duration),
    Durations(Arc<[Duration]>),
    /// `"auto"`: what a range test, or the length of the training, says.
    Auto,
    /// Of a plugin's option: scalars.
    List(Arc<[Value]>),
    /// How many stages, or groups of parameters, there are; their keys are settings of their own.
    Stages(usize),
}

impl Value {
    /// How [`Value::Auto`] is written.
    pub const AUTO: &str = "auto";

    /// The string, where it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// Seconds of `"90 s"`, `"10 min"`, `"2 h"` or `"1 day"`.
pub fn parse_seconds(text: &str) -> Option<f64> {
    let units = [("s", 1.0), ("min", 60.0), ("h", 3600.0), ("day", 86_400.0), ("days", 86_400.0)];
    parse_quantity(text, &units)
}

/// Reads `"30 s"`, `"500 iterations"`, `"1 epoch"`, `"never"`.
pub fn parse_interval(text: &str) -> Option<Every> {
    if text.trim() == "never" {
        return Some(Every::Never);
    }
    if let Some(duration) = Duration::parse(text) {
        return (duration.count > Ratio::ZERO).then_some(Every::Training(duration));
    }
    let time = std::time::Duration::try_from_secs_f64(parse_seconds(text)?).ok()?;
    (!time.is_zero()).then_some(Every::Time(time))
}

/// Bytes of `"512 MiB"` or `"4 GB"`.
pub fn parse_bytes(text: &str) -> Option<f64> {
    let units = [("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("MB", 1e6), ("GB", 1e9)];
    parse_quantity(text, &units)
}

/// A number that is not negative, a space, and a unit.
fn parse_quantity(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (count, unit) = text.trim().split_once(char::is_whitespace)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let count: f64 = count.replace('_', "").parse().ok()?;
    Some(count * factor).filter(|value| value.is_finite() && *value >= 0.0)
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text}"),
            Value::Integer(integer) => write!(f, "{integer}"),
            Value::Number(number) => write!(f, "{}", Number(*number)),
            Value::Boolean(boolean) => write!(f, "{boolean}"),
            Value::Duration(duration) => write!(f, "{duration}"),
            Value::Durations(durations) => {
                let durations: Vec<String> = durations.iter().map(Duration::to_string).collect();
                write!(f, "[{}]", durations.join(", "))
            }
            Value::Auto => write!(f, "{}", Value::AUTO),
            Value::List(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Value::Stages(count) => write!(f, "{count} stages"),
        }
    }
}
