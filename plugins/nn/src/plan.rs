//! Memory for the activations and gradients of a network, found once.
//!
//! A training step is a sequence of moments: forward through the nodes, the loss, backward through the nodes. A value
//! takes up memory from the moment that makes it to the last that reads it, and values whose times do not meet share it.

use crate::network::{Network, Node, NodeKind, Value};

/// Where values and gradients live. Lengths are in floats.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Length of each slot.
    pub slots: Vec<usize>,
    /// For each value its slot. Value 0, the images, has none: it lives outside.
    pub values: Vec<Option<usize>>,
    /// For each value the slot of its gradient; none where nothing before it is trained.
    pub gradients: Vec<Option<usize>>,
    /// The largest scratch memory that a layer asks for.
    pub scratch_len: usize,
}

/// Memory from one moment to another, both included.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    first: usize,
    last: usize,
    len: usize,
}

impl Plan {
    pub fn new(network: &Network, batch_size: usize) -> Plan {
        let nodes = network.nodes();
        let loss = nodes.len();
        let backward = |node: usize| 2 * loss - node;
        let len = |value: usize| network.shape(Value(value)).len() * batch_size;

        let mut lifetimes: Vec<Lifetime> = Vec::new();
        let mut values = vec![None; nodes.len() + 1];
        let mut gradients = vec![None; nodes.len() + 1];
        let mut trained = vec![false; nodes.len() + 1];
        for (index, node) in nodes.iter().enumerate() {
            let (input, output) = (node.input.0, index + 1);
            trained[output] = trained[input] || !node.parameters.is_empty();
            values[output] = match values[input] {
                Some(storage) if in_place(nodes, index) => Some(storage),
                _ => {
                    lifetimes.push(Lifetime { first: index, last: index, len: len(output) });
                    Some(lifetimes.len() - 1)
                }
            };
            let reads_input = match &node.kind {
                NodeKind::Layer(layer) => layer.backward_reads_input() && trained[output],
                NodeKind::Elementwise(_) => false,
            };
            let reads_output = match &node.kind {
                NodeKind::Layer(_) => false,
                NodeKind::Elementwise(elementwise) => elementwise.backward_reads_output() && trained[output],
            };
            for (value, read_again) in [(input, reads_input), (output, reads_output)] {
                if let Some(storage) = values[value] {
                    let last = if read_again { backward(index) } else { index };
                    lifetimes[storage].last = lifetimes[storage].last.max(last);
                }
            }
        }
        if let Some(storage) = values[loss] {
            lifetimes[storage].last = lifetimes[storage].last.max(loss);
        }

        // Gradients come into being in the opposite order, that of the scores with the loss.
        for (index, node) in nodes.iter().enumerate().rev() {
            let (input, output) = (node.input.0, index + 1);
            if output == loss && trained[output] {
                lifetimes.push(Lifetime { first: loss, last: loss, len: len(output) });
                gradients[output] = Some(lifetimes.len() - 1);
            }
            let Some(storage) = gradients[output] else { continue };
            lifetimes[storage].last = backward(index);
            if trained[input] {
                gradients[input] = match &node.kind {
                    NodeKind::Elementwise(_) => Some(storage),
                    NodeKind::Layer(_) => {
                        lifetimes.push(Lifetime { first: backward(index), last: backward(index), len: len(input) });
                        Some(lifetimes.len() - 1)
                    }
                };
            }
        }

        let (slots, slot_of) = share(&lifetimes);
        let to_slots = |storages: Vec<Option<usize>>| {
            storages.into_iter().map(|storage| storage.map(|storage: usize| slot_of[storage])).collect()
        };
        let scratch_len = nodes.iter().map(|node| match &node.kind {
            NodeKind::Layer(layer) => layer.scratch_len(batch_size),
            NodeKind::Elementwise(_) => 0,
        });
        Plan {
            slots,
            values: to_slots(values),
            gradients: to_slots(gradients),
            scratch_len: scratch_len.max().unwrap_or(0),
        }
    }
}

/// Whether a node can overwrite its input: it works element by element, and the node that made the input does not read it
/// again. (Other readers there are none: a value is read by one node.)
fn in_place(nodes: &[Node], index: usize) -> bool {
    let producer = nodes[index].input.0.checked_sub(1).map(|producer| &nodes[producer].kind);
    let read_again = match producer {
        Some(NodeKind::Elementwise(producer)) => producer.backward_reads_output(),
        _ => false,
    };
    matches!(nodes[index].kind, NodeKind::Elementwise(_)) && !read_again
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
    use crate::{BuildError, Convolution, Filler, Linear, Parameter, Pool};

    const WEIGHT: fn() -> Parameter = || Parameter::new(Filler::Xavier);

    fn plan(describe: impl FnOnce(&mut Network) -> Result<(), BuildError>) -> Plan {
        let mut network = Network::new([8, 8, 2], 3);
        describe(&mut network).unwrap();
        Plan::new(&network, 10)
    }

    #[test]
    fn activations_overwrite_their_inputs_where_nobody_reads_them_again() {
        let plan = plan(|network| {
            let x = network.convolution("conv1", network.input(), Convolution::new(4, 3, WEIGHT(), None).pad(1))?;
            let x = network.relu(x)?;
            let x = network.sigmoid(x)?; // Not over the rectifier's output, which its backward pass reads.
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
