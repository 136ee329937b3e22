//! Half a cosine.

use std::f64::consts::PI;

use super::canonical::{floats, integer};
use super::line::{between, fraction};
use super::{Cycle, Formula};

/// Half a cosine from `max` to `min` over `steps` steps, then `min`.
///
/// ```
/// use clr_schedule::{Cosine, Schedule};
/// let schedule = Schedule::Cosine(Cosine { max: 1.0, min: 0.0, steps: 10 });
/// assert_eq!([0, 5, 10, 11].map(|step| schedule.at(step)), [1.0, 0.5, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The first value.
    pub max: f64,
    /// The last value.
    pub min: f64,
    /// Steps from `max` to `min`.
    pub steps: u64,
}

impl Formula for Cosine {
    fn at(&self, step: u64) -> f64 {
        half_cosine(self.max, self.min, fraction(step, self.steps))
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(10);
        floats(&[self.max, self.min], out);
        integer(self.steps, out);
    }

    fn is_monotone(&self) -> bool {
        true
    }

    fn cycle(&self, step: u64) -> Option<Cycle> {
        Cycle::only(self.steps as f64, step)
    }
}

/// Half a cosine: `to + (from - to) * (1 + cos(pi t)) / 2`, exactly `from` at t = 0 and `to` at t = 1.
pub(super) fn half_cosine(from: f64, to: f64, t: f64) -> f64 {
    between(to, from, (1.0 + libm::cos(PI * t)) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    #[test]
    fn cosine_falls_once() {
        let cosine = Cosine { max: 1.0, min: 0.2, steps: 10 };
        check(cosine, &[(0, 1.0), (5, 0.6), (10, 0.2), (11, 0.2), (20, 0.2), (u64::MAX, 0.2)]);
        check(Cosine { max: 1.0, min: 0.2, steps: 0 }, &[(0, 0.2)]);
    }
}
