//! Falls by a factor in equal steps.

use super::canonical::{floats, ticks};
use super::{Formula, Ticks};

/// `base * gamma^floor(step / step_size)`. (Caffe's `step`.)
///
/// ```
/// use clr_schedule::{Schedule, Step};
/// let schedule = Schedule::Step(Step { base: 1.0, gamma: 0.5, step_size: 100.into() });
/// assert_eq!([0, 99, 100, 250].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The first value.
    pub base: f64,
    /// What each drop multiplies by.
    pub gamma: f64,
    /// Steps from drop to drop.
    pub step_size: Ticks,
}

impl Formula for Step {
    fn at(&self, step: u64) -> f64 {
        self.base * libm::pow(self.gamma, self.step_size.count(step) as f64)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(if self.step_size.whole().is_some() { 1 } else { 18 });
        floats(&[self.base, self.gamma], out);
        ticks(self.step_size, out);
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
    fn step_drops_at_multiples() {
        let alexnet = Step { base: 0.01, gamma: 0.1, step_size: 100_000.into() };
        check(alexnet, &[(0, 0.01), (99_999, 0.01), (100_000, 0.001), (199_999, 0.001), (449_999, 1e-6)]);
    }
}
