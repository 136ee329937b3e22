//! Dropout.

use clr_kernels::cuda::{GpuError, Lanes};
use clr_kernels::step::Part;
use clr_kernels::{Activation, activation, dropout};
use clr_rng::{Philox, Stream};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};

/// In training, values become 0 with `probability`, and the others are divided by 1 - `probability`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    pub probability: f32,
    /// Random words of the dropout layers before this one, for each sample of a batch.
    pub first_word: u64,
}

impl Dropout {
    /// The random word of the first of `len` values of a batch. By the size of a full update, so that layers never overlap; and
    /// within it by the samples before these, so that parts do not either. Where a sample has a multiple of four values, those
    /// of an update have the same masks however it is parted.
    fn word_of_batch(self, len: usize, batch: usize, part: Part, update_size: usize) -> u64 {
        let words = (len / batch.max(1)).next_multiple_of(4);
        self.first_word * update_size as u64 + (part.first * words) as u64
    }

    /// Drops values, or their gradients.
    fn apply(self, pass: &Pass<'_>, values: &mut [f32]) {
        let mask = dropout::Mask {
            philox: Philox::new(pass.init_seed, Stream::Dropout),
            step: pass.step,
            first_word: self.word_of_batch(values.len(), pass.batch, pass.part, pass.update_size),
            probability: self.probability,
        };
        dropout::apply(pass.cpu, &mask, values);
    }

    fn apply_on_gpu(self, pass: &GpuPass<'_>, len: usize, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
        let &GpuPass { gpu, lanes, init_seeds: seeds, steps, .. } = pass;
        let first_word = self.word_of_batch(len, pass.batch, pass.part, pass.update_size);
        let probability = self.probability;
        dropout::cuda::apply(gpu, lanes, &dropout::cuda::Dropout { first_word, probability, seeds, steps, len, x, y })
    }
}

impl Passes for Dropout {
    fn uses(&self) -> Uses {
        Uses { in_place: true, turns_dy: true, writes_dy: true, ..Uses::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, .. }: Forward<'_>) {
        if !x.is_empty() {
            y.copy_from_slice(x);
        }
        if pass.training {
            self.apply(pass, y);
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { dy, .. }: Backward<'_>) {
        self.apply(pass, dy);
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, y, len, .. } = tensors;
        if pass.training {
            self.apply_on_gpu(pass, len, x, y)
        } else {
            activation::cuda::forward(pass.gpu, pass.lanes, Activation::None, len, x, y)
        }
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        self.apply_on_gpu(pass, tensors.len, tensors.dy, tensors.dy)
    }
}
