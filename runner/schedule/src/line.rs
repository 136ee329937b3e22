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
pub(super) fn line(from: f64, to: f64, steps: u64, step: u64) -> f64 {
    between(from, to, fraction(step, steps))
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn interpolation_stays_inside_and_meets_its_ends() {
        assert_eq!(between(0.01, 0.026, 1.0), 0.026);
        assert_eq!(between(0.95, 0.85, 0.0), 0.95);
        assert_eq!(between(-f64::MAX, f64::MAX, 0.5), f64::MAX, "the difference overflows, the value is clamped");
        assert!(between(0.0, f64::NAN, 0.5).is_nan());
    }
}
