//! Softmax cross-entropy on a GPU.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count};
use crate::step::{LaneStep, Metrics};

const THREADS: usize = 512;

/// What an evaluation has summed up over its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Total {
    /// Each batch's mean loss, times its samples.
    pub loss: f64,
    /// Samples whose largest logit is at their label.
    pub correct: u64,
}

/// Scores `logits`, `[batch][classes]`, against `labels`, `[batch]`, in each lane, as [`super::softmax_cross_entropy`] does.
/// Writes `dlogits` where it is asked for, and mean loss and accuracy of lanes whose batch has `batch` samples to columns 0 and
/// 1 of their row of `metrics`.
///
/// # Errors
/// What the driver says.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn train(
    gpu: &Gpu,
    lanes: usize,
    batch: usize,
    classes: usize,
    steps: &Buffer<LaneStep>,
    logits: Lanes<'_>,
    labels: Lanes<'_, i32>,
    dlogits: Option<Lanes<'_>>,
    metrics: &Metrics<'_>,
) -> Result<(), GpuError> {
    assert!(metrics.columns >= 2, "loss and accuracy need two columns");
    let launch = gpu.launch("softmax_cross_entropy_train").blocks([lanes, 1, 1]).threads(THREADS);
    let launch = launch.value(count(batch)).value(count(classes));
    let launch = launch.value(count(metrics.rows)).value(count(metrics.columns));
    let launch = launch.buffer(steps, lanes).read(logits, lanes, batch * classes).read(labels, lanes, batch);
    let launch = launch.write_optional(dlogits, lanes, batch * classes);
    // SAFETY: the arguments of `softmax_cross_entropy_train`.
    unsafe { launch.buffer(metrics.values, metrics.len(lanes)).run() }
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
    let launch = gpu.launch("softmax_cross_entropy_evaluate").blocks([lanes, 1, 1]).threads(THREADS);
    let launch = launch.value(count(batch)).value(count(classes));
    let launch = launch.read(logits, lanes, batch * classes).read(labels, lanes, batch);
    // SAFETY: the arguments of `softmax_cross_entropy_evaluate`.
    unsafe { launch.buffer(totals, lanes).run() }
}
