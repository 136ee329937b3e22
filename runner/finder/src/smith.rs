//! The pair of bounds of a cyclical policy, as the paper reads it off a range test.
//!
//! "Note the learning rate value when the accuracy starts to increase and when the accuracy slows, becomes ragged, or starts to
//! fall. These two learning rates are good choices for bounds; that is, set `base_lr` to the first value and set `max_lr` to the
//! latter value." (Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.) And: "Alternatively, one can
//! use the rule of thumb that the optimum learning rate is usually within a factor of two of the largest one that converges and
//! set `base_lr` to 1/3 or 1/4 of `max_lr`."
//!
//! The paper reads by eye. This is the same in numbers, which are ours: [`RISES`], [`SLOWS`], [`RAGGED`], [`HELD`].

use std::fmt;

/// The accuracy has started to rise where it has done this part of its climb, from the beginning of the curve to its top.
pub const RISES: f64 = 0.10;

/// It has slowed where it has done this part.
pub const SLOWS: f64 = 0.95;

/// It is ragged, or falls, where it is this part of the climb below the best so far.
pub const RAGGED: f64 = 0.05;

/// A rise counts once so many measurements in a row are up.
pub const HELD: usize = 3;

/// Fewer measurements show no curve.
pub const FEWEST: usize = 8;

/// A climb is more than so many times the median difference between neighbours: that of noise around a constant is 3 times as
/// large in some hundred measurements.
const ABOVE_NOISE: f64 = 4.0;

/// An accuracy that climbs less than this does not rise: of the 10,000 images of CIFAR-10's test set, chance alone makes 0.003.
const LEAST_ACCURACY: f64 = 0.02;

/// The same of a loss, as a part of the loss at the beginning.
const LEAST_LOSS: f64 = 0.02;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Of images that are not trained on, after an update.
    Accuracy,
    /// Of batches, which falls where accuracy rises.
    Loss,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Measure::Accuracy => "accuracy",
            Measure::Loss => "loss",
        }
    }

    /// Higher is better.
    fn score(self, value: f64) -> f64 {
        match self {
            Measure::Accuracy => value,
            Measure::Loss => -value,
        }
    }

    /// The least climb that is one, from this score on.
    fn least_climb(self, floor: f64) -> f64 {
        match self {
            Measure::Accuracy => LEAST_ACCURACY,
            Measure::Loss => LEAST_LOSS * floor.abs(),
        }
    }
}

/// The bounds of a cyclical policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Where the accuracy starts to rise.
    pub base: f64,
    /// The last rate before it slows, becomes ragged or falls.
    pub max: f64,
    pub end: End,
    /// True if it rises from the first measurement on: it may start to rise at a lower rate.
    pub rises_at_once: bool,
}

impl Pair {
    /// The rule of thumb for `base_lr`: a third of `max_lr`, or a quarter.
    pub fn rule_of_thumb(&self) -> [f64; 2] {
        [self.max / 3.0, self.max / 4.0]
    }
}

/// What ends the range of good rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Accuracy hardly rises any more.
    Slows,
    /// It falls and comes back.
    Ragged,
    /// It falls for good.
    Falls,
    /// The next measurement was of a network that had diverged.
    Diverges,
    /// It rises to the end of the sweep, which does not show where it would have slowed.
    Rises,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            End::Slows => "slows",
            End::Ragged => "becomes ragged",
            End::Falls => "falls",
            End::Diverges => "diverges",
            End::Rises => "rises to the end",
        }
    }
}

/// Why there is no pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoPair {
    TooFew {
        measurements: usize,
        /// The rate at which the network had diverged, if it had.
        diverged_at: Option<f64>,
    },
    /// The curve never rises by more than its noise.
    NeverRises { climb: f64 },
    /// It is up in fewer measurements in a row than it takes.
    HardlyHeld { at: f64 },
    /// It rises from bottom to top between two measurements.
    OneStep { at: f64 },
}

