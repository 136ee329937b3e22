//! The executor of programs on a GPU: each instruction is launched for all lanes, as `executor.rs` runs it for one lane on the
//! CPU.

use clr_kernels::cuda::{GpuError, Lanes};
use clr_kernels::{Activation, activation, add};

use super::memory::Memory;
use crate::model::Model;
use crate::op::{GpuBackward, GpuForward, GpuPass};
use crate::program::{Instruction, Operand};

/// All that instructions work on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Executor<'a> {
    pub model: &'a Model,
    pub memory: &'a Memory,
    pub pass: GpuPass<'a>,
    /// The gradients of the parameters, which are written.
    pub gradients: Lanes<'a>,
    /// Of the batch: each lane's, or the same for all.
    pub images: Lanes<'a>,
}

/// Logits to be measured by the labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored<'a> {
    /// 0 is that of the metrics.
    pub loss: usize,
    /// What the gradient is multiplied by.
    pub weight: f32,
    pub logits: Lanes<'a>,
    /// The gradient, where it is asked for.
    pub dlogits: Option<Lanes<'a>>,
}

impl<'a> Executor<'a> {
    /// Launches instructions of the model's program, and by `score` those that score.
    pub fn run(
        &self,
        instructions: &[Instruction],
        score: impl Fn(Scored<'a>) -> Result<(), GpuError>,
    ) -> Result<(), GpuError> {
        let &Executor { model, memory, pass, gradients, .. } = self;
        let GpuPass { gpu, lanes, batch, .. } = pass;
        let (program, nodes) = (&model.program, model.network.nodes());
        let (weights, buffers, scratch) = (memory.weights.lanes(), memory.buffers.lanes(), memory.scratch.lanes());
        let kept = |node: usize| memory.floats.lanes().at(program.kept[node].start);
        let choices = |node: usize| memory.choices.lanes().at(program.choices[node].start);
        for instruction in instructions {
            match *instruction {
                Instruction::Forward { node: index, input, x, x2, y } => {
                    let node = &nodes[index];
                    let tensors = GpuForward {
                        input,
                        x: self.place(x),
                        x2: self.place(x2.unwrap_or(x)),
                        y: self.place(y),
                        len: y.len(batch),
                        weights: weights.at(node.parameters.start),
                        buffers: buffers.at(node.buffers.start),
                        kept: kept(index),
                        choices: choices(index),
                        scratch,
                    };
                    node.op.passes().forward_on_gpu(&pass, tensors)?;
                }
                Instruction::Score { loss, weight, logits, gradient } => {
                    let dlogits = gradient.map(|gradient| self.place(gradient));
                    score(Scored { loss, weight, logits: self.place(logits), dlogits })?;
                }
                Instruction::Backward { node: index, input, x, y, dy, dx, adds } => {
                    let node = &nodes[index];
                    let tensors = GpuBackward {
                        input,
                        x: self.place(x.unwrap_or(dy)),
                        y: self.place(y.unwrap_or(dy)),
                        dy: self.place(dy),
                        dx: dx.map(|dx| self.place(dx)),
                        adds,
                        len: dy.len(batch),
                        weights: weights.at(node.parameters.start),
                        dweights: gradients.at(node.parameters.start),
                        kept: kept(index),
                        choices: choices(index),
                        scratch,
                    };
                    node.op.passes().backward_on_gpu(&pass, tensors)?;
                }
                Instruction::Copy { from, to, .. } => {
                    let (from, to, len) = (self.place(from), self.place(to), to.len(batch));
                    activation::cuda::forward(gpu, lanes, Activation::None, len, from, to)?;
                }
                Instruction::Accumulate { from, to, .. } => {
                    let (from, to, len) = (self.place(from), self.place(to), to.len(batch));
                    add::cuda::forward(gpu, lanes, Activation::None, len, from, to, to)?;
                }
            }
        }
        Ok(())
    }

    fn place(&self, operand: Operand) -> Lanes<'a> {
        let place = self.model.program.range(operand, self.pass.batch);
        place.map_or(self.images, |place| self.memory.floats.lanes().at(place.start))
    }
}
