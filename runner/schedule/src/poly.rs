//! Falls to zero by a power of what is left.

use super::Formula;
use super::canonical::{floats, integer};
use super::line::fraction;

/// `base * (1 - step / steps)^power`, 0 from `steps` on. (Caffe's `poly`.)
///
/// ```
/// use clr_schedule::{Poly, Schedule};
/// let schedule = Schedule::Poly(Poly { base: 1.0, power: 2.0, steps: 10 });
/// assert_eq!([0, 5, 10, 20].map(|step| schedule.at(step)), [1.0, 0.25, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Poly {
    /// The first value.
    pub base: f64,
    /// The exponent; 1 is a line.
    pub power: f64,
    /// The first step at zero.
    pub steps: u64,
}

impl Formula for Poly {
    /// From `steps` on the value at `steps`, which is 0 for any positive power.
    fn at(&self, step: u64) -> f64 {
        self.base * libm::pow(1.0 - fraction(step, self.steps), self.power)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(5);
        floats(&[self.base, self.power], out);
        integer(self.steps, out);
    }

    fn is_monotone(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    #[test]
    fn it_follows_its_formula() {
        let square = Poly { base: 1.0, power: 2.0, steps: 10 };
        check(square, &[(0, 1.0), (5, 0.25), (9, 0.01), (10, 0.0), (11, 0.0)]);
        let googlenet = Poly { base: 0.01, power: 0.5, steps: 2_400_000 };
        check(googlenet, &[(0, 0.01), (600_000, 0.008660254037844387)]);
    }
}
