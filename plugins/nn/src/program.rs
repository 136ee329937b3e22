//! The program of a network: a flat list of instructions over memory that is found once.
//!
//! A training step goes forward through the nodes, scores, and goes backward through the nodes. An evaluation leaves out what only
//! auxiliary losses need. The gradient of a value that
//! several nodes read is the sum of what each of them contributes: the last node in the network is the first to contribute, it
//! writes, and the others add. Operations that work value by value do so in place where nobody else needs what was there.
//!
//! Of a batch that leaves out a branch of stochastic depth, what only the branch needs is not run.
//!
//! Every value and gradient has a slot, from the first instruction that touches it to the last. Slots whose times do not meet
//! share memory.

use std::ops::Range;

use crate::network::{Network, Node, Value};

/// The instructions of a network's passes, and their memory.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    /// A training step up to the gradients: forward, score, backward.
    pub training: Vec<Instruction>,
    /// How many of these are the forward pass.
    pub forward_len: usize,
    /// The forward pass and the score.
    pub evaluation: Vec<Instruction>,
    pub logits: Operand,
    /// For each node, that of the innermost stochastic depth whose branch it is part of: all that it makes goes there.
    pub branches: Vec<Option<usize>>,
    /// The place at which each slot begins in the memory of floats.
    places: Vec<usize>,
    /// Floats of the largest slot.
    pub largest_slot: usize,
    /// The place of what each node's forward pass keeps, in the memory of floats.
    pub kept: Vec<Range<usize>>,
    /// The place of what each node's forward pass chooses, in the memory of bytes.
    pub choices: Vec<Range<usize>>,
    /// The largest scratch memory that an operation asks for on a CPU.
    pub scratch_len: usize,
}

/// A step of a pass. Nodes are numbers in the network's list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Instruction {
    /// Computes `y` of `x`, which is number `input` of the node's inputs, or of both `x` and `x2`. It may lie where one of them
    /// does.
    Forward { node: usize, input: usize, x: Operand, x2: Option<Operand>, y: Operand },
    /// Measures logits by the labels, and writes their gradient, times the weight. Loss 0 is that of the metrics.
    Score { loss: usize, weight: f32, logits: Operand, gradient: Option<Operand> },
    /// Computes the gradients of a node's parameters and, where it is asked for, `dx`, or adds to that. Has `x` and `y` only if they
    /// are read.
    Backward {
        node: usize,
        input: usize,
        x: Option<Operand>,
        y: Option<Operand>,
        dy: Operand,
        dx: Option<Operand>,
        adds: bool,
    },
    /// `to = from`, for the backward pass of a node.
    Copy { node: usize, from: Operand, to: Operand },
    /// `to += from`, for the backward pass of a node.
    Accumulate { node: usize, from: Operand, to: Operand },
}

/// A value or a gradient that an instruction reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    /// None for the images, which lie outside.
    slot: Option<usize>,
    /// Floats of a sample.
    len: usize,
}

/// A slot's instructions from the first to the last, and its floats.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    first: usize,
    last: usize,
    len: usize,
}

/// What slots and the like begin at a multiple of: the 16 floats of a cache line, and the four that a GPU reads best.
const ALIGNMENT: usize = 16;

impl Program {
    /// For batches of so many samples and so many threads at most.
    pub fn new(network: &Network, batch_size: usize, thread_count: usize) -> Program {
        Program::laid_out(network, batch_size, thread_count, share)
    }

    /// As [`Program::new`], without sharing memory: for tests, to hold the other against.
    #[cfg(test)]
    pub fn without_sharing(network: &Network, batch_size: usize, thread_count: usize) -> Program {
        Program::laid_out(network, batch_size, thread_count, |lifetimes| {
            let places = one_after_the_other(0, lifetimes.iter().map(|lifetime| lifetime.len));
            (places.iter().map(|place| place.start).collect(), places.last().map_or(0, |last| last.end))
        })
    }

