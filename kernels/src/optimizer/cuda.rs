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
    /// Of each lane, one lane's after another's: the parameters in order; the last ends at `len`.
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
    let slot_count = slots.len() / lanes.max(1);
    assert!(slot_count > 0 && slots.len() == lanes * slot_count && column < metrics.columns);
    let second_aligned = second.is_none_or(|second| second.is_aligned());
    let width = width(len, [w.is_aligned(), g.is_aligned(), first.is_aligned(), second_aligned]);
    let groups = len / width;
    let launch = gpu.launch("optimizer_update").blocks([groups.div_ceil(THREADS), lanes, 1]).threads(THREADS);
    let launch = launch.value(count(groups)).value(width as u32).value(count(batch));
    let launch = launch.value(count(slot_count)).buffer(slots, slots.len()).buffer(rules, lanes).buffer(steps, lanes);
    let partials = norm::cuda::partial_count(len);
    let launch = launch.value(count(partials)).read(squares, lanes, partials);
    let launch = launch.value(count(metrics.rows)).value(count(metrics.columns)).value(count(column));
    let launch = launch.buffer(metrics.values, metrics.len(lanes));
    let launch = launch.write(w, lanes, len).read(g, lanes, len).write(first, lanes, len);
    // SAFETY: the arguments of `optimizer_update`.
    unsafe { launch.write_optional(second, lanes, len).run() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::optimizer::{Adam, Preparation, Rule};
    use crate::step::{StepRow, cuda as step};
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    const EPSILON: f32 = 1e-3;
    const DECAY: f32 = 0.7;
    const FIRST_STEP: u64 = 40;
    const STEPS: usize = 3;
    const BATCH: usize = 5;

    /// Limit of the gradient's norm: reached in lane 1 alone.
    fn clip(lane: u64) -> f32 {
        [0.0, 0.5, 1e6][lane as usize]
    }

    /// A parameter's multiplier in a lane.
    fn own(lane: u64, mult: f32) -> f32 {
        mult * (1.0 + 0.5 * lane as f32)
    }

    fn row(lane: u64, index: usize) -> StepRow {
        let scale = 1.0 + lane as f32 + 0.1 * index as f32;
        // Lane 2 sits the second step out.
        let samples = if lane == 2 && index == 1 { 0 } else { BATCH as u32 };
        StepRow { samples, lr: 0.01 * scale, momentum: 0.9, weight_decay: 0.02 * scale, beta1: 0.8, beta2: 0.95 }
    }

    fn rule(kind: Kind, form: Form, row: &StepRow, lr_mult: f32, decay_mult: f32, updates: u64) -> (Rule, f32) {
        let (lr, decay, momentum) = (row.lr * lr_mult, row.weight_decay * decay_mult, row.momentum);
        let adam = Adam { form, lr, beta1: row.beta1, beta2: row.beta2, epsilon: EPSILON, step: updates };
        let rule = match kind {
            Kind::Sgd => Rule::Sgd { form, lr, momentum },
            Kind::Nesterov => Rule::Nesterov { form, lr, momentum },
            Kind::Adam => Rule::Adam(adam),
            Kind::AdamW => return (Rule::AdamW { adam, decoupled_decay: decay }, 0.0),
            Kind::RmsProp => Rule::RmsProp { lr, decay: DECAY, epsilon: EPSILON },
            Kind::AdaGrad => Rule::AdaGrad { lr, epsilon: EPSILON },
            Kind::AdaDelta => Rule::AdaDelta { lr, rho: DECAY, epsilon: EPSILON },
        };
        (rule, decay)
    }

    /// Three steps of lanes with three rules, in a graph that is launched three times: weights, state and norms.
    #[track_caller]
    fn check(kinds: [(Kind, Form); 3], parameters: &[(usize, f32, f32)]) {
        let cpu = Cpu::new(1).unwrap();
        let len = parameters.iter().map(|(len, _, _)| len).sum();
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let [w, g] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
            let [first, second] = [(); 2].map(|()| Tensors::new(gpu, placing, &vec![vec![0.25; len]; count]));
            let slots = lanes.iter().flat_map(|&lane| {
                let mut end = 0;
                let slot = move |&(len, lr_mult, decay_mult): &(usize, f32, f32)| {
                    end += len as u32;
                    Slot { end, lr_mult: own(lane, lr_mult), decay_mult: own(lane, decay_mult) }
                };
                parameters.iter().map(slot)
            });
            let slots = gpu.alloc_from(&slots.collect::<Vec<_>>()).unwrap();
            let rules = lanes.iter().map(|&lane| {
                let (kind, form) = kinds[lane as usize];
                LaneRule::new(kind, form, EPSILON, DECAY, clip(lane))
            });
            let rules = gpu.alloc_from(&rules.collect::<Vec<_>>()).unwrap();
            let rows = (0..STEPS).flat_map(|index| lanes.iter().map(move |&lane| row(lane, index)));
            let rows = gpu.alloc_from(&rows.collect::<Vec<_>>()).unwrap();
            let first_steps = gpu.alloc_from(&vec![FIRST_STEP; count]).unwrap();
            let (at, steps) = (gpu.alloc(1).unwrap(), gpu.alloc(count).unwrap());
            let tables =
                step::Tables { rows: &rows, row_count: STEPS, first_steps: &first_steps, row: &at, steps: &steps };
            let table = gpu.alloc_from(&vec![7.0_f32; STEPS * count * 2]).unwrap();
            let metrics = Metrics { values: &table, rows: STEPS, columns: 2 };
            let partial = Tensors::<f64>::unwritten(gpu, placing, count, norm::cuda::partial_count(len));
            let squares = partial.lanes();
            let all = Update { len, batch: BATCH, slots: &slots, rules: &rules, steps: &steps, squares };
            let graph = gpu
                .capture(|gpu| {
                    step::begin(gpu, count, &tables, true)?;
                    norm::cuda::partials(gpu, count, len, g.lanes(), squares)?;
                    let state = (first.lanes(), Some(second.lanes()));
                    update(gpu, count, &all, w.lanes(), g.lanes(), state, &metrics, 1)
                })
                .unwrap();
            // Once more than there are rows: that changes nothing.
            (0..=STEPS).for_each(|_| graph.launch().unwrap());
            let mut norms = vec![0.0; table.len()];
            gpu.download(&table, 0, &mut norms).unwrap();
            let norms = (0..count).map(|lane| {
                (0..STEPS).flat_map(|step| norms[2 * (step * count + lane)..][..2].to_vec()).collect::<Vec<_>>()
            });
            join([w.read(gpu), first.read(gpu), second.read(gpu), norms.collect()])
        }) {
            let (kind, form) = kinds[lane as usize];
            let [mut w, g] = [1, 2].map(|seed| values(1000 * lane + seed, len));
            let [mut first, mut second] = [(); 2].map(|()| vec![0.25; len]);
            let norm = norm::l2_norm(&cpu, &[&g]);
            let gradient_scale = if clip(lane) > 0.0 && norm > clip(lane) { clip(lane) / norm } else { 1.0 };
            let mut norms = Vec::new();
            for index in 0..STEPS {
                let row = row(lane, index);
                norms.extend([7.0, if row.samples > 0 { norm } else { 7.0 }]);
                if row.samples == 0 {
                    continue;
                }
                let mut start = 0;
                for &(len, lr_mult, decay_mult) in parameters {
                    let range = start..start + len;
                    let updates = FIRST_STEP + index as u64;
                    let [lr_mult, decay_mult] = [lr_mult, decay_mult].map(|mult| own(lane, mult));
                    let (rule, weight_decay) = rule(kind, form, &row, lr_mult, decay_mult, updates);
                    let state = [&mut first[range.clone()], &mut second[range.clone()]];
                    let preparation = Preparation { gradient_scale, weight_decay };
                    crate::optimizer::update(&cpu, &rule, preparation, &mut w[range.clone()], &g[range], state);
                    start += len;
                }
            }
            let expected = widened(&[w, first, second, norms].concat());
            assert_close(&format!("{kind:?} {form:?} {placing:?}"), &result, &expected, 2e-6);
        }
    }

    #[test]
    fn lanes_with_different_rules_are_updated_as_on_the_cpu() {
        use Form::{Caffe, Torch};
        use Kind::{AdaDelta, AdaGrad, Adam, AdamW, Nesterov, RmsProp, Sgd};
        // Parameters that end within a group of four, one of a single weight, and more than one chunk of squares.
        let small = [(9, 1.0, 1.0), (1, 2.0, 0.0), (6, 0.5, 3.0)];
        check([(Sgd, Caffe), (Sgd, Torch), (Nesterov, Caffe)], &small);
        check([(Nesterov, Torch), (Adam, Caffe), (Adam, Torch)], &small);
        check([(AdamW, Torch), (AdamW, Caffe), (RmsProp, Caffe)], &[(5, 1.0, 1.0), (2, 2.0, 1.0)]);
        check([(AdaGrad, Torch), (AdaDelta, Caffe), (Sgd, Caffe)], &[(4099, 1.0, 1.0), (1, 2.0, 0.0)]);
    }
}
