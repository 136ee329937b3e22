//! The suggestion of Lightning: where the loss falls fastest by the learning rate itself.
//!
//! Source: `lightning/pytorch/tuner/lr_finder.py`, 2.6.6 (Apache-2.0). `Tuner.lr_find` sweeps geometrically, or linearly on
//! demand, 100 updates from 1e-8 to 1; its first two are at the lowest rate. It smooths by an exponential mean ([`recorded`]), and
//! stops where that is more than 4 times the best; `suggestion` leaves out the first ten losses and the last.

use std::ops::Range;

use crate::gradient;
use crate::recorded::Recorded;

/// The weight of the past in the exponential mean.
const BETA: f64 = 0.98;

/// The sweep stops where the mean is more than so many times the best.
const STOP: f64 = 4.0;

const SKIPPED: (usize, usize) = (10, 1);

/// What the callback has: `a_n = 0.98 a_(n-1) + 0.02 loss_n` from `a_0 = 0`, divided by `1 - 0.98^(n+1)`, up to the first above 4
/// times the best.
///
/// The power is one too high, since Lightning counts an update before its callback is called: a loss of 1 throughout comes
/// out as 0.505, 0.673, 0.758, ..., so the sweep stops at about twice the first loss.
pub fn recorded(losses: &[f64]) -> Recorded {
    let mut recorded = Recorded { losses: Vec::with_capacity(losses.len()), stopped: false };
    let (mut mean, mut best, mut weight) = (0.0, 0.0, BETA);
    for &loss in losses {
        mean = BETA * mean + (1.0 - BETA) * loss;
        weight *= BETA;
        let smooth = mean / (1.0 - weight);
        let is_first = recorded.losses.is_empty();
        recorded.stopped = !is_first && smooth > STOP * best;
        if is_first || smooth < best {
            best = smooth;
        }
        recorded.losses.push(smooth);
        if recorded.stopped {
            break;
        }
    }
    recorded
}

/// The losses that the rule sees.
pub fn kept(recorded: &Recorded, planned: usize) -> Range<usize> {
    recorded.slice(SKIPPED.0, SKIPPED.1, planned)
}

/// The rate at the least slope by the rate, among losses that are finite: `argmin torch.gradient(losses, spacing=lrs)`.
///
/// In a geometric sweep neighbours are a million times nearer to each other at its beginning than at its end, so noise there has
/// the largest slopes, and suggestions are often tiny.
pub fn steepest(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    let finite = lrs.iter().zip(losses).filter(|(_, loss)| loss.is_finite());
    let (lrs, losses): (Vec<f64>, Vec<f64>) = finite.unzip();
    gradient::place_of_least(&gradient::by_coordinate(&losses, &lrs)?).map(|place| lrs[place])
}
