//! Cycles in a row, each a factor longer than the one before: which of them a step falls into.

/// One cycle of a schedule, seen from a step in it. Times are in steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// How many cycles are over.
    pub index: f64,
    /// The time since the cycle began.
    pub since: f64,
    /// How long the cycle lasts.
    pub length: f64,
    /// The first step at which the cycle is over.
    pub end: u64,
}

impl Cycle {
    /// The cycle of a kind that has one, which lasts so long.
    pub(super) fn only(length: f64, step: u64) -> Option<Cycle> {
        let end = length.ceil() as u64;
        (step < end).then_some(Cycle { index: 0.0, since: step as f64, length, end })
    }
}

/// The cycle that a time falls into, of cycles that begin at 0 and of which the first lasts `first` and each other one
/// `mult` times as long as the one before. `None` where no cycle is left: shorter and shorter ones are all over after
/// `first / (1 - mult)`.
pub(super) fn cycle_at(first: f64, mult: f64, time: f64) -> Option<Cycle> {
    if !(first > 0.0 && mult > 0.0 && first.is_finite() && mult.is_finite()) {
        return None;
    }
    let (index, since, length) = if mult == 1.0 {
        // `fmod` is exact, unlike `time - floor(time / first) * first`.
        let since = libm::fmod(time, first);
        (((time - since) / first).round(), since, first)
    } else {
        let over = time / first * (mult - 1.0);
        if over <= -1.0 {
            return None;
        }
        let mut index = (libm::log1p(over) / libm::log1p(mult - 1.0)).floor().max(0.0);
        // A logarithm can be off by a cycle where one begins.
        if cycle_start(first, mult, index) > time {
            index -= 1.0;
        } else if cycle_start(first, mult, index + 1.0) <= time {
            index += 1.0;
        }
        let length = first * libm::pow(mult, index);
        (index, (time - cycle_start(first, mult, index)).clamp(0.0, length), length)
    };
    let end = (time - since + length).ceil().max(time.floor() + 1.0);
    Some(Cycle { index, since, length, end: end as u64 })
}

/// When the cycle of this index begins, of cycles as for [`Cycle`] that begin at 0, of which the first lasts `first` and each
/// other one `mult` times as long as the one before. Of an index with a fraction, that part of the cycle is over then.
pub fn cycle_start(first: f64, mult: f64, index: f64) -> f64 {
    if mult == 1.0 {
        return index * first;
    }
    let (whole, part) = (index.floor(), index - index.floor());
    // Powers are exact where they can be; near 1 there would be little left of them after the subtraction.
    let grown = if (mult - 1.0).abs() < 1e-3 {
        libm::expm1(whole * libm::log1p(mult - 1.0))
    } else {
        libm::pow(mult, whole) - 1.0
    };
    let start = first * (grown / (mult - 1.0));
    if part > 0.0 { start + part * first * libm::pow(mult, whole) } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: f64, mult: f64, expected: &[(f64, Option<[f64; 3]>)]) {
        for &(time, cycle) in expected {
            let found = cycle_at(first, mult, time).map(|cycle| [cycle.index, cycle.since, cycle.length]);
            assert_eq!(found, cycle, "{first} x {mult} at {time}");
        }
    }

    /// By hand: 4, 6, 9, 13.5 long; 8, 4, 2, 1 long, which are over at 16.
    #[test]
    fn a_time_falls_into_its_cycle() {
        check(4.0, 1.0, &[(0.0, Some([0.0, 0.0, 4.0])), (11.0, Some([2.0, 3.0, 4.0]))]);
        check(4.0, 1.5, &[(3.0, Some([0.0, 3.0, 4.0])), (4.0, Some([1.0, 0.0, 6.0])), (18.5, Some([2.0, 8.5, 9.0]))]);
        check(4.0, 1.5, &[(19.0, Some([3.0, 0.0, 13.5])), (32.0, Some([3.0, 13.0, 13.5]))]);
        check(8.0, 0.5, &[(7.0, Some([0.0, 7.0, 8.0])), (8.0, Some([1.0, 0.0, 4.0])), (15.0, Some([4.0, 0.0, 0.5]))]);
        check(8.0, 0.5, &[(16.0, None), (1e18, None)]);
    }

    #[test]
    fn cycles_begin_where_others_end_for_factors_near_one_too() {
        for mult in [0.999_999_999, 0.9995, 1.000_000_001, 1.0003, 1.1, 3.0] {
            let mut time = 0.0;
            for index in 0..50 {
                let start = cycle_start(1000.0, mult, f64::from(index));
                assert!((start - time).abs() <= 1e-12 * time, "{mult}, {index}: {start} is not {time}");
                time += 1000.0 * libm::pow(mult, f64::from(index));
            }
        }
    }

    #[test]
    fn no_factor_panics_or_runs_for_long() {
        let floats = [f64::NAN, f64::INFINITY, -1.0, 0.0, 5e-324, 1e-300, 0.5, 1.0 - 1e-16, 1.0 + 3e-16, 2.0, 1e300];
        for first in floats {
            for mult in floats {
                for time in [0.0, 1.0, 1e9, u64::MAX as f64] {
                    if let Some(cycle) = cycle_at(first, mult, time) {
                        assert!((0.0..=cycle.length).contains(&cycle.since), "{first} x {mult} at {time}: {cycle:?}");
                    }
                }
            }
        }
    }
}
