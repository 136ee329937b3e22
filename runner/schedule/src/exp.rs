//! Falls by a factor at each step.

use super::Formula;
use super::canonical::floats;

/// `base * gamma^step`. (Caffe's `exp`.)
///
/// ```
/// use clr_schedule::{Exp, Schedule};
/// let schedule = Schedule::Exp(Exp { base: 2.0, gamma: 0.5 });
/// assert_eq!([0, 1, 2, 3].map(|step| schedule.at(step)), [2.0, 1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exp {
    /// The first value.
    pub base: f64,
    /// What each step multiplies by.
    pub gamma: f64,
}

impl Formula for Exp {
    fn at(&self, step: u64) -> f64 {
        self.base * libm::pow(self.gamma, step as f64)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(3);
        floats(&[self.base, self.gamma], out);
    }

    fn is_monotone(&self) -> bool {
        self.gamma >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_multiplies() {
        let exp = Exp { base: 2.0, gamma: 0.5 };
        assert_eq!([0, 1, 10].map(|step| exp.at(step)), [2.0, 1.0, 2.0 / 1024.0]);
    }

    /// The end of `exp` with gamma 0.99994 in Table 1, base taken as 0.001: 1.4994e-5 at 70,000.
    #[test]
    fn exp_reaches_the_value_of_the_paper_run() {
        let value = Exp { base: 0.001, gamma: 0.99994 }.at(70_000);
        assert!((value - 1.4994e-5).abs() < 0.5e-9, "{value}");
    }
}
