//! Convolution.

use clr_kernels::Activation;
use clr_kernels::conv2d::cuda::{Conv2dKernels, LaneEpilogue, LaneOutputGradient, LaneWeightGradients};
use clr_kernels::conv2d::{self, Algorithm, Conv2d, Epilogue, OutputGradient};
use clr_kernels::cuda::{GpuError, Precision};

use super::{
    Backward, Forward, GpuBackward, GpuForward, GpuPass, Layer, Pass, split_bias, split_bias_lanes, split_bias_mut,
};
use crate::network::{Parameter, Shape};

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
pub(crate) struct ConvolutionLayer {
    /// For a batch of 1.
    geometry: Conv2d,
    has_bias: bool,
    /// Whether a rectifier ends the forward pass.
    relu: bool,
    /// Whether the backward pass begins with its slope.
    relu_slope: bool,
}

impl Convolution {
    /// A convolution with stride 1 in one group, without padding.
    pub fn new(filters: usize, size: usize, weight: Parameter, bias: Option<Parameter>) -> Convolution {
        Convolution { filters, size, stride: 1, pad: 0, groups: 1, weight, bias }
    }

    /// Sets the padding.
    #[must_use]
    pub fn pad(self, pad: usize) -> Convolution {
        Convolution { pad, ..self }
    }

    /// Sets the stride.
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

impl ConvolutionLayer {
    pub fn new(convolution: Convolution, input: Shape, algorithm: Algorithm) -> Result<ConvolutionLayer, String> {
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
        Ok(ConvolutionLayer { geometry, has_bias: convolution.bias.is_some(), relu: false, relu_slope: false })
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

    fn activation(&self) -> conv2d::Activation {
        if self.relu { conv2d::Activation::Relu } else { conv2d::Activation::None }
    }
}

impl Layer for ConvolutionLayer {
    fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.out_c }
    }

    fn backward_reads_input(&self) -> bool {
        true
    }

    fn backward_reads_output(&self) -> bool {
        self.relu_slope
    }

    fn fuse_activation(&mut self, activation: Activation) -> bool {
        let fuses = activation == Activation::Relu && !self.relu;
        if fuses {
            (self.relu, self.relu_slope) = (true, true);
        }
        fuses
    }

    /// Both gradients would read it.
    fn slope_to_leave(&self) -> Activation {
        if self.relu_slope { Activation::Relu } else { Activation::None }
    }

    fn leave_slope(&mut self) {
        self.relu_slope = false;
    }

    fn scratch_len(&self, batch: usize, thread_count: usize) -> usize {
        self.geometry(batch).scratch_len(thread_count)
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, weights, scratch, .. }: Forward<'_>) {
        let (weight, bias) = split_bias(weights, self.bias_len());
        let epilogue = Epilogue { bias, activation: self.activation() };
        conv2d::forward(pass.cpu, &self.geometry(pass.batch), x, weight, epilogue, y, scratch);
    }

    fn backward(&self, pass: &Pass<'_>, Backward { x, y, dy, dx, weights, dweights, scratch, .. }: Backward<'_>) {
        let geometry = self.geometry(pass.batch);
        let (weight, _) = split_bias(weights, self.bias_len());
        let (dweight, dbias) = split_bias_mut(dweights, self.bias_len());
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
        let epilogue = LaneEpilogue { bias, activation: self.activation() };
        kernels.forward(pass.gpu, pass.lanes, x, weight, epilogue, y)
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { x, y, dy, dx, weights, dweights, scratch, .. } = tensors;
        let kernels = Conv2dKernels::new(&self.geometry(pass.batch), pass.precision)?;
        let dy = LaneOutputGradient { dy, relu_y: y.filter(|_| self.relu_slope) };
        let (dw, db) = split_bias_lanes(dweights, self.geometry.weight_len(), self.has_bias);
        kernels.backward_weight(pass.gpu, pass.lanes, x, dy, LaneWeightGradients { dw, db }, scratch)?;
        let Some(dx) = dx else { return Ok(()) };
        kernels.backward_input(pass.gpu, pass.lanes, dy, weights, dx)
    }
}
