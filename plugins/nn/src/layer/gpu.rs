//! The arguments of a layer's passes on a GPU: the tensors of all lanes at once, and what kernels read from step to step.

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
    /// `[K]`: the step at hand.
    pub steps: &'a Buffer<LaneStep>,
}

/// As [`Forward`](super::Forward), for K lanes. Parameters and what is remembered begin at the layer's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuForward<'a> {
    pub x: Lanes<'a>,
    pub y: Lanes<'a>,
    pub weights: Lanes<'a>,
    pub buffers: Lanes<'a>,
    pub kept: GpuKept<'a>,
    pub scratch: Lanes<'a>,
}

/// As [`Backward`](super::Backward), for K lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuBackward<'a> {
    pub x: Lanes<'a>,
    /// None unless the layer asks for it.
    pub y: Option<Lanes<'a>>,
    pub dy: Lanes<'a>,
    /// None where nothing before the layer is trained.
    pub dx: Option<Lanes<'a>>,
    pub weights: Lanes<'a>,
    pub dweights: Lanes<'a>,
    pub kept: GpuKept<'a>,
    pub scratch: Lanes<'a>,
}

/// As [`Kept`](super::Kept), for K lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuKept<'a> {
    pub floats: Lanes<'a>,
    pub bytes: Lanes<'a, u8>,
}
