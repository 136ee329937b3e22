//! Softmax cross-entropy on a GPU.

#![allow(unsafe_code)]

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count, mirror};
use crate::step::{LaneStep, Metrics, Part};

const THREADS: usize = 512;

mirror! {
    /// The sums of an evaluation over its batches.
    #[derive(Default)]
    pub struct Total = "softmax_cross_entropy::Total" {
        /// Each batch's mean loss, times its samples.
        pub loss: f64,
        /// Samples whose largest logit is at their label.
        pub correct: u64,
        /// Samples whose label is among the five largest logits.
        pub top5: u64,
    }
}

/// A batch of an update, and where its scores go.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    /// Samples of the batch.
    pub batch: usize,
    /// The place of the batch in its update.
    pub part: Part,
    /// Classes that are told apart.
    pub classes: usize,
    /// `[lanes]`: the step at hand.
    pub steps: &'a Buffer<LaneStep>,
    /// `[batch][classes]`.
    pub logits: Lanes<'a>,
    /// `[batch]`.
    pub labels: Lanes<'a, i32>,
    /// `[batch][classes]`: the gradient of `logits`, where it is asked for.
    pub dlogits: Option<Lanes<'a>>,
    /// Columns 0 and 1 of a lane's row are mean loss and accuracy.
    pub metrics: Metrics<'a>,
}

/// One of the losses of a network, whose sum is trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// What its loss and gradient are multiplied by.
    pub weight: f32,
    /// True if it is added to the loss of the same step that was recorded before it, and nothing else of it is recorded: as of
    /// an auxiliary classifier.
    pub is_further: bool,
    /// The column of the top-5 accuracy, if it is recorded: 2 or more.
    pub top5_column: Option<usize>,
}

impl Loss {
    /// The loss of a network with one.
    pub const ONLY: Loss = Loss { weight: 1.0, is_further: false, top5_column: None };
}

/// Scores each lane as [`super::softmax_cross_entropy`] does. Metrics are written for lanes whose update has as many samples as
/// `part` says; where this is not the first part of the update, they are added.
///
/// # Errors
/// What the driver says.
pub fn train(gpu: &Gpu, lanes: usize, train: &Train<'_>) -> Result<(), GpuError> {
    train_on(gpu, lanes, &Loss::ONLY, train)
}

/// As [`train`], on one of several losses: [`super::weighted_softmax_cross_entropy`].
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If the metrics have no column for what is recorded.
pub fn train_on(gpu: &Gpu, lanes: usize, loss: &Loss, train: &Train<'_>) -> Result<(), GpuError> {
    let &Train { batch, part, classes, steps, logits, labels, dlogits, metrics } = train;
    let &Loss { weight, is_further, top5_column } = loss;
    assert!(metrics.columns >= 2, "loss and accuracy need two columns");
    assert!(top5_column.is_none_or(|column| (2..metrics.columns).contains(&column)), "no column {top5_column:?}");
    let launch = gpu.launch("softmax_cross_entropy_train", lanes).blocks([lanes, 1, 1]).threads(THREADS);
    let launch = launch.value("batch", count(batch)).value("of", count(part.of));
    let launch = launch.value("is_first", u32::from(part.first == 0)).value("weight", weight);
    let launch = launch.value("is_further", u32::from(is_further));
    let launch = launch.value("top5_column", count(top5_column.unwrap_or(0))).value("classes", count(classes));
    let launch = launch.value("rows", count(metrics.rows)).value("columns", count(metrics.columns));
    let launch = launch.table("steps", steps, lanes).read("logits", logits, batch * classes);
    let launch = launch.read("labels", labels, batch).write_optional("dlogits", dlogits, batch * classes);
    // SAFETY: the arguments of `softmax_cross_entropy_train`.
    unsafe { launch.table_mut("metrics", metrics.values, metrics.len(lanes)).run() }
}

