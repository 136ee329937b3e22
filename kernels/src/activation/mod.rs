//! What follows an operation element by element, done in the same pass over memory.

pub mod cuda;

use crate::{relu, sigmoid};

/// A function of each value by itself, whose slope follows from its output.
///
/// Kernels know them by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// The value itself.
    #[default]
    None = 0,
    /// [`crate::relu`].
    Relu = 1,
    /// [`crate::sigmoid`].
    Sigmoid = 2,
}

impl Activation {
    /// Values become outputs, with the bits of the operation by itself.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => relu::rectify(values),
            Activation::Sigmoid => sigmoid::squash(values),
        }
    }

    /// Gradients of the outputs `y` become gradients of what the function was applied to.
    #[inline(always)]
    pub(crate) fn differentiate(self, y: &[f32], gradients: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => relu::pass_positive(y, gradients),
            Activation::Sigmoid => sigmoid::multiply_by_slope(y, gradients),
        }
    }
}
