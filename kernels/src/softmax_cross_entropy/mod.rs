//! Softmax, mean cross-entropy, top-1 accuracy and the gradient of the logits, in one pass.

mod cpu;
pub mod cuda;

pub use cpu::softmax_cross_entropy;

/// The score of a batch of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean over the batch of `-log(softmax(logits)[label])`, or its share in the mean over more samples. NaN if a logit is NaN
    /// or positive infinity, a label is no class or the batch is empty; infinite if the logit of a label is negative infinity.
    pub loss: f32,
    /// Samples whose largest logit is at their label. The lowest class wins a tie; a sample without a loss is not right.
    pub correct: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};

    /// Loss, number of right answers, gradients.
    fn run(classes: usize, logits: &[f32], labels: &[i32]) -> Vec<f32> {
        let results = on_every_cpu(|cpu| {
            let mut dlogits = vec![f32::MAX; logits.len()];
            let score = softmax_cross_entropy(cpu, classes, logits, labels, labels.len(), Some(&mut dlogits));
            let without = softmax_cross_entropy(cpu, classes, logits, labels, labels.len(), None);
            assert_eq!((score.loss.to_bits(), score.correct), (without.loss.to_bits(), without.correct));
            [vec![score.loss, score.correct as f32], dlogits].concat()
        });
        for (isa, result) in &results {
            assert_eq!(format!("{result:?}"), format!("{:?}", results[0].1), "{isa:?}");
        }
        results[0].1.clone()
    }

    fn loss(classes: usize, logits: &[f64], labels: &[i32]) -> f64 {
        let rows = logits.chunks_exact(classes).zip(labels);
        let losses = rows.map(|(row, label)| {
            libm::log(row.iter().map(|logit| libm::exp(*logit)).sum::<f64>()) - row[*label as usize]
        });
        losses.sum::<f64>() / labels.len() as f64
    }

    #[test]
    fn agrees_with_the_definition_and_with_differences() {
        for (batch, classes) in [(1, 1), (3, 10), (17, 2), (40, 7), (65, 3)] {
            let logits: Vec<f32> = values(batch as u64, batch * classes).iter().map(|value| 4.0 * value).collect();
            let labels: Vec<i32> = (0..batch as i32).map(|i| i * 7 % classes as i32).collect();
            let actual = run(classes, &logits, &labels);
            let logits64: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            let right = logits
                .chunks_exact(classes)
                .zip(&labels)
                .filter(|(row, label)| row.iter().all(|logit| *logit <= row[**label as usize]));
            assert_close(
                "loss and right answers",
                &actual[..2],
                &[loss(classes, &logits64, &labels), right.count() as f64],
                1e-6,
            );
            assert_gradient("dlogits", &actual[2..], &logits, |logits| loss(classes, logits, &labels));
        }
    }

    #[test]
    fn agrees_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/softmax_cross_entropy.json")) {
            let labels: Vec<i32> = golden.tensor("labels").into_iter().map(|label| label as i32).collect();
            let actual = run(golden.size("classes"), &golden.input("logits"), &labels);
            let expected = ["loss", "correct", "dlogits"].map(|name| golden.tensor(name)).concat();
            assert_close("score and gradients", &actual, &expected, 1e-7);
        }
    }

    #[track_caller]
    fn check(logits: &[f32], label: i32, expected: &[f32]) {
        let actual = run(logits.len(), logits, &[label]);
        assert_eq!(format!("{actual:?}"), format!("{expected:?}"));
    }

    #[test]
    fn ties_go_to_the_lowest_class() {
        let half = std::f32::consts::LN_2;
        check(&[1.0, 1.0], 0, &[half, 1.0, -0.5, 0.5]);
        check(&[1.0, 1.0], 1, &[half, 0.0, 0.5, -0.5]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        check(&[3e38, -3e38], 0, &[0.0, 1.0, 0.0, 0.0]);
        check(&[1e4, 0.0], 1, &[1e4, 0.0, 1.0, -1.0]);
        check(&[f32::NEG_INFINITY, 0.0], 1, &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_has_no_loss_is_not_finite_and_not_right() {
        const NAN: f32 = f32::NAN;
        for (logits, label) in [
            ([NAN, 0.0], 1),
            ([0.0, NAN], 1),
            ([f32::INFINITY, 0.0], 0),
            ([f32::NEG_INFINITY; 2], 0),
            ([0.0, 1.0], 2),
            ([0.0, 1.0], -1),
        ] {
            check(&logits, label, &[NAN, 0.0, NAN, NAN]);
        }
        check(&[f32::NEG_INFINITY, 0.0], 0, &[f32::INFINITY, 0.0, -1.0, 1.0]);
        assert_eq!(format!("{:?}", run(3, &[], &[])), "[NaN, 0.0]");
    }
}
