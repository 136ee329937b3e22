//! The sum of two values: where a residual branch meets its shortcut.

use clr_kernels::cuda::{GpuError, Lanes};
use clr_kernels::{Activation, activation, add};

use super::{GpuPass, Pass};

/// `activation(a + b)`, done over `a` where nobody else reads that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Add {
    pub activation: Activation,
}

impl Add {
    /// True if the backward pass reads the output and overwrites its gradient.
    pub fn has_slope(self) -> bool {
        self.activation != Activation::None
    }

    /// Computes `y`; `a` is none where `y` holds it already.
    pub fn forward(self, pass: &Pass<'_>, a: Option<&[f32]>, b: &[f32], y: &mut [f32]) {
        match a {
            Some(a) => add::forward(pass.cpu, self.activation, a, b, y),
            None => add::accumulate(pass.cpu, self.activation, b, y),
        }
    }

    /// Replaces the gradient of the output by that of each term.
    pub fn backward(self, pass: &Pass<'_>, y: &[f32], gradients: &mut [f32]) {
        activation::backward(pass.cpu, self.activation, y, gradients);
    }

    /// Computes `y` of `len` values in every lane; it may lie where `a` or `b` does.
    pub fn forward_on_gpu(
        self,
        pass: &GpuPass<'_>,
        len: usize,
        a: Lanes<'_>,
        b: Lanes<'_>,
        y: Lanes<'_>,
    ) -> Result<(), GpuError> {
        add::cuda::forward(pass.gpu, pass.lanes, self.activation, len, a, b, y)
    }

    /// As [`Add::backward`] in every lane.
    pub fn backward_on_gpu(
        self,
        pass: &GpuPass<'_>,
        len: usize,
        y: Lanes<'_>,
        gradients: Lanes<'_>,
    ) -> Result<(), GpuError> {
        if !self.has_slope() {
            return Ok(());
        }
        activation::cuda::backward(pass.gpu, pass.lanes, self.activation, len, y, gradients, gradients)
    }
}
