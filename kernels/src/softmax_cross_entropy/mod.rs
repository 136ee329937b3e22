//! Softmax, mean cross-entropy, top-1 and top-5 accuracy and the gradient of the logits, in one pass.

mod cpu;
pub mod cuda;

pub use cpu::{softmax_cross_entropy, weighted_softmax_cross_entropy};

/// The score of a batch of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean over the batch of `-log(softmax(logits)[label])`, or its share in the mean over more samples. NaN if a logit is NaN
    /// or positive infinity, a label is no class or the batch is empty; infinite if the logit of a label is negative infinity.
    pub loss: f32,
    /// Samples whose largest logit is at their label. The lowest class wins a tie; a sample without a loss is not right.
    pub correct: usize,
    /// Samples whose label is among the five largest logits, by the same rules: all that have a loss where there are no more
    /// than five classes.
    pub top5: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};

    /// Loss, number of right answers, gradients, number of labels among the five largest.
    fn run_top5(classes: usize, logits: &[f32], labels: &[i32]) -> (Vec<f32>, usize) {
        let mut result = run_all(classes, logits, labels);
        let top5 = result.pop().unwrap() as usize;
        (result, top5)
    }

    fn run(classes: usize, logits: &[f32], labels: &[i32]) -> Vec<f32> {
        run_top5(classes, logits, labels).0
    }

    fn run_all(classes: usize, logits: &[f32], labels: &[i32]) -> Vec<f32> {
        let results = on_every_cpu(|cpu| {
            let mut dlogits = vec![f32::MAX; logits.len()];
            let score = softmax_cross_entropy(cpu, classes, logits, labels, labels.len(), Some(&mut dlogits));
            let without = softmax_cross_entropy(cpu, classes, logits, labels, labels.len(), None);
            assert_eq!(format!("{score:?}"), format!("{without:?}"));
            [vec![score.loss, score.correct as f32], dlogits, vec![score.top5 as f32]].concat()
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
        let files = [include_str!("../../goldens/softmax_cross_entropy.json"), include_str!("../../goldens/top5.json")];
        for golden in files.into_iter().flat_map(goldens) {
            let labels: Vec<i32> = golden.tensor("labels").into_iter().map(|label| label as i32).collect();
            let (actual, top5) = run_top5(golden.size("classes"), &golden.input("logits"), &labels);
            let expected = ["loss", "correct", "dlogits"].map(|name| golden.tensor(name)).concat();
            assert_close("score and gradients", &actual, &expected, 1e-7);
            if golden.has("top5") {
                assert_eq!(top5 as f64, golden.tensor("top5")[0]);
            }
        }
    }

    /// A main loss and two auxiliary ones, as GoogLeNet has them: PyTorch's gradient of `main + 0.3 first + 0.3 second`.
    #[test]
    fn weighted_losses_agree_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/weighted_losses.json")) {
            let labels: Vec<i32> = golden.tensor("labels").into_iter().map(|label| label as i32).collect();
            for (isa, result) in on_every_cpu(|cpu| {
                let mut total = 0.0;
                let mut gradients = Vec::new();
                for (head, weight) in [("main", 1.0), ("first", 0.3), ("second", 0.3)] {
                    let logits = golden.input(head);
                    let mut dlogits = vec![f32::NAN; logits.len()];
                    let (classes, of) = (golden.size("classes"), labels.len());
                    let score =
                        weighted_softmax_cross_entropy(cpu, classes, &logits, &labels, of, weight, Some(&mut dlogits));
                    total += score.loss;
                    gradients.extend(dlogits);
                }
                [vec![total], gradients].concat()
            }) {
                let expected = ["total", "dmain", "dfirst", "dsecond"].map(|name| golden.tensor(name)).concat();
                assert_close(&format!("{isa:?}"), &result, &expected, 2e-7);
            }
        }
    }

    #[test]
    fn a_weight_of_one_changes_no_bit() {
        let cpu = crate::Cpu::with_isa(1, crate::Isa::Portable).unwrap();
        let (logits, labels) = (values(1, 40 * 7), (0..40).map(|i| i % 7).collect::<Vec<_>>());
        let (mut plain, mut weighted) = (vec![f32::NAN; logits.len()], vec![f32::NAN; logits.len()]);
        let score = softmax_cross_entropy(&cpu, 7, &logits, &labels, 64, Some(&mut plain));
        let same = weighted_softmax_cross_entropy(&cpu, 7, &logits, &labels, 64, 1.0, Some(&mut weighted));
        assert_eq!((score, plain), (same, weighted));
    }

    #[test]
    fn labels_among_the_five_largest_are_counted() {
        let logits = [0.5, 3.0, 1.0, 3.0, 2.0, 1.0, -1.0];
        // In order: classes 1, 3, 4, 2, 5, 0, 6.
        for (label, is_among) in [(1, 1), (3, 1), (4, 1), (2, 1), (5, 1), (0, 0), (6, 0)] {
            assert_eq!(run_top5(7, &logits, &[label]).1, is_among, "label {label}");
        }
        assert_eq!(run_top5(3, &[0.0, 1.0, 2.0], &[0]).1, 1);
        assert_eq!(run_top5(3, &[f32::NAN, 1.0, 2.0], &[1]).1, 0);
        assert_eq!(run_top5(3, &[0.0, 1.0, 2.0], &[3]).1, 0);
        assert_eq!(run_top5(2, &[f32::NEG_INFINITY, 0.0], &[0]).1, 1);
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