impl fmt::Display for NoPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPair::TooFew { measurements, diverged_at: None } => {
                write!(f, "there are {measurements} measurements, and a curve takes {FEWEST}: evaluate more often")
            }
            NoPair::TooFew { measurements, diverged_at: Some(lr) } => write!(
                f,
                "it diverged by a rate of {lr:.2e}, after {measurements} measurements, and a curve takes {FEWEST}: lower \
                 `max_lr`, or evaluate more often"
            ),
            NoPair::NeverRises { climb } => write!(
                f,
                "it never improves by more than noise, by {climb:.3} at most: other rates may do, or the model learns nothing"
            ),
            NoPair::HardlyHeld { at } => write!(
                f,
                "it improves at a rate of {at:.2e}, but not for {HELD} measurements in a row: evaluate more often, or change \
                 `max_lr`"
            ),
            NoPair::OneStep { at } => write!(
                f,
                "it improves from bottom to top between two measurements, at a rate of {at:.2e}: lower `max_lr`, or evaluate \
                 more often"
            ),
        }
    }
}

/// The pair of a curve of measurements `values` at rising rates `lrs`. With `s` the accuracy, or the negative of a loss:
///
/// - The curve ends before the first value that is not finite. It has 8 measurements at least.
/// - The floor is the median of its first twentieth, or its first value; the climb is `max s - floor`. It is more than 0.02 of
///   accuracy (2 % of the floor, of a loss), and more than 4 times the median of `|s[i+1] - s[i]|`.
/// - `base` is the first rate from which on three measurements in a row have `s >= floor + 10 % of the climb`.
/// - `max` is the lower of two rates: the first where `s >= floor + 95 % of the climb` (it slows), and, if after half of the climb
///   `s` is ever more than 5 % of the climb below its best so far, that of this best (it becomes ragged, or falls).
///
/// # Errors
///
/// Where the curve shows no pair.
pub fn pair(measure: Measure, lrs: &[f64], values: &[f64]) -> Result<Pair, NoPair> {
    let scores: Vec<f64> = values
        .iter()
        .take(lrs.len())
        .map(|value| measure.score(*value))
        .take_while(|score| score.is_finite())
        .collect();
    let count = scores.len();
    let diverged_at = lrs.get(count).copied().filter(|_| count < values.len());
    if count < FEWEST {
        return Err(NoPair::TooFew { measurements: count, diverged_at });
    }
    let first = (count / 20).max(1);
    let floor = median(&mut scores[..first].to_vec());
    let top = scores.iter().copied().fold(floor, f64::max);
    let climb = top - floor;
    let mut differences: Vec<f64> = scores.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let is_climb = climb > measure.least_climb(floor) && climb > ABOVE_NOISE * median(&mut differences);
    if !is_climb || !climb.is_finite() {
        return Err(NoPair::NeverRises { climb });
    }

    let is_up = |score: &f64| *score >= floor + RISES * climb;
    let Some(base) = scores.windows(HELD).position(|held| held.iter().all(is_up)) else {
        let at = scores.iter().position(is_up).map_or(f64::NAN, |place| lrs[place]);
        return Err(NoPair::HardlyHeld { at });
    };
    let slows = scores.iter().position(|score| *score >= floor + SLOWS * climb).unwrap_or(count - 1);
    let (max, end) = match fall(&scores, floor, climb) {
        Some((best, end)) if best < slows => (best, end),
        _ if slows + 1 == count && diverged_at.is_some() => (slows, End::Diverges),
        // A straight line has done 95 % of its climb at 95 % of its length.
        _ if slows + 1 + count / 10 >= count && diverged_at.is_none() => (slows, End::Rises),
        Some((best, end)) if best == slows => (best, end),
        _ => (slows, End::Slows),
    };
    // Equal neighbours in `lrs` make no pair either.
    if lrs[max] <= lrs[base] || max <= base {
        return Err(NoPair::OneStep { at: lrs[base] });
    }
    Ok(Pair { base: lrs[base], max: lrs[max], end, rises_at_once: base <= 1 })
}

/// The place of the best score before the first that is well below it, once half of the climb is done; and whether it ever comes
/// back.
fn fall(scores: &[f64], floor: f64, climb: f64) -> Option<(usize, End)> {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
        let is_high = scores[best] >= floor + climb / 2.0;
        if is_high && *score < scores[best] - RAGGED * climb {
            let comes_back = scores[place..].iter().any(|later| *later >= scores[best]);
            return Some((best, if comes_back { End::Ragged } else { End::Falls }));
        }
    }
    None
}

