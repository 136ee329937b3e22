//! The passes through a network, launched for all lanes: as in `lane.rs`, which has them for one lane on the CPU.

use clr_kernels::cuda::{GpuError, Lanes};
use clr_kernels::{Activation, activation, add};

use super::memory::{Memory, Sizes};
use crate::layer::{GpuBackward, GpuForward, GpuKept, GpuPass, Layer};
use crate::model::Model;
use crate::network::{Node, NodeKind, Value};
use crate::plan::{Contribution, backward_reads_output};

/// The passes of a batch, with all that they work on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passes<'a> {
    pub model: &'a Model,
    pub sizes: &'a Sizes,
    pub memory: &'a Memory,
    pub pass: GpuPass<'a>,
    /// The gradients of the parameters, which are written.
    pub gradients: Lanes<'a>,
    /// Of the batch: each lane's, or the same for all.
    pub images: Lanes<'a>,
}

impl<'a> Passes<'a> {
    /// Computes all values, the scores last.
    pub fn forward(&self) -> Result<(), GpuError> {
        let Passes { model, memory, pass, .. } = self;
        for (index, node) in model.network.nodes().iter().enumerate() {
            let Some(slot) = model.plan.values[node.output.0] else { continue };
            let (x, y, len) = (self.value(node.inputs[0]), self.slot(slot), self.len(node.output));
            match &node.kind {
                NodeKind::Layer(layer) => {
                    let tensors = GpuForward {
                        x,
                        y,
                        weights: memory.weights.lanes().at(node.parameters.start),
                        buffers: memory.buffers.lanes().at(node.buffers.start),
                        kept: self.kept(index),
                        scratch: memory.scratch.lanes(),
                    };
                    layer.forward_on_gpu(pass, tensors)?;
                }
                NodeKind::Elementwise(elementwise) => elementwise.forward_on_gpu(pass, len, x, y)?,
                NodeKind::Add(add) => add.forward_on_gpu(pass, len, x, self.value(node.inputs[1]), y)?,
            }
        }
        Ok(())
    }

    pub fn scores(&self) -> Lanes<'a> {
        self.value(self.model.network.scores())
    }

    /// The gradient of the scores, to be written before the backward pass; none if nothing is trained.
    pub fn scores_gradient(&self) -> Option<Lanes<'a>> {
        let scores = self.model.network.scores();
        self.model.plan.gradients[scores.0].map(|slot| self.slot(slot))
    }

    /// Computes the gradients of all parameters.
    pub fn backward(&self) -> Result<(), GpuError> {
        let Passes { model, pass, .. } = self;
        for (index, node) in model.network.nodes().iter().enumerate().rev() {
            let Some(slot) = model.plan.gradients[node.output.0] else { continue };
            let (dy, len) = (self.slot(slot), self.len(node.output));
            match &node.kind {
                NodeKind::Layer(layer) => self.backward_layer(index, node, &**layer, dy)?,
                NodeKind::Elementwise(elementwise) => {
                    elementwise.backward_on_gpu(pass, len, self.value(node.output), dy)?;
                }
                NodeKind::Add(add) => add.backward_on_gpu(pass, len, self.value(node.output), dy)?,
            }
            self.contribute(index, node, dy)?;
        }
        Ok(())
    }

    fn backward_layer(&self, index: usize, node: &Node, layer: &dyn Layer, dy: Lanes<'a>) -> Result<(), GpuError> {
        let Passes { model, memory, pass, .. } = self;
        let slot = match model.plan.contributions[index][0] {
            Contribution::Write(slot) | Contribution::Add { through: Some(slot), .. } => Some(slot),
            _ => None,
        };
        let tensors = GpuBackward {
            x: self.value(node.inputs[0]),
            y: backward_reads_output(node).then(|| self.value(node.output)),
            dy,
            dx: slot.map(|slot| self.slot(slot)),
            weights: memory.weights.lanes().at(node.parameters.start),
            dweights: self.gradients.at(node.parameters.start),
            kept: self.kept(index),
            scratch: memory.scratch.lanes(),
        };
        layer.backward_on_gpu(pass, tensors)
    }

    /// Brings the gradients of a node's inputs to where they belong, as the CPU does.
    fn contribute(&self, index: usize, node: &Node, dy: Lanes<'a>) -> Result<(), GpuError> {
        let &Passes { model, pass: GpuPass { gpu, lanes, .. }, .. } = self;
        let (is_layer, len) = (matches!(node.kind, NodeKind::Layer(_)), self.len(node.inputs[0]));
        for contribution in &model.plan.contributions[index] {
            match *contribution {
                Contribution::Write(slot) if !is_layer => {
                    activation::cuda::forward(gpu, lanes, Activation::None, len, dy, self.slot(slot))?;
                }
                Contribution::Add { to, through } => {
                    let (to, further) = (self.slot(to), through.map_or(dy, |through| self.slot(through)));
                    add::cuda::forward(gpu, lanes, Activation::None, len, further, to, to)?;
                }
                Contribution::Nothing | Contribution::Same | Contribution::Write(_) => {}
            }
        }
        Ok(())
    }

    fn value(&self, value: Value) -> Lanes<'a> {
        self.model.plan.values[value.0].map_or(self.images, |slot| self.slot(slot))
    }

    fn slot(&self, slot: usize) -> Lanes<'a> {
        self.memory.slots[slot].lanes()
    }

    fn kept(&self, index: usize) -> GpuKept<'a> {
        let place = self.sizes.kept_places[index];
        let floats = self.memory.kept_floats.lanes().at(place.floats);
        GpuKept { floats, bytes: self.memory.kept_bytes.lanes().at(place.bytes) }
    }

    /// Values of one lane's batch.
    fn len(&self, value: Value) -> usize {
        self.model.network.shape(value).len() * self.pass.batch
    }
}
