//! Falls by a power of the step.

use super::Formula;
use super::canonical::floats;

/// `base * (1 + gamma * step)^-power`. (Caffe's `inv`.)
///
/// ```
/// use clr_schedule::{Inv, Schedule};
/// let schedule = Schedule::Inv(Inv { base: 1.0, gamma: 1.0, power: 1.0 });
/// assert_eq!([0, 1, 3].map(|step| schedule.at(step)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inv {
    /// The first value.
    pub base: f64,
    /// How fast the value falls.
    pub gamma: f64,
    /// The exponent.
    pub power: f64,
}

impl Formula for Inv {
    fn at(&self, step: u64) -> f64 {
        self.base * libm::pow(1.0 + self.gamma * step as f64, -self.power)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(4);
        floats(&[self.base, self.gamma, self.power], out);
    }

    fn is_monotone(&self) -> bool {
        self.gamma >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    #[test]
    fn it_follows_its_formula() {
        check(Inv { base: 0.01, gamma: 0.0001, power: 0.75 }, &[(0, 0.01), (10_000, 0.005946035575013605)]);
    }
}