    /// With the places of slots, and how many floats they take, by `layout`.
    fn laid_out(
        network: &Network,
        batch_size: usize,
        thread_count: usize,
        layout: impl FnOnce(&[Lifetime]) -> (Vec<usize>, usize),
    ) -> Program {
        let nodes = network.nodes();
        let mut compiler = Compiler::new(network);
        (0..nodes.len()).for_each(|index| compiler.forward(index));
        let forward_len = compiler.instructions.len();
        network.losses().enumerate().for_each(|(loss, (scores, weight))| compiler.score(loss, scores, weight));
        (0..nodes.len()).rev().for_each(|index| compiler.backward(index));
        let logits = compiler.value(network.scores());
        let training = compiler.instructions;
        let is_evaluated = evaluated(network);
        let forward = training[..forward_len].iter().copied();
        let forward = forward
            .filter(|instruction| matches!(instruction, Instruction::Forward { node, .. } if is_evaluated[*node]));
        let evaluation = forward.chain([Instruction::Score { loss: 0, weight: 1.0, logits, gradient: None }]).collect();

        let lifetimes = lifetimes(&training, compiler.slot_count, batch_size);
        let (places, slots_len) = layout(&lifetimes);
        let needs = || nodes.iter().map(|node| node.op.passes().needs(batch_size, thread_count));
        Program {
            forward_len,
            evaluation,
            logits,
            branches: branches(network),
            places,
            largest_slot: lifetimes.iter().map(|lifetime| lifetime.len).max().unwrap_or(0),
            kept: one_after_the_other(slots_len, needs().map(|needs| needs.kept)),
            choices: one_after_the_other(0, needs().map(|needs| needs.choices)),
            scratch_len: needs().map(|needs| needs.scratch).max().unwrap_or(0),
            training,
        }
    }

    /// Floats of all slots and of all that is kept.
    pub fn float_len(&self) -> usize {
        self.kept.last().map_or(0, |last| last.end)
    }

    /// Bytes of all choices.
    pub fn byte_len(&self) -> usize {
        self.choices.last().map_or(0, |last| last.end)
    }

    /// The place of an operand in the memory of floats, for a batch of so many samples. None for the images.
    pub fn range(&self, operand: Operand, batch: usize) -> Option<Range<usize>> {
        let start = self.places[operand.slot?];
        Some(start..start + operand.len(batch))
    }
}

impl Operand {
    /// Floats of a batch of so many samples.
    pub fn len(self, batch: usize) -> usize {
        self.len * batch
    }

    pub fn is_images(self) -> bool {
        self.slot.is_none()
    }
}

impl Instruction {
    /// The node that it is of; none for a score.
    pub fn node(&self) -> Option<usize> {
        match *self {
            Instruction::Forward { node, .. }
            | Instruction::Backward { node, .. }
            | Instruction::Copy { node, .. }
            | Instruction::Accumulate { node, .. } => Some(node),
            Instruction::Score { .. } => None,
        }
    }

    fn operands(&self) -> impl Iterator<Item = Operand> + use<> {
        let operands = match *self {
            Instruction::Forward { x, x2, y, .. } => [Some(x), x2, Some(y), None],
            Instruction::Score { logits, gradient, .. } => [Some(logits), gradient, None, None],
            Instruction::Backward { x, y, dy, dx, .. } => [x, y, Some(dy), dx],
            Instruction::Copy { from, to, .. } | Instruction::Accumulate { from, to, .. } => {
                [Some(from), Some(to), None, None]
            }
        };
        operands.into_iter().flatten()
    }
}

/// A program in the making.
struct Compiler<'a> {
    network: &'a Network,
    instructions: Vec<Instruction>,
    slot_count: usize,
    /// For each value, the slot of its gradient so far; none before the first contribution, and where nothing is trained.
    gradients: Vec<Option<usize>>,
    /// For each value, its slot; none for the images.
    values: Vec<Option<usize>>,
    /// For each value, whether anything before it is trained.
    trained: Vec<bool>,
}

