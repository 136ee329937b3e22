//! A line from one value to another, then level.

use super::Formula;
use super::canonical::{floats, integer};
use super::line::line;

/// A line from `from` to `to` over `steps` steps, then `to`.
///
/// ```
/// use clr_schedule::{Linear, Schedule};
/// let schedule = Schedule::Linear(Linear { from: 0.0, to: 8.0, steps: 4 });
/// assert_eq!([0, 1, 4, 9].map(|step| schedule.at(step)), [0.0, 2.0, 8.0, 8.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The first value.
    pub from: f64,
    /// The last value.
    pub to: f64,
    /// Steps from `from` to `to`.
    pub steps: u64,
}

impl Formula for Linear {
    fn at(&self, step: u64) -> f64 {
        line(self.from, self.to, self.steps, step)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(12);
        floats(&[self.from, self.to], out);
        integer(self.steps, out);
    }

    fn is_monotone(&self) -> bool {
        true
    }
}
