//! What follows an operation element by element, done in the same pass over memory.

use crate::{relu, sigmoid};

/// A function of each value by itself, whose slope follows from its output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    #[default]
    None,
    /// [`crate::relu`].
    Relu,
    /// [`crate::sigmoid`].
    Sigmoid,
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
