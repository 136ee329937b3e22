//! Lengths of time in training, and the one rule by which they fall on iterations.
//!
//! An epoch is an exact number of iterations, which need not be whole: of N training images in batches of B, it is N / B
//! with `last_batch = "wrap"`, the whole part of it with `"drop"`, and with `"keep"` that rounded up.
//!
//! **The rule.** What happens after a time happens at the first iteration of which all of that time is behind: a time of
//! t iterations, which may be a fraction, falls on iteration ceil(t). So a milestone at epoch 30 falls on the first
//! iteration whose batch begins in epoch 30 (epochs count from 0, as samples do), "10 epochs" of training end when all
//! images were seen ten times, and the k-th evaluation of `eval_every = "1 epoch"` comes after ceil(k N / B) updates.
//! A share of the training is one of its exact length: a tenth of "10 epochs" is one epoch.
//! Only points in time are rounded, never lengths: a stage lasts from the point where it begins to that where it ends,
//! and a period that comes again and again does not drift.

use std::fmt;

use clr_schedule::ratio::Ratio;

/// The code of problems that depend on how long an epoch is.
pub const PROBLEM: &str = "spec::duration";

/// A length of time in training, exactly as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration {
    pub count: Ratio,
    pub unit: Unit,
}

/// The unit of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Updates of the weights.
    Iterations,
    /// Passes over the training images.
    Epochs,
    /// The whole training: a share of it is a part of 1.
    Training,
}

impl Duration {
    /// A duration of `count` updates.
    pub fn iterations(count: u64) -> Duration {
        Duration { count: count.into(), unit: Unit::Iterations }
    }

    /// Reads `"2 epochs"`, `"8.2 epochs"`, `"1 iteration"` and `"10%"`.
    pub fn parse(text: &str) -> Option<Duration> {
        if let Some(share) = text.trim().strip_suffix('%') {
            let percent: Ratio = if share.contains('/') { return None } else { share.trim_end().parse().ok()? };
            return Some(Duration { count: percent.over(100.into())?, unit: Unit::Training });
        }
        let (count, unit) = text.trim().split_once(char::is_whitespace)?;
        let unit = match unit.trim() {
            "iteration" | "iterations" => Unit::Iterations,
            "epoch" | "epochs" => Unit::Epochs,
            _ => return None,
        };
        let count: Ratio = if count.contains('/') { return None } else { count.parse().ok()? };
        (unit == Unit::Epochs || count.whole().is_some()).then_some(Duration { count, unit })
    }

    /// In iterations, where an epoch and the training are so many; `None` where that needs more than 64 bits.
    pub fn in_iterations(self, epoch: Ratio, training: Ratio) -> Option<Ratio> {
        match self.unit {
            Unit::Iterations => Some(self.count),
            Unit::Epochs => self.count.times(epoch),
            Unit::Training => self.count.times(training),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.count.times(100.into()).unwrap_or(self.count);
        let count = if self.unit == Unit::Training { percent } else { self.count };
        let count = clr_terminal::words::Number(count.to_f64());
        match self.unit {
            Unit::Iterations => write!(f, "{count}"),
            Unit::Epochs => write!(f, "{count} epochs"),
            Unit::Training => write!(f, "{count}%"),
        }
    }
}

/// A recurring event of a training: the k-th time is after ceil(k periods) updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period(Option<Ratio>);

impl Period {
    /// The event that never comes.
    pub const NEVER: Period = Period(None);

    /// After every so many updates, at least one; for 0, never.
    pub fn new(period: Ratio) -> Period {
        Period((period > Ratio::ZERO).then(|| period.max(Ratio::from(1))))
    }

    /// The period in iterations, 0 for never.
    pub fn iterations(self) -> Ratio {
        self.0.unwrap_or(Ratio::ZERO)
    }

    /// True if the event comes after `step` updates.
    pub fn is_due(self, step: u64) -> bool {
        step.checked_sub(1).is_some_and(|before| self.count(step) > self.count(before))
    }

    /// How often it has come after so many updates.
    pub fn count(self, step: u64) -> u64 {
        let Some(period) = self.0 else { return 0 };
        // A period is no less than 1, so this is no more than `step`.
        (u128::from(step) * u128::from(period.denominator()) / u128::from(period.numerator())) as u64
    }

    /// After how many updates it comes for the first time past `step`; the largest number if never.
    pub fn next(self, step: u64) -> u64 {
        let Some(period) = self.0 else { return u64::MAX };
        let times = u128::from(self.count(step)) + 1;
        let point = (times * u128::from(period.numerator())).div_ceil(u128::from(period.denominator()));
        u64::try_from(point).unwrap_or(u64::MAX)
    }
}

impl From<u64> for Period {
    fn from(iterations: u64) -> Period {
        Period::new(iterations.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, Unit)>) {
        let expected = expected.map(|(count, unit)| Duration { count: count.parse().unwrap(), unit });
        assert_eq!(Duration::parse(text), expected, "{text}");
    }

    #[test]
    fn durations_are_read_exactly() {
        check("2 epochs", Some(("2", Unit::Epochs)));
        check(" 8.2  epochs ", Some(("41/5", Unit::Epochs)));
        check("1 iteration", Some(("1", Unit::Iterations)));
        check("25e3 iterations", Some(("25000", Unit::Iterations)));
        check("10%", Some(("1/10", Unit::Training)));
        check(" 2.5 % ", Some(("1/40", Unit::Training)));
        for wrong in [
            "8.2 iterations",
            "1/3 epochs",
            "-1 epochs",
            "nan epochs",
            "epochs",
            "2",
            "2 hours",
            "2epochs",
            "%",
            "1/2%",
            "-1%",
        ] {
            check(wrong, None);
        }
    }

    /// 5,000 images in batches of 32, against ceil(k * 5000 / 32) by hand.
    #[test]
    fn a_period_of_a_fraction_does_not_drift() {
        let epoch = Period::new(Ratio::new(5000, 32).unwrap());
        let mut steps = vec![0];
        for _ in 0..8 {
            steps.push(epoch.next(steps[steps.len() - 1]));
        }
        assert_eq!(steps, [0, 157, 313, 469, 625, 782, 938, 1094, 1250]);
        let due: Vec<u64> = (0..=1250).filter(|&step| epoch.is_due(step)).collect();
        assert_eq!(due, steps[1..]);
        assert_eq!((epoch.count(156), epoch.count(157), epoch.count(15_625)), (0, 1, 100));
    }

    #[test]
    fn periods_at_their_bounds() {
        assert!(!Period::NEVER.is_due(0) && !Period::NEVER.is_due(u64::MAX));
        assert_eq!((Period::NEVER.next(5), Period::from(0)), (u64::MAX, Period::NEVER));
        assert_eq!(Period::from(3).next(3), 6);
        assert_eq!(Period::from(u64::MAX).next(u64::MAX - 1), u64::MAX);
        assert_eq!(Period::from(u64::MAX).next(u64::MAX), u64::MAX);
        assert!(Period::from(1).is_due(u64::MAX) && !Period::from(1).is_due(0));
    }
}
