//! The shortcut of a residual network where the image shrinks and the channels grow.

use clr_kernels::cuda::GpuError;
use clr_kernels::subsample;

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};
use crate::shape::Shape;

#[derive(Debug)]
pub(crate) struct SubsampleOp {
    /// For a batch of 1.
    geometry: subsample::Subsample,
}

impl SubsampleOp {
    pub fn new(stride: usize, channels: usize, input: Shape) -> Result<SubsampleOp, String> {
        if stride == 0 || channels < input.channels {
            return Err(format!(
                "stride {stride} to {channels} channels: expected at least 1 and as many as there are"
            ));
        }
        let Shape { height: in_h, width: in_w, channels: in_c } = input;
        Ok(SubsampleOp { geometry: subsample::Subsample { batch: 1, in_h, in_w, in_c, out_c: channels, stride } })
    }

    pub fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.out_c }
    }

    fn geometry(&self, batch: usize) -> subsample::Subsample {
        subsample::Subsample { batch, ..self.geometry }
    }
}

impl Passes for SubsampleOp {
    fn uses(&self) -> Uses {
        Uses::default()
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, .. }: Forward<'_>) {
        subsample::forward(pass.cpu, &self.geometry(pass.batch), x, y);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { dy, dx, .. }: Backward<'_>) {
        if let Some(dx) = dx {
            subsample::backward(pass.cpu, &self.geometry(pass.batch), dy, dx);
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        subsample::cuda::forward(pass.gpu, pass.lanes, &self.geometry(pass.batch), tensors.x, tensors.y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let Some(dx) = tensors.dx else { return Ok(()) };
        subsample::cuda::backward(pass.gpu, pass.lanes, &self.geometry(pass.batch), tensors.dy, dx)
    }
}
