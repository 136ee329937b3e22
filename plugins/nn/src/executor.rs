//! The executor of programs on the CPU: the instructions of one lane, one after the other.

use std::ops::Range;

use clr_kernels::softmax_cross_entropy::{Score, weighted_softmax_cross_entropy};
use clr_kernels::{Activation, add};

use crate::clock::{Clock, Phase};
use crate::model::Model;
use crate::op::{Backward, Forward, Op, Pass};
use crate::program::{Instruction, Operand};

/// Memory that is only used within a step, so that lanes can take turns with it.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Values, gradients, and what operations keep: where the program says.
    pub floats: Vec<f32>,
    /// What operations choose.
    pub choices: Vec<u8>,
    pub scratch: Vec<f32>,
    /// Those of all parameters.
    pub gradients: Vec<f32>,
    /// Those of an update's parts so far; empty where updates have one.
    pub accumulated: Vec<f32>,
    /// A batch of images, for whoever fills one.
    pub images: Vec<f32>,
    pub labels: Vec<i32>,
}

/// A batch of images and their labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub images: &'a [f32],
    pub labels: &'a [i32],
}

impl Workspace {
    pub fn new(model: &Model) -> Workspace {
        Workspace {
            floats: vec![0.0; model.program.float_len()],
            choices: vec![0; model.program.byte_len()],
            scratch: vec![0.0; model.program.scratch_len],
            gradients: vec![0.0; model.network.parameter_len()],
            accumulated: vec![0.0; model.accumulated_len()],
            images: vec![0.0; model.batch_size * model.input_len()],
            labels: vec![0; model.batch_size],
        }
    }
}

/// Runs instructions of the model's program on a batch, and returns the score of the metrics: that of no samples where they measure
/// none.
/// Those of a training step fill the workspace's gradients.
pub(crate) fn run(
    pass: &Pass<'_>,
    model: &Model,
    instructions: &[Instruction],
    (weights, buffers): (&[f32], &mut [f32]),
    workspace: &mut Workspace,
    batch: Batch<'_>,
    clock: &mut impl Clock,
) -> Score {
    let (program, nodes, classes) = (&model.program, model.network.nodes(), model.network.class_count());
    let Workspace { floats, choices, scratch, gradients, .. } = workspace;
    // Empty for what there is none of, and for the images, which are no part of the floats.
    let place =
        |operand: Option<Operand>| operand.and_then(|operand| program.range(operand, pass.batch)).unwrap_or(0..0);
    // Those of stochastic depth that the batch leaves out.
    let is_left_out = |depth: usize| matches!(&nodes[depth].op, Op::StochasticDepth(op) if op.scale(pass) == 0.0);
    let branches_of = |node| std::iter::successors(program.branches[node], |&depth: &usize| program.branches[depth]);
    let mut score = Score { loss: f32::NAN, correct: 0, top5: 0 };
    for (index, instruction) in instructions.iter().enumerate() {
        let is_skipped = instruction.node().is_some_and(|node| branches_of(node).any(is_left_out));
        clock.time(Phase::Instruction(index), || match *instruction {
            Instruction::Forward { .. } | Instruction::Accumulate { .. } if is_skipped => {}
            Instruction::Backward { node, dx, adds, .. } if is_skipped => {
                gradients[nodes[node].parameters.clone()].fill(0.0);
                if !adds {
                    floats[place(dx)].fill(0.0);
                }
            }
            Instruction::Forward { node, input, x, x2, y } => {
                // What lies where the output goes is not read from elsewhere.
                let elsewhere = |x: Option<Operand>| place(x.filter(|&x| place(Some(x)) != place(Some(y))));
                let places = [elsewhere(Some(x)), elsewhere(x2), place(Some(y)), program.kept[node].clone()];
                let [x_floats, x2, y, kept] = apart(floats, places);
                let choices = &mut choices[program.choices[node].clone()];
                let node = &nodes[node];
                let x = if x.is_images() { batch.images } else { x_floats };
                let (weights, buffers) = (&weights[node.parameters.clone()], &mut buffers[node.buffers.clone()]);
                node.op.passes().forward(pass, Forward { input, x, x2, y, weights, buffers, kept, choices, scratch });
            }
            Instruction::Score { loss, weight, logits, gradient } => {
                let [logits, dlogits] = apart(floats, [place(Some(logits)), place(gradient)]);
                let dlogits = gradient.map(|_| dlogits);
                let measured = weighted_softmax_cross_entropy(
                    pass.cpu,
                    classes,
                    logits,
                    batch.labels,
                    pass.part.of,
                    weight,
                    dlogits,
                );
                if loss == 0 {
                    score = measured;
                }
            }
            Instruction::Backward { node, input, x, y, dy, dx, adds } => {
                let places = [place(x), place(y), place(Some(dy)), place(dx), program.kept[node].clone()];
                let [x_floats, y, dy, dx_floats, kept] = apart(floats, places);
                let choices = &choices[program.choices[node].clone()];
                let node = &nodes[node];
                let x = if x.is_some_and(Operand::is_images) { batch.images } else { x_floats };
                let (weights, dweights) = (&weights[node.parameters.clone()], &mut gradients[node.parameters.clone()]);
                let dx = dx.map(|_| dx_floats);
                node.op
                    .passes()
                    .backward(pass, Backward { input, x, y, dy, dx, adds, weights, dweights, kept, choices, scratch });
            }
            Instruction::Copy { from, to, .. } => {
                let [from, to] = apart(floats, [place(Some(from)), place(Some(to))]);
                to.copy_from_slice(from);
            }
            Instruction::Accumulate { from, to, .. } => {
                let [from, to] = apart(floats, [place(Some(from)), place(Some(to))]);
                add::accumulate(pass.cpu, Activation::None, from, to);
            }
        });
    }
    score
}

/// Parts of the floats.
///
/// # Panics
/// If they overlap: a bug of the program.
fn apart<const N: usize>(floats: &mut [f32], places: [Range<usize>; N]) -> [&mut [f32]; N] {
    match floats.get_disjoint_mut(places) {
        Ok(parts) => parts,
        Err(error) => panic!("operands of one instruction: {error}"),
    }
}
