//! The layers of a network, one a file: each fits a description to the shape of its input and calls its kernels.

mod add;
mod batch_norm;
mod convolution;
mod elementwise;
mod gpu;
mod linear;
mod lrn;
mod pool;
mod subsample;

use std::fmt::Debug;

use clr_kernels::cuda::{GpuError, Lanes, Precision};
use clr_kernels::pool::Pool2d;
use clr_kernels::step::Part;
use clr_kernels::{Activation, Cpu};

use crate::shape::Shape;

pub(crate) use add::Add;
pub use batch_norm::BatchNorm;
pub(crate) use batch_norm::BatchNormLayer;
pub use convolution::Convolution;
pub(crate) use convolution::ConvolutionLayer;
pub(crate) use elementwise::Elementwise;
pub(crate) use gpu::{GpuBackward, GpuForward, GpuKept, GpuPass};
pub use linear::Linear;
pub(crate) use linear::LinearLayer;
pub(crate) use lrn::LrnLayer;
pub use lrn::{Lrn, LrnRegion};
pub use pool::Pool;
pub(crate) use pool::PoolLayer;
pub(crate) use subsample::SubsampleLayer;

/// A layer that makes a new value from one value.
pub(crate) trait Layer: Debug + Send + Sync {
    /// The shape of what it makes.
    fn output_shape(&self) -> Shape;

    /// True if the backward pass reads the layer's input.
    fn backward_reads_input(&self) -> bool;

    /// True if the backward pass reads the layer's output, after its activation.
    fn backward_reads_output(&self) -> bool {
        false
    }

    /// True if the backward pass overwrites `dy`.
    fn backward_writes_dy(&self) -> bool {
        false
    }

    /// Floats of scratch memory that either pass needs at most, for a batch of so many samples, on so many
    /// threads at most.
    fn scratch_len(&self, batch: usize, thread_count: usize) -> usize {
        let _ = (batch, thread_count);
        0
    }

    /// The lengths of the values that the forward pass keeps for the backward pass, besides input and output.
    fn kept_len(&self, batch: usize) -> KeptLen {
        let _ = batch;
        KeptLen::default()
    }

    /// Takes an activation that follows into the passes of this layer. False if it cannot.
    fn fuse_activation(&mut self, activation: Activation) -> bool {
        let _ = activation;
        false
    }

    /// The fused activation whose slope the only reader of the output had better multiply into the gradient, if it can.
    fn slope_to_leave(&self) -> Activation {
        Activation::None
    }

    /// Leaves that slope to the reader.
    fn leave_slope(&mut self) {}

    /// Takes over the slope of an activation whose output is the input of this layer: `dx` becomes the gradient of what that
    /// was applied to. False if the layer cannot.
    fn fuse_input_slope(&mut self, activation: Activation) -> bool {
        let _ = activation;
        false
    }

    /// The max pooling that this layer is, of one image, and the activation that it ends in.
    fn max_pooling(&self) -> Option<(Pool2d, Activation)> {
        None
    }

    /// Takes a max pooling that follows into the passes of this layer, which then computes no `dx`, and on a CPU alone. False
    /// if it cannot.
    fn fuse_max_pooling(&mut self, pool: Pool2d, activation: Activation) -> bool {
        let _ = (pool, activation);
        false
    }

    fn forward(&self, pass: &Pass<'_>, arrays: Forward<'_>);

    /// Computes `dweights` and, where it is asked for, `dx`.
    fn backward(&self, pass: &Pass<'_>, arrays: Backward<'_>);

    /// As [`Layer::scratch_len`] on a GPU, for each lane.
    ///
    /// # Errors
    /// That the layer is too large for a GPU's kernels.
    fn scratch_len_on_gpu(&self, batch: usize, precision: Precision) -> Result<usize, GpuError> {
        let _ = (batch, precision);
        Ok(0)
    }

    /// As [`Layer::forward`], launched for all lanes.
    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError>;

    /// As [`Layer::backward`], launched for all lanes. Leaves `dy` as it is.
    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError>;
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

/// The arrays of a layer's forward pass.
#[derive(Debug)]
pub(crate) struct Forward<'a> {
    pub x: &'a [f32],
    pub y: &'a mut [f32],
    pub weights: &'a [f32],
    pub buffers: &'a mut [f32],
    pub kept: &'a mut Kept,
    pub scratch: &'a mut [f32],
}

/// The arrays of a layer's backward pass.
#[derive(Debug)]
pub(crate) struct Backward<'a> {
    pub x: &'a [f32],
    /// Empty unless the layer asks for it.
    pub y: &'a [f32],
    pub dy: &'a mut [f32],
    /// None where nothing before the layer is trained.
    pub dx: Option<&'a mut [f32]>,
    pub weights: &'a [f32],
    pub dweights: &'a mut [f32],
    pub kept: &'a Kept,
    pub scratch: &'a mut [f32],
}

/// The values that a layer's forward pass keeps for its backward pass.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub floats: Vec<f32>,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptLen {
    pub floats: usize,
    pub bytes: usize,
}

impl Kept {
    pub fn new(len: KeptLen) -> Kept {
        Kept { floats: vec![0.0; len.floats], bytes: vec![0; len.bytes] }
    }
}

/// Cuts a layer's weights into `weight` and, if there is one, `bias` of `bias_len`.
fn split_bias(weights: &[f32], bias_len: Option<usize>) -> (&[f32], Option<&[f32]>) {
    match bias_len {
        Some(len) => {
            let (weight, bias) = weights.split_at(weights.len() - len);
            (weight, Some(bias))
        }
        None => (weights, None),
    }
}

/// A layer's weights on a GPU: `weight` and, if there is one, `bias`.
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
