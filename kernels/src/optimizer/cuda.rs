//! Optimizers on a GPU: all parameters of all lanes in one launch, each lane by its own rule.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use super::Form;
use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count, width};
use crate::norm;
use crate::step::{LaneStep, Metrics};

const THREADS: usize = 256;

/// The rules, by the numbers that kernels know them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`super::Rule::Sgd`].
    Sgd = 0,
    /// [`super::Rule::Nesterov`].
    Nesterov = 1,
    /// [`super::Rule::Adam`].
    Adam = 2,
    /// [`super::Rule::AdamW`]: the weight decay is decoupled.
    AdamW = 3,
    /// [`super::Rule::RmsProp`].
    RmsProp = 4,
    /// [`super::Rule::AdaGrad`].
    AdaGrad = 5,
    /// [`super::Rule::AdaDelta`].
    AdaDelta = 6,
}

/// A lane's optimizer: what does not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct LaneRule {
    kind: u32,
    torch: u32,
    epsilon: f32,
    decay: f32,
    clip_gradients: f32,
}

/// A parameter of the network: where it ends in the list of all weights, and what its learning rate and weight decay are
/// multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    /// The place after its last weight.
    pub end: u32,
    /// Of the learning rate.
    pub lr_mult: f32,
    /// Of the weight decay.
    pub decay_mult: f32,
}

/// What a session's lanes are updated by.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Floats of a lane's weights.
    pub len: usize,
    /// Samples of the batch; lanes with another number stay as they are.
    pub batch: usize,
    /// The parameters in order; the last ends at `len`.
    pub slots: &'a Buffer<Slot>,
    /// Each lane's.
    pub rules: &'a Buffer<LaneRule>,
    /// Each lane's.
    pub steps: &'a Buffer<LaneStep>,
    /// Of the gradients, from [`norm::cuda::partials`].
    pub squares: Lanes<'a, f64>,
}

impl LaneRule {
    /// `decay` is what RMSProp and AdaDelta keep of their averages; `clip_gradients` the largest norm of a gradient, 0 for none.
    pub fn new(kind: Kind, form: Form, epsilon: f32, decay: f32, clip_gradients: f32) -> LaneRule {
        LaneRule { kind: kind as u32, torch: u32::from(form == Form::Torch), epsilon, decay, clip_gradients }
    }
}

/// As [`super::update`] for every parameter of every lane: weights `w`, gradients `g`, and the rules' `state`, of which the
/// second may be missing where no lane's rule keeps two values. Gradients whose norm exceeds the lane's limit are scaled to it.
/// The norm, before that and before weight decay, goes to column `column` of the lane's row of `metrics`.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a buffer is too short, or there are no parameters.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn update(
    gpu: &Gpu,
    lanes: usize,
    update: &Update<'_>,
    w: Lanes<'_>,
    g: Lanes<'_>,
    state: (Lanes<'_>, Option<Lanes<'_>>),
    metrics: &Metrics<'_>,
    column: usize,
) -> Result<(), GpuError> {
    let &Update { len, batch, slots, rules, steps, squares } = update;
    let (first, second) = state;
    assert!(!slots.is_empty() && column < metrics.columns);
    let second_aligned = second.is_none_or(|second| second.is_aligned());
    let width = width(len, [w.is_aligned(), g.is_aligned(), first.is_aligned(), second_aligned]);
    let groups = len / width;
    let launch = gpu.launch("optimizer_update").blocks([groups.div_ceil(THREADS), lanes, 1]).threads(THREADS);
    let launch = launch.value(count(groups)).value(width as u32).value(count(batch));
    let launch = launch.value(count(slots.len())).buffer(slots, slots.len()).buffer(rules, lanes).buffer(steps, lanes);
    let partials = norm::cuda::partial_count(len);
    let launch = launch.value(count(partials)).read(squares, lanes, partials);
    let launch = launch.value(count(metrics.rows)).value(count(metrics.columns)).value(count(column));
    let launch = launch.buffer(metrics.values, metrics.len(lanes));
    let launch = launch.write(w, lanes, len).read(g, lanes, len).write(first, lanes, len);
    // SAFETY: the arguments of `optimizer_update`.
    unsafe { launch.write_optional(second, lanes, len).run() }
}
