//! The executor of programs on a GPU: each instruction is launched for all lanes, as `executor.rs` runs it for one lane on the
//! CPU.

use clr_kernels::coin::cuda::Flip;
use clr_kernels::cuda::{Buffer, GpuError, Lanes};
use clr_kernels::step::LaneStep;
use clr_kernels::{Activation, activation, add, coin};

use super::memory::{Coins, Memory};
use crate::model::Model;
use crate::op::{GpuBackward, GpuForward, GpuPass, Op};
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
        if pass.training {
            self.flip_coins()?;
        }
        for instruction in instructions {
            let pass = instruction.node().map_or(pass, |node| self.pass_of(node));
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

    /// Flips the coins of this part of the update, those of branches within others after these.
    fn flip_coins(&self) -> Result<(), GpuError> {
        let GpuPass { gpu, lanes, part, init_seeds: seeds, .. } = self.pass;
        let coins: Vec<_> = self.model.network.coins().zip(&self.memory.coins).collect();
        for ((node, op), Coins { scales, block_steps, .. }) in coins.into_iter().rev() {
            let steps = self.steps_of(self.model.program.branches[node]);
            coin::cuda::flip(gpu, lanes, &op.coin_of_part(part.first), &Flip { seeds, steps, scales, block_steps })?;
        }
        Ok(())
    }

    /// The pass as a node sees it, with the steps of its branch.
    fn pass_of(&self, node: usize) -> GpuPass<'a> {
        let scales = self.coins_of(node).map(|coins| if self.pass.training { &coins.scales } else { &coins.survivals });
        GpuPass { steps: self.steps_of(self.model.program.branches[node]), scales, ..self.pass }
    }

    /// The steps at hand of lanes that are in the branch of node `depth`; of all if it is none.
    fn steps_of(&self, depth: Option<usize>) -> &'a Buffer<LaneStep> {
        let coins = depth.filter(|_| self.pass.training).and_then(|depth| self.coins_of(depth));
        coins.map_or(self.pass.steps, |coins| &coins.block_steps)
    }

    /// The coins of a node of stochastic depth.
    fn coins_of(&self, node: usize) -> Option<&'a Coins> {
        match self.model.network.nodes()[node].op {
            Op::StochasticDepth(op) => self.memory.coins.get(op.coin.block as usize),
            _ => None,
        }
    }

    fn place(&self, operand: Operand) -> Lanes<'a> {
        let place = self.model.program.range(operand, self.pass.batch);
        place.map_or(self.images, |place| self.memory.floats.lanes().at(place.start))
    }
}