/// The curve of the median at each rate, of several curves at the same rates. One that ended before others, or is not finite,
/// counts as the worst there: where that is the median, it is not a number.
pub fn median_curve(measure: Measure, curves: &[&[f64]]) -> Vec<f64> {
    let longest = curves.iter().map(|curve| curve.len()).max().unwrap_or(0);
    let at = |place: usize| {
        let score =
            |curve: &&[f64]| curve.get(place).map(|value| measure.score(*value)).filter(|score| score.is_finite());
        let mut scores: Vec<f64> = curves.iter().map(|curve| score(curve).unwrap_or(f64::NEG_INFINITY)).collect();
        let median = median(&mut scores);
        if median.is_finite() { measure.score(median) } else { f64::NAN }
    };
    (0..longest).map(at).collect()
}

/// A curve of a point for each `size` neighbours, the last for those that are left: the rate in their middle, and the mean of the
/// values, which is not a number where one of them is not finite.
pub fn in_pieces(lrs: &[f64], values: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    let pieces = lrs.chunks(size.max(1)).zip(values.chunks(size.max(1)));
    let point = |(lrs, values): (&[f64], &[f64])| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (lrs[lrs.len() / 2], if mean.is_finite() { mean } else { f64::NAN })
    };
    pieces.map(point).unzip()
}

