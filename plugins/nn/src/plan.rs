//! Memory for the activations and gradients of a network, found once.
//!
//! A training step is a sequence of moments: forward through the nodes, the loss, backward through the nodes. A value
//! takes up memory from the moment that makes it to the last that reads it, and values whose times do not meet share it.
//!
//! The gradient of a value that several nodes read is the sum of what each of them contributes. The last node in the network
//! is the first to contribute: it writes, and the others add.

use crate::network::{Network, Node, NodeKind, Value};

/// The memory of values and gradients. Lengths are in floats.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Length of each slot.
    pub slots: Vec<usize>,
    /// For each value its slot. Value 0, the images, has none: it lives outside.
    pub values: Vec<Option<usize>>,
    /// For each value the slot of its gradient; none where nothing before it is trained.
    pub gradients: Vec<Option<usize>>,
    /// For each node and each of its inputs, what becomes of the input's gradient.
    pub contributions: Vec<Vec<Contribution>>,
    /// The largest scratch memory that a layer asks for.
    pub scratch_len: usize,
}

/// The contribution of a node's backward pass to the gradient of an input. Numbers are slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contribution {
    /// Nothing before the input is trained.
    Nothing,
    /// The gradient of the node's output becomes that of the input where it is.
    Same,
    /// The first contribution is written here.
    Write(usize),
    /// A further contribution is added. A layer writes it to `through` first; what works element by element needs no such
    /// detour.
    Add { to: usize, through: Option<usize> },
}

/// Memory from one moment to another, both included.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    first: usize,
    last: usize,
    len: usize,
}

/// A plan in the making. Numbers in it are places in the list of lifetimes; they become slots at the end.
struct Planner<'a> {
    network: &'a Network,
    batch_size: usize,
    thread_count: usize,
    lifetimes: Vec<Lifetime>,
    values: Vec<Option<usize>>,
    gradients: Vec<Option<usize>>,
    contributions: Vec<Vec<Contribution>>,
    /// For each value, whether anything before it is trained.
    trained: Vec<bool>,
}

impl Plan {
    pub fn new(network: &Network, batch_size: usize, thread_count: usize) -> Plan {
        let (nodes, value_count) = (network.nodes(), network.value_count());
        let mut planner = Planner {
            network,
            batch_size,
            thread_count,
            lifetimes: Vec::new(),
            values: vec![None; value_count],
            gradients: vec![None; value_count],
            contributions: nodes.iter().map(|node| vec![Contribution::Nothing; node.inputs.len()]).collect(),
            trained: vec![false; value_count],
        };
        for node in nodes {
            let before = node.inputs.iter().any(|input| planner.trained[input.0]);
            planner.trained[node.output.0] = before || !node.parameters.is_empty();
        }
        (0..nodes.len()).for_each(|index| planner.plan_value(index));
        planner.plan_scores();
        (0..nodes.len()).rev().for_each(|index| planner.plan_gradients(index));
        planner.finish()
    }
}

