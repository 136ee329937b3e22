//! The graphs of a session: what they launch, and those that were captured.

use std::collections::BTreeSet;

use clr_kernels::cuda::{GpuError, Graph, Lanes};
use clr_kernels::input::cuda::{Batch, Batches, gather};
use clr_kernels::norm::cuda::partials;
use clr_kernels::optimizer::cuda::{Update, update};
use clr_kernels::softmax_cross_entropy::cuda as softmax_cross_entropy;
use clr_kernels::softmax_cross_entropy::cuda::Loss;
use clr_kernels::step::cuda::begin;
use clr_kernels::step::{Metrics, Part};
use clr_kernels::{Activation, add};
use clr_plugin::Split;

use super::CudaSession;
use super::executor::{Executor, Scored};
use super::memory::{Tensors, scratch_len};
use super::source::Source;
use crate::columns::TOP5;
use crate::op::GpuPass;

/// The work of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GraphKind {
    /// A training step of the lanes whose update has `samples` samples.
    Train {
        samples: usize,
        sharing: Sharing,
        /// True if no other graph follows for this step.
        is_last: bool,
    },
    /// Adds a batch to the totals of an evaluation.
    Evaluate { batch: usize, split: Split },
}

/// The samples that the lanes of a call share. No bit depends on it.
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
    captured: Vec<(GraphKind, Graph)>,
}

/// More than a run needs: full and last batches of training, and of an evaluation of each split.
const MOST_GRAPHS: usize = 16;

impl Graphs {
    /// Forgets all, so that they are captured anew.
    pub fn clear(&mut self) {
        self.captured.clear();
    }

    fn find(&self, kind: GraphKind) -> Option<&Graph> {
        self.captured.iter().find(|(captured, _)| *captured == kind).map(|(_, graph)| graph)
    }
}

impl CudaSession {
    /// Launches a graph, and captures it if it is new.
    pub(super) fn launch(&mut self, kind: GraphKind) -> Result<(), GpuError> {
        if let Some(graph) = self.graphs.find(kind) {
            return graph.launch();
        }
        if let GraphKind::Train { samples, .. } = kind {
            self.find_scratch(samples)?;
        }
        let graph = self.gpu.capture(|_| match kind {
            GraphKind::Train { samples, sharing, is_last } => self.train(samples, sharing, is_last),
            GraphKind::Evaluate { batch, split } => self.evaluate_batch(batch, split),
        })?;
        if self.graphs.captured.len() == MOST_GRAPHS {
            self.graphs.captured.remove(0);
        }
        graph.launch()?;
        self.graphs.captured.push((kind, graph));
        Ok(())
    }

    /// Makes sure of scratch memory for updates of this size. A full one and the last of an epoch have theirs; another one rarely
    /// needs more, where its convolutions are cut in another way.
    fn find_scratch(&mut self, samples: usize) -> Result<(), GpuError> {
        let mut needed = 0;
        for batch in self.model.parts(samples).map(|(_, batch)| batch).collect::<BTreeSet<usize>>() {
            needed = needed.max(scratch_len(&self.model, batch, self.precision)?);
        }
        if needed > self.sizes.scratch {
            self.memory.scratch = Tensors::new(&self.gpu, self.lanes.len(), needed)?;
            self.sizes.scratch = needed;
            // They were captured with the old one.
            self.graphs.clear();
        }
        Ok(())
    }

    /// A training step: the program for each part of the update, then the update.
    fn train(&self, samples: usize, sharing: Sharing, is_last: bool) -> Result<(), GpuError> {
        let CudaSession { gpu, model, memory, tables, .. } = self;
        let (lanes, len, metrics) = (self.lanes.len(), self.sizes.parameters, tables.metrics());
        begin(gpu, lanes, &tables.of_steps(), is_last)?;
        let mut gradients = memory.gradients.lanes();
        // The gradients of the parts so far, and where those of the next go: the two take turns.
        let mut other = memory.accumulated.as_ref().map_or(gradients, Tensors::lanes);
        for (part, batch) in model.parts(samples) {
            if part.first > 0 {
                std::mem::swap(&mut gradients, &mut other);
            }
            self.gather(batch, part, sharing)?;
            let executor = Executor { gradients, ..self.executor(batch, part, sharing, true) };
            let (classes, steps, labels) = (model.network.class_count(), &tables.steps, self.labels(part, sharing));
            executor.run(&model.program.training, |Scored { loss, weight, logits, dlogits }| {
                // Those of auxiliary losses are not recorded: their table has no rows.
                let metrics = if loss == 0 { metrics } else { Metrics { rows: 0, ..metrics } };
                let top5_column = model.has_top5.then_some(TOP5);
                let scored =
                    softmax_cross_entropy::Train { batch, part, classes, steps, logits, labels, dlogits, metrics };
                softmax_cross_entropy::train_on(gpu, lanes, &Loss { weight, top5_column, ..Loss::ONLY }, &scored)
            })?;
            if part.first > 0 {
                add::cuda::forward(gpu, lanes, Activation::None, len, other, gradients, gradients)?;
            }
        }
        partials(gpu, lanes, len, gradients, memory.squares.lanes())?;
        let all = Update {
            len,
            batch: samples,
            slots: &memory.parameter_slots,
            optimizers: &self.optimizers,
            rules: &memory.rules,
            steps: &tables.steps,
            squares: memory.squares.lanes(),
            w: memory.weights.lanes(),
            g: gradients,
            state: memory.state.each_ref().map(|state| state.as_ref().map(Tensors::lanes)),
            metrics,
            column: GRAD_NORM,
        };
        update(gpu, lanes, &all)
    }

