//! The operations of a network, one a file: each fits a description to the shape of its input and calls its kernels.

mod activation;
mod add;
mod batch_norm;
mod concat;
mod convolution;
mod dropout;
mod gpu;
mod linear;
mod lrn;
mod pool;
mod stochastic_depth;
mod subsample;

use clr_kernels::cuda::{GpuError, Lanes, Precision};
use clr_kernels::step::Part;
use clr_kernels::{Activation, Cpu};

pub(crate) use add::Add;
pub use batch_norm::BatchNorm;
pub(crate) use batch_norm::BatchNormOp;
pub(crate) use concat::Concat;
pub use convolution::Convolution;
pub(crate) use convolution::ConvolutionOp;
pub(crate) use dropout::Dropout;
pub(crate) use gpu::{GpuBackward, GpuForward, GpuPass};
pub use linear::Linear;
pub(crate) use linear::LinearOp;
pub(crate) use lrn::LrnOp;
pub use lrn::{Lrn, LrnRegion};
pub use pool::Pool;
pub(crate) use pool::{PoolKind, PoolOp};
pub(crate) use stochastic_depth::StochasticDepth;
pub(crate) use subsample::SubsampleOp;

/// The operation of a node. A closed set, so that `fuse` can say which become one.
#[derive(Debug)]
pub(crate) enum Op {
    Activation(Activation),
    Add(Add),
    BatchNorm(BatchNormOp),
    Concat(Concat),
    Convolution(ConvolutionOp),
    Dropout(Dropout),
    Linear(LinearOp),
    Lrn(LrnOp),
    Pool(PoolOp),
    StochasticDepth(StochasticDepth),
    Subsample(SubsampleOp),
}

impl Op {
    /// What runs it.
    pub fn passes(&self) -> &dyn Passes {
        match self {
            Op::Activation(op) => op,
            Op::Add(op) => op,
            Op::BatchNorm(op) => op,
            Op::Concat(op) => op,
            Op::Convolution(op) => op,
            Op::Dropout(op) => op,
            Op::Linear(op) => op,
            Op::Lrn(op) => op,
            Op::Pool(op) => op,
            Op::StochasticDepth(op) => op,
            Op::Subsample(op) => op,
        }
    }
}

/// The passes of an operation on each device, and the memory that they need.
pub(crate) trait Passes {
    /// What the passes do with their arrays.
    fn uses(&self) -> Uses;

    /// The memory that either pass needs at most besides its arrays, for a batch of so many samples, on so many threads at
    /// most.
    fn needs(&self, batch: usize, thread_count: usize) -> Needs {
        let _ = (batch, thread_count);
        Needs::default()
    }

    fn forward(&self, pass: &Pass<'_>, arrays: Forward<'_>);

    /// Computes `dweights` and, where it is asked for, `dx`.
    fn backward(&self, pass: &Pass<'_>, arrays: Backward<'_>);

    /// Floats of scratch memory on a GPU, for each lane.
    ///
    /// # Errors
    /// That the operation is too large for a GPU's kernels.
    fn scratch_len_on_gpu(&self, batch: usize, precision: Precision) -> Result<usize, GpuError> {
        let _ = (batch, precision);
        Ok(0)
    }

    /// As [`Passes::forward`], launched for all lanes.
    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError>;

    /// As [`Passes::backward`], launched for all lanes.
    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError>;
}

/// What the passes of an operation do with their arrays: memory is found by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// True if `y` may lie where an input does.
    pub in_place: bool,
    /// True if the backward pass has no `dx`, but makes of `dy` the gradient of each input.
    pub turns_dy: bool,
    /// True if the passes run once for each input, with that as `x` and its gradient as `dx`.
    pub each_input: bool,
    /// True if the backward pass can add to `dx`.
    pub adds: bool,
    /// True if the backward pass reads `x`.
    pub reads_x: bool,
    /// True if the backward pass reads `y`.
    pub reads_y: bool,
    /// True if the backward pass overwrites `dy`.
    pub writes_dy: bool,
}

/// Memory that the passes of an operation need besides their arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Floats that nobody reads after the pass.
    pub scratch: usize,
    /// Floats that the forward pass keeps for the backward pass.
    pub kept: usize,
    /// Bytes that it keeps: which pixels a pooling chose.
    pub choices: usize,
}

/// The circumstances of a forward or backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    pub cpu: &'a Cpu,
    /// Samples of this batch.
    pub batch: usize,
    /// The place of the batch in its update.
    pub part: Part,
    /// Samples of a full update.
    pub update_size: usize,
    /// True if this is training; otherwise nothing is random and nothing is remembered.
    pub training: bool,
    /// Batches before this one, if running statistics are to be plain averages over batches.
    pub averaged: Option<u32>,
    /// Keys what is random.
    pub init_seed: u64,
    /// Updates before this one.
    pub step: u64,
}

/// The arrays of a forward pass.
#[derive(Debug)]
pub(crate) struct Forward<'a> {
    /// The number of the input, where the pass runs for each.
    pub input: usize,
    /// Empty where it is in `y` already.
    pub x: &'a [f32],
    /// The other term of a sum. Empty where it is in `y` already.
    pub x2: &'a [f32],
    pub y: &'a mut [f32],
    pub weights: &'a [f32],
    pub buffers: &'a mut [f32],
    pub kept: &'a mut [f32],
    pub choices: &'a mut [u8],
    pub scratch: &'a mut [f32],
}

/// The arrays of a backward pass.
#[derive(Debug)]
pub(crate) struct Backward<'a> {
    /// The number of the input, where the pass runs for each.
    pub input: usize,
    /// Empty unless the operation reads it.
    pub x: &'a [f32],
    /// Empty unless the operation reads it.
    pub y: &'a [f32],
    pub dy: &'a mut [f32],
    /// None where nothing before the operation is trained, and where that turns `dy` into it.
    pub dx: Option<&'a mut [f32]>,
    /// True if the gradient is to be added to what `dx` holds.
    pub adds: bool,
    pub weights: &'a [f32],
    pub dweights: &'a mut [f32],
    pub kept: &'a [f32],
    pub choices: &'a [u8],
    pub scratch: &'a mut [f32],
}

/// Cuts an operation's weights into `weight` and, if there is one, `bias` of `bias_len`.
fn split_bias(weights: &[f32], bias_len: Option<usize>) -> (&[f32], Option<&[f32]>) {
    match bias_len {
        Some(len) => {
            let (weight, bias) = weights.split_at(weights.len() - len);
            (weight, Some(bias))
        }
        None => (weights, None),
    }
}

/// An operation's weights on a GPU: `weight` and, if there is one, `bias`.
fn split_bias_lanes(weights: Lanes<'_>, weight_len: usize, has_bias: bool) -> (Lanes<'_>, Option<Lanes<'_>>) {
    (weights, has_bias.then(|| weights.at(weight_len)))
}

/// As [`split_bias`], for gradients.
fn split_bias_mut(dweights: &mut [f32], bias_len: Option<usize>) -> (&mut [f32], Option<&mut [f32]>) {
    match bias_len {
        Some(len) => {
            let (weight, bias) = dweights.split_at_mut(dweights.len() - len);
            (weight, Some(bias))
        }
        None => (dweights, None),
    }
}
