//! Optimizers on a GPU: all parameters of all lanes in one launch for each optimizer that lanes have.

#![allow(unsafe_code)]

use super::{ALL, Descriptor, Form, MOST_CONSTANTS, MOST_STATES, Optimizer};
use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count, mirror, width};
use crate::norm;
use crate::step::{LaneStep, Metrics};

const THREADS: usize = 256;

mirror! {
    /// A lane's optimizer as kernels read it: `Rule` of `optimizer.cuh`.
    pub struct LaneRule = "optimizer::Rule" {
        /// Its place in [`ALL`].
        optimizer: u32,
        torch: u32,
        max_grad_norm: f32,
        constants: [f32; MOST_CONSTANTS],
    }
}

mirror! {
    /// A parameter of the network: where it ends in the list of all weights, and what its learning rate and weight decay are
    /// multiplied by.
    pub struct Slot = "optimizer::Slot" {
        /// The place after its last weight.
        pub end: u32,
        /// Of the learning rate.
        pub lr_mult: f32,
        /// Of the weight decay.
        pub decay_mult: f32,
    }
}

/// The update of all lanes of a session: arrays, and tables by lane.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Floats of a lane's weights.
    pub len: usize,
    /// Samples of the batch; lanes with another number stay as they are.
    pub batch: usize,
    /// Of each lane, one lane's after another's: the parameters in order; the last ends at `len`.
    pub slots: &'a Buffer<Slot>,
    /// The optimizers that lanes may have.
    pub optimizers: &'a [&'static Descriptor],
    /// `[lanes]`: the optimizer of each lane.
    pub rules: &'a Buffer<LaneRule>,
    /// `[lanes]`: the step at hand of each lane.
    pub steps: &'a Buffer<LaneStep>,
    /// Of the gradients, from [`norm::cuda::partials`].
    pub squares: Lanes<'a, f64>,
    /// `[len]`: the weights, updated in place.
    pub w: Lanes<'a>,
    /// `[len]`: the gradients of the loss.
    pub g: Lanes<'a>,
    /// In the order of [`Descriptor::state`]; what no lane's optimizer keeps may be missing.
    pub state: [Option<Lanes<'a>>; MOST_STATES],
    /// The table for the gradient's norm, before clipping and weight decay.
    pub metrics: Metrics<'a>,
    /// The column of the metrics that it goes to.
    pub column: usize,
}

impl From<&Optimizer> for LaneRule {
    fn from(optimizer: &Optimizer) -> LaneRule {
        let &Optimizer { descriptor, form, constants, max_grad_norm } = optimizer;
        LaneRule { optimizer: number(descriptor), torch: u32::from(form == Form::Torch), max_grad_norm, constants }
    }
}

/// The place of a descriptor in [`ALL`]; names are given once.
fn number(descriptor: &Descriptor) -> u32 {
    ALL.iter().take_while(|other| other.name != descriptor.name).count() as u32
}

