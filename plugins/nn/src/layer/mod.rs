//! The layers of a network, one a file: each fits a description to the shape of its input and calls its kernels.

mod activation;
mod batch_norm;
mod convolution;
mod linear;
mod lrn;
mod pool;

use std::fmt::Debug;

use clr_kernels::Cpu;

use crate::network::Shape;

pub(crate) use activation::Activation;
pub use batch_norm::BatchNorm;
pub(crate) use batch_norm::BatchNormLayer;
pub use convolution::Convolution;
pub(crate) use convolution::ConvolutionLayer;
pub use linear::Linear;
pub(crate) use linear::LinearLayer;
pub(crate) use lrn::LrnLayer;
pub use lrn::{Lrn, LrnRegion};
pub use pool::Pool;
pub(crate) use pool::PoolLayer;

/// A layer that makes a new value from one value.
pub(crate) trait Layer: Debug + Send + Sync {
    /// The shape of what it makes.
    fn output_shape(&self) -> Shape;

    /// Whether the backward pass reads the layer's input.
    fn backward_reads_input(&self) -> bool;

    /// Floats of scratch memory that either pass needs at most, for a batch of so many samples.
    fn scratch_len(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }

    /// What the forward pass keeps for the backward pass, besides the input.
    fn kept_len(&self, batch: usize) -> KeptLen {
        let _ = batch;
        KeptLen::default()
    }

    /// Computes `y`.
    fn forward(&self, pass: &Pass<'_>, arrays: Forward<'_>);

    /// Computes `dweights` and, where it is asked for, `dx`.
    fn backward(&self, pass: &Pass<'_>, arrays: Backward<'_>);
}

/// An operation on each value by itself, done in place where nobody else reads the input.
pub(crate) trait Elementwise: Debug + Send + Sync {
    /// Whether the backward pass reads the output.
    fn backward_reads_output(&self) -> bool;

    /// Replaces inputs by outputs.
    fn forward(&self, pass: &Pass<'_>, values: &mut [f32]);

    /// Replaces the gradient of the output by that of the input.
    fn backward(&self, pass: &Pass<'_>, outputs: &[f32], gradients: &mut [f32]);
}

/// The circumstances of a forward or backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    pub cpu: &'a Cpu,
    /// Samples of this batch.
    pub batch: usize,
    /// Samples of a full batch.
    pub batch_size: usize,
    /// Whether this is training; otherwise nothing is random and nothing is remembered.
    pub training: bool,
    /// Keys what is random.
    pub init_seed: u64,
    /// Updates before this one.
    pub step: u64,
}

/// What a layer's forward pass reads and writes.
#[derive(Debug)]
pub(crate) struct Forward<'a> {
    pub x: &'a [f32],
    pub y: &'a mut [f32],
    pub weights: &'a [f32],
    pub buffers: &'a mut [f32],
    pub kept: &'a mut Kept,
    pub scratch: &'a mut [f32],
}

/// What a layer's backward pass reads and writes.
#[derive(Debug)]
pub(crate) struct Backward<'a> {
    pub x: &'a [f32],
    pub dy: &'a [f32],
    /// None where nothing before the layer is trained.
    pub dx: Option<&'a mut [f32]>,
    pub weights: &'a [f32],
    pub dweights: &'a mut [f32],
    pub kept: &'a Kept,
    pub scratch: &'a mut [f32],
}

/// What a layer's forward pass keeps for its backward pass.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub floats: Vec<f32>,
    pub bytes: Vec<u8>,
}

/// Lengths of [`Kept`].
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