/// The middle value, or the mean of the two. Of none, it is not a number.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        // The mean of two infinities of one sign is that.
        _ => values[middle - 1] / 2.0 + values[middle] / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 41 measurements, as those of the paper's figure 3: rates from 0 to 0.02.
    fn lrs() -> Vec<f64> {
        (0..41).map(|place| 0.0005 * f64::from(place)).collect()
    }

    fn curve(accuracy: impl Fn(f64) -> f64) -> Vec<f64> {
        lrs().into_iter().map(accuracy).collect()
    }

    #[track_caller]
    fn check(values: &[f64], base: f64, max: f64, end: End) {
        let pair = pair(Measure::Accuracy, &lrs()[..values.len()], values).unwrap();
        assert!((pair.base - base).abs() < 1e-12 && (pair.max - max).abs() < 1e-12, "{pair:?}");
        assert_eq!(pair.end, end);
    }

    /// From 0.1, up to 0.6 between rates of 0.0005 and 0.006.
    fn climbing(lr: f64) -> f64 {
        0.1 + 0.5 * ((lr - 0.0005) / 0.0055).clamp(0.0, 1.0)
    }

    #[test]
    fn the_bounds_are_where_accuracy_starts_to_rise_and_where_it_slows() {
        // 10 % of the climb is done at 0.00105, 95 % at 0.005725.
        check(&curve(climbing), 0.0015, 0.006, End::Slows);
    }

    #[test]
    fn the_upper_bound_is_the_last_best_before_accuracy_falls() {
        let falls = curve(|lr| if lr > 0.0052 { 0.45 - 10.0 * (lr - 0.005) } else { climbing(lr) });
        check(&falls, 0.001, 0.005, End::Falls);
        let earlier = curve(|lr| {
            if lr > 0.0042 {
                0.3
            } else if lr < 0.0037 {
                climbing(lr)
            } else {
                0.43
            }
        });
        check(&earlier, 0.001, 0.004, End::Falls);
    }

    #[test]
    fn a_dip_that_comes_back_is_ragged_and_one_that_does_not_is_a_fall() {
        // After half of the climb, at 0.004, it drops by a fifth.
        let ragged = curve(|lr| climbing(lr) - if (0.0044..0.0046).contains(&lr) { 0.1 } else { 0.0 });
        check(&ragged, 0.0015, 0.004, End::Ragged);
        // The top is reached in one leap from 0.004 to 0.0045, and nothing comes near it again.
        let falls = curve(|lr| match lr {
            lr if lr < 0.0042 => 0.5 * climbing(lr),
            lr if lr < 0.0047 => 0.6,
            _ => 0.2,
        });
        check(&falls, 0.002, 0.0045, End::Falls);
    }

    #[test]
    fn divergence_ends_the_range() {
        let diverges = curve(|lr| if lr > 0.0042 { f64::NAN } else { climbing(lr) });
        check(&diverges, 0.001, 0.004, End::Diverges);
        // A trial that was stopped has no measurement after that: nothing says that it diverged.
        check(&diverges[..9], 0.001, 0.004, End::Rises);
    }

    #[test]
    fn a_curve_that_rises_to_the_end_says_that_the_sweep_is_too_short() {
        check(&curve(|lr| 0.1 + 20.0 * lr), 0.0025, 0.0195, End::Rises);
    }

    #[test]
    fn the_loss_falls_where_accuracy_rises() {
        let losses: Vec<f64> = curve(climbing).iter().map(|accuracy| 2.0 - accuracy).collect();
        let of_loss = pair(Measure::Loss, &lrs(), &losses).unwrap();
        assert_eq!((of_loss.base, of_loss.max, of_loss.end), (lrs()[3], lrs()[12], End::Slows));
    }

    /// Noise of half a point around chance, and a network that never gives another answer than one class.
    #[test]
    fn a_curve_that_never_rises_has_no_bounds() {
        let noise = curve(|lr| 0.1 + 0.005 * libm::sin(9000.0 * lr));
        let of_noise = pair(Measure::Accuracy, &lrs(), &noise);
        assert!(matches!(of_noise, Err(NoPair::NeverRises { climb }) if climb < 0.01), "{of_noise:?}");
        let flat = pair(Measure::Accuracy, &lrs(), &curve(|_| 0.1));
        assert_eq!(flat, Err(NoPair::NeverRises { climb: 0.0 }));
        let loud = curve(|lr| 0.3 + 0.1 * libm::sin(1e7 * lr * lr));
        assert!(matches!(pair(Measure::Accuracy, &lrs(), &loud), Err(NoPair::NeverRises { .. })));
        let falling = pair(Measure::Accuracy, &lrs(), &curve(|lr| 0.5 - 20.0 * lr));
        assert!(matches!(falling, Err(NoPair::NeverRises { .. })), "{falling:?}");
    }

    #[test]
    fn too_few_measurements_and_a_single_step_are_said() {
        let few = pair(Measure::Accuracy, &lrs()[..5], &[0.1, 0.2, 0.3, f64::NAN, 0.1]);
        assert_eq!(few, Err(NoPair::TooFew { measurements: 3, diverged_at: Some(lrs()[3]) }));
        let step = pair(Measure::Accuracy, &lrs(), &curve(|lr| if lr < 0.004 { 0.1 } else { 0.6 }));
        assert_eq!(step, Err(NoPair::OneStep { at: 0.004 }));
        let spike =
            pair(Measure::Accuracy, &lrs(), &curve(|lr| if (0.0039..0.0047).contains(&lr) { 0.6 } else { 0.1 }));
        assert_eq!(spike, Err(NoPair::HardlyHeld { at: 0.004 }));
    }

    #[test]
    fn the_median_curve_diverges_where_half_of_the_curves_did() {
        let curves: [&[f64]; 3] = [&[0.1, 0.2, 0.3, 0.4], &[0.3, f64::NAN], &[0.2, 0.4, 0.5]];
        let of_accuracy = median_curve(Measure::Accuracy, &curves);
        assert_eq!(of_accuracy[..3], [0.2, 0.2, 0.3]);
        assert!(of_accuracy[3].is_nan() && of_accuracy.len() == 4);
        // Of two, the mean with the one that diverged is as bad.
        assert!(median_curve(Measure::Loss, &[&[1.0], &[f64::INFINITY]])[0].is_nan());
        assert_eq!(median_curve(Measure::Loss, &[&[1.0, 3.0], &[2.0, 4.0]]), [1.5, 3.5]);
    }

    #[test]
    fn a_long_curve_is_averaged_in_pieces() {
        let (lrs, values) = in_pieces(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 3.0, 5.0, f64::INFINITY, 7.0], 2);
        assert_eq!(lrs, [2.0, 4.0, 6.0]);
        assert!(values[0] == 2.0 && values[1].is_nan() && values[2] == 7.0, "{values:?}");
        assert_eq!(in_pieces(&[1.0], &[2.0], 0), (vec![1.0], vec![2.0]));
        assert_eq!(in_pieces(&[], &[], 50), (vec![], vec![]));
    }
}
