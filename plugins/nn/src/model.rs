//! The network that all lanes of a session train, fused and compiled.

use clr_kernels::step::Part;

use crate::columns::metrics;
use crate::fuse::{fuse, fuse_poolings};
use crate::network::Network;
use crate::program::Program;

/// The network of all lanes of a session, and the program that it is trained by.
#[derive(Debug)]
pub(crate) struct Model {
    pub network: Network,
    pub program: Program,
    /// Samples that are computed at once.
    pub batch_size: usize,
    /// Batches of an update.
    pub accumulate: usize,
    /// True if top-5 accuracy is among the metrics.
    pub has_top5: bool,
}

impl Model {
    /// Fuses what can be on a CPU and compiles it, for so many threads at most.
    pub fn on_cpu(mut network: Network, batch_size: usize, thread_count: usize) -> Model {
        fuse(&mut network);
        fuse_poolings(&mut network);
        Model::as_it_is(network, batch_size, thread_count)
    }

    /// Fuses what can be on a GPU and compiles it.
    pub fn on_gpu(mut network: Network, batch_size: usize) -> Model {
        fuse(&mut network);
        Model::as_it_is(network, batch_size, 1)
    }

    /// Without fusion: for tests, to hold the fused network against.
    pub fn as_it_is(network: Network, batch_size: usize, thread_count: usize) -> Model {
        let program = Program::new(&network, batch_size, thread_count);
        Model { network, program, batch_size, accumulate: 1, has_top5: false }
    }

    /// Makes each update of the gradients of so many batches.
    #[must_use]
    pub fn accumulating(self, accumulate: usize) -> Model {
        Model { accumulate, ..self }
    }

    /// The columns of the metrics table.
    pub fn metric_count(&self) -> usize {
        metrics(self.has_top5).len()
    }

    /// Samples of a full update.
    pub fn update_size(&self) -> usize {
        self.batch_size * self.accumulate
    }

    /// The batches of an update of `of` samples, the last of which may be a smaller one, each with its number of samples.
    pub fn parts(&self, of: usize) -> impl Iterator<Item = (Part, usize)> + use<> {
        let batch_size = self.batch_size;
        (0..of).step_by(batch_size).map(move |first| (Part { first, of }, batch_size.min(of - first)))
    }

    /// Floats that the gradients of an update's parts take besides those of a batch.
    pub fn accumulated_len(&self) -> usize {
        if self.accumulate > 1 { self.network.parameter_len() } else { 0 }
    }

    /// Bytes of one [`Workspace`].
    pub fn workspace_bytes(&self) -> u64 {
        let floats = self.program.float_len()
            + self.program.scratch_len
            + self.network.parameter_len()
            + self.accumulated_len()
            + self.batch_size * (self.input_len() + 1);
        (4 * floats + self.program.byte_len()) as u64
    }

    /// Bytes of one [`Lane`] whose optimizer keeps `state_count` values for each weight.
    pub fn lane_bytes(&self, state_count: usize) -> u64 {
        4 * ((1 + state_count) * self.network.parameter_len() + self.network.buffer_len()) as u64
    }

    /// Floats of an image.
    pub fn input_len(&self) -> usize {
        self.network.shape(self.network.input()).len()
    }
}
