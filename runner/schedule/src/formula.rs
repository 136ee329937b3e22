//! What each kind of schedule says of itself.

use super::Cycle;
use super::extent::hull_of;

/// A kind of schedule. One that is added is a file with this, and a line in [`super::Schedule`].
pub trait Formula {
    /// The value at `step`, counted from zero. Never panics; NaN only where a field is not a number or the formula has
    /// no value.
    fn at(&self, step: u64) -> f64;

    /// Appends the canonical bytes, by the rules of [`super::Schedule::canonical`].
    fn canonical(&self, out: &mut Vec<u8>);

    /// Whether the value never turns.
    fn is_monotone(&self) -> bool {
        false
    }

    /// Bounds of the values at the steps up to `last`; `None` where they are not known.
    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        if self.is_monotone() { hull_of([self.at(0), self.at(last)]) } else { None }
    }

    /// The last step of a monotone piece that begins at `step`; it may go on.
    fn piece_end(&self, step: u64) -> u64 {
        if self.is_monotone() { u64::MAX } else { step }
    }

    /// The cycle that a step is in; `None` where none is left, or the kind has none of its own.
    fn cycle(&self, _step: u64) -> Option<Cycle> {
        None
    }

    /// The least number of updates above `after` at which a cycle is over; `None` where no cycle ends any more.
    fn next_cycle_end(&self, after: u64) -> Option<u64> {
        self.cycle(after).map(|cycle| cycle.end)
    }
}

/// Compares values, to the last places of floats.
#[cfg(test)]
#[track_caller]
pub(crate) fn check(formula: impl Formula, expected: &[(u64, f64)]) {
    for &(step, value) in expected {
        let got = formula.at(step);
        assert!((got - value).abs() <= 1e-14 * value.abs(), "step {step}: got {got}, expected {value}");
    }
}