impl Compiler<'_> {
    fn new(network: &Network) -> Compiler<'_> {
        let value_count = network.value_count();
        let mut trained = vec![false; value_count];
        for node in network.nodes() {
            let before = node.inputs.iter().any(|input| trained[input.0]);
            trained[node.output.0] = before || !node.parameters.is_empty();
        }
        let [gradients, values] = [(); 2].map(|()| vec![None; value_count]);
        Compiler { network, instructions: Vec::new(), slot_count: 0, gradients, values, trained }
    }

    /// The forward pass of node `index`: in place if that may be.
    fn forward(&mut self, index: usize) {
        let node = &self.network.nodes()[index];
        let overwritten = node.inputs.iter().find(|input| self.can_overwrite(node, **input));
        self.values[node.output.0] = match overwritten {
            Some(input) => self.values[input.0],
            None => self.new_slot(),
        };
        let y = self.value(node.output);
        let runs = if node.op.passes().uses().each_input { node.inputs.len() } else { 1 };
        let x2 = node.inputs.get(runs).map(|&input| self.value(input));
        for (input, &x) in node.inputs[..runs].iter().enumerate() {
            self.instructions.push(Instruction::Forward { node: index, input, x: self.value(x), x2, y });
        }
    }

    /// True if a node can put its output where `input` is: it works value by value, nothing else reads the input, and the node
    /// that made it does not read it again.
    fn can_overwrite(&self, node: &Node, input: Value) -> bool {
        let producer = self.network.producer(input).map(|producer| &self.network.nodes()[producer]);
        node.op.passes().uses().in_place
            && self.network.is_read_once(input)
            && producer.is_some_and(|producer| !producer.op.passes().uses().reads_y)
    }

    /// A loss, which is the first to contribute to the gradient of its scores.
    fn score(&mut self, loss: usize, scores: Value, weight: f32) {
        let logits = self.value(scores);
        let gradient = self.trained[scores.0].then(|| self.new_gradient(scores));
        self.instructions.push(Instruction::Score { loss, weight, logits, gradient });
    }

    /// The backward pass of node `index`, and what it contributes to the gradients of its inputs.
    fn backward(&mut self, index: usize) {
        let (node, uses) = (&self.network.nodes()[index], self.network.nodes()[index].op.passes().uses());
        let Some(dy) = self.gradient(node.output) else { return };
        let x = uses.reads_x.then(|| self.value(node.inputs[0]));
        let y = uses.reads_y.then(|| self.value(node.output));
        if !uses.turns_dy {
            for (number, &input) in node.inputs.iter().enumerate() {
                let sum = self.gradient(input);
                let adds = uses.adds && sum.is_some();
                let dx = self.trained[input.0].then(|| match sum {
                    Some(sum) if adds => sum,
                    Some(_) => Operand { slot: self.new_slot(), ..self.value(input) },
                    None => self.new_gradient(input),
                });
                self.instructions.push(Instruction::Backward { node: index, input: number, x, y, dy, dx, adds });
                if let (Some(from), Some(to), false) = (dx, sum, adds) {
                    self.instructions.push(Instruction::Accumulate { node: index, from, to });
                }
            }
            return;
        }
        if uses.writes_dy {
            self.instructions.push(Instruction::Backward { node: index, input: 0, x, y, dy, dx: None, adds: false });
        }
        for &input in &node.inputs {
            if !self.trained[input.0] {
                continue;
            }
            if let Some(to) = self.gradient(input) {
                self.instructions.push(Instruction::Accumulate { node: index, from: dy, to });
            } else if self.can_share(index, input) {
                self.gradients[input.0] = dy.slot;
            } else {
                let to = self.new_gradient(input);
                self.instructions.push(Instruction::Copy { node: index, from: dy, to });
            }
        }
    }

    /// True if an input of node `index`, which turns it into theirs, can have the gradient of the output as its own, in the same
    /// slot: if it has been read for the last time before the other input that shares it changes it, and that one before this
    /// one does.
    fn can_share(&self, index: usize, input: Value) -> bool {
        let node = &self.network.nodes()[index];
        let dy = self.gradients[node.output.0];
        // The backward pass goes from the last node to the first.
        let before = |read: Value, changed: Value| {
            self.first_change(index, changed)
                .is_none_or(|change| self.last_read(read).is_some_and(|read| read > change))
        };
        let others = node.inputs.iter().filter(|other| self.gradients[other.0] == dy);
        others.into_iter().all(|&other| before(input, other) && before(other, input))
    }

    /// The node that reads the gradient of a value last. None if no end is known: what turns it into that of an input passes the slot
    /// on.
    fn last_read(&self, value: Value) -> Option<usize> {
        self.network.producer(value).filter(|&producer| !self.network.nodes()[producer].op.passes().uses().turns_dy)
    }

    /// The node that first changes the gradient of a value, after the contribution of node `index`: another one that contributes,
    /// or the one that made the value.
    fn first_change(&self, index: usize, value: Value) -> Option<usize> {
        let contributor = self.network.readers(value).filter(|&reader| reader < index).last();
        contributor.or_else(|| {
            self.network.producer(value).filter(|&producer| {
                let uses = self.network.nodes()[producer].op.passes().uses();
                uses.turns_dy || uses.writes_dy
            })
        })
    }

    fn new_slot(&mut self) -> Option<usize> {
        self.slot_count += 1;
        Some(self.slot_count - 1)
    }

    /// Where the first contribution to the gradient of a value goes.
    fn new_gradient(&mut self, value: Value) -> Operand {
        let slot = self.new_slot();
        self.gradients[value.0] = slot;
        Operand { slot, ..self.value(value) }
    }

    fn value(&self, value: Value) -> Operand {
        Operand { slot: self.values[value.0], len: self.network.shape(value).len() }
    }

    fn gradient(&self, value: Value) -> Option<Operand> {
        let slot = self.gradients[value.0];
        slot.map(|_| Operand { slot, ..self.value(value) })
    }
}

