//! The fully connected layer.

use clr_kernels::cuda::GpuError;
use clr_kernels::linear;

use super::{
    Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses, split_bias, split_bias_lanes,
    split_bias_mut,
};
use crate::parameter::Parameter;
use crate::shape::Shape;

/// A fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Values of the output.
    pub outputs: usize,
    /// `[inputs][outputs]`.
    pub weight: Parameter,
    /// `[outputs]`.
    pub bias: Option<Parameter>,
}

#[derive(Debug)]
pub(crate) struct LinearOp {
    inputs: usize,
    outputs: usize,
    has_bias: bool,
}

impl LinearOp {
    pub fn new(linear: Linear, input: Shape) -> Result<LinearOp, String> {
        if linear.outputs == 0 {
            return Err("outputs must be at least 1".to_owned());
        }
        Ok(LinearOp { inputs: input.len(), outputs: linear.outputs, has_bias: linear.bias.is_some() })
    }

    pub fn output_shape(&self) -> Shape {
        Shape { height: 1, width: 1, channels: self.outputs }
    }

    fn shape(&self, batch: usize) -> linear::Linear {
        linear::Linear { batch, inputs: self.inputs, outputs: self.outputs }
    }

    fn bias_len(&self) -> Option<usize> {
        self.has_bias.then_some(self.outputs)
    }
}

impl Passes for LinearOp {
    fn uses(&self) -> Uses {
        Uses { reads_x: true, ..Uses::default() }
    }

    fn needs(&self, batch: usize, _thread_count: usize) -> Needs {
        Needs { scratch: self.shape(batch).scratch_len(), ..Needs::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, weights, scratch, .. }: Forward<'_>) {
        let (weight, bias) = split_bias(weights, self.bias_len());
        linear::forward(pass.cpu, &self.shape(pass.batch), x, weight, bias, y, scratch);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { x, dy, dx, weights, dweights, scratch, .. }: Backward<'_>) {
        let shape = self.shape(pass.batch);
        let (weight, _) = split_bias(weights, self.bias_len());
        let (dweight, dbias) = split_bias_mut(dweights, self.bias_len());
        linear::backward_weight(pass.cpu, &shape, x, dy, dweight, dbias, scratch);
        if let Some(dx) = dx {
            linear::backward_input(pass.cpu, &shape, dy, weight, dx, scratch);
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, y, weights, .. } = tensors;
        let (weight, bias) = split_bias_lanes(weights, self.inputs * self.outputs, self.has_bias);
        linear::cuda::forward(pass.gpu, pass.lanes, &self.shape(pass.batch), x, weight, bias, y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { x, dy, dx, weights, dweights, .. } = tensors;
        let (dw, db) = split_bias_lanes(dweights, self.inputs * self.outputs, self.has_bias);
        let arrays = linear::cuda::Backward { x, w: weights, dy, dw, db, dx };
        linear::cuda::backward(pass.gpu, pass.lanes, &self.shape(pass.batch), &arrays)
    }
}
