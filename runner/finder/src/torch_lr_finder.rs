//! The suggestion of torch-lr-finder: where the loss falls fastest from one update to the next.
//!
//! Source: `torch_lr_finder/lr_finder.py`, 0.2.2 (MIT). `LRFinder.range_test` sweeps geometrically, or linearly on demand, 100
//! updates up to 10, of which the last is at 10 itself. It smooths by an exponential mean ([`recorded`]), and stops where that is
//! more than 5 times the best; `plot` leaves out the first ten losses and the last five.

use std::ops::Range;

use crate::gradient;
use crate::recorded::Recorded;

/// The weight of the newest loss in the exponential mean.
const NEWEST: f64 = 0.05;

/// The sweep stops where the mean is more than so many times the best.
const STOP: f64 = 5.0;

const SKIPPED: (usize, usize) = (10, 5);

/// The fewest losses of which `plot` suggests a rate.
const FEWEST: usize = SKIPPED.0 + SKIPPED.1 + 2;

/// What the history has: the first loss as it is, then `s_n = 0.05 loss_n + 0.95 s_(n-1)`, up to the first above 5 times the best.
pub fn recorded(losses: &[f64]) -> Recorded {
    let mut recorded = Recorded { losses: Vec::with_capacity(losses.len()), stopped: false };
    let mut best = f64::NAN;
    for &loss in losses {
        let smooth = match recorded.losses.last() {
            None => loss,
            Some(last) => NEWEST * loss + (1.0 - NEWEST) * last,
        };
        if recorded.losses.is_empty() || smooth < best {
            best = smooth;
        }
        recorded.losses.push(smooth);
        if smooth > STOP * best {
            recorded.stopped = true;
            break;
        }
    }
    recorded
}

/// The losses that the rule sees; none of fewer than 17.
pub fn kept(recorded: &Recorded, planned: usize) -> Range<usize> {
    if recorded.full_length(planned) < FEWEST { 0..0 } else { recorded.slice(SKIPPED.0, SKIPPED.1, planned) }
}

/// The rate at the least slope by the number of the update: `argmin numpy.gradient(losses)`.
///
/// A slope that is not a number is the least to NumPy: of a network that diverged to losses that are none, the suggestion is the
/// last rate before that.
pub fn steepest(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    gradient::place_of_least(&gradient::by_index(losses)?).and_then(|place| lrs.get(place).copied())
}
