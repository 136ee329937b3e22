//! Falls by a factor at milestones.

use super::Formula;
use super::canonical::{floats, integer};

/// `base * gamma^k`, k counting the milestones reached, at most one more a step. (Caffe's `multistep`.)
///
/// ```
/// use clr_schedule::{MultiStep, Schedule};
/// let schedule = Schedule::MultiStep(MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 30] });
/// assert_eq!([9, 10, 29, 30].map(|step| schedule.at(step)), [1.0, 0.5, 0.5, 0.25]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    /// The first value.
    pub base: f64,
    /// What each drop multiplies by.
    pub gamma: f64,
    /// The first step of each new value.
    pub milestones: Vec<u64>,
}

impl Formula for MultiStep {
    /// k is Caffe's counter of milestones: at each update it advances by one if the next milestone in the list is reached.
    /// So equal milestones, or ones out of order, take effect one update after another.
    fn at(&self, step: u64) -> f64 {
        let mut reached = 0.0;
        let mut not_before = 0;
        for &milestone in &self.milestones {
            let drop_at = milestone.max(not_before);
            if step < drop_at {
                break;
            }
            reached += 1.0;
            not_before = drop_at.saturating_add(1);
        }
        self.base * libm::pow(self.gamma, reached)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(2);
        floats(&[self.base, self.gamma], out);
        integer(self.milestones.len() as u64, out);
        self.milestones.iter().for_each(|&milestone| integer(milestone, out));
    }

    fn is_monotone(&self) -> bool {
        self.gamma >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    /// Table 1, `fixed`: 0.001 until 60,000, 0.0001 until 65,000, 0.00001 until 70,000.
    #[test]
    fn multistep_drops_at_milestones() {
        let cifar = MultiStep { base: 0.001, gamma: 0.1, milestones: vec![60_000, 65_000] };
        check(cifar, &[(0, 0.001), (59_999, 0.001), (60_000, 1e-4), (64_999, 1e-4), (65_000, 1e-5), (69_999, 1e-5)]);
    }

    #[test]
    fn multistep_drops_once_an_update() {
        let equal = MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 10, 10] };
        check(equal, &[(9, 1.0), (10, 0.5), (11, 0.25), (12, 0.125), (13, 0.125)]);
        let unsorted = MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 4] };
        check(unsorted, &[(4, 1.0), (9, 1.0), (10, 0.5), (11, 0.25)]);
    }
}
