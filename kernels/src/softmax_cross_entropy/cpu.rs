//! Softmax cross-entropy on the CPU.

use super::Score;
use crate::Cpu;

/// Rows that one task scores.
const TASK_ROWS: usize = 16;

/// Scores `logits`, `[batch][classes]`, against `labels`, `[batch]`. Writes the gradient of the mean loss by the logits,
/// `(softmax - one at the label) / of`, to `dlogits` if it is asked for. `of` is how many samples the mean is over: those of the
/// batch, or more where it is a part of them.
///
/// Computed in f64 and rounded at the end; the rows' losses are added in a fixed tree. The same on every instruction set.
///
/// # Panics
/// If a slice does not have the length that `classes` and the number of labels say.
pub fn softmax_cross_entropy(
    cpu: &Cpu,
    classes: usize,
    logits: &[f32],
    labels: &[i32],
    of: usize,
    dlogits: Option<&mut [f32]>,
) -> Score {
    weighted_softmax_cross_entropy(cpu, classes, logits, labels, of, 1.0, dlogits)
}

/// As [`softmax_cross_entropy`], with loss and gradient times `weight`: one of several losses of a network, whose sum is
/// trained on.
///
/// # Panics
/// As [`softmax_cross_entropy`].
pub fn weighted_softmax_cross_entropy(
    cpu: &Cpu,
    classes: usize,
    logits: &[f32],
    labels: &[i32],
    of: usize,
    weight: f32,
    dlogits: Option<&mut [f32]>,
) -> Score {
    let batch = labels.len();
    assert_eq!(logits.len(), batch * classes, "logits of {batch} samples in {classes} classes");
    assert!(dlogits.as_ref().is_none_or(|dlogits| dlogits.len() == logits.len()), "as many gradients as logits");
    let weight = f64::from(weight);
    let Sums { loss, correct, top5 } = score_rows(cpu, classes, logits, labels, dlogits, weight * (1.0 / of as f64));
    Score { loss: (weight * (loss / of as f64)) as f32, correct, top5 }
}

/// What the samples of a part of the batch add up to.
#[derive(Clone, Copy, Default)]
struct Sums {
    loss: f64,
    correct: usize,
    top5: usize,
}

impl Sums {
    fn add(self, other: Sums) -> Sums {
        let Sums { loss, correct, top5 } = other;
        Sums { loss: self.loss + loss, correct: self.correct + correct, top5: self.top5 + top5 }
    }
}

/// The sums over the rows, each half of them apart.
fn score_rows(
    cpu: &Cpu,
    classes: usize,
    logits: &[f32],
    labels: &[i32],
    dlogits: Option<&mut [f32]>,
    scale: f64,
) -> Sums {
    if labels.len() > TASK_ROWS {
        let middle = labels.len() / 2;
        let ((left_logits, right_logits), (left_labels, right_labels)) =
            (logits.split_at(middle * classes), labels.split_at(middle));
        let (left_dlogits, right_dlogits) = dlogits.map(|dlogits| dlogits.split_at_mut(middle * classes)).unzip();
        let (left, right) = cpu.join(
            || score_rows(cpu, classes, left_logits, left_labels, left_dlogits, scale),
            || score_rows(cpu, classes, right_logits, right_labels, right_dlogits, scale),
        );
        return left.add(right);
    }
    let mut sums = Sums::default();
    let mut rest = dlogits;
    for (row, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
        let dlogits = rest.as_mut().and_then(|rest| rest.split_off_mut(..classes));
        sums = sums.add(score_row(row, label, dlogits, scale));
    }
    sums
}

fn score_row(logits: &[f32], label: i32, dlogits: Option<&mut [f32]>, scale: f64) -> Sums {
    let label = usize::try_from(label).unwrap_or(usize::MAX);
    // NaN where the label is no class: that makes loss and gradients NaN.
    let label_logit = logits.get(label).map_or(f64::NAN, |logit| f64::from(*logit));
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let exp = |logit: f32| libm::exp(f64::from(logit) - largest);
    let sum: f64 = logits.iter().map(|logit| exp(*logit)).sum();
    let loss = libm::log(sum) + largest - label_logit;
    if let Some(dlogits) = dlogits {
        for (class, (dlogit, logit)) in dlogits.iter_mut().zip(logits).enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            *dlogit = if loss.is_nan() { f32::NAN } else { ((exp(*logit) / sum - target) * scale) as f32 };
        }
    }
    // Without a loss there is no rank: every class is before the label.
    let is_before = |class: usize, logit: f64| logit > label_logit || (logit == label_logit && class < label);
    let rank = match loss.is_nan() {
        true => usize::MAX,
        false => logits.iter().enumerate().filter(|(class, logit)| is_before(*class, f64::from(**logit))).count(),
    };
    Sums { loss, correct: usize::from(rank == 0), top5: usize::from(rank < 5) }
}