/// As [`Optimizer::update`] for every parameter of every lane, after gradients whose norm exceeds the lane's limit are scaled
/// down to it.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a buffer is too short, there are no parameters, or an optimizer's state is missing.
pub fn update(gpu: &Gpu, lanes: usize, update: &Update<'_>) -> Result<(), GpuError> {
    let &Update { len, batch, slots, optimizers, rules, steps, squares, w, g, state, metrics, column } = update;
    let slot_count = slots.len() / lanes.max(1);
    assert!(slot_count > 0 && slots.len() == lanes * slot_count && column < metrics.columns);
    let aligned = state.map(|state| state.is_none_or(|state| state.is_aligned()));
    let width = width(len, [w.is_aligned(), g.is_aligned(), aligned == [true; MOST_STATES]]);
    let groups = len / width;
    let [first, second, third] = state;
    for descriptor in optimizers {
        assert!(state[..descriptor.state.len()].iter().all(Option::is_some), "the state of {}", descriptor.name);
        let partials = norm::cuda::partial_count(len);
        let launch = gpu.launch(descriptor.kernel, lanes).threads_for(groups, THREADS);
        let launch = launch.value("number", number(descriptor)).value("groups", count(groups));
        let launch = launch.value("width", width as u32).value("batch", count(batch));
        let launch = launch.value("slot_count", count(slot_count)).table("slots", slots, slots.len());
        let launch = launch.table("rules", rules, lanes).table("steps", steps, lanes);
        let launch = launch.value("square_count", count(partials)).read("squares", squares, partials);
        let launch = launch.value("rows", count(metrics.rows)).value("columns", count(metrics.columns));
        let launch = launch.value("column", count(column)).table_mut("metrics", metrics.values, metrics.len(lanes));
        let launch = launch.write("w", w, len).read("g", g, len).write_optional("first", first, len);
        let launch = launch.write_optional("second", second, len).write_optional("third", third, len);
        // SAFETY: the arguments of every kernel that `OPTIMIZER_KERNEL` of `optimizer.cuh` makes.
        unsafe { launch.run() }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::optimizer::{Parameter, Step};
    use crate::step::{Hypers, StepRow, cuda as step};
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    const FIRST_STEP: u64 = 40;
    const STEPS: usize = 3;
    const BATCH: usize = 5;

    /// Limit of the gradient's norm: reached in lane 1 alone.
    fn max_grad_norm(lane: u64) -> f32 {
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
        let hypers = Hypers { lr: 0.01 * scale, momentum: 0.9, weight_decay: 0.02 * scale, beta1: 0.8, beta2: 0.95 };
        StepRow { samples, hypers }
    }

    /// Three steps of lanes with three optimizers, in a graph that is launched three times: weights, state and norms.
    #[track_caller]
    fn check(optimizers: [Optimizer; 3], parameters: &[(usize, f32, f32)]) {
        let cpu = Cpu::new(1).unwrap();
        let len = parameters.iter().map(|(len, _, _)| len).sum();
        let descriptors = optimizers.map(|optimizer| optimizer.descriptor());
        let distinct: Vec<_> =
            ALL.iter().copied().filter(|it| descriptors.iter().any(|own| own.name == it.name)).collect();
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let [w, g] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
            let state = [(); MOST_STATES].map(|()| Tensors::new(gpu, placing, &vec![vec![0.25; len]; count]));
            let slots = lanes.iter().flat_map(|&lane| {
                let mut end = 0;
                let slot = move |&(len, lr_mult, decay_mult): &(usize, f32, f32)| {
                    end += len as u32;
                    Slot { end, lr_mult: own(lane, lr_mult), decay_mult: own(lane, decay_mult) }
                };
                parameters.iter().map(slot)
            });
            let slots = gpu.alloc_from(&slots.collect::<Vec<_>>()).unwrap();
            let rules = lanes.iter().map(|&lane| LaneRule::from(&optimizers[lane as usize]));
            let rules = gpu.alloc_from(&rules.collect::<Vec<_>>()).unwrap();
            let rows = (0..STEPS).flat_map(|index| lanes.iter().map(move |&lane| row(lane, index)));
            let rows = gpu.alloc_from(&rows.collect::<Vec<_>>()).unwrap();
            let first_steps = gpu.alloc_from(&vec![FIRST_STEP; count]).unwrap();
            let (at, steps) = (gpu.alloc(1).unwrap(), gpu.alloc(count).unwrap());
            let tables =
                step::Tables { rows: &rows, row_count: STEPS, first_steps: &first_steps, row: &at, steps: &steps };
            let table = gpu.alloc_from(&vec![7.0_f32; STEPS * count * 2]).unwrap();
            let partial = Tensors::<f64>::unwritten(gpu, placing, count, norm::cuda::partial_count(len));
            let all = Update {
                len,
                batch: BATCH,
                slots: &slots,
                optimizers: &distinct,
                rules: &rules,
                steps: &steps,
                squares: partial.lanes(),
                w: w.lanes(),
                g: g.lanes(),
                state: state.each_ref().map(|state| Some(state.lanes())),
                metrics: Metrics { values: &table, rows: STEPS, columns: 2 },
                column: 1,
            };
            let graph = gpu
                .capture(|gpu| {
                    step::begin(gpu, count, &tables, true)?;
                    norm::cuda::partials(gpu, count, len, g.lanes(), partial.lanes())?;
                    update(gpu, count, &all)
                })
                .unwrap();
            // Once more than there are rows: that changes nothing.
            (0..=STEPS).for_each(|_| graph.launch().unwrap());
            let mut norms = vec![0.0; table.len()];
            gpu.download(&table, 0, &mut norms).unwrap();
            let norms = (0..count).map(|lane| {
                (0..STEPS).flat_map(|step| norms[2 * (step * count + lane)..][..2].to_vec()).collect::<Vec<_>>()
            });
            let [first, second, third] = state.map(|state| state.read(gpu));
            join([w.read(gpu), first, second, third, norms.collect()])
        }) {
            let optimizer = optimizers[lane as usize];
            let [mut w, g] = [1, 2].map(|seed| values(1000 * lane + seed, len));
            let mut state = [(); MOST_STATES].map(|()| vec![0.25; len]);
            let norm = norm::l2_norm(&cpu, &[&g]);
            let gradient_scale = optimizer.gradient_scale(norm);
            let mut norms = Vec::new();
            for index in 0..STEPS {
                let StepRow { samples, hypers } = row(lane, index);
                norms.extend([7.0, if samples > 0 { norm } else { 7.0 }]);
                if samples == 0 {
                    continue;
                }
                let mut start = 0;
                for &(len, lr_mult, decay_mult) in parameters {
                    let range = start..start + len;
                    let (lr, weight_decay) =
                        (hypers.lr * own(lane, lr_mult), hypers.weight_decay * own(lane, decay_mult));
                    let hypers = Hypers { lr, weight_decay, ..hypers };
                    let step = Step { hypers, step: FIRST_STEP + index as u64, gradient_scale };
                    let state = state.each_mut().map(|values| &mut values[range.clone()]);
                    optimizer.update(&cpu, &step, Parameter { w: &mut w[range.clone()], g: &g[range], state });
                    start += len;
                }
            }
            let [first, second, third] = state;
            let expected = widened(&[w, first, second, third, norms].concat());
            assert_close(&format!("{optimizer:?} {placing:?}"), &result, &expected, 2e-6);
        }
    }

    /// Every optimizer in both forms, beside two others.
    #[test]
    fn lanes_with_different_optimizers_are_updated_as_on_the_cpu() {
        // Parameters that end within a group of four, one of a single weight, and more than one chunk of squares.
        let small = [(9, 1.0, 1.0), (1, 2.0, 0.0), (6, 0.5, 3.0)];
        let large = [(4099, 1.0, 1.0), (1, 2.0, 0.0)];
        let forms = [Form::Caffe, Form::Torch];
        let both: Vec<_> = ALL.iter().flat_map(|descriptor| forms.map(|form| (*descriptor, form))).collect();
        for (index, first) in (0..both.len()).step_by(3).enumerate() {
            let optimizer = |lane: u64| {
                let (descriptor, form) = both[(first + lane as usize) % both.len()];
                Optimizer::new(descriptor, form, max_grad_norm(lane), |name| (name == "epsilon").then_some(1e-3))
            };
            check([0, 1, 2].map(optimizer), if index == 2 { &large } else { &small });
        }
    }
}