/// For each node, whether the scores of the metrics depend on it.
fn evaluated(network: &Network) -> Vec<bool> {
    let mut is_read = vec![false; network.value_count()];
    is_read[network.scores().0] = true;
    let mut is_evaluated = vec![false; network.nodes().len()];
    for (index, node) in network.nodes().iter().enumerate().rev() {
        is_evaluated[index] = is_read[node.output.0];
        node.inputs.iter().for_each(|input| is_read[input.0] |= is_evaluated[index]);
    }
    is_evaluated
}

fn branches(network: &Network) -> Vec<Option<usize>> {
    let mut branches = vec![None; network.nodes().len()];
    let depths: Vec<usize> = network.coins().map(|(index, _)| index).collect();
    // Those within others come after these.
    for &depth in depths.iter().rev() {
        let mut is_part = vec![false; depth + 1];
        is_part[depth] = true;
        for index in (0..depth).rev() {
            let output = network.nodes()[index].output;
            is_part[index] =
                !network.is_scored(output) && network.readers(output).all(|reader| is_part.get(reader) == Some(&true));
            if is_part[index] {
                branches[index] = Some(depth);
            }
        }
    }
    branches
}

fn lifetimes(instructions: &[Instruction], slot_count: usize, batch_size: usize) -> Vec<Lifetime> {
    let mut lifetimes = vec![Lifetime { first: usize::MAX, last: 0, len: 0 }; slot_count];
    for (moment, instruction) in instructions.iter().enumerate() {
        for operand in instruction.operands() {
            let Some(slot) = operand.slot else { continue };
            let Lifetime { first, len, .. } = lifetimes[slot];
            lifetimes[slot] =
                Lifetime { first: first.min(moment), last: moment, len: len.max(operand.len(batch_size)) };
        }
    }
    lifetimes
}