impl Planner<'_> {
    /// Finds memory for the output of node `index`, and keeps what the node reads, now and in the backward pass.
    fn plan_value(&mut self, index: usize) {
        let node = &self.network.nodes()[index];
        let overwritten = node.inputs.iter().find(|input| self.can_overwrite(node, **input));
        let storage = match overwritten {
            Some(input) => self.values[input.0],
            None => Some(self.store(node.output, index)),
        };
        self.values[node.output.0] = storage;
        let trained = self.trained[node.output.0];
        for input in &node.inputs {
            let last = if trained && backward_reads_input(node) { self.backward(index) } else { index };
            self.keep(self.values[input.0], last);
        }
        if trained && backward_reads_output(node) {
            self.keep(storage, self.backward(index));
        }
    }

    /// True if a node can put its output where `input` is: it works element by element, no other node reads the input, and
    /// the node that made it does not read it again.
    fn can_overwrite(&self, node: &Node, input: Value) -> bool {
        let producer = self.network.producer(input).map(|producer| &self.network.nodes()[producer]);
        !matches!(node.kind, NodeKind::Layer(_))
            && self.network.readers(input).count() == 1
            && producer.is_some_and(|producer| !backward_reads_output(producer))
    }

    /// Keeps the scores for the loss, which makes their gradient.
    fn plan_scores(&mut self) {
        let (scores, loss) = (self.network.scores(), self.network.nodes().len());
        self.keep(self.values[scores.0], loss);
        if self.trained[scores.0] {
            self.gradients[scores.0] = Some(self.store(scores, loss));
        }
    }

    /// Finds memory for the gradients that the backward pass through node `index` makes.
    fn plan_gradients(&mut self, index: usize) {
        let node = &self.network.nodes()[index];
        let Some(dy) = self.gradients[node.output.0] else { return };
        let is_layer = matches!(node.kind, NodeKind::Layer(_));
        let moment = self.backward(index);
        self.keep(Some(dy), moment);
        for (place, &input) in node.inputs.iter().enumerate() {
            if !self.trained[input.0] {
                continue;
            }
            self.contributions[index][place] = match self.gradients[input.0] {
                Some(to) => {
                    self.keep(Some(to), moment);
                    Contribution::Add { to, through: is_layer.then(|| self.store(input, moment)) }
                }
                None if !is_layer && self.can_share(index, input) => {
                    self.gradients[input.0] = Some(dy);
                    Contribution::Same
                }
                None => {
                    let storage = self.store(input, moment);
                    self.gradients[input.0] = Some(storage);
                    Contribution::Write(storage)
                }
            };
        }
    }

    /// True if an input of node `index`, which works element by element, can have the gradient of the output as its own, in
    /// the same memory: if it has been read for the last time before the other input that shares it changes it, and that one
    /// before this one does.
    fn can_share(&self, index: usize, input: Value) -> bool {
        let node = &self.network.nodes()[index];
        let dy = self.gradients[node.output.0];
        let before = |read: Value, changed: Value| {
            self.first_change(index, changed)
                .is_none_or(|change| self.last_read(read).is_some_and(|last| last < change))
        };
        node.inputs
            .iter()
            .filter(|other| self.gradients[other.0] == dy)
            .all(|&other| before(input, other) && before(other, input))
    }

    /// When the gradient of a value is read for the last time. None if no end is known: what works element by element passes
    /// the memory on.
    fn last_read(&self, value: Value) -> Option<usize> {
        let producer = self.network.producer(value)?;
        matches!(self.network.nodes()[producer].kind, NodeKind::Layer(_)).then(|| self.backward(producer))
    }

    /// When the gradient of a value is first changed, after the contribution of node `index`: by the contribution of another
    /// node, or by the node that made the value.
    fn first_change(&self, index: usize, value: Value) -> Option<usize> {
        let contributor = self.network.readers(value).filter(|&reader| reader < index).last();
        let producer = self.network.producer(value).filter(|&producer| match &self.network.nodes()[producer].kind {
            NodeKind::Layer(layer) => layer.backward_writes_dy(),
            NodeKind::Elementwise(_) | NodeKind::Add(_) => true,
        });
        contributor.or(producer).map(|index| self.backward(index))
    }

    /// When the backward pass goes through a node.
    fn backward(&self, index: usize) -> usize {
        2 * self.network.nodes().len() - index
    }

    /// Memory for a value, or for its gradient, from a moment on.
    fn store(&mut self, value: Value, moment: usize) -> usize {
        let len = self.network.shape(value).len() * self.batch_size;
        self.lifetimes.push(Lifetime { first: moment, last: moment, len });
        self.lifetimes.len() - 1
    }

    fn keep(&mut self, storage: Option<usize>, moment: usize) {
        if let Some(storage) = storage {
            self.lifetimes[storage].last = self.lifetimes[storage].last.max(moment);
        }
    }

    fn finish(self) -> Plan {
        let (slots, slot_of) = share(&self.lifetimes);
        let to_slots = |storages: Vec<Option<usize>>| {
            storages.into_iter().map(|storage| storage.map(|storage| slot_of[storage])).collect()
        };
        let to_slot = |contribution| match contribution {
            Contribution::Write(storage) => Contribution::Write(slot_of[storage]),
            Contribution::Add { to, through } => {
                Contribution::Add { to: slot_of[to], through: through.map(|through| slot_of[through]) }
            }
            Contribution::Nothing | Contribution::Same => contribution,
        };
        let scratch_lens = self.network.nodes().iter().map(|node| match &node.kind {
            NodeKind::Layer(layer) => layer.scratch_len(self.batch_size, self.thread_count),
            NodeKind::Elementwise(_) | NodeKind::Add(_) => 0,
        });
        Plan {
            slots,
            values: to_slots(self.values),
            gradients: to_slots(self.gradients),
            contributions: self.contributions.into_iter().map(|node| node.into_iter().map(to_slot).collect()).collect(),
            scratch_len: scratch_lens.max().unwrap_or(0),
        }
    }
}

