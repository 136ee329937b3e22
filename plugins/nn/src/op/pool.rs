//! Max and average pooling.

use clr_kernels::Activation;
use clr_kernels::cuda::GpuError;
use clr_kernels::pool::{self, Divisor, Pool2d, Rounding};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses};
use crate::shape::Shape;

/// A pooling with square windows and Caffe's rounding: see [`Pool2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    kind: PoolKind,
    size: usize,
    stride: usize,
    pad: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Max,
    Average,
}

#[derive(Debug)]
pub(crate) struct PoolOp {
    pub kind: PoolKind,
    /// For a batch of 1.
    pub geometry: Pool2d,
    /// The activation at the end of max pooling.
    pub activation: Activation,
    /// The activation before average pooling, if its slope is to be multiplied into `dx`.
    pub input_activation: Activation,
}

impl Pool {
    /// The largest value of each window of `size` x `size`, one every `stride` pixels.
    pub fn max(size: usize, stride: usize) -> Pool {
        Pool { kind: PoolKind::Max, size, stride, pad: 0 }
    }

    /// The mean of each window.
    pub fn average(size: usize, stride: usize) -> Pool {
        Pool { kind: PoolKind::Average, size, stride, pad: 0 }
    }

    #[must_use]
    pub fn pad(self, pad: usize) -> Pool {
        Pool { pad, ..self }
    }
}

impl PoolOp {
    pub fn new(pool: Pool, input: Shape) -> Result<PoolOp, String> {
        let Pool { kind, size, stride, pad } = pool;
        // The argmax among a window's pixels is kept in a byte.
        if size == 0 || size > 15 || stride == 0 || pad >= size {
            return Err(format!(
                "a window of {size}, stride {stride}, padding {pad}: expected a window of 1 to 15, a stride of at least 1, and \
                 less padding than window"
            ));
        }
        let Shape { height, width, channels } = input;
        let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
        let geometry = Pool2d { batch: 1, in_h: height, in_w: width, channels, size, stride, pad, rounding, divisor };
        if geometry.output_len() == 0 {
            return Err(format!("the image is too small for pooling by {size} with stride {stride}"));
        }
        Ok(PoolOp { kind, geometry, activation: Activation::None, input_activation: Activation::None })
    }

    pub fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.channels }
    }

    fn geometry(&self, batch: usize) -> Pool2d {
        Pool2d { batch, ..self.geometry }
    }
}

impl Passes for PoolOp {
    fn uses(&self) -> Uses {
        // ReLU's slope is kept with the argmax.
        let is_sigmoid = self.activation == Activation::Sigmoid;
        let reads_x = self.input_activation != Activation::None;
        Uses { in_place: false, reads_x, reads_y: is_sigmoid, writes_dy: is_sigmoid }
    }

    fn needs(&self, batch: usize, _thread_count: usize) -> Needs {
        match self.kind {
            PoolKind::Max => Needs { choices: self.geometry(batch).output_len(), ..Needs::default() },
            PoolKind::Average => Needs::default(),
        }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, choices, .. }: Forward<'_>) {
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => {
                let argmax = &mut choices[..geometry.output_len()];
                pool::max_forward(pass.cpu, &geometry, self.activation, x, y, argmax);
            }
            PoolKind::Average => pool::average_forward(pass.cpu, &geometry, x, y),
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { x, y, dy, dx, choices, .. }: Backward<'_>) {
        let Some(dx) = dx else { return };
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => {
                let argmax = &choices[..geometry.output_len()];
                pool::max_backward(pass.cpu, &geometry, self.activation, y, argmax, dy, dx);
            }
            PoolKind::Average => pool::average_backward(pass.cpu, &geometry, self.input_activation, x, dy, dx),
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let (&GpuPass { gpu, lanes, .. }, geometry) = (pass, self.geometry(pass.batch));
        let GpuForward { x, y, choices, .. } = tensors;
        match self.kind {
            PoolKind::Max => pool::cuda::max_forward(gpu, lanes, &geometry, self.activation, x, y, choices),
            PoolKind::Average => pool::cuda::average_forward(gpu, lanes, &geometry, x, y),
        }
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let (&GpuPass { gpu, lanes, .. }, geometry) = (pass, self.geometry(pass.batch));
        let GpuBackward { x, y, dy, dx, choices, .. } = tensors;
        let Some(dx) = dx else { return Ok(()) };
        match self.kind {
            PoolKind::Max => {
                let arrays = pool::cuda::MaxBackward { y: Some(y), argmax: choices, dy, dx };
                pool::cuda::max_backward(gpu, lanes, &geometry, self.activation, &arrays)
            }
            PoolKind::Average => {
                pool::cuda::average_backward(gpu, lanes, &geometry, self.input_activation, Some(x), dy, dx)
            }
        }
    }
}
