//! Max and average pooling.

use clr_kernels::Activation;
use clr_kernels::cuda::GpuError;
use clr_kernels::pool::{self, Divisor, Pool2d, Rounding};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses};
use crate::shape::Shape;

/// A pooling with square windows, which Caffe's rule counts unless it is told otherwise: see [`Pool2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    kind: PoolKind,
    /// None: the whole image.
    size: Option<usize>,
    stride: usize,
    pad: usize,
    rounding: Rounding,
    divisor: Divisor,
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
        Pool { kind: PoolKind::Max, ..Pool::average(size, stride) }
    }

    /// The mean of each window.
    pub fn average(size: usize, stride: usize) -> Pool {
        let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
        Pool { kind: PoolKind::Average, size: Some(size), stride, pad: 0, rounding, divisor }
    }

    /// The mean of the whole image, of any size.
    pub fn global_average() -> Pool {
        Pool { size: None, ..Pool::average(1, 1) }
    }

    #[must_use]
    pub fn pad(self, pad: usize) -> Pool {
        Pool { pad, ..self }
    }

    /// Leaves out a last window that the image does not fill, as PyTorch does unless it is given `ceil_mode`.
    #[must_use]
    pub fn floor(self) -> Pool {
        Pool { rounding: Rounding::Down, ..self }
    }

    /// Means are over the pixels of the image alone: PyTorch's `count_include_pad=False`.
    #[must_use]
    pub fn without_padding(self) -> Pool {
        Pool { divisor: Divisor::ImageAlone, ..self }
    }
}

impl PoolOp {
    pub fn new(pool: Pool, input: Shape) -> Result<PoolOp, String> {
        let Pool { kind, size, stride, pad, rounding, divisor } = pool;
        let Shape { height, width, channels } = input;
        let largest = if kind == PoolKind::Max { Pool2d::LARGEST_MAX } else { usize::MAX };
        let geometry = match size {
            None => Pool2d::global(1, height, width, channels),
            Some(size) if (1..=largest).contains(&size) && stride > 0 && pad < size => {
                Pool2d { batch: 1, in_h: height, in_w: width, channels, size, stride, pad, rounding, divisor }
            }
            Some(size) => {
                let window = if kind == PoolKind::Max { format!("1 to {largest}") } else { "at least 1".to_owned() };
                return Err(format!(
                    "a window of {size}, stride {stride}, padding {pad}: expected a window of {window}, a stride of at least 1, \
                     and less padding than window"
                ));
            }
        };
        let size = geometry.size;
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
        Uses { reads_x, reads_y: is_sigmoid, writes_dy: is_sigmoid, ..Uses::default() }
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
