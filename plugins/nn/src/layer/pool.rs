//! Max and average pooling.

use clr_kernels::Activation;
use clr_kernels::cuda::GpuError;
use clr_kernels::pool::{self, Divisor, Pool2d, Rounding};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, KeptLen, Layer, Pass};
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
enum PoolKind {
    Max,
    Average,
}

#[derive(Debug)]
pub(crate) struct PoolLayer {
    kind: PoolKind,
    /// For a batch of 1.
    geometry: Pool2d,
    /// The activation at the end of max pooling.
    activation: Activation,
    /// The activation before average pooling, if its slope is to be multiplied into `dx`.
    input_activation: Activation,
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

impl PoolLayer {
    pub fn new(pool: Pool, input: Shape) -> Result<PoolLayer, String> {
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
        Ok(PoolLayer { kind, geometry, activation: Activation::None, input_activation: Activation::None })
    }

    fn geometry(&self, batch: usize) -> Pool2d {
        Pool2d { batch, ..self.geometry }
    }
}

impl Layer for PoolLayer {
    fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.channels }
    }

    fn backward_reads_input(&self) -> bool {
        self.input_activation != Activation::None
    }

    /// ReLU's slope is kept with the argmax.
    fn backward_reads_output(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn backward_writes_dy(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn fuse_activation(&mut self, activation: Activation) -> bool {
        let fuses = self.kind == PoolKind::Max && self.activation == Activation::None;
        if fuses {
            self.activation = activation;
        }
        fuses
    }

    fn fuse_input_slope(&mut self, activation: Activation) -> bool {
        let fuses = self.kind == PoolKind::Average;
        if fuses {
            self.input_activation = activation;
        }
        fuses
    }

    fn max_pooling(&self) -> Option<(Pool2d, Activation)> {
        (self.kind == PoolKind::Max).then_some((self.geometry, self.activation))
    }

    fn kept_len(&self, batch: usize) -> KeptLen {
        match self.kind {
            PoolKind::Max => KeptLen { bytes: self.geometry(batch).output_len(), floats: 0 },
            PoolKind::Average => KeptLen::default(),
        }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, kept, .. }: Forward<'_>) {
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => {
                let argmax = &mut kept.bytes[..geometry.output_len()];
                pool::max_forward(pass.cpu, &geometry, self.activation, x, y, argmax);
            }
            PoolKind::Average => pool::average_forward(pass.cpu, &geometry, x, y),
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { x, y, dy, dx, kept, .. }: Backward<'_>) {
        let Some(dx) = dx else { return };
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => {
                let argmax = &kept.bytes[..geometry.output_len()];
                pool::max_backward(pass.cpu, &geometry, self.activation, y, argmax, dy, dx);
            }
            PoolKind::Average => pool::average_backward(pass.cpu, &geometry, self.input_activation, x, dy, dx),
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let (&GpuPass { gpu, lanes, .. }, geometry) = (pass, self.geometry(pass.batch));
        let GpuForward { x, y, kept, .. } = tensors;
        match self.kind {
            PoolKind::Max => pool::cuda::max_forward(gpu, lanes, &geometry, self.activation, x, y, kept.bytes),
            PoolKind::Average => pool::cuda::average_forward(gpu, lanes, &geometry, x, y),
        }
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let (&GpuPass { gpu, lanes, .. }, geometry) = (pass, self.geometry(pass.batch));
        let GpuBackward { x, y, dy, dx, kept, .. } = tensors;
        let Some(dx) = dx else { return Ok(()) };
        match self.kind {
            PoolKind::Max => {
                let arrays = pool::cuda::MaxBackward { y, argmax: kept.bytes, dy, dx };
                pool::cuda::max_backward(gpu, lanes, &geometry, self.activation, &arrays)
            }
            PoolKind::Average => {
                pool::cuda::average_backward(gpu, lanes, &geometry, self.input_activation, Some(x), dy, dx)
            }
        }
    }
}
