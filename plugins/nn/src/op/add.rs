//! The sum of two values: where a residual branch meets its shortcut.

use clr_kernels::cuda::GpuError;
use clr_kernels::{Activation, activation, add};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};

/// `activation(x + x2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Add {
    pub activation: Activation,
}

impl Passes for Add {
    /// Without an activation, the gradient of each term is that of the sum as it is.
    fn uses(&self) -> Uses {
        let has_slope = self.activation != Activation::None;
        Uses { in_place: true, turns_dy: true, reads_y: has_slope, writes_dy: has_slope, ..Uses::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, x2, y, .. }: Forward<'_>) {
        match (x.is_empty(), x2.is_empty()) {
            (true, _) => add::accumulate(pass.cpu, self.activation, x2, y),
            (_, true) => add::accumulate(pass.cpu, self.activation, x, y),
            _ => add::forward(pass.cpu, self.activation, x, x2, y),
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { y, dy, .. }: Backward<'_>) {
        activation::backward(pass.cpu, self.activation, y, dy);
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, x2, y, len, .. } = tensors;
        add::cuda::forward(pass.gpu, pass.lanes, self.activation, len, x, x2, y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { y, dy, len, .. } = tensors;
        activation::cuda::backward(pass.gpu, pass.lanes, self.activation, len, y, dy, dy)
    }
}