    /// Makes the images of a part of an update, unless the host has.
    fn gather(&self, batch: usize, part: Part, sharing: Sharing) -> Result<(), GpuError> {
        let CudaSession { gpu, memory, tables, source, .. } = self;
        let Source::Resident(resident) = source else { return Ok(()) };
        let Some(images) = resident.images(Split::Train) else { return Ok(()) };
        let lanes = self.lanes.len();
        let gathered = if sharing == Sharing::Images { 1 } else { lanes };
        let in_table = if sharing == Sharing::Nothing { lanes } else { 1 };
        let batches = Batches { first: part.first, ..tables.batches(in_table, Some(&memory.data_seeds)) };
        let to = Batch { len: batch, images: memory.images.lanes(), labels: memory.labels.lanes() };
        gather(gpu, gathered, &images, &batches, &tables.steps, to)
    }

    /// The images of a part of an update; those that the host makes are there for the whole update.
    fn images(&self, part: Part, sharing: Sharing) -> Lanes<'_> {
        shared(self.memory.images.lanes().at(self.place(part) * self.model.input_len()), sharing)
    }

    fn labels(&self, part: Part, sharing: Sharing) -> Lanes<'_, i32> {
        shared(self.memory.labels.lanes().at(self.place(part)), sharing)
    }

    fn place(&self, part: Part) -> usize {
        if matches!(self.source, Source::Streamed) { part.first } else { 0 }
    }

    /// A batch of an evaluation. All lanes see the same images.
    fn evaluate_batch(&self, batch: usize, split: Split) -> Result<(), GpuError> {
        let CudaSession { gpu, model, memory, tables, source, .. } = self;
        let (lanes, sharing) = (self.lanes.len(), Sharing::Images);
        begin(gpu, lanes, &tables.of_steps(), true)?;
        if let Source::Resident(resident) = source
            && let Some(images) = resident.images(split)
        {
            let to = Batch { len: batch, images: memory.images.lanes(), labels: memory.labels.lanes() };
            let batches = Batches { batch_size: model.batch_size, ..tables.batches(1, None) };
            gather(gpu, 1, &images, &batches, &tables.steps, to)?;
        }
        let part = Part::whole(batch);
        let (classes, labels) = (model.network.class_count(), self.labels(part, sharing));
        self.executor(batch, part, sharing, false).run(&model.program.evaluation, |Scored { logits, .. }| {
            softmax_cross_entropy::evaluate(gpu, lanes, batch, classes, logits, labels, &tables.totals)
        })
    }

    fn executor(&self, batch: usize, part: Part, sharing: Sharing, training: bool) -> Executor<'_> {
        let CudaSession { gpu, model, memory, .. } = self;
        let pass = GpuPass {
            gpu,
            lanes: self.lanes.len(),
            batch,
            part,
            update_size: model.update_size(),
            training,
            precision: self.precision,
            init_seeds: &memory.init_seeds,
            steps: &self.tables.steps,
            scales: None,
        };
        let gradients = memory.gradients.lanes();
        Executor { model, memory, pass, gradients, images: self.images(part, sharing) }
    }
}

/// The column of the metrics that the update writes; the loss writes those before it.
const GRAD_NORM: usize = 2;

/// Lane 0's for all, where all see the same images.
fn shared<T>(tensors: Lanes<'_, T>, sharing: Sharing) -> Lanes<'_, T> {
    if sharing == Sharing::Images { Lanes { stride: 0, ..tensors } } else { tensors }
}
