//! Operations on each value by itself: rectifier, sigmoid, dropout.

use clr_kernels::{dropout, relu, sigmoid};
use clr_rng::{Philox, Stream};

use super::{Elementwise, Pass};

#[derive(Debug)]
pub(crate) enum Activation {
    Relu,
    Sigmoid,
    Dropout {
        probability: f32,
        /// Random words of the dropout layers before this one, for each sample of a batch.
        first_word: u64,
    },
}

impl Activation {
    fn drop(&self, pass: &Pass<'_>, probability: f32, first_word: u64, values: &mut [f32]) {
        if pass.training {
            let mask = dropout::Mask {
                philox: Philox::new(pass.init_seed, Stream::Dropout),
                step: pass.step,
                // By the size of a full batch, so that layers never overlap.
                first_word: first_word * pass.batch_size as u64,
                probability,
            };
            dropout::apply(pass.cpu, &mask, values);
        }
    }
}

impl Elementwise for Activation {
    fn backward_reads_output(&self) -> bool {
        match self {
            Activation::Relu | Activation::Sigmoid => true,
            Activation::Dropout { .. } => false,
        }
    }

    fn forward(&self, pass: &Pass<'_>, values: &mut [f32]) {
        match *self {
            Activation::Relu => relu::forward(pass.cpu, values),
            Activation::Sigmoid => sigmoid::forward(pass.cpu, values),
            Activation::Dropout { probability, first_word } => self.drop(pass, probability, first_word, values),
        }
    }

    fn backward(&self, pass: &Pass<'_>, outputs: &[f32], gradients: &mut [f32]) {
        match *self {
            Activation::Relu => relu::backward(pass.cpu, outputs, gradients),
            Activation::Sigmoid => sigmoid::backward(pass.cpu, outputs, gradients),
            Activation::Dropout { probability, first_word } => self.drop(pass, probability, first_word, gradients),
        }
    }
}
