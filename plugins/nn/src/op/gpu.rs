//! The arguments of an operation's passes on a GPU: the tensors of all lanes at once, and what kernels read from step to step.

use clr_kernels::cuda::{Buffer, Gpu, Lanes, Precision};
use clr_kernels::step::{LaneStep, Part};

/// The circumstances of a forward or backward pass on a GPU: as [`Pass`](super::Pass), for K lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuPass<'a> {
    pub gpu: &'a Gpu,
    pub lanes: usize,
    /// Samples of this batch.
    pub batch: usize,
    /// The place of the batch in its update.
    pub part: Part,
    /// Samples of a full update.
    pub update_size: usize,
    /// True if this is training; otherwise nothing is random and nothing is remembered.
    pub training: bool,
    /// How convolutions round what they multiply.
    pub precision: Precision,
    /// `[K]`: keys what is random.
    pub init_seeds: &'a Buffer<u64>,
    /// `[K]`: the step at hand. Lanes that leave out the branch that an operation is part of have no samples there.
    pub steps: &'a Buffer<LaneStep>,
    /// `[K]`: what stochastic depth multiplies its branch by; none for other operations.
    pub scales: Option<&'a Buffer<f32>>,
}

/// As [`Forward`](super::Forward), for K lanes. Parameters and what is remembered begin at the operation's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuForward<'a> {
    /// The number of the input, where the pass runs for each.
    pub input: usize,
    /// It may be `y`.
    pub x: Lanes<'a>,
    /// The other term of a sum; else the same as `x`.
    pub x2: Lanes<'a>,
    pub y: Lanes<'a>,
    /// Values of `y` in each lane.
    pub len: usize,
    pub weights: Lanes<'a>,
    pub buffers: Lanes<'a>,
    pub kept: Lanes<'a>,
    pub choices: Lanes<'a, u8>,
    pub scratch: Lanes<'a>,
}

/// As [`Backward`](super::Backward), for K lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuBackward<'a> {
    /// The number of the input, where the pass runs for each.
    pub input: usize,
    /// Anything unless the operation reads it.
    pub x: Lanes<'a>,
    /// Anything unless the operation reads it.
    pub y: Lanes<'a>,
    pub dy: Lanes<'a>,
    /// None where nothing before the operation is trained, and where that turns `dy` into it.
    pub dx: Option<Lanes<'a>>,
    /// True if the gradient is to be added to what `dx` holds.
    pub adds: bool,
    /// Values of `dy` in each lane.
    pub len: usize,
    pub weights: Lanes<'a>,
    pub dweights: Lanes<'a>,
    pub kept: Lanes<'a>,
    pub choices: Lanes<'a, u8>,
    pub scratch: Lanes<'a>,
}
