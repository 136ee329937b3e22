//! Points in time at equal distances, which need not be whole.

use crate::ratio::Ratio;

/// Points at equal distances: the k-th lies at the first step at which k periods are over, so that they never drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// From point to point, in steps. 0 counts as 1.
    pub period: Ratio,
    /// How much of the first period is over at step 0: less than a step, where a stage begins at a fraction of one.
    pub ahead: Ratio,
}

impl Ticks {
    /// The points reached at `step`, that at 0 left out: `floor((step + ahead) / period)`.
    pub fn count(self, step: u64) -> u64 {
        let [period, unit, ahead, part] =
            [self.period.numerator(), self.period.denominator(), self.ahead.numerator(), self.ahead.denominator()]
                .map(u128::from);
        let (period, unit) = if period == 0 { (1, 1) } else { (period, unit) };
        // The product is large only for fractions that no spec comes to.
        let over = u128::from(step) * part + ahead;
        u64::try_from(over.saturating_mul(unit) / (period * part)).unwrap_or(u64::MAX)
    }

    /// The period, where it alone says all and is a whole number.
    pub(super) fn whole(self) -> Option<u64> {
        self.period.whole().filter(|_| self.ahead == Ratio::ZERO)
    }
}

impl From<u64> for Ticks {
    fn from(period: u64) -> Ticks {
        Ratio::from(period).into()
    }
}

impl From<Ratio> for Ticks {
    fn from(period: Ratio) -> Ticks {
        Ticks { period, ahead: Ratio::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ticks: Ticks, expected: &[(u64, u64)]) {
        for &(step, count) in expected {
            assert_eq!(ticks.count(step), count, "step {step}");
        }
    }

    #[test]
    fn a_period_of_a_fraction_does_not_drift() {
        let epochs: Ticks = Ratio::new(625, 4).unwrap().into();
        check(epochs, &[(0, 0), (156, 0), (157, 1), (312, 1), (313, 2), (4687, 29), (4688, 30), (15_625, 100)]);
        // A stage that begins with epoch 5, at 782: a quarter of an iteration of that epoch is over.
        let later = Ticks { ahead: Ratio::new(3, 4).unwrap(), ..epochs };
        check(later, &[(0, 0), (155, 0), (156, 1), (311, 1), (312, 2), (625 - 1, 3), (625, 4)]);
        check(3.into(), &[(2, 0), (3, 1), (u64::MAX, u64::MAX / 3)]);
    }

    #[test]
    fn every_period_has_a_count_at_every_step() {
        check(0.into(), &[(7, 7), (u64::MAX, u64::MAX)]);
        let short = Ticks { period: Ratio::new(1, u128::from(u64::MAX)).unwrap(), ahead: Ratio::from(u64::MAX) };
        check(short, &[(0, u64::MAX), (u64::MAX, u64::MAX)]);
    }
}
