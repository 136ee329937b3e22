//! ReLU and sigmoid where no operation before them could take them into its own pass.

use clr_kernels::cuda::GpuError;
use clr_kernels::{Activation, activation};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};

impl Passes for Activation {
    fn uses(&self) -> Uses {
        Uses { in_place: true, turns_dy: true, reads_y: true, writes_dy: true, ..Uses::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, .. }: Forward<'_>) {
        if !x.is_empty() {
            y.copy_from_slice(x);
        }
        activation::forward(pass.cpu, *self, y);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { y, dy, .. }: Backward<'_>) {
        activation::backward(pass.cpu, *self, y, dy);
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        activation::cuda::forward(pass.gpu, pass.lanes, *self, tensors.len, tensors.x, tensors.y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { y, dy, len, .. } = tensors;
        activation::cuda::backward(pass.gpu, pass.lanes, *self, len, y, dy, dy)
    }
}
