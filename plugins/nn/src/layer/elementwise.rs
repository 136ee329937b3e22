//! Operations on each value by itself: ReLU, sigmoid, dropout. They run in place where nobody else reads the input, and
//! vanish into the layer before them where that can do them in its own pass.

use clr_kernels::cuda::{GpuError, Lanes};
use clr_kernels::step::Part;
use clr_kernels::{Activation, activation, dropout};
use clr_rng::{Philox, Stream};

use super::{GpuPass, Pass};

/// An operation on each value by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Elementwise {
    Activation(Activation),
    Dropout {
        probability: f32,
        /// Random words of the dropout layers before this one, for each sample of a batch.
        first_word: u64,
    },
}

impl Elementwise {
    /// The activation that a layer can take into its own pass; none for dropout.
    pub fn activation(self) -> Activation {
        match self {
            Elementwise::Activation(activation) => activation,
            Elementwise::Dropout { .. } => Activation::None,
        }
    }

    /// True if the backward pass reads the output.
    pub fn backward_reads_output(self) -> bool {
        match self {
            Elementwise::Activation(_) => true,
            Elementwise::Dropout { .. } => false,
        }
    }

    /// Replaces inputs by outputs.
    pub fn forward(self, pass: &Pass<'_>, values: &mut [f32]) {
        match self {
            Elementwise::Activation(activation) => activation::forward(pass.cpu, activation, values),
            Elementwise::Dropout { probability, first_word } => drop(pass, probability, first_word, values),
        }
    }

    /// Replaces the gradient of the output by that of the input.
    pub fn backward(self, pass: &Pass<'_>, outputs: &[f32], gradients: &mut [f32]) {
        match self {
            Elementwise::Activation(activation) => activation::backward(pass.cpu, activation, outputs, gradients),
            Elementwise::Dropout { probability, first_word } => drop(pass, probability, first_word, gradients),
        }
    }

    /// Computes `len` outputs `y` of the inputs `x` in every lane; both may be the same.
    pub fn forward_on_gpu(self, pass: &GpuPass<'_>, len: usize, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
        match self {
            Elementwise::Dropout { probability, first_word } if pass.training => {
                drop_on_gpu(pass, probability, first_word, len, x, y)
            }
            _ => activation::cuda::forward(pass.gpu, pass.lanes, self.activation(), len, x, y),
        }
    }

    /// As [`Elementwise::backward`] in every lane.
    pub fn backward_on_gpu(
        self,
        pass: &GpuPass<'_>,
        len: usize,
        outputs: Lanes<'_>,
        gradients: Lanes<'_>,
    ) -> Result<(), GpuError> {
        match self {
            Elementwise::Dropout { probability, first_word } => {
                drop_on_gpu(pass, probability, first_word, len, gradients, gradients)
            }
            _ => {
                activation::cuda::backward(pass.gpu, pass.lanes, self.activation(), len, outputs, gradients, gradients)
            }
        }
    }
}

fn drop_on_gpu(
    pass: &GpuPass<'_>,
    probability: f32,
    first_word: u64,
    len: usize,
    x: Lanes<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let first_word = word_of_batch(first_word, len, pass.batch, pass.part, pass.update_size);
    let &GpuPass { gpu, lanes, init_seeds: seeds, steps, .. } = pass;
    dropout::cuda::apply(gpu, lanes, &dropout::cuda::Dropout { first_word, probability, seeds, steps, len, x, y })
}

/// The random word of the first of `len` values of a batch. By the size of a full update, so that layers never overlap; and
/// within it by the samples before these, so that parts do not either. Where a sample has a multiple of four values, those of
/// an update have the same masks however it is parted.
fn word_of_batch(first_word: u64, len: usize, batch: usize, part: Part, update_size: usize) -> u64 {
    let words = (len / batch.max(1)).next_multiple_of(4);
    first_word * update_size as u64 + (part.first * words) as u64
}

fn drop(pass: &Pass<'_>, probability: f32, first_word: u64, values: &mut [f32]) {
    if pass.training {
        let mask = dropout::Mask {
            philox: Philox::new(pass.init_seed, Stream::Dropout),
            step: pass.step,
            first_word: word_of_batch(first_word, values.len(), pass.batch, pass.part, pass.update_size),
            probability,
        };
        dropout::apply(pass.cpu, &mask, values);
    }
}
