//! Convolution, and the max pooling of its output in the same pass.

use clr_kernels::Activation;
use clr_kernels::conv2d::cuda::{Conv2dKernels, LaneEpilogue, LaneOutputGradient, LaneWeightGradients};
use clr_kernels::conv2d::{
    self, Algorithm, Conv2d, Epilogue, OutputGradient, PooledBackward, PooledConv2d, PooledForward,
};
use clr_kernels::cuda::{GpuError, Precision};

use super::{
    Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses, split_bias, split_bias_lanes,
    split_bias_mut,
};
use crate::parameter::Parameter;
use crate::shape::Shape;

/// A convolution with square kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of a kernel.
    pub size: usize,
    /// Pixels between neighbouring outputs.
    pub stride: usize,
    /// Zeros on each of the four sides of the input.
    pub pad: usize,
    /// Filters of group g see the input channels of group g alone.
    pub groups: usize,
    /// `[size][size][channels / groups][filters]`.
    pub weight: Parameter,
    /// `[filters]`.
    pub bias: Option<Parameter>,
}

#[derive(Debug)]
pub(crate) struct ConvolutionOp {
    /// For a batch of 1.
    pub geometry: Conv2d,
    has_bias: bool,
    /// True if ReLU ends the forward pass.
    pub relu: bool,
    /// True if the backward pass begins with its slope.
    pub relu_slope: bool,
    /// The same convolution with the max pooling that follows it, where both are one. It computes no `dx`, and on a CPU alone.
    pub pooled: Option<PooledConv2d>,
}

impl Convolution {
    /// A convolution with stride 1 in one group, without padding.
    pub fn new(filters: usize, size: usize, weight: Parameter, bias: Option<Parameter>) -> Convolution {
        Convolution { filters, size, stride: 1, pad: 0, groups: 1, weight, bias }
    }

    #[must_use]
    pub fn pad(self, pad: usize) -> Convolution {
        Convolution { pad, ..self }
    }

    #[must_use]
    pub fn stride(self, stride: usize) -> Convolution {
        Convolution { stride, ..self }
    }

    /// Sets the number of groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Convolution {
        Convolution { groups, ..self }
    }
}

impl ConvolutionOp {
    pub fn new(convolution: Convolution, input: Shape, algorithm: Algorithm) -> Result<ConvolutionOp, String> {
        let Convolution { filters, size, stride, pad, groups, .. } = convolution;
        if filters == 0 || size == 0 || stride == 0 || groups == 0 {
            return Err("filters, size, stride and groups must be at least 1".to_owned());
        }
        if !filters.is_multiple_of(groups) || !input.channels.is_multiple_of(groups) {
            return Err(format!("{filters} filters on {} channels do not divide into {groups} groups", input.channels));
        }
        let geometry = Conv2d {
            batch: 1,
            in_h: input.height,
            in_w: input.width,
            in_c: input.channels,
            out_c: filters,
            kernel_h: size,
            kernel_w: size,
            stride,
            pad,
            groups,
            algorithm,
        };
        if geometry.output_len() == 0 {
            return Err(format!("a kernel of {size} x {size} is larger than the image padded by {pad}"));
        }
        let has_bias = convolution.bias.is_some();
        Ok(ConvolutionOp { geometry, has_bias, relu: false, relu_slope: false, pooled: None })
    }

    pub fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.out_c }
    }

    pub fn channels_per_group(&self) -> usize {
        self.geometry.in_c / self.geometry.groups
    }

    fn geometry(&self, batch: usize) -> Conv2d {
        Conv2d { batch, ..self.geometry }
    }

    fn bias_len(&self) -> Option<usize> {
        self.has_bias.then_some(self.geometry.out_c)
    }
}

impl Passes for ConvolutionOp {
    fn uses(&self) -> Uses {
        // That the pooling ends in; its slope follows from the output.
        let is_sigmoid = self.pooled.is_some_and(|pooled| pooled.activation() == Activation::Sigmoid);
        Uses { reads_x: true, reads_y: self.relu_slope || is_sigmoid, writes_dy: is_sigmoid, ..Uses::default() }
    }

    fn needs(&self, batch: usize, thread_count: usize) -> Needs {
        match self.pooled.map(|pooled| pooled.of(batch)) {
            Some(pooled) => {
                Needs { scratch: pooled.scratch_len(thread_count), kept: 0, choices: pooled.pool().output_len() }
            }
            None => Needs { scratch: self.geometry(batch).scratch_len(thread_count), ..Needs::default() },
        }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, weights, choices, scratch, .. }: Forward<'_>) {
        let (weight, bias) = split_bias(weights, self.bias_len());
        if let Some(pooled) = self.pooled {
            let argmax = &mut choices[..y.len()];
            let arrays = PooledForward { x, w: weight, bias, y, argmax, scratch };
            return pooled.of(pass.batch).forward(pass.cpu, arrays);
        }
        let epilogue = Epilogue { bias, relu: self.relu };
        conv2d::forward(pass.cpu, &self.geometry(pass.batch), x, weight, epilogue, y, scratch);
    }

    fn backward(&self, pass: &Pass<'_>, arrays: Backward<'_>) {
        let Backward { x, y, dy, dx, weights, dweights, choices, scratch, .. } = arrays;
        let geometry = self.geometry(pass.batch);
        let (weight, _) = split_bias(weights, self.bias_len());
        let (dweight, dbias) = split_bias_mut(dweights, self.bias_len());
        if let Some(pooled) = self.pooled {
            let argmax = &choices[..dy.len()];
            let arrays = PooledBackward { x, y, argmax, dy, dw: dweight, db: dbias, scratch };
            return pooled.of(pass.batch).backward_weight(pass.cpu, arrays);
        }
        let dy = OutputGradient { dy, relu_y: self.relu_slope.then_some(y) };
        conv2d::backward_weight(pass.cpu, &geometry, x, dy, dweight, dbias, scratch);
        if let Some(dx) = dx {
            conv2d::backward_input(pass.cpu, &geometry, dy, weight, dx, scratch);
        }
    }

    fn scratch_len_on_gpu(&self, batch: usize, precision: Precision) -> Result<usize, GpuError> {
        Ok(Conv2dKernels::new(&self.geometry(batch), precision)?.scratch_len())
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, y, weights, .. } = tensors;
        let kernels = Conv2dKernels::new(&self.geometry(pass.batch), pass.precision)?;
        let (weight, bias) = split_bias_lanes(weights, self.geometry.weight_len(), self.has_bias);
        let epilogue = LaneEpilogue { bias, relu: self.relu };
        kernels.forward(pass.gpu, pass.lanes, x, weight, epilogue, y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { x, y, dy, dx, weights, dweights, scratch, .. } = tensors;
        let kernels = Conv2dKernels::new(&self.geometry(pass.batch), pass.precision)?;
        let dy = LaneOutputGradient { dy, relu_y: self.relu_slope.then_some(y) };
        let (dw, db) = split_bias_lanes(dweights, self.geometry.weight_len(), self.has_bias);
        kernels.backward_weight(pass.gpu, pass.lanes, x, dy, LaneWeightGradients { dw, db }, scratch)?;
        let Some(dx) = dx else { return Ok(()) };
        kernels.backward_input(pass.gpu, pass.lanes, dy, weights, dx)
    }
}
