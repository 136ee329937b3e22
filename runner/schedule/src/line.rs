//! Lines: the interpolation that most schedules are made of.

/// The point a fraction `t` of the way: exactly `from` at 0 and below, exactly `to` at 1 and above, never outside them.
///
/// Rounding alone can leave the interval: in f64 `0.01 + (0.026 - 0.01)` is above 0.026.
pub(super) fn between(from: f64, to: f64, t: f64) -> f64 {
    if t <= 0.0 {
        return from;
    }
    if t >= 1.0 {
        return to;
    }
    let (low, high) = if from <= to { (from, to) } else { (to, from) };
    let value = from + (to - from) * t;
    // `f64::clamp` panics if a bound is not a number.
    if value < low {
        low
    } else if value > high {
        high
    } else {
        value
    }
}

/// How much of `steps` is done, in [0, 1]. Nothing to do is done.
pub(super) fn fraction(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { step as f64 / steps as f64 }
}

/// From `from` to `to` over `steps` steps, then `to`.
pub(super) fn linear(from: f64, to: f64, steps: u64, step: u64) -> f64 {
    between(from, to, fraction(step, steps))
}

/// `from * (to / from)^(step / steps)`: equal ratios from step to step. Then `to`.
pub(super) fn geometric(from: f64, to: f64, steps: u64, step: u64) -> f64 {
    if step >= steps { to } else { from * libm::pow(to / from, fraction(step, steps)) }
}

#[cfg(test)]
mod tests {
    use super::between;
    use crate::Schedule;

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            assert!((got - value).abs() <= 1e-14 * value.abs(), "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn interpolation_stays_inside_and_meets_its_ends() {
        assert_eq!(between(0.01, 0.026, 1.0), 0.026);
        assert_eq!(between(0.95, 0.85, 0.0), 0.95);
        assert_eq!(between(-f64::MAX, f64::MAX, 0.5), f64::MAX, "the difference overflows, the value is clamped");
        assert!(between(0.0, f64::NAN, 0.5).is_nan());
    }

    /// Table 1, `decay`: 0.007 to 0.001 over 4000, then 0.001.
    #[test]
    fn decay_is_the_row_of_table_1() {
        let decay = Schedule::Decay { base: 0.001, max: 0.007, step_size: 4000 };
        check(decay, &[(0, 0.007), (1000, 0.0055), (2000, 0.004), (3999, 0.0010015), (4000, 0.001), (24_999, 0.001)]);
    }

    /// Figure 11: 0.001 to 0.065 over 4 epochs of 10,009; the last update is just short of the end.
    #[test]
    fn range_test_rises_all_the_way() {
        let googlenet = Schedule::RangeTest { min: 0.001, max: 0.065, steps: 40_036, geometric: false };
        check(googlenet, &[(0, 0.001), (20_018, 0.033), (40_035, 0.0649984014387051), (40_036, 0.065)]);
        let geometric = Schedule::RangeTest { min: 1e-6, max: 1.0, steps: 6, geometric: true };
        check(geometric, &[(0, 1e-6), (1, 1e-5), (3, 1e-3), (6, 1.0), (7, 1.0)]);
    }

    #[test]
    fn no_steps_means_the_end() {
        check(Schedule::Linear { from: 1.0, to: 2.0, steps: 0 }, &[(0, 2.0)]);
        check(Schedule::Decay { base: 1.0, max: 2.0, step_size: 0 }, &[(0, 1.0)]);
        check(Schedule::RangeTest { min: 1.0, max: 2.0, steps: 0, geometric: true }, &[(0, 2.0)]);
    }
}
