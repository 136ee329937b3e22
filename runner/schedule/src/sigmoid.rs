//! From one level to another.

use super::Formula;
use super::canonical::{floats, integer};

/// `base / (1 + exp(-gamma * (step - step_size)))`: rises if `gamma` is positive. (Caffe's `sigmoid`.)
///
/// ```
/// use clr_schedule::{Schedule, Sigmoid};
/// let schedule = Schedule::Sigmoid(Sigmoid { base: 2.0, gamma: -1000.0, step_size: 10 });
/// assert_eq!([0, 9, 10, 11].map(|step| schedule.at(step)), [2.0, 2.0, 1.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid {
    /// The upper limit.
    pub base: f64,
    /// The steepness; negative to fall.
    pub gamma: f64,
    /// The step at `base / 2`.
    pub step_size: u64,
}

impl Formula for Sigmoid {
    fn at(&self, step: u64) -> f64 {
        self.base / (1.0 + libm::exp(-self.gamma * (step as f64 - self.step_size as f64)))
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(6);
        floats(&[self.base, self.gamma], out);
        integer(self.step_size, out);
    }

    fn is_monotone(&self) -> bool {
        self.gamma.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    #[test]
    fn it_follows_its_formula() {
        let falling = Sigmoid { base: 1.0, gamma: -0.1, step_size: 50 };
        check(falling, &[(0, 0.9933071490757153), (50, 0.5), (100, 0.006692850924284856)]);
        let rising = Sigmoid { base: 1.0, gamma: 0.1, step_size: 50 };
        check(rising, &[(0, 0.006692850924284856), (50, 0.5), (100, 0.9933071490757153)]);
    }
}