fn backward_reads_input(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Layer(layer) => layer.backward_reads_input(),
        NodeKind::Elementwise(_) | NodeKind::Add(_) => false,
    }
}

/// True if the backward pass through a node reads its output.
pub(crate) fn backward_reads_output(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Layer(layer) => layer.backward_reads_output(),
        NodeKind::Elementwise(elementwise) => elementwise.backward_reads_output(),
        NodeKind::Add(add) => add.has_slope(),
    }
}

/// Lays lifetimes into slots, in the order in which they begin, each into the free slot that it fits best.
fn share(lifetimes: &[Lifetime]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&storage| lifetimes[storage].first);
    let mut slots: Vec<(usize, usize)> = Vec::new(); // Length, and the last moment of the present tenant.
    let mut slot_of = vec![0; lifetimes.len()];
    for storage in order {
        let Lifetime { first, last, len } = lifetimes[storage];
        let free = (0..slots.len()).filter(|&slot| slots[slot].1 < first);
        let slot = free.min_by_key(|&slot| slots[slot].0.abs_diff(len)).unwrap_or_else(|| {
            slots.push((0, 0));
            slots.len() - 1
        });
        slots[slot] = (slots[slot].0.max(len), last);
        slot_of[storage] = slot;
    }
    (slots.into_iter().map(|(len, _)| len).collect(), slot_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;
    use crate::layer::{BatchNorm, Convolution, Linear, Pool};
    use crate::network::BuildError;
    use crate::parameter::Parameter;

    const WEIGHT: fn() -> Parameter = || Parameter::new(Initializer::Xavier);

    fn plan(describe: impl FnOnce(&mut Network) -> Result<(), BuildError>) -> Plan {
        let mut network = Network::new([8, 8, 2], 3);
        describe(&mut network).unwrap();
        Plan::new(&network, 10, 1)
    }

    #[test]
    fn activations_overwrite_their_inputs_where_nobody_reads_them_again() {
        let plan = plan(|network| {
            let x = network.convolution("conv1", network.input(), Convolution::new(4, 3, WEIGHT(), None).pad(1))?;
            let x = network.relu(x)?;
            let x = network.sigmoid(x)?; // Not over ReLU's output, which its backward pass reads.
            let x = network.linear("ip1", x, Linear { outputs: 3, weight: WEIGHT(), bias: None })?;
            network.logits(x)
        });
        let [input, conv, relu, sigmoid, _] = plan.values[..] else { panic!() };
        assert_eq!(input, None);
        assert_eq!(conv, relu);
        assert_ne!(relu, sigmoid);
        let [input, conv, relu, sigmoid, _] = plan.gradients[..] else { panic!() };
        assert_eq!(input, None);
        assert_eq!([conv, relu], [sigmoid; 2]);
    }

    #[test]
    fn nothing_is_kept_for_what_is_not_trained() {
        let plan = plan(|network| {
            let x = network.pool("pool1", network.input(), Pool::average(2, 2))?;
            let x = network.relu(x)?;
            let x = network.linear("ip1", x, Linear { outputs: 3, weight: WEIGHT(), bias: None })?;
            network.logits(x)
        });
        assert_eq!(plan.gradients.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, false, true]);
    }

    const BATCH_NORM: BatchNorm = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-5 };

    fn conv(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        network.convolution(name, x, Convolution::new(4, 3, WEIGHT(), None).pad(1))
    }

    /// x -> conv1 -> bn1 -> sum with x -> relu: the shortcut's gradient is where that of the sum is, and conv1 adds to it when
    /// bn1 has read it.
    #[test]
    fn a_residual_block_adds_to_the_gradient_of_its_input() {
        let plan = plan(|network| {
            let x = conv(network, "stem", network.input())?; // 1
            let y = conv(network, "conv1", x)?; // 2
            let y = network.batch_norm("bn1", y, BATCH_NORM)?; // 3
            let y = network.add("sum1", y, x)?; // 4
            let y = network.relu(y)?; // 5
            let y = network.linear("ip1", y, Linear { outputs: 3, weight: WEIGHT(), bias: None })?;
            network.logits(y)
        });
        assert_eq!([plan.values[4], plan.values[5]], [plan.values[3]; 2]);
        assert_eq!([plan.gradients[1], plan.gradients[3], plan.gradients[4]], [plan.gradients[5]; 3]);
        assert_eq!(plan.contributions[3], [Contribution::Same; 2]);
        let [Contribution::Add { to, through: Some(through) }] = plan.contributions[1][..] else { panic!("{plan:?}") };
        assert_eq!(Some(to), plan.gradients[1]);
        assert_ne!(to, through);
    }

    /// ReLU at the end of a branch changes the gradient that it is given, while the other branch still needs it.
    #[test]
    fn gradients_that_change_are_not_shared() {
        let plan = plan(|network| {
            let x = conv(network, "stem", network.input())?; // 1
            let y = conv(network, "conv1", x)?; // 2
            let z = conv(network, "conv2", x)?; // 3
            let z = network.relu(z)?; // 4
            let y = network.add("sum1", y, z)?; // 5
            let y = network.linear("ip1", y, Linear { outputs: 3, weight: WEIGHT(), bias: None })?;
            network.logits(y)
        });
        assert_eq!(plan.gradients[2], plan.gradients[5]);
        assert_ne!(plan.gradients[4], plan.gradients[5]);
        assert!(matches!(plan.contributions[4][..], [Contribution::Same, Contribution::Write(_)]));
    }

    /// Four convolutions: gradients of the later layers make room for those of the earlier ones.
    #[test]
    fn gradients_share_memory() {
        let plan = plan(|network| {
            let mut x = network.input();
            for name in ["conv1", "conv2", "conv3", "conv4"] {
                x = network.convolution(name, x, Convolution::new(2, 3, WEIGHT(), None).pad(1))?;
            }
            let x = network.linear("ip1", x, Linear { outputs: 3, weight: WEIGHT(), bias: None })?;
            network.logits(x)
        });
        // Four activations; two gradients at a time, one of them where the last activations were; the scores.
        let images = 8 * 8 * 2 * 10;
        assert!(plan.slots.iter().sum::<usize>() <= 6 * images + 2 * 30, "{:?}", plan.slots);
        for pair in plan.gradients[1..].windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[track_caller]
    fn check(lifetimes: &[(usize, usize, usize)], slots: &[usize], slot_of: &[usize]) {
        let lifetimes: Vec<_> = lifetimes.iter().map(|&(first, last, len)| Lifetime { first, last, len }).collect();
        assert_eq!(share(&lifetimes), (slots.to_vec(), slot_of.to_vec()));
    }

    #[test]
    fn slots_are_shared_by_lifetimes_that_do_not_meet() {
        check(&[(0, 1, 5), (2, 3, 7)], &[7], &[0, 0]);
        check(&[(0, 2, 5), (2, 3, 7)], &[5, 7], &[0, 1]);
        // In order of time, not of the list; the better fit of two.
        check(&[(4, 5, 6), (0, 1, 9), (1, 2, 6), (3, 3, 1)], &[9, 6], &[1, 0, 1, 1]);
    }
}
