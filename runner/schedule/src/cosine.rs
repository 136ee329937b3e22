//! Cosine annealing, once or with warm restarts.

use std::f64::consts::PI;

use super::line::between;
use crate::ratio::Ratio;

/// Half a cosine: `to + (from - to) * (1 + cos(pi t)) / 2`, exactly `from` at t = 0 and `to` at t = 1.
pub(super) fn half_cosine(from: f64, to: f64, t: f64) -> f64 {
    between(to, from, (1.0 + libm::cos(PI * t)) / 2.0)
}

/// SGDR (Loshchilov and Hutter 2017, equation 5). The cycle is found in integers: the logarithm that closed forms use is
/// wrong by a cycle at some restarts.
pub(super) fn sgdr(max: f64, min: f64, first_cycle: Ratio, mult: u64, step: u64) -> f64 {
    let (since_restart, length) = cycle(first_cycle, mult, step);
    half_cosine(max, min, since_restart as f64 / length as f64)
}

/// How far into its cycle a step is, and how long that cycle is, both in parts of a step, of which `first_cycle` is made.
pub fn cycle(first_cycle: Ratio, mult: u64, step: u64) -> (u128, u128) {
    let mut length = u128::from(first_cycle.numerator().max(1));
    let mut since_restart = u128::from(step) * u128::from(first_cycle.denominator());
    if mult <= 1 {
        since_restart %= length;
    } else {
        // Lengths at least double, so this takes at most 128 turns.
        while since_restart >= length {
            since_restart -= length;
            length = length.saturating_mul(mult.into());
        }
    }
    (since_restart, length)
}

#[cfg(test)]
mod tests {
    use crate::Schedule;

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            assert!((got - value).abs() <= 1e-15, "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn cosine_falls_once() {
        let cosine = Schedule::Cosine { max: 1.0, min: 0.2, steps: 10 };
        check(cosine, &[(0, 1.0), (5, 0.6), (10, 0.2), (11, 0.2), (20, 0.2), (u64::MAX, 0.2)]);
        check(Schedule::Cosine { max: 1.0, min: 0.2, steps: 0 }, &[(0, 0.2)]);
    }

    #[test]
    fn restarts_are_where_the_cycles_end() {
        // cos(pi / 4) / 2 + 1 / 2 and its mirror image.
        let (high, low) = (0.8535533905932737, 0.14644660940672627);
        let doubling = Schedule::Sgdr { max: 1.0, min: 0.0, first_cycle: 4.into(), mult: 2 };
        check(doubling, &[(0, 1.0), (1, high), (2, 0.5), (3, low), (4, 1.0), (6, high), (11, 0.03806023374435663)]);
        let equal = Schedule::Sgdr { max: 1.0, min: 0.0, first_cycle: 4.into(), mult: 1 };
        check(equal, &[(4, 1.0), (7, low), (8, 1.0), (4_000_000_000_000_000_000, 1.0)]);
    }

    /// Cycle i starts at `first * (mult^i - 1) / (mult - 1)`; a logarithm of it in f64 is off at some of these.
    #[test]
    fn every_restart_is_exact() {
        for (first, mult) in [(1, 2), (3, 3), (10, 2), (7, 10)] {
            let sgdr = Schedule::Sgdr { max: 1.0, min: 0.0, first_cycle: first.into(), mult };
            let (mut start, mut length) = (0_u64, first);
            while length < 1 << 50 {
                assert_eq!(sgdr.at(start), 1.0, "first {first}, mult {mult}, restart at {start}");
                if length > 1 {
                    let before_end = sgdr.at(start + length - 1);
                    assert!(before_end < 0.51, "first {first}, mult {mult}, cycle at {start}: ends at {before_end}");
                }
                start += length;
                length *= mult;
            }
        }
    }
}
