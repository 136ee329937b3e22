//! Fusion: operations that run as one. Decided here and nowhere else, once for a network.
//!
//! An activation vanishes into the operation before it, if that can do it in its own pass over memory: `conv2+relu`. Its slope
//! may then go on to the operation after it, where that writes the gradient anyway: `pool2(slope of relu)`. On a CPU a max
//! pooling vanishes into the convolution of the images before it, whose output, the largest value of many networks, is then
//! never stored: `conv1+pool1`. No bit changes: the arithmetic is the same.

use clr_kernels::Activation;

use crate::network::{Network, NodeKind};

/// Fuses what can be. The names of the nodes that are left say what they do.
pub(crate) fn fuse(network: &mut Network) {
    let mut index = 0;
    while index < network.nodes().len() {
        if !fuse_activation(network, index) {
            index += 1;
        }
    }
    for index in 0..network.nodes().len() {
        move_slope(network, index);
    }
}

/// Makes node `index` part of the node before it, if it is an activation that can be.
fn fuse_activation(network: &mut Network, index: usize) -> bool {
    let node = &network.nodes()[index];
    let NodeKind::Elementwise(elementwise) = node.kind else { return false };
    let (input, output, activation) = (node.inputs[0], node.output, elementwise.activation());
    let Some(producer) = network.producer(input) else { return false };
    if activation == Activation::None || network.readers(input).count() > 1 {
        return false;
    }
    let nodes = network.nodes_mut();
    let fused = match &mut nodes[producer].kind {
        NodeKind::Layer(layer) => layer.fuse_activation(activation),
        NodeKind::Add(add) if add.activation == Activation::None => {
            add.activation = activation;
            true
        }
        NodeKind::Add(_) | NodeKind::Elementwise(_) => false,
    };
    if fused {
        nodes[producer].name = format!("{}+{}", nodes[producer].name, name(activation));
        nodes[producer].output = output;
        nodes.remove(index);
    }
    fused
}

/// Gives the slope of the activation that made the input of node `index` to that node, if both agree.
fn move_slope(network: &mut Network, index: usize) {
    let input = network.nodes()[index].inputs[0];
    let Some(producer) = network.producer(input) else { return };
    if network.readers(input).count() > 1 {
        return;
    }
    let nodes = network.nodes_mut();
    let (before, after) = nodes.split_at_mut(index);
    let (NodeKind::Layer(producer), NodeKind::Layer(reader)) = (&mut before[producer].kind, &mut after[0].kind) else {
        return;
    };
    let slope = producer.slope_to_leave();
    if slope != Activation::None && reader.fuse_input_slope(slope) {
        producer.leave_slope();
        after[0].name = format!("{}(slope of {})", after[0].name, name(slope));
    }
}

/// Makes max poolings part of the convolutions before them, where these need no gradient of their input. For a CPU.
pub(crate) fn fuse_poolings(network: &mut Network) {
    for index in (0..network.nodes().len()).rev() {
        fuse_pooling(network, index);
    }
}

fn fuse_pooling(network: &mut Network, index: usize) {
    let node = &network.nodes()[index];
    let NodeKind::Layer(layer) = &node.kind else { return };
    let (Some((pool, activation)), input, output) = (layer.max_pooling(), node.inputs[0], node.output) else { return };
    let Some(producer) = network.producer(input) else { return };
    if network.nodes()[producer].inputs[0] != network.input() || network.readers(input).count() > 1 {
        return;
    }
    let nodes = network.nodes_mut();
    let NodeKind::Layer(convolution) = &mut nodes[producer].kind else { return };
    if convolution.fuse_max_pooling(pool, activation) {
        nodes[producer].name = format!("{}+{}", nodes[producer].name, nodes[index].name);
        nodes[producer].output = output;
        nodes.remove(index);
    }
}

