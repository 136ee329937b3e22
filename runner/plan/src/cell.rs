//! One cell of the grid: every setting of a pair with one value chosen.

use clr_spec::duration::{Duration, Unit};
use clr_spec::{Span, Value};

use super::grid::Pair;

/// A choice along each dimension of a pair.
#[derive(Clone, Copy)]
pub struct Cell<'a, 'c> {
    pub pair: &'c Pair<'a>,
    /// For each of [`Pair::dimensions`], which value.
    pub choice: &'c [usize],
}

impl<'a, 'c> Cell<'a, 'c> {
    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<&'c Value> {
        self.at(self.pair.position(path)?).map(|(value, _)| value)
    }

    /// The value of one of the pair's settings, and its place.
    pub fn at(&self, setting: usize) -> Option<&'c (Value, Option<Span>)> {
        let choice = self.pair.dimension_of[setting].map_or(0, |dimension| self.choice[dimension]);
        self.pair.settings[setting].values.get(choice)
    }

    /// The place of the value at a path; `None` if it was not written.
    pub fn span(&self, path: &str) -> Option<&'c Span> {
        self.at(self.pair.position(path)?)?.1.as_ref()
    }

    /// The place of the key at a path; the policy's header if it was not written.
    pub fn place(&self, path: &str) -> Span {
        self.span(path).unwrap_or(&self.pair.policy.name.span).clone()
    }

    pub fn text(&self, path: &str) -> Option<&'c str> {
        if let Value::Text(text) = self.get(path)? { Some(text) } else { None }
    }

    pub fn integer(&self, path: &str) -> Option<i64> {
        if let Value::Integer(integer) = self.get(path)? { Some(*integer) } else { None }
    }

    pub fn number(&self, path: &str) -> Option<f64> {
        match self.get(path)? {
            Value::Number(number) => Some(*number),
            Value::Integer(integer) => Some(*integer as f64),
            _ => None,
        }
    }

    pub fn boolean(&self, path: &str) -> Option<bool> {
        if let Value::Boolean(boolean) = self.get(path)? { Some(*boolean) } else { None }
    }

    pub fn duration(&self, path: &str) -> Option<Duration> {
        if let Value::Duration(duration) = self.get(path)? { Some(*duration) } else { None }
    }

    /// The choices along the dimensions that have a setting for which `wanted` holds: the key of a cache.
    pub fn choices_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let dimensions = self.pair.dimensions.iter().zip(self.choice);
        dimensions
            .filter(|(dimension, _)| {
                dimension.settings.iter().any(|setting| wanted(&self.pair.settings[*setting].path))
            })
            .map(|(_, choice)| *choice)
            .collect()
    }
}

/// True if two values mean the same: 1 and 1.0, 500 and "500 iterations".
pub fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Number(number) => Some(*number),
        Value::Duration(Duration { count, unit: Unit::Iterations }) => Some(count.to_f64()),
        _ => None,
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The number of images that are held out of so many.
pub fn validation_count(cell: &Cell<'_, '_>, train_count: u64) -> Option<u64> {
    match cell.get("data.validation")? {
        Value::Integer(count) => u64::try_from(*count).ok(),
        Value::Number(share) => Some((train_count as f64 * share).round() as u64),
        _ => None,
    }
}
