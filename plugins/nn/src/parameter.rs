//! A parameter as the author of a network describes it.

use crate::initializer::Initializer;

/// How a parameter starts and how it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    pub(crate) initializer: Initializer,
    pub(crate) lr_mult: f32,
    pub(crate) decay_mult: f32,
}

impl Parameter {
    /// A parameter with the learning rate and weight decay of the trial.
    pub const fn new(initializer: Initializer) -> Parameter {
        Parameter { initializer, lr_mult: 1.0, decay_mult: 1.0 }
    }

    /// Multiplies the trial's learning rate.
    #[must_use]
    pub fn lr_mult(self, lr_mult: f32) -> Parameter {
        Parameter { lr_mult, ..self }
    }

    /// Multiplies the trial's weight decay.
    #[must_use]
    pub fn decay_mult(self, decay_mult: f32) -> Parameter {
        Parameter { decay_mult, ..self }
    }
}
