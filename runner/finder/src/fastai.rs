//! fastai's rules: `valley`, `slide`, `steep` and `minimum` of `Learner.lr_find`.
//!
//! Source: `fastai/callback/schedule.py`, 2.8.12 (Apache-2.0). `lr_find` sweeps geometrically, 100 updates from 1e-7 to 10, of
//! which the last is just short of 10. It records losses smoothed by an exponential mean ([`recorded`]), stops where that is more
//! than 4 times the best, leaves out the first tenth and the last five ([`kept`]), and hands the rest to a rule. It computes in
//! single precision; in double precision, as here, only what is equal up to rounding may be told apart otherwise.

use std::ops::Range;

use crate::gradient;
use crate::recorded::Recorded;

/// The weight of the past in the exponential mean.
const BETA: f64 = 0.98;

/// The sweep stops where the mean is more than so many times the best.
const STOP: f64 = 4.0;

/// The fewest updates of a sweep: fewer are taken for so many.
const FEWEST: usize = 6;

/// So many losses at the end are left out.
const SKIPPED_AT_END: usize = 5;

/// What the recorder has: `v_n = 0.98 v_(n-1) + 0.02 loss_n` from `v_0 = 0`, divided by `1 - 0.98^n`; up to `planned` of them, or
/// the first above 4 times the best.
pub fn recorded(losses: &[f64], planned: usize) -> Recorded {
    let (mut mean, mut best, mut weight) = (0.0, f64::INFINITY, 1.0);
    let mut recorded = Recorded { losses: Vec::with_capacity(losses.len()), stopped: false };
    for &loss in &losses[..losses.len().min(planned.max(FEWEST))] {
        // `torch.lerp(loss, mean, 0.98)`.
        mean -= (mean - loss) * (1.0 - BETA);
        weight *= BETA;
        let smooth = mean / (1.0 - weight);
        recorded.losses.push(smooth);
        if smooth < best {
            best = smooth;
        }
        if smooth > STOP * best {
            recorded.stopped = true;
            break;
        }
    }
    recorded
}

/// The losses that a rule sees: without the first tenth of those planned and the last five, up to the first that is not a number.
pub fn kept(recorded: &Recorded, planned: usize) -> Range<usize> {
    let planned = planned.max(FEWEST);
    let Range { start, end } = recorded.slice(planned / 10, SKIPPED_AT_END, planned);
    let is_nan = |loss: &f64| loss.is_nan();
    let end = recorded.losses[start..end].iter().position(is_nan).map_or(end, |place| start + place);
    start..end
}

/// Halfway down the longest descent: of the longest sequence of losses, each lower than all of it before, that ends
/// first, with `e` its last place and `k` its length, the rate at place `e - k + int(k / 3) + int(k / 6)`.
///
/// The sequence may leave out losses, so `e - k`, taken for its beginning, often is not. Of two losses that fall it is before
/// the first, which Python takes for the last: so does this.
pub fn valley(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    let (mut longest, mut end) = (1, 0);
    // Of all descents of length k + 1 so far, the highest last loss at place k: each is lower than the one before.
    let mut ends: Vec<f64> = Vec::new();
    for (place, &loss) in losses.iter().enumerate().filter(|(_, loss)| !loss.is_nan()) {
        let length = 1 + ends.partition_point(|end| *end > loss);
        match ends.get_mut(length - 1) {
            Some(end) => *end = loss,
            None => ends.push(loss),
        }
        if length > longest {
            (longest, end) = (length, place);
        }
    }
    // No descent at all is one of no length.
    let length = if longest == 1 { 0 } else { longest };
    let place = end + length / 3 + length / 6;
    // A place before the first is counted from the end.
    match place.checked_sub(length) {
        Some(place) => lrs.get(place).copied(),
        None => lrs.len().checked_sub(length - place).map(|place| lrs[place]),
    }
}

/// With `g` the slope by the number of the update, seen from the end: the last rate 15 places before another where the slopes
/// differ by more than 0.005 all the way from the end.
///
/// The threshold is one for a sweep of 100 updates: with more of them slopes are smaller, and it stops earlier. Needs 16 losses.
pub fn slide(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    const DISTANCE: usize = 15;
    const THRESHOLD: f64 = 0.005;
    let slopes = gradient::by_index(losses)?;
    let mut right = slopes.len() - 1;
    let mut suggestion = *lrs.get(right.checked_sub(DISTANCE)?)?;
    while let Some(left) = right.checked_sub(DISTANCE).filter(|left| (slopes[right] - slopes[*left]).abs() > THRESHOLD)
    {
        suggestion = *lrs.get(left)?;
        right -= 1;
    }
    Some(suggestion)
}

/// The rate before the step in which the loss falls most by the logarithm of the rate: `argmin (l[i+1] - l[i]) / (ln lr[i+1] - ln lr[i])`.
pub fn steep(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    let steps = lrs.windows(2).zip(losses.windows(2));
    let slope = |(lr, loss): (&[f64], &[f64])| (loss[1] - loss[0]) / (libm::log(lr[1]) - libm::log(lr[0]));
    let slopes: Vec<f64> = steps.map(slope).collect();
    gradient::place_of_least(&slopes).map(|place| lrs[place])
}

/// A tenth of the rate at the lowest loss.
pub fn minimum(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    gradient::place_of_least(losses).and_then(|place| lrs.get(place)).map(|lr| lr / 10.0)
}
