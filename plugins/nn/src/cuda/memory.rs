//! The memory of a session on a GPU besides the data set: K tensors of everything that a lane has, found once.

use std::collections::BTreeSet;

use bytemuck::Pod;
use clr_kernels::cuda::{Buffer, Gpu, GpuError, Lanes, Precision};
use clr_kernels::norm::cuda::partial_count;
use clr_kernels::optimizer::MOST_STATES;
use clr_kernels::optimizer::cuda::{LaneRule, Slot};
use clr_kernels::step::LaneStep;
use clr_plugin::Error;

use crate::lane::Lane;
use crate::model::Model;
use crate::network::ParameterSlot;
use crate::optimizer::Multipliers;

/// K tensors of one length, each at a multiple of four values.
#[derive(Debug)]
pub(super) struct Tensors<T = f32> {
    pub buffer: Buffer<T>,
    /// Values from one lane to the next.
    pub stride: usize,
}

/// The length of each tensor of a lane.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    /// Weights, and as many gradients; a multiple of four, so that a thread can update four at once.
    pub parameters: usize,
    /// How many parameters these weights are.
    pub parameter_count: usize,
    pub buffers: usize,
    /// Values, gradients and what operations keep.
    pub floats: usize,
    /// What operations choose.
    pub choices: usize,
    /// The largest scratch memory that an operation asks for.
    pub scratch: usize,
    /// A batch of images; those of an update, where the host makes them.
    pub images: usize,
    pub labels: usize,
    /// How likely the branch of each coin is there.
    pub survivals: Vec<f32>,
    /// Gradients of an update's parts so far: as many as weights, or none where updates have one part.
    pub accumulated: usize,
}

/// What a branch of stochastic depth is multiplied by in each lane, `[K]` each.
#[derive(Debug)]
pub(super) struct Coins {
    /// In the step at hand.
    pub scales: Buffer<f32>,
    /// In an evaluation.
    pub survivals: Buffer<f32>,
    /// The step at hand, without samples in lanes that leave the branch out.
    pub block_steps: Buffer<LaneStep>,
}

/// All tensors of a session.
#[derive(Debug)]
pub(super) struct Memory {
    pub weights: Tensors,
    pub gradients: Tensors,
    /// Those of an update's parts so far, where there are several.
    pub accumulated: Option<Tensors>,
    /// The optimizers' state; a kind that no lane's optimizer keeps is missing.
    pub state: [Option<Tensors>; MOST_STATES],
    /// Partial sums of squares of the gradients.
    pub squares: Tensors<f64>,
    pub buffers: Tensors,
    /// Values, gradients, and what operations keep: where the program says.
    pub floats: Tensors,
    /// What operations choose.
    pub choices: Tensors<u8>,
    pub scratch: Tensors,
    pub images: Tensors,
    pub labels: Tensors<i32>,
    /// Of each coin of the network.
    pub coins: Vec<Coins>,
    /// `[K]`: keys initial weights and dropout.
    pub init_seeds: Buffer<u64>,
    /// `[K]`: keys augmentation.
    pub data_seeds: Buffer<u64>,
    /// `[K]`.
    pub rules: Buffer<LaneRule>,
    /// `[K][parameters of the network]`.
    pub parameter_slots: Buffer<Slot>,
}

impl<T: Pod> Tensors<T> {
    pub fn new(gpu: &Gpu, lanes: usize, len: usize) -> Result<Tensors<T>, GpuError> {
        let stride = len.next_multiple_of(4);
        Ok(Tensors { buffer: gpu.alloc(lanes.saturating_mul(stride))?, stride })
    }

    pub fn lanes(&self) -> Lanes<'_, T> {
        self.buffer.lanes(self.stride)
    }
}

/// Limits of grids and of the kernels' 32-bit indices.
const MOST_LANES: usize = 65_535;
const MOST_SAMPLES: usize = 65_535;
const MOST_VALUES: usize = i32::MAX as usize;

impl Sizes {
    /// Of a lane of `model`, for the batch sizes `batches`. `is_streamed`: the host makes the images.
    ///
    /// # Errors
    /// That something is too large for the kernels.
    pub fn new(
        model: &Model,
        lane_count: usize,
        precision: Precision,
        batches: &BTreeSet<usize>,
        is_streamed: bool,
    ) -> Result<Sizes, Error> {
        let (network, program, batch) = (&model.network, &model.program, model.batch_size);
        if lane_count > MOST_LANES || batch > MOST_SAMPLES {
            return Err(Error::unsupported(format!(
                "{lane_count} lanes with batches of {batch}: a GPU takes up to {MOST_LANES} and {MOST_SAMPLES}"
            )));
        }
        if network.parameters().is_empty() {
            return Err(Error::unsupported("a network without parameters: there is nothing to train on a GPU"));
        }
        let mut scratch = 0;
        for &batch in batches {
            scratch = scratch.max(scratch_len(model, batch, precision).map_err(|error| match error {
                GpuError::Failed { message, .. } => Error::unsupported(message),
                error => super::failure(error),
            })?);
        }
        let parameters = network.parameter_len().next_multiple_of(4);
        let made_at_once = if is_streamed { model.update_size() } else { batch };
        let sizes = Sizes {
            parameters,
            parameter_count: network.parameters().len(),
            buffers: network.buffer_len(),
            floats: program.float_len(),
            choices: program.byte_len(),
            scratch,
            images: made_at_once * model.input_len(),
            labels: made_at_once,
            survivals: network.coins().map(|(_, op)| op.coin.survival()).collect(),
            accumulated: if model.accumulate > 1 { parameters } else { 0 },
        };
        let largest = [program.largest_slot, sizes.parameters, sizes.images, sizes.choices].into_iter().max();
        match largest.filter(|&largest| largest > MOST_VALUES) {
            Some(largest) => Err(Error::unsupported(format!(
                "a tensor of {largest} values: a GPU's kernels take up to {MOST_VALUES}; try a smaller batch"
            ))),
            None => Ok(sizes),
        }
    }

