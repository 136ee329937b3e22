//! Local response normalisation.

use clr_kernels::cuda::GpuError;
use clr_kernels::lrn;

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses};
use crate::shape::Shape;

pub use clr_kernels::lrn::Region as LrnRegion;

/// `y = x (1 + alpha / n Σ x²)^-beta`, the sum over n neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    pub region: LrnRegion,
    /// The window's length, or the side of its square; odd.
    pub size: usize,
    /// The weight of the mean square.
    pub alpha: f32,
    pub beta: f32,
}

#[derive(Debug)]
pub(crate) struct LrnOp {
    /// For a batch of 1.
    geometry: lrn::Lrn,
}

impl LrnOp {
    pub fn new(description: Lrn, input: Shape) -> Result<LrnOp, String> {
        let Lrn { region, size, alpha, beta } = description;
        if size % 2 == 0 {
            return Err(format!("a window of {size}; expected an odd number"));
        }
        let Shape { height, width, channels } = input;
        Ok(LrnOp { geometry: lrn::Lrn { batch: 1, height, width, channels, region, size, alpha, beta, k: 1.0 } })
    }

    fn geometry(&self, batch: usize) -> lrn::Lrn {
        lrn::Lrn { batch, ..self.geometry }
    }
}

impl Passes for LrnOp {
    fn uses(&self) -> Uses {
        Uses { reads_x: true, ..Uses::default() }
    }

    fn needs(&self, batch: usize, _thread_count: usize) -> Needs {
        Needs { scratch: self.geometry(batch).scratch_len(), ..Needs::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, scratch, .. }: Forward<'_>) {
        lrn::forward(pass.cpu, &self.geometry(pass.batch), x, y, scratch);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { x, dy, dx, scratch, .. }: Backward<'_>) {
        if let Some(dx) = dx {
            lrn::backward(pass.cpu, &self.geometry(pass.batch), x, dy, dx, scratch);
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        lrn::cuda::forward(pass.gpu, pass.lanes, &self.geometry(pass.batch), tensors.x, tensors.y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { x, dy, dx, .. } = tensors;
        let Some(dx) = dx else { return Ok(()) };
        lrn::cuda::backward(pass.gpu, pass.lanes, &self.geometry(pass.batch), x, dy, dx)
    }
}
