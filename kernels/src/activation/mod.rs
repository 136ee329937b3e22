//! Activations: functions of each value by itself, done in the pass over memory of the operation before them.

pub mod cuda;

use crate::{relu, sigmoid};

/// A function of each value by itself, whose slope follows from its output.
///
/// Kernels know them by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// No function: the value itself.
    #[default]
    None = 0,
    /// Values below 0 become 0: see [`crate::relu`].
    Relu = 1,
    /// The logistic function: see [`crate::sigmoid`].
    Sigmoid = 2,
}

impl Activation {
    /// Values become outputs, with the bits of the operation by itself.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => relu::apply(values),
            Activation::Sigmoid => sigmoid::apply(values),
        }
    }

    /// Gradients of the outputs `y` become gradients of what the function was applied to.
    #[inline(always)]
    pub(crate) fn differentiate(self, y: &[f32], gradients: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => relu::differentiate(y, gradients),
            Activation::Sigmoid => sigmoid::differentiate(y, gradients),
        }
    }
}
