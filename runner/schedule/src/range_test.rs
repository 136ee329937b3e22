//! The learning-rate range test: from low to high, to see where a network learns and where it diverges.

use super::Formula;
use super::canonical::{floats, integer};
use super::line::{fraction, line};

/// The learning-rate range test: `min + (max - min) * step / steps`, or geometric. (Smith 2017, section 3.3.)
///
/// A test of n updates stops just short of `max` when `steps` is n (the paper, fastai), and on it when `steps` is
/// n - 1 (`pytorch-lr-finder`).
///
/// ```
/// use clr_schedule::{RangeTest, Schedule};
/// let schedule = Schedule::RangeTest(RangeTest { min: 1.0, max: 16.0, steps: 4, geometric: true });
/// assert_eq!([0, 1, 2, 4].map(|step| schedule.at(step)), [1.0, 2.0, 4.0, 16.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    /// The first value.
    pub min: f64,
    /// The last value.
    pub max: f64,
    /// Steps from `min` to `max`.
    pub steps: u64,
    /// `min * (max / min)^(step / steps)` instead.
    pub geometric: bool,
}

impl Formula for RangeTest {
    fn at(&self, step: u64) -> f64 {
        let RangeTest { min, max, steps, geometric } = *self;
        match geometric {
            false => line(min, max, steps, step),
            true if step >= steps => max,
            true => min * libm::pow(max / min, fraction(step, steps)),
        }
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(13);
        floats(&[self.min, self.max], out);
        integer(self.steps, out);
        out.push(u8::from(self.geometric));
    }

    fn is_monotone(&self) -> bool {
        let ratio = self.max / self.min;
        !self.geometric || (ratio > 0.0 && ratio.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    /// Figure 11: 0.001 to 0.065 over 4 epochs of 10,009; the last update is just short of the end.
    #[test]
    fn range_test_rises_all_the_way() {
        let googlenet = RangeTest { min: 0.001, max: 0.065, steps: 40_036, geometric: false };
        check(googlenet, &[(0, 0.001), (20_018, 0.033), (40_035, 0.0649984014387051), (40_036, 0.065)]);
        let geometric = RangeTest { min: 1e-6, max: 1.0, steps: 6, geometric: true };
        check(geometric, &[(0, 1e-6), (1, 1e-5), (3, 1e-3), (6, 1.0), (7, 1.0)]);
    }

    #[test]
    fn no_steps_means_the_end() {
        check(RangeTest { min: 1.0, max: 2.0, steps: 0, geometric: true }, &[(0, 2.0)]);
        check(crate::Linear { from: 1.0, to: 2.0, steps: 0 }, &[(0, 2.0)]);
        check(crate::Decay { base: 1.0, max: 2.0, step_size: 0 }, &[(0, 1.0)]);
    }
}
