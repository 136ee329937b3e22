//! A line down, then level.

use super::Formula;
use super::canonical::{floats, integer};
use super::line::line;

/// Falls linearly from `max` to `base` over `step_size` steps, then stays. (Smith 2017, section 4.1.1, `decay`.)
///
/// ```
/// use clr_schedule::{Decay, Schedule};
/// let schedule = Schedule::Decay(Decay { base: 1.0, max: 7.0, step_size: 4 });
/// assert_eq!([0, 2, 4, 100].map(|step| schedule.at(step)), [7.0, 4.0, 1.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// The last value.
    pub base: f64,
    /// The first value.
    pub max: f64,
    /// Steps from `max` to `base`.
    pub step_size: u64,
}

impl Formula for Decay {
    fn at(&self, step: u64) -> f64 {
        line(self.max, self.base, self.step_size, step)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(7);
        floats(&[self.base, self.max], out);
        integer(self.step_size, out);
    }

    fn is_monotone(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::check;

    /// Table 1, `decay`: 0.007 to 0.001 over 4000, then 0.001.
    #[test]
    fn decay_is_the_row_of_table_1() {
        let decay = Decay { base: 0.001, max: 0.007, step_size: 4000 };
        check(decay, &[(0, 0.007), (1000, 0.0055), (2000, 0.004), (3999, 0.0010015), (4000, 0.001), (24_999, 0.001)]);
    }
}