/// Gives slots places in one memory, the largest first, each in the smallest gap between those that live at the same time.
/// Returns the places, and how long the memory is.
fn share(lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&slot| std::cmp::Reverse(lifetimes[slot].len));
    let (mut places, mut end) = (vec![0; lifetimes.len()], 0);
    for (placed, &slot) in order.iter().enumerate() {
        let Lifetime { first, last, len } = lifetimes[slot];
        let others =
            order[..placed].iter().filter(|&&other| lifetimes[other].first <= last && first <= lifetimes[other].last);
        let mut taken: Vec<(usize, usize)> =
            others.map(|&other| (places[other], places[other] + lifetimes[other].len)).collect();
        taken.sort_unstable();
        let (mut gap_start, mut best) = (0, None);
        for (start, end) in taken {
            let gap = start.saturating_sub(gap_start);
            if gap >= len && best.is_none_or(|(least, _)| gap < least) {
                best = Some((gap, gap_start));
            }
            gap_start = gap_start.max(end.next_multiple_of(ALIGNMENT));
        }
        places[slot] = best.map_or(gap_start, |(_, start)| start);
        end = end.max(places[slot] + len);
    }
    (places, end)
}

/// Places for so many values each, from `start` on.
fn one_after_the_other(start: usize, lens: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let place = |end: &mut usize, len| {
        let start = end.next_multiple_of(ALIGNMENT);
        *end = start + len;
        Some(start..*end)
    };
    lens.scan(start, place).collect()
}

#[cfg(test)]
mod tests {
    use clr_rng::{Philox, Stream, below};

    use super::*;
    use crate::initializer::Initializer;
    use crate::network::BuildError;
    use crate::op::{BatchNorm, Convolution, Linear, Pool};
    use crate::parameter::Parameter;