    /// Bytes that each lane adds, if some lane's optimizer keeps `state_count` values for each weight.
    pub fn bytes_per_lane(&self, state_count: usize) -> u64 {
        let parameters = (2 + state_count) * self.parameters + self.accumulated;
        let tensors = [parameters, self.buffers, self.floats, self.scratch, self.images];
        let floats = tensors.iter().map(|len| len.next_multiple_of(4)).sum::<usize>();
        let words = floats + self.labels.next_multiple_of(4);
        let squares = 8 * partial_count(self.parameters).next_multiple_of(4);
        let coins = self.survivals.len() * (2 * size_of::<f32>() + size_of::<LaneStep>());
        let lane = 2 * size_of::<u64>() + size_of::<LaneRule>() + self.parameter_count * size_of::<Slot>() + coins;
        (4 * words + squares + self.choices.next_multiple_of(4) + lane) as u64
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> u64 {
        13 + MOST_STATES as u64 + u64::from(self.accumulated > 0) + 3 * self.survivals.len() as u64
    }
}

/// Floats of scratch memory that an operation needs at most in a step on `batch` samples.
pub(super) fn scratch_len(model: &Model, batch: usize, precision: Precision) -> Result<usize, GpuError> {
    let mut most = 0;
    for node in model.network.nodes() {
        most = most.max(node.op.passes().scratch_len_on_gpu(batch, precision)?);
    }
    Ok(most)
}

impl Memory {
    /// Tensors of `lanes` lanes that hold zeros, but for what is the same in all of them.
    pub fn new(gpu: &Gpu, sizes: &Sizes, lanes: usize, state_count: usize) -> Result<Memory, GpuError> {
        let tensors = |len| Tensors::new(gpu, lanes, len);
        let mut state = [const { None }; MOST_STATES];
        for state in &mut state[..state_count] {
            *state = Some(tensors(sizes.parameters)?);
        }
        let coins = |&survival: &f32| -> Result<Coins, GpuError> {
            let survivals = gpu.alloc_from(&vec![survival; lanes])?;
            Ok(Coins { scales: gpu.alloc(lanes)?, survivals, block_steps: gpu.alloc(lanes)? })
        };
        Ok(Memory {
            coins: sizes.survivals.iter().map(coins).collect::<Result<_, _>>()?,
            weights: tensors(sizes.parameters)?,
            gradients: tensors(sizes.parameters)?,
            accumulated: (sizes.accumulated > 0).then(|| tensors(sizes.accumulated)).transpose()?,
            state,
            squares: Tensors::new(gpu, lanes, partial_count(sizes.parameters))?,
            buffers: tensors(sizes.buffers)?,
            floats: tensors(sizes.floats)?,
            choices: Tensors::new(gpu, lanes, sizes.choices)?,
            scratch: tensors(sizes.scratch)?,
            images: tensors(sizes.images)?,
            labels: Tensors::new(gpu, lanes, sizes.labels)?,
            init_seeds: gpu.alloc(lanes)?,
            data_seeds: gpu.alloc(lanes)?,
            rules: gpu.alloc(lanes)?,
            parameter_slots: gpu.alloc(lanes * sizes.parameter_count)?,
        })
    }

    /// Copies the state of `source`, a lane on the host, to lane `lane`.
    pub fn put(&self, gpu: &Gpu, model: &Model, lane: usize, source: &Lane) -> Result<(), GpuError> {
        gpu.upload(&self.weights.buffer, lane * self.weights.stride, &source.weights)?;
        // What the optimizer does not keep is not read.
        for (tensors, values) in self.state.iter().zip(&source.state) {
            if let Some(tensors) = tensors {
                gpu.upload(&tensors.buffer, lane * tensors.stride, values)?;
            }
        }
        gpu.upload(&self.buffers.buffer, lane * self.buffers.stride, &source.buffers)?;
        gpu.upload(&self.init_seeds, lane, &[source.init_seed])?;
        gpu.upload(&self.data_seeds, lane, &[source.data_seed])?;
        gpu.upload(&self.rules, lane, &[LaneRule::from(&source.optimizer.rule)])?;
        let parameters = model.network.parameters().iter().zip(&source.optimizer.multipliers);
        let slot = |(slot, mults): (&ParameterSlot, &Multipliers)| Slot {
            end: slot.range.end as u32,
            lr_mult: mults.lr,
            decay_mult: mults.decay,
        };
        let mut slots: Vec<Slot> = parameters.map(slot).collect();
        // What lies beyond the last parameter is 0 and stays 0.
        if let Some(last) = slots.last_mut() {
            last.end = model.network.parameter_len().next_multiple_of(4) as u32;
        }
        gpu.upload(&self.parameter_slots, lane * slots.len(), &slots)
    }
}