/// Adds each lane's score to its total.
///
/// # Errors
/// What the driver says.
pub fn evaluate(
    gpu: &Gpu,
    lanes: usize,
    batch: usize,
    classes: usize,
    logits: Lanes<'_>,
    labels: Lanes<'_, i32>,
    totals: &Buffer<Total>,
) -> Result<(), GpuError> {
    let launch = gpu.launch("softmax_cross_entropy_evaluate", lanes).blocks([lanes, 1, 1]).threads(THREADS);
    let launch = launch.value("batch", count(batch)).value("classes", count(classes));
    let launch = launch.read("logits", logits, batch * classes).read("labels", labels, batch);
    // SAFETY: the arguments of `softmax_cross_entropy_evaluate`.
    unsafe { launch.table_mut("totals", totals, lanes).run() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::softmax_cross_entropy::{Score, softmax_cross_entropy, weighted_softmax_cross_entropy};
    use crate::testing::{Tensors, assert_close, join, on_the_gpu, values, widened};

    /// Rows of the table of metrics, and the one that a step writes.
    const ROWS: usize = 3;
    const ROW: usize = 1;

    /// Lane 1 has another batch than the others.
    fn steps(lanes: &[u64], batch: usize) -> Vec<LaneStep> {
        let samples = |lane| if lane == 1 { batch as u32 + 1 } else { batch as u32 };
        lanes.iter().map(|&lane| LaneStep { samples: samples(lane), row: ROW as u32, ..LaneStep::default() }).collect()
    }

    #[track_caller]
    fn check(classes: usize, logits: impl Fn(u64) -> Vec<f32>, labels: impl Fn(u64) -> Vec<i32>) {
        let (cpu, batch) = (Cpu::new(1).unwrap(), labels(0).len());
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let given = Tensors::new(gpu, placing, &lanes.iter().map(|&lane| logits(lane)).collect::<Vec<_>>());
            let targets = Tensors::new(gpu, placing, &lanes.iter().map(|&lane| labels(lane)).collect::<Vec<_>>());
            let dlogits = Tensors::unwritten(gpu, placing, count, batch * classes);
            let table = gpu.alloc_from(&vec![7.0_f32; ROWS * count * 3]).unwrap();
            let metrics = Metrics { values: &table, rows: ROWS, columns: 3 };
            let steps = gpu.alloc_from(&steps(lanes, batch)).unwrap();
            let (logits, labels) = (given.lanes(), targets.lanes());
            let (part, dlogits_lanes) = (Part::whole(batch), Some(dlogits.lanes()));
            let all = Train { batch, part, classes, steps: &steps, logits, labels, dlogits: dlogits_lanes, metrics };
            train(gpu, count, &all).unwrap();
            let totals = gpu.alloc_from(&vec![Total { loss: 0.5, correct: 2, top5: 3 }; count]).unwrap();
            evaluate(gpu, count, batch, classes, logits, labels, &totals).unwrap();
            evaluate(gpu, count, batch, classes, logits, labels, &totals).unwrap();
            let (mut found, mut summed) = (vec![0.0; table.len()], vec![Total::default(); count]);
            gpu.download(&table, 0, &mut found).unwrap();
            gpu.download(&totals, 0, &mut summed).unwrap();
            let others = found[..ROW * count * 3].iter().chain(&found[(ROW + 1) * count * 3..]);
            assert!(others.into_iter().all(|value| *value == 7.0), "metrics of another step");
            let found = found[ROW * count * 3..].chunks(3).take(count).map(<[f32]>::to_vec).collect();
            let sums = |total: &Total| vec![total.loss as f32, total.correct as f32, total.top5 as f32];
            let summed = summed.iter().map(sums).collect();
            join([dlogits.read(gpu), found, summed])
        }) {
            let mut dlogits = vec![f32::NAN; batch * classes];
            let Score { loss, correct, top5 } =
                softmax_cross_entropy(&cpu, classes, &logits(lane), &labels(lane), batch, Some(&mut dlogits));
            let metrics = if lane == 1 { vec![7.0; 3] } else { vec![loss, correct as f32 / batch as f32, 7.0] };
            let totals = vec![0.5 + 2.0 * loss * batch as f32, 2.0 + 2.0 * correct as f32, 3.0 + 2.0 * top5 as f32];
            // NaN where NaN is expected, as a number that both have.
            let plain = |values: Vec<f32>| values.into_iter().map(|value| if value.is_nan() { 9e9 } else { value });
            let result: Vec<f32> = plain(result).collect();
            let expected: Vec<f32> = plain([dlogits, metrics, totals].concat()).collect();
            assert_close(&format!("{batch} x {classes} {placing:?}"), &result, &widened(&expected), 2e-7);
        }
    }

    #[test]
    fn scores_are_those_of_the_cpu() {
        for (batch, classes) in [(1, 1), (3, 10), (40, 7), (5, 70)] {
            let logits = |lane: u64| values(lane + 1, batch * classes).iter().map(|value| 4.0 * value).collect();
            check(classes, logits, |lane| (0..batch as i32).map(|i| (i * 7 + lane as i32) % classes as i32).collect());
        }
    }

    #[test]
    fn the_parts_of_an_update_add_up_to_it() {
        let (cpu, batch, classes, lens) = (Cpu::new(1).unwrap(), 11, 7, [4, 4, 3]);
        let logits: Vec<f32> = values(3, batch * classes).iter().map(|value| 4.0 * value).collect();
        let labels: Vec<i32> = (0..batch as i32).map(|i| i * 3 % classes as i32).collect();
        let mut expected = vec![0.0; batch * classes];
        let score = softmax_cross_entropy(&cpu, classes, &logits, &labels, batch, Some(&mut expected));
        expected.extend([score.loss, score.correct as f32 / batch as f32]);
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let steps = gpu.alloc_from(&steps(lanes, batch)).unwrap();
            let table = gpu.alloc_from(&vec![7.0_f32; ROWS * count * 2]).unwrap();
            let metrics = Metrics { values: &table, rows: ROWS, columns: 2 };
            let mut gradients = vec![Vec::new(); count];
            let mut first = 0;
            for len in lens {
                let part = |values: &[f32]| vec![values[first * classes..][..len * classes].to_vec(); count];
                let given = Tensors::new(gpu, placing, &part(&logits));
                let targets = Tensors::new(gpu, placing, &vec![labels[first..][..len].to_vec(); count]);
                let dlogits = Tensors::unwritten(gpu, placing, count, len * classes);
                let all = Train {
                    batch: len,
                    part: Part { first, of: batch },
                    classes,
                    steps: &steps,
                    logits: given.lanes(),
                    labels: targets.lanes(),
                    dlogits: Some(dlogits.lanes()),
                    metrics,
                };
                train(gpu, count, &all).unwrap();
                gradients.iter_mut().zip(dlogits.read(gpu)).for_each(|(all, part)| all.extend(part));
                first += len;
            }
            let mut found = vec![0.0; table.len()];
            gpu.download(&table, 0, &mut found).unwrap();
            let row = found[ROW * count * 2..].chunks(2).take(count).map(<[f32]>::to_vec).collect();
            join([gradients, row])
        }) {
            if lane != 1 {
                assert_close(&format!("{placing:?}"), &result, &widened(&expected), 2e-7);
            }
        }
    }

    /// A main loss and an auxiliary one of weight 0.3, in two parts of an update.
    #[test]
    fn losses_are_weighted_and_added() {
        let (cpu, batch, classes, lens) = (Cpu::new(1).unwrap(), 9, 12, [5, 4]);
        let heads = [3, 4].map(|seed| values(seed, batch * classes));
        let labels: Vec<i32> = (0..batch as i32).map(|i| i * 5 % classes as i32).collect();
        let mut gradients = [(); 2].map(|()| vec![0.0; batch * classes]);
        let [main, further] = [(0, 1.0), (1, 0.3)].map(|(head, weight)| {
            let dlogits = Some(&mut gradients[head][..]);
            weighted_softmax_cross_entropy(&cpu, classes, &heads[head], &labels, batch, weight, dlogits)
        });
        let shares = [main.correct, main.top5].map(|count| count as f32 / batch as f32);
        let expected = [&gradients.concat()[..], &[main.loss + further.loss, shares[0], 7.0, shares[1]]].concat();
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let steps = gpu.alloc_from(&steps(lanes, batch)).unwrap();
            let table = gpu.alloc_from(&vec![7.0_f32; ROWS * count * 4]).unwrap();
            let metrics = Metrics { values: &table, rows: ROWS, columns: 4 };
            let mut gradients = [(); 2].map(|()| vec![Vec::new(); count]);
            let mut first = 0;
            for len in lens {
                let targets = Tensors::new(gpu, placing, &vec![labels[first..][..len].to_vec(); count]);
                let losses = [
                    Loss { weight: 1.0, is_further: false, top5_column: Some(3) },
                    Loss { weight: 0.3, is_further: true, top5_column: None },
                ];
                for ((logits, loss), gradients) in heads.iter().zip(losses).zip(&mut gradients) {
                    let part = &logits[first * classes..][..len * classes];
                    let given = Tensors::new(gpu, placing, &vec![part.to_vec(); count]);
                    let dlogits = Tensors::unwritten(gpu, placing, count, len * classes);
                    let all = Train {
                        batch: len,
                        part: Part { first, of: batch },
                        classes,
                        steps: &steps,
                        logits: given.lanes(),
                        labels: targets.lanes(),
                        dlogits: Some(dlogits.lanes()),
                        metrics,
                    };
                    train_on(gpu, count, &loss, &all).unwrap();
                    gradients.iter_mut().zip(dlogits.read(gpu)).for_each(|(all, part)| all.extend(part));
                }
                first += len;
            }
            let mut found = vec![0.0; table.len()];
            gpu.download(&table, 0, &mut found).unwrap();
            let row = found[ROW * count * 4..].chunks(4).take(count).map(<[f32]>::to_vec).collect();
            let [main, further] = gradients;
            join([main, further, row])
        }) {
            if lane != 1 {
                assert_close(&format!("{placing:?}"), &result, &widened(&expected), 2e-7);
            }
        }
    }

    #[test]
    fn what_has_no_loss_is_nan_and_not_right() {
        const NAN: f32 = f32::NAN;
        let rows =
            [[NAN, 0.0], [0.0, NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2], [0.0, 1.0], [1.0, 1.0], [0.0; 2]];
        let labels = [1, 1, 0, 0, 2, 0, 1];
        for (row, label) in rows.into_iter().zip(labels) {
            check(2, |_| row.to_vec(), |_| vec![label]);
        }
        check(2, |_| vec![0.0, 1.0], |_| vec![-1]);
    }
}