fn name(activation: Activation) -> &'static str {
    match activation {
        Activation::None => "none",
        Activation::Relu => "relu",
        Activation::Sigmoid => "sigmoid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;
    use crate::layer::{BatchNorm, Convolution, Linear, Pool};
    use crate::network::{BuildError, Value};
    use crate::parameter::Parameter;

    const WEIGHT: fn() -> Parameter = || Parameter::new(Initializer::Xavier);
    const BATCH_NORM: BatchNorm = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-5 };

    /// The nodes between the images and the scores.
    #[track_caller]
    fn check(describe: impl FnOnce(&mut Network, Value) -> Result<Value, BuildError>, expected: &[&str]) {
        check_fused(fuse, describe, expected);
    }

    #[track_caller]
    fn check_fused(
        fuse: fn(&mut Network),
        describe: impl FnOnce(&mut Network, Value) -> Result<Value, BuildError>,
        expected: &[&str],
    ) {
        let mut network = Network::new([8, 8, 4], 3);
        let images = network.input();
        let x = describe(&mut network, images).unwrap();
        let x = network.linear("ip1", x, Linear { outputs: 3, weight: WEIGHT(), bias: None }).unwrap();
        network.logits(x).unwrap();
        let mut network = network.finish().unwrap();
        fuse(&mut network);
        let names: Vec<&str> = network.nodes().iter().map(|node| &node.name[..]).collect();
        assert_eq!(names, [expected, &["ip1"]].concat());
        assert_eq!(network.nodes().last().map(|node| node.output), Some(network.scores()));
    }

    fn conv(name: &str, network: &mut Network, x: Value) -> Result<Value, BuildError> {
        network.convolution(name, x, Convolution::new(4, 3, WEIGHT(), None).pad(1))
    }

    #[test]
    fn activations_vanish_into_the_layer_before_them() {
        check(
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.pool("pool1", x, Pool::max(3, 2))?;
                network.relu(x)
            },
            &["conv1", "pool1+relu"],
        );
        check(
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.batch_norm("bn1", x, BATCH_NORM)?;
                network.sigmoid(x)
            },
            &["conv1", "bn1+sigmoid"],
        );
        check(
            |network, x| {
                let y = conv("conv1", network, x)?;
                let x = network.add("sum1", y, x)?;
                network.relu(x)
            },
            &["conv1", "sum1+relu"],
        );
    }

    #[test]
    fn slopes_go_to_average_pooling() {
        check(
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.relu(x)?;
                network.pool("pool1", x, Pool::average(3, 2))
            },
            &["conv1+relu", "pool1(slope of relu)"],
        );
        check(
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.relu(x)?;
                network.pool("pool1", x, Pool::max(3, 2))
            },
            &["conv1+relu", "pool1"],
        );
    }

    #[test]
    fn max_pooling_vanishes_into_the_convolution_of_the_images() {
        let both = |network: &mut Network| {
            fuse(network);
            fuse_poolings(network);
        };
        check_fused(
            both,
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.pool("pool1", x, Pool::max(3, 2))?;
                let x = network.sigmoid(x)?;
                let x = conv("conv2", network, x)?;
                network.pool("pool2", x, Pool::max(2, 2))
            },
            &["conv1+pool1+sigmoid", "conv2", "pool2"],
        );
        // ReLU comes first, the mean is none of a pixel, and the sum reads the convolution too.
        check_fused(
            both,
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.relu(x)?;
                network.pool("pool1", x, Pool::max(3, 2))
            },
            &["conv1+relu", "pool1"],
        );
        check_fused(
            both,
            |network, x| {
                let x = conv("conv1", network, x)?;
                network.pool("pool1", x, Pool::average(3, 2))
            },
            &["conv1", "pool1"],
        );
        check_fused(
            both,
            |network, x| {
                let x = conv("conv1", network, x)?;
                let y = network.pool("pool1", x, Pool::max(3, 1).pad(1))?;
                network.add("sum1", x, y)
            },
            &["conv1", "pool1", "sum1"],
        );
    }

    #[test]
    fn what_others_read_too_or_cannot_be_fused_stays() {
        check(
            |network, x| {
                let y = conv("conv1", network, x)?;
                let x = network.relu(y)?;
                network.add("sum1", x, y)
            },
            &["conv1", "relu", "sum1"],
        );
        check(
            |network, x| {
                let x = conv("conv1", network, x)?;
                let x = network.sigmoid(x)?;
                let x = network.relu(x)?;
                network.dropout("drop1", x, 0.5)
            },
            &["conv1", "sigmoid", "relu", "drop1"],
        );
        check(
            |network, x| {
                let x = network.relu(x)?;
                network.pool("pool1", x, Pool::average(3, 2))
            },
            &["relu", "pool1"],
        );
    }
}