    const WEIGHT: Parameter = Parameter::new(Initializer::Xavier);
    const BATCH_NORM: BatchNorm = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-5 };

    /// The described nodes between the images and three scores.
    fn network(describe: impl FnOnce(&mut Network, Value) -> Result<Value, BuildError>) -> Network {
        let mut network = Network::new([8, 8, 2], 3);
        let images = network.input();
        let x = describe(&mut network, images).unwrap();
        let x = network.linear("ip1", x, Linear { outputs: 3, weight: WEIGHT, bias: None }).unwrap();
        network.logits(x).unwrap();
        network.finish().unwrap()
    }

    fn conv(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        network.convolution(name, x, Convolution::new(4, 3, WEIGHT, None).pad(1))
    }

    /// A line for each instruction, with slots as letters: what it writes, and of what.
    #[track_caller]
    fn check(describe: impl FnOnce(&mut Network, Value) -> Result<Value, BuildError>, expected: &[&str]) {
        let network = network(describe);
        let program = Program::new(&network, 10, 1);
        let name = |node: usize| &network.nodes()[node].name[..];
        let slot =
            |operand: Operand| operand.slot.map_or("images".to_owned(), |slot| char::from(b'a' + slot as u8).into());
        let slots =
            |operands: &[Option<Operand>]| operands.iter().flatten().map(|&x| slot(x)).collect::<Vec<_>>().join(", ");
        let line = |instruction: &Instruction| match *instruction {
            Instruction::Forward { node, x, x2, y, .. } => {
                format!("{} = {}({})", slot(y), name(node), slots(&[Some(x), x2]))
            }
            Instruction::Score { logits, gradient, .. } => format!("{} = score'({})", slots(&[gradient]), slot(logits)),
            Instruction::Backward { node, x, y, dy, dx, .. } => {
                format!("{} = {}'({})", slots(&[dx]), name(node), slots(&[x, y, Some(dy)]))
            }
            Instruction::Copy { from, to, .. } => format!("{} = {}", slot(to), slot(from)),
            Instruction::Accumulate { from, to, .. } => format!("{} += {}", slot(to), slot(from)),
        };
        assert_eq!(program.training.iter().map(line).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn activations_overwrite_their_inputs_where_nobody_reads_them_again() {
        check(
            |network, x| {
                let x = conv(network, "conv1", x)?;
                let x = network.relu(x)?;
                network.sigmoid(x)
            },
            &[
                "a = conv1(images)",
                "a = relu(a)",
                "b = sigmoid(a)", // Not over ReLU's output, which its backward pass reads.
                "c = ip1(b)",
                "d = score'(c)",
                "e = ip1'(b, d)",
                " = sigmoid'(b, e)",
                " = relu'(a, e)",
                " = conv1'(images, e)",
            ],
        );
    }

    #[test]
    fn nothing_goes_backward_through_what_is_not_trained() {
        check(
            |network, x| {
                let x = network.pool("pool1", x, Pool::average(2, 2))?;
                network.relu(x)
            },
            &["a = pool1(images)", "a = relu(a)", "b = ip1(a)", "c = score'(b)", " = ip1'(a, c)"],
        );
    }

    /// The shortcut's gradient is where that of the sum is, and conv1 adds to it when bn1 has read it.
    #[test]
    fn a_residual_block_adds_to_the_gradient_of_its_input() {
        check(
            |network, x| {
                let x = conv(network, "stem", x)?;
                let y = conv(network, "conv1", x)?;
                let y = network.batch_norm("bn1", y, BATCH_NORM)?;
                let y = network.add("sum1", y, x)?;
                network.relu(y)
            },
            &[
                "a = stem(images)",
                "b = conv1(a)",
                "c = bn1(b)",
                "c = sum1(c, a)",
                "c = relu(c)",
                "d = ip1(c)",
                "e = score'(d)",
                "f = ip1'(c, e)",
                " = relu'(c, f)",
                "g = bn1'(b, f)",
                "h = conv1'(a, g)",
                "f += h",
                " = stem'(images, f)",
            ],
        );
    }

    #[test]
    fn what_only_a_branch_of_stochastic_depth_needs_is_known() {
        let describe = |network: &mut Network, x| {
            let x = conv(network, "stem", x)?;
            let y = conv(network, "conv1", x)?;
            let y = network.batch_norm("bn1", y, BATCH_NORM)?;
            let z = network.sigmoid(y)?;
            let z = network.stochastic_depth("depth1", z, 0.5)?;
            let y = network.add("sum1", y, z)?;
            let y = network.stochastic_depth("depth2", y, 0.5)?;
            network.add("sum2", y, x)
        };
        // The stem and the sum are read by others; the sigmoid is part of the inner branch.
        let network = network(describe);
        let names = |part: Option<usize>| part.map(|part| &network.nodes()[part].name[..]);
        let parts: Vec<_> = Program::new(&network, 10, 1).branches.into_iter().map(names).collect();
        let (inner, outer) = (Some("depth1"), Some("depth2"));
        assert_eq!(parts, [None, outer, outer, inner, outer, outer, None, None, None]);
        check(
            |network, x| {
                let x = conv(network, "stem", x)?;
                let y = conv(network, "conv1", x)?;
                let y = network.stochastic_depth("depth1", y, 0.5)?;
                network.add("sum1", y, x)
            },
            &[
                "a = stem(images)",
                "b = conv1(a)",
                "b = depth1(b)",
                "b = sum1(b, a)",
                "c = ip1(b)",
                "d = score'(c)",
                "e = ip1'(b, d)",
                "f = depth1'(e)", // The shortcut has the gradient as it is.
                "g = conv1'(a, f)",
                "e += g",
                " = stem'(images, e)",
            ],
        );
    }

    #[test]
    fn the_values_of_a_concatenation_are_moved_one_by_one() {
        check(
            |network, x| {
                let x = conv(network, "stem", x)?;
                let y = conv(network, "conv1", x)?;
                network.concat("both", &[y, x, y])
            },
            &[
                "a = stem(images)",
                "b = conv1(a)",
                "c = both(b)",
                "c = both(a)",
                "c = both(b)",
                "d = ip1(c)",
                "e = score'(d)",
                "f = ip1'(c, e)",
                "g = both'(f)",
                "h = both'(f)",
                "g = both'(f)", // Added to what is there.
                "i = conv1'(a, g)",
                "h += i",
                " = stem'(images, h)",
            ],
        );
    }

    /// ReLU at the end of a branch changes the gradient that it is given, while the other branch still needs it.
    #[test]
    fn gradients_that_change_are_not_shared() {
        check(
            |network, x| {
                let x = conv(network, "stem", x)?;
                let y = conv(network, "conv1", x)?;
                let z = conv(network, "conv2", x)?;
                let z = network.relu(z)?;
                network.add("sum1", y, z)
            },
            &[
                "a = stem(images)",
                "b = conv1(a)",
                "c = conv2(a)",
                "c = relu(c)",
                "b = sum1(b, c)",
                "d = ip1(b)",
                "e = score'(d)",
                "f = ip1'(b, e)",
                "g = f",
                " = relu'(c, g)",
                "h = conv2'(a, g)",
                "i = conv1'(a, f)",
                "h += i",
                " = stem'(images, h)",
            ],
        );
    }

    /// Gradients of the later layers make room for those of the earlier ones.
    #[test]
    fn four_convolutions_need_six_values_at_a_time() {
        let network = network(|network, mut x| {
            for name in ["conv1", "conv2", "conv3", "conv4"] {
                x = network.convolution(name, x, Convolution::new(2, 3, WEIGHT, None).pad(1))?;
            }
            Ok(x)
        });
        // Four activations; two gradients at a time, one of them where the last activations were; the scores.
        let images = 8 * 8 * 2 * 10;
        let len = Program::new(&network, 10, 1).float_len();
        assert!(len <= 6 * images + 2 * 32, "{len}");
    }

    #[track_caller]
    fn check_places(lifetimes: &[(usize, usize, usize)], places: &[usize], end: usize) {
        let lifetimes: Vec<_> = lifetimes.iter().map(|&(first, last, len)| Lifetime { first, last, len }).collect();
        assert_eq!(share(&lifetimes), (places.to_vec(), end));
    }

    #[test]
    fn memory_is_shared_by_lifetimes_that_do_not_meet() {
        check_places(&[(0, 1, 5), (2, 3, 7)], &[0, 0], 7);
        check_places(&[(0, 2, 5), (2, 3, 7)], &[16, 0], 21);
        // Two small ones after another where a large one was, beside one that lives on.
        check_places(&[(0, 1, 64), (0, 9, 32), (2, 9, 32), (3, 9, 16)], &[0, 64, 0, 32], 96);
        // The gap of 16 rather than that of 32.
        check_places(
            &[(0, 9, 64), (0, 1, 32), (0, 9, 31), (0, 1, 16), (0, 9, 9), (2, 3, 8)],
            &[0, 64, 96, 128, 144, 128],
            153,
        );
    }

    #[test]
    fn slots_that_live_at_the_same_time_never_overlap() {
        for seed in 0..40 {
            let mut words = Philox::new(seed, Stream::Dataset).words(0);
            let mut draw = |bound| below(words.next().unwrap(), bound) as usize;
            let lifetimes: Vec<Lifetime> = (0..60)
                .map(|_| {
                    let first = draw(50);
                    Lifetime { first, last: first + draw(12), len: draw(200) }
                })
                .collect();
            let (places, end) = share(&lifetimes);
            for (slot, one) in lifetimes.iter().enumerate() {
                assert!(places[slot] + one.len <= end && places[slot].is_multiple_of(ALIGNMENT));
                for (other, two) in lifetimes.iter().enumerate().skip(slot + 1) {
                    let meet = one.first <= two.last && two.first <= one.last;
                    let apart = places[slot] + one.len <= places[other] || places[other] + two.len <= places[slot];
                    assert!(!meet || apart, "{one:?} at {}, {two:?} at {}", places[slot], places[other]);
                }
            }
        }
    }
}
