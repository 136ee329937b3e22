//! Concatenation: the channels of several values side by side. The passes run once for each of them.

use clr_kernels::concat::{self, Slice};
use clr_kernels::cuda::GpuError;

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};
use crate::shape::Shape;

#[derive(Debug)]
pub(crate) struct Concat {
    /// Of an image.
    pixels: usize,
    /// Of each input.
    channels: Vec<usize>,
}

impl Concat {
    /// Of values of these shapes. Gives the shape of the concatenation too.
    pub fn new(inputs: &[Shape]) -> Result<(Concat, Shape), String> {
        let &[Shape { height, width, .. }, ..] = inputs else { return Err("a concatenation of nothing".to_owned()) };
        if let Some(other) = inputs.iter().find(|other| (other.height, other.width) != (height, width)) {
            return Err(format!("beside it stands {} x {} x {}", other.height, other.width, other.channels));
        }
        let channels: Vec<usize> = inputs.iter().map(|input| input.channels).collect();
        let shape = Shape { height, width, channels: channels.iter().sum() };
        Ok((Concat { pixels: height * width, channels }, shape))
    }

    /// The place of an input.
    fn slice(&self, input: usize, batch: usize) -> Slice {
        let (first, of) = (self.channels[..input].iter().sum(), self.channels.iter().sum());
        Slice { pixels: batch * self.pixels, channels: self.channels[input], first, of }
    }
}

impl Passes for Concat {
    fn uses(&self) -> Uses {
        Uses { each_input: true, adds: true, ..Uses::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { input, x, y, .. }: Forward<'_>) {
        concat::forward(pass.cpu, &self.slice(input, pass.batch), x, y);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { input, dy, dx, adds, .. }: Backward<'_>) {
        let (slice, Some(dx)) = (self.slice(input, pass.batch), dx) else { return };
        let backward = if adds { concat::accumulate } else { concat::backward };
        backward(pass.cpu, &slice, dy, dx);
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { input, x, y, .. } = tensors;
        concat::cuda::forward(pass.gpu, pass.lanes, &self.slice(input, pass.batch), x, y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { input, dy, dx, adds, .. } = tensors;
        let (slice, Some(dx)) = (self.slice(input, pass.batch), dx) else { return Ok(()) };
        let backward = if adds { concat::cuda::accumulate } else { concat::cuda::backward };
        backward(pass.gpu, pass.lanes, &slice, dy, dx)
    }
}
