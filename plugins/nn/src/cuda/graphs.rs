//! The graphs of a session: what they launch, and those that were captured.

use clr_kernels::cuda::{GpuError, Graph, Lanes};
use clr_kernels::input::cuda::gather;
use clr_kernels::norm::cuda::partials;
use clr_kernels::optimizer::cuda::{Update, update};
use clr_kernels::softmax_cross_entropy::cuda as softmax_cross_entropy;
use clr_kernels::step::cuda::begin;
use clr_plugin::Split;

use super::CudaSession;
use super::memory::{Memory, Tensors, scratch_len};
use super::passes::Passes;
use super::source::Source;
use crate::layer::GpuPass;

/// What a graph does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A training step of the lanes whose batch has `batch` samples.
    Train {
        batch: usize,
        sharing: Sharing,
        /// Whether no other graph follows for this step.
        is_last: bool,
    },
    /// Adds a batch to the totals of an evaluation.
    Evaluate { batch: usize, split: Split },
}

/// What the lanes of a call have in common. No bit depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Each has samples of its own.
    Nothing,
    /// The same samples, which each changes at random in its own way.
    Samples,
    /// The same images: they are made once.
    Images,
}

/// The graphs that were captured, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    captured: Vec<(Kind, Graph)>,
}

/// More than a run needs: full and last batches of training, and of an evaluation of each split.
const MOST_GRAPHS: usize = 16;

impl Graphs {
    /// Forgets all, so that they are captured anew.
    pub fn clear(&mut self) {
        self.captured.clear();
    }

    fn find(&self, kind: Kind) -> Option<&Graph> {
        self.captured.iter().find(|(captured, _)| *captured == kind).map(|(_, graph)| graph)
    }
}

impl CudaSession {
    /// Launches a graph, and captures it if it is new.
    pub(super) fn launch(&mut self, kind: Kind) -> Result<(), GpuError> {
        if let Some(graph) = self.graphs.find(kind) {
            return graph.launch();
        }
        if let Kind::Train { batch, .. } = kind {
            self.find_scratch(batch)?;
        }
        let graph = self.gpu.capture(|_| match kind {
            Kind::Train { batch, sharing, is_last } => self.train(batch, sharing, is_last),
            Kind::Evaluate { batch, split } => self.evaluate_batch(batch, split),
        })?;
        if self.graphs.captured.len() == MOST_GRAPHS {
            self.graphs.captured.remove(0);
        }
        graph.launch()?;
        self.graphs.captured.push((kind, graph));
        Ok(())
    }

    /// Makes sure of scratch memory for batches of this size. A full batch and the last of an epoch have theirs; another
    /// one rarely needs more, where its convolutions are cut in another way.
    fn find_scratch(&mut self, batch: usize) -> Result<(), GpuError> {
        let needed = scratch_len(&self.model, batch, self.precision)?;
        if needed > self.sizes.scratch {
            self.memory.scratch = Tensors::new(&self.gpu, self.lanes.len(), needed)?;
            self.sizes.scratch = needed;
            // They were captured with the old one.
            self.graphs.clear();
        }
        Ok(())
    }

    /// A training step.
    fn train(&self, batch: usize, sharing: Sharing, is_last: bool) -> Result<(), GpuError> {
        let CudaSession { gpu, model, memory, tables, source, .. } = self;
        let lanes = self.lanes.len();
        begin(gpu, lanes, &tables.of_steps(), is_last)?;
        if let Source::Resident(resident) = source
            && let Some(images) = resident.images(Split::Train)
        {
            let gathered = if sharing == Sharing::Images { 1 } else { lanes };
            let batches = tables.batches(if sharing == Sharing::Nothing { lanes } else { 1 }, Some(&memory.data_seeds));
            let Memory { images: to_images, labels: to_labels, .. } = memory;
            gather(gpu, gathered, batch, &images, &batches, &tables.steps, to_images.lanes(), to_labels.lanes())?;
        }
        let passes = self.passes(batch, sharing, true);
        let labels = shared(memory.labels.lanes(), sharing);
        passes.forward()?;
        let (classes, gradient) = (model.network.class_count(), passes.scores_gradient());
        let (scores, metrics) = (passes.scores(), tables.metrics());
        softmax_cross_entropy::train(gpu, lanes, batch, classes, &tables.steps, scores, labels, gradient, &metrics)?;
        passes.backward()?;
        let (len, gradients) = (self.sizes.parameters, memory.gradients.lanes());
        partials(gpu, lanes, len, gradients, memory.squares.lanes())?;
        let settings = Update {
            len,
            batch,
            slots: &memory.parameter_slots,
            rules: &memory.rules,
            steps: &tables.steps,
            squares: memory.squares.lanes(),
        };
        let state = (memory.first.lanes(), memory.second.as_ref().map(Tensors::lanes));
        update(gpu, lanes, &settings, memory.weights.lanes(), gradients, state, &metrics, GRAD_NORM)
    }

    /// A batch of an evaluation. All lanes see the same images.
    fn evaluate_batch(&self, batch: usize, split: Split) -> Result<(), GpuError> {
        let CudaSession { gpu, model, memory, tables, source, .. } = self;
        let (lanes, sharing) = (self.lanes.len(), Sharing::Images);
        begin(gpu, lanes, &tables.of_steps(), true)?;
        if let Source::Resident(resident) = source
            && let Some(images) = resident.images(split)
        {
            let Memory { images: to_images, labels: to_labels, .. } = memory;
            let batches = tables.batches(1, None);
            gather(gpu, 1, batch, &images, &batches, &tables.steps, to_images.lanes(), to_labels.lanes())?;
        }
        let passes = self.passes(batch, sharing, false);
        passes.forward()?;
        let (classes, labels) = (model.network.class_count(), shared(memory.labels.lanes(), sharing));
        softmax_cross_entropy::evaluate(gpu, lanes, batch, classes, passes.scores(), labels, &tables.totals)
    }

    fn passes(&self, batch: usize, sharing: Sharing, training: bool) -> Passes<'_> {
        let CudaSession { gpu, model, sizes, memory, .. } = self;
        let pass = GpuPass {
            gpu,
            lanes: self.lanes.len(),
            batch,
            batch_size: model.batch_size,
            training,
            precision: self.precision,
            init_seeds: &memory.init_seeds,
            steps: &self.tables.steps,
        };
        Passes { model, sizes, memory, pass, images: shared(memory.images.lanes(), sharing) }
    }
}

/// The column of the metrics that the update writes; the loss writes those before it.
const GRAD_NORM: usize = 2;

/// Lane 0's for all, where all see the same images.
fn shared<T>(tensors: Lanes<'_, T>, sharing: Sharing) -> Lanes<'_, T> {
    if sharing == Sharing::Images { Lanes { stride: 0, ..tensors } } else { tensors }
}
