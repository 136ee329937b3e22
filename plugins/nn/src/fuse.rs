//! Fusion: operations that become one. Decided here and nowhere else, by rewriting the graph before it is compiled.
//!
//! An activation vanishes into the operation before it, if that can do it in its own pass over memory: `conv2+relu`. Its slope
//! may then go on to the operation after it, where that writes the gradient anyway: `pool2(slope of relu)`. On a CPU a max
//! pooling vanishes into the convolution of the images before it, whose output, the largest value of many networks, is then
//! never stored: `conv1+pool1`. No bit changes: the arithmetic is the same.

use clr_kernels::Activation;
use clr_kernels::conv2d::PooledConv2d;

use crate::network::Network;
use crate::op::{Op, PoolKind};

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

/// Makes max poolings part of the convolutions before them, where these need no gradient of their input. For a CPU.
pub(crate) fn fuse_poolings(network: &mut Network) {
    for index in (0..network.nodes().len()).rev() {
        fuse_pooling(network, index);
    }
}

/// `op, activation` becomes `op+activation`.
fn fuse_activation(network: &mut Network, index: usize) -> bool {
    let (Some(producer), &Op::Activation(activation)) = (only_producer(network, index), &network.nodes()[index].op)
    else {
        return false;
    };
    match &mut network.nodes_mut()[producer].op {
        Op::Convolution(op) if activation == Activation::Relu && !op.relu && op.pooled.is_none() => {
            (op.relu, op.relu_slope) = (true, true);
        }
        Op::BatchNorm(op) if op.activation == Activation::None => (op.activation, op.slope) = (activation, activation),
        Op::Pool(op) if op.kind == PoolKind::Max && op.activation == Activation::None => op.activation = activation,
        Op::Add(op) if op.activation == Activation::None => op.activation = activation,
        _ => return false,
    }
    swallow(network, producer, index, name(activation));
    true
}

/// `op+activation, average pooling` becomes `op+activation, average pooling(slope of activation)`: both gradients of a
/// convolution would read the slope.
fn move_slope(network: &mut Network, index: usize) {
    let Some(producer) = only_producer(network, index) else { return };
    let (before, after) = network.nodes_mut().split_at_mut(index);
    let (producer, reader) = (&mut before[producer], &mut after[0]);
    let Op::Pool(pool) = &mut reader.op else { return };
    let slope = match &producer.op {
        Op::Convolution(op) if op.relu_slope => Activation::Relu,
        Op::BatchNorm(op) => op.slope,
        _ => Activation::None,
    };
    if pool.kind != PoolKind::Average || slope == Activation::None {
        return;
    }
    pool.input_activation = slope;
    match &mut producer.op {
        Op::Convolution(op) => op.relu_slope = false,
        Op::BatchNorm(op) => op.slope = Activation::None,
        _ => {}
    }
    reader.name = format!("{}(slope of {})", reader.name, name(slope));
}

/// `convolution of the images, max pooling` becomes `convolution+pooling`.
fn fuse_pooling(network: &mut Network, index: usize) {
    let Some(producer) = only_producer(network, index) else { return };
    let (images, nodes) = (network.input(), network.nodes());
    let (Op::Convolution(convolution), Op::Pool(pool)) = (&nodes[producer].op, &nodes[index].op) else { return };
    if nodes[producer].inputs != [images]
        || pool.kind != PoolKind::Max
        || convolution.relu
        || convolution.pooled.is_some()
    {
        return;
    }
    let Some(pooled) = PooledConv2d::new(convolution.geometry, pool.geometry, pool.activation) else { return };
    if let Op::Convolution(convolution) = &mut network.nodes_mut()[producer].op {
        convolution.pooled = Some(pooled);
    }
    let name = network.nodes()[index].name.clone();
    swallow(network, producer, index, &name);
}

/// The node that makes the first input of node `index`, if nothing else reads that.
fn only_producer(network: &Network, index: usize) -> Option<usize> {
    let input = network.nodes()[index].inputs[0];
    network.producer(input).filter(|_| network.is_read_once(input))
}

/// Makes node `index`, of that name, part of the node before it.
fn swallow(network: &mut Network, producer: usize, index: usize, name: &str) {
    let swallowed = network.nodes_mut().remove(index);
    let node = &mut network.nodes_mut()[producer];
    node.name = format!("{}+{name}", node.name);
    node.output = swallowed.output;
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
    use crate::network::{BuildError, Value};
    use crate::op::{BatchNorm, Convolution, Linear, Pool};
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
