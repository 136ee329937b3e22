//! Convolution of NHWC images in two dimensions, and its gradients.

mod cpu;
pub mod cuda;
mod direct;
mod pooled;
mod side;
mod winograd;

pub use cpu::{backward_input, backward_weight, forward};
pub use pooled::{PooledBackward, PooledConv2d, PooledForward};

/// The shapes of a convolution. Images are NHWC, weights `[kernel_h][kernel_w][in_c / groups][out_c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images in the batch.
    pub batch: usize,
    /// Height of an input image.
    pub in_h: usize,
    /// Width of an input image.
    pub in_w: usize,
    /// Channels of an input image; a multiple of `groups`.
    pub in_c: usize,
    /// Channels of an output image; a multiple of `groups`.
    pub out_c: usize,
    /// Height of the kernel.
    pub kernel_h: usize,
    /// Width of the kernel.
    pub kernel_w: usize,
    /// Pixels between neighbouring positions of the kernel, down and across; at least 1.
    pub stride: usize,
    /// Zeros on each of the four sides of an input image.
    pub pad: usize,
    /// Output channels of group g see the input channels of group g alone. Usually 1.
    pub groups: usize,
    /// The algorithm on the CPU.
    pub algorithm: Algorithm,
}

/// How a convolution is computed on the CPU. The bits depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Winograd's filtering where the shape allows it, else the direct method: fewer multiplications, and somewhat more
    /// rounding.
    #[default]
    Auto,
    /// Every product of the definition is multiplied and added.
    Direct,
}

/// The end of [`forward`]: first the bias, then ReLU, before a sum is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value for each output channel, added to every pixel.
    pub bias: Option<&'a [f32]>,
    /// True if negative sums become 0, as by [`Activation::Relu`](crate::Activation::Relu).
    pub relu: bool,
}

/// The gradient of what [`forward`] wrote.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a> {
    /// One value for each output.
    pub dy: &'a [f32],
    /// The output of [`forward`], if that ended in ReLU. `dy` then counts where this is positive and is zero elsewhere, as if
    /// its gradient had been taken before.
    pub relu_y: Option<&'a [f32]>,
}

impl Conv2d {
    /// Height of an output image: `floor((in_h + 2 pad - kernel_h) / stride) + 1`, as in Caffe and PyTorch; 0 if the kernel
    /// is larger than the padded image.
    pub fn out_h(&self) -> usize {
        positions(self.in_h, self.kernel_h, self.stride, self.pad)
    }

    /// Width of an output image, as [`Conv2d::out_h`].
    pub fn out_w(&self) -> usize {
        positions(self.in_w, self.kernel_w, self.stride, self.pad)
    }

    /// Floats in all input images.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.in_c
    }

    /// Floats in all output images.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_h() * self.out_w() * self.out_c
    }

    /// Floats in the weights.
    pub fn weight_len(&self) -> usize {
        self.kernel_h * self.kernel_w * (self.in_c / self.groups) * self.out_c
    }

    /// Multiplications and additions of one [`forward`] call; each gradient takes as many.
    pub fn flops(&self) -> u64 {
        2 * self.output_len() as u64 * (self.weight_len() / self.out_c) as u64
    }
}

fn positions(size: usize, kernel: usize, stride: usize, pad: usize) -> usize {
    (size + 2 * pad).checked_sub(kernel).map_or(0, |span| span / stride + 1)
}

#[cfg(test)]
mod tests;
