//! The graph of a network: values that nodes make of values, with shapes checked as it is described.

use std::ops::Range;

use clr_kernels::Activation;
use clr_kernels::conv2d::Algorithm;

use crate::op::{
    Add, BatchNorm, BatchNormOp, Concat, Convolution, ConvolutionOp, Dropout, Linear, LinearOp, Lrn, LrnOp, Op, Pool,
    PoolOp, StochasticDepth, SubsampleOp,
};
use crate::parameter::Parameter;
use crate::shape::Shape;

/// A network under construction, and the finished list of nodes. A node stands after those it depends on.
#[derive(Debug)]
pub struct Network {
    shapes: Vec<Shape>,
    nodes: Vec<Node>,
    parameters: Vec<ParameterSlot>,
    buffers: Vec<Buffer>,
    /// Of layers, each once.
    names: Vec<String>,
    dropout_words: u64,
    class_count: usize,
    logits: Option<Value>,
    /// Further scores that are trained, and the weights of their losses.
    auxiliary: Vec<(Value, f32)>,
    /// How convolutions are computed.
    algorithm: Algorithm,
}

/// A value between layers: the network's input, or the output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub(crate) usize);

/// A network that cannot be, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A layer that does not fit its input.
    #[error("layer {layer}: {problem} (its input is {} x {} x {})", input.height, input.width, input.channels)]
    Layer {
        layer: String,
        problem: String,
        /// The shape of the layer's input.
        input: Shape,
    },
    /// Anything else about the description.
    #[error("{0}")]
    Network(String),
}

/// An operation, and the values that it reads and makes.
#[derive(Debug)]
pub(crate) struct Node {
    /// The layer's name, or what an activation is; and what is fused with it.
    pub name: String,
    /// One, two where values are added, or any number where they are concatenated.
    pub inputs: Vec<Value>,
    pub output: Value,
    pub op: Op,
    /// The range of its parameters in the flat buffer of all parameters.
    pub parameters: Range<usize>,
    /// The range of its buffers in the flat buffer of all buffers.
    pub buffers: Range<usize>,
}

/// A named part of the flat buffer of all parameters.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSlot {
    pub name: String,
    pub shape: Vec<usize>,
    pub fan_in: usize,
    pub range: Range<usize>,
    pub parameter: Parameter,
}

/// A named part of the flat buffer of what layers keep between steps, such as running means.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub name: String,
    pub range: Range<usize>,
    pub initial: f32,
}

impl Network {
    /// An empty network for images of a shape (height, width, channels) in so many classes.
    pub fn new([height, width, channels]: [usize; 3], class_count: usize) -> Network {
        Network {
            shapes: vec![Shape { height, width, channels }],
            nodes: Vec::new(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            names: Vec::new(),
            dropout_words: 0,
            class_count,
            logits: None,
            auxiliary: Vec::new(),
            algorithm: Algorithm::default(),
        }
    }

    /// Sets how the convolutions that follow are computed.
    #[must_use]
    pub(crate) fn convolved_by(self, algorithm: Algorithm) -> Network {
        Network { algorithm, ..self }
    }

    pub fn input(&self) -> Value {
        Value(0)
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.shapes[value.0]
    }

    /// How many classes the network has to tell apart.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// Convolution, with `NAME.weight` of `[size][size][channels / groups][filters]` and `NAME.bias`.
    pub fn convolution(&mut self, name: &str, input: Value, convolution: Convolution) -> Result<Value, BuildError> {
        let op = self.fitted(name, input, ConvolutionOp::new(convolution, self.shape(input), self.algorithm))?;
        let shape = vec![convolution.size, convolution.size, op.channels_per_group(), convolution.filters];
        let fan_in = convolution.size * convolution.size * op.channels_per_group();
        self.push_parameter(format!("{name}.weight"), shape, fan_in, convolution.weight);
        if let Some(bias) = convolution.bias {
            self.push_parameter(format!("{name}.bias"), vec![convolution.filters], 1, bias);
        }
        Ok(self.push(name, &[input], op.output_shape(), Op::Convolution(op)))
    }

    /// A fully connected layer, with `NAME.weight` of `[inputs][outputs]` and `NAME.bias`. An image is flattened as it
    /// lies in memory, channels fastest.
    pub fn linear(&mut self, name: &str, input: Value, linear: Linear) -> Result<Value, BuildError> {
        let inputs = self.shape(input).len();
        let op = self.fitted(name, input, LinearOp::new(linear, self.shape(input)))?;
        self.push_parameter(format!("{name}.weight"), vec![inputs, linear.outputs], inputs, linear.weight);
        if let Some(bias) = linear.bias {
            self.push_parameter(format!("{name}.bias"), vec![linear.outputs], 1, bias);
        }
        Ok(self.push(name, &[input], op.output_shape(), Op::Linear(op)))
    }

    /// Max or average pooling.
    pub fn pool(&mut self, name: &str, input: Value, pool: Pool) -> Result<Value, BuildError> {
        let op = self.fitted(name, input, PoolOp::new(pool, self.shape(input)))?;
        Ok(self.push(name, &[input], op.output_shape(), Op::Pool(op)))
    }

    pub fn lrn(&mut self, name: &str, input: Value, lrn: Lrn) -> Result<Value, BuildError> {
        let op = self.fitted(name, input, LrnOp::new(lrn, self.shape(input)))?;
        Ok(self.push(name, &[input], self.shape(input), Op::Lrn(op)))
    }

    /// Batch normalisation, with what its form has of weights and running statistics.
    pub fn batch_norm(&mut self, name: &str, input: Value, batch_norm: BatchNorm) -> Result<Value, BuildError> {
        let channels = self.shape(input).channels;
        let op = self.fitted(name, input, BatchNormOp::new(batch_norm, self.shape(input)))?;
        if let Some((weight, bias)) = batch_norm.affine() {
            self.push_parameter(format!("{name}.weight"), vec![channels], 1, weight);
            self.push_parameter(format!("{name}.bias"), vec![channels], 1, bias);
        }
        for (suffix, len, initial) in op.buffers() {
            self.push_buffer(format!("{name}.{suffix}"), len, initial);
        }
        Ok(self.push(name, &[input], self.shape(input), Op::BatchNorm(op)))
    }

    /// The sum of two values of one shape: where a residual branch meets its shortcut.
    pub fn add(&mut self, name: &str, a: Value, b: Value) -> Result<Value, BuildError> {
        let (shape, other) = (self.shape(a), self.shape(b));
        let problem = || format!("it is added to {} x {} x {}", other.height, other.width, other.channels);
        let fits = shape == other && a != b;
        let op = self.fitted(name, a, fits.then_some(Add { activation: Activation::None }).ok_or_else(problem))?;
        Ok(self.push(name, &[a, b], shape, Op::Add(op)))
    }

    /// The channels of several values side by side, in this order. The values have one height and width.
    pub fn concat(&mut self, name: &str, inputs: &[Value]) -> Result<Value, BuildError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let first = inputs.first().copied().unwrap_or(self.input());
        let (op, shape) = self.fitted(name, first, Concat::new(&shapes))?;
        Ok(self.push(name, inputs, shape, Op::Concat(op)))
    }

    /// Zeros behind the channels of a value, to make `channels` of them.
    pub fn pad_channels(&mut self, name: &str, input: Value, channels: usize) -> Result<Value, BuildError> {
        self.subsample(name, input, 1, channels)
    }

    /// Stochastic depth (Huang et al. 2016): in training, the branch is there in a batch with probability `survival`, and otherwise
    /// zero; evaluation multiplies it by `survival`. What only the branch needs is left out with it: it has no gradients, though
    /// weight decay and momentum move its weights, and its normalisation remembers nothing of the batch. Its sum with a shortcut is
    /// [`Network::add`]'s.
    pub fn stochastic_depth(&mut self, name: &str, branch: Value, survival: f32) -> Result<Value, BuildError> {
        let op = self.fitted(name, branch, StochasticDepth::new(self.coins().count(), survival))?;
        Ok(self.push(name, &[branch], self.shape(branch), Op::StochasticDepth(op)))
    }

    /// Every `stride`-th pixel, with zeros behind its channels to make `channels` of them: the shortcut where a residual
    /// network's image shrinks and its channels grow (He et al. 2016, option A).
    pub fn subsample(&mut self, name: &str, input: Value, stride: usize, channels: usize) -> Result<Value, BuildError> {
        let op = self.fitted(name, input, SubsampleOp::new(stride, channels, self.shape(input)))?;
        Ok(self.push(name, &[input], op.output_shape(), Op::Subsample(op)))
    }

    pub fn relu(&mut self, input: Value) -> Result<Value, BuildError> {
        Ok(self.push("relu", &[input], self.shape(input), Op::Activation(Activation::Relu)))
    }

    pub fn sigmoid(&mut self, input: Value) -> Result<Value, BuildError> {
        Ok(self.push("sigmoid", &[input], self.shape(input), Op::Activation(Activation::Sigmoid)))
    }

    /// Dropout: in training, values become 0 with `probability`, and the others are divided by 1 - `probability`.
    pub fn dropout(&mut self, name: &str, input: Value, probability: f32) -> Result<Value, BuildError> {
        let probability = (0.0..1.0).contains(&probability).then_some(probability);
        let problem = || "a dropout probability outside 0 (included) to 1 (excluded)".to_owned();
        let probability = self.fitted(name, input, probability.ok_or_else(problem))?;
        let first_word = self.dropout_words;
        // A multiple of the four words that random bits come in.
        self.dropout_words += self.shape(input).len().next_multiple_of(4) as u64;
        Ok(self.push(name, &[input], self.shape(input), Op::Dropout(Dropout { probability, first_word })))
    }

    /// Names the scores that softmax and cross-entropy are taken of, one for each class. Training, evaluation and the metrics of
    /// both are about them.
    pub fn logits(&mut self, value: Value) -> Result<(), BuildError> {
        let found = self.shape(value).len();
        if found != self.class_count {
            return Err(BuildError::Network(format!(
                "the network ends in {found} scores for {} classes",
                self.class_count
            )));
        }
        if self.logits.is_some() || self.is_scored(value) || self.producer(value).is_none() {
            return Err(BuildError::Network("the scores must be made by a layer, and be named once".to_owned()));
        }
        self.logits = Some(value);
        Ok(())
    }

    /// Trains further scores too: `weight` times their cross-entropy is added to the loss. As in Caffe, the metrics stay those of
    /// [`Network::logits`], and evaluation leaves out what only auxiliary losses need.
    pub fn auxiliary_loss(&mut self, name: &str, scores: Value, weight: f32) -> Result<(), BuildError> {
        let found = self.shape(scores).len();
        let problem = if found != self.class_count {
            Some(format!("{found} scores for {} classes", self.class_count))
        } else if self.is_scored(scores) || self.producer(scores).is_none() {
            Some("the scores must be made by a layer, and be named once".to_owned())
        } else if !(weight.is_finite() && weight > 0.0) {
            Some(format!("a weight of {weight}: expected a number above 0"))
        } else {
            None
        };
        self.fitted(name, scores, problem.map_or(Ok(()), Err))?;
        self.auxiliary.push((scores, weight));
        Ok(())
    }

    /// True if the description is complete.
    pub(crate) fn finish(self) -> Result<Network, BuildError> {
        if self.logits.is_none() {
            return Err(BuildError::Network("the description of the network names no scores".to_owned()));
        }
        let mut nodes = self.nodes.iter();
        let unread = nodes.find(|node| !self.is_scored(node.output) && self.readers(node.output).next().is_none());
        match unread {
            Some(node) => Err(BuildError::Network(format!("nothing reads the output of {}", node.name))),
            None => Ok(self),
        }
    }

    /// The scores of the metrics.
    pub(crate) fn scores(&self) -> Value {
        self.logits.unwrap_or(self.input())
    }

    /// The scores of each loss and its weight, those of the metrics first.
    pub(crate) fn losses(&self) -> impl Iterator<Item = (Value, f32)> {
        self.logits.map(|logits| (logits, 1.0)).into_iter().chain(self.auxiliary.iter().copied())
    }

    pub(crate) fn is_scored(&self, value: Value) -> bool {
        self.losses().any(|(scores, _)| scores == value)
    }

    /// True if one node reads a value, and no loss does.
    pub(crate) fn is_read_once(&self, value: Value) -> bool {
        self.readers(value).count() == 1 && !self.is_scored(value)
    }

    /// How many values there are, the images and those that fusion did away with among them.
    pub(crate) fn value_count(&self) -> usize {
        self.shapes.len()
    }

    /// The nodes of stochastic depth, by the numbers of their coins.
    pub(crate) fn coins(&self) -> impl Iterator<Item = (usize, StochasticDepth)> {
        let coin = |(index, node): (usize, &Node)| match node.op {
            Op::StochasticDepth(op) => Some((index, op)),
            _ => None,
        };
        self.nodes.iter().enumerate().filter_map(coin)
    }

    /// The nodes that read a value, in order.
    pub(crate) fn readers(&self, value: Value) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.inputs.contains(&value)).map(|(index, _)| index)
    }

    /// The node that makes a value; none makes the images.
    pub(crate) fn producer(&self, value: Value) -> Option<usize> {
        self.nodes.iter().position(|node| node.output == value)
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.nodes
    }

    pub(crate) fn parameters(&self) -> &[ParameterSlot] {
        &self.parameters
    }

    pub(crate) fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    pub(crate) fn parameter_len(&self) -> usize {
        self.parameters.last().map_or(0, |parameter| parameter.range.end)
    }

    pub(crate) fn buffer_len(&self) -> usize {
        self.buffers.last().map_or(0, |buffer| buffer.range.end)
    }

    /// Takes a layer's name, if the layer fits.
    fn fitted<T>(&mut self, name: &str, input: Value, op: Result<T, String>) -> Result<T, BuildError> {
        let taken = self.names.iter().any(|taken| taken == name).then(|| "another layer has this name".to_owned());
        self.names.push(name.to_owned());
        taken.map_or(op, Err).map_err(|problem| BuildError::Layer {
            layer: name.to_owned(),
            problem,
            input: self.shape(input),
        })
    }

    fn push_parameter(&mut self, name: String, shape: Vec<usize>, fan_in: usize, parameter: Parameter) {
        let start = self.parameter_len();
        let range = start..start + shape.iter().product::<usize>();
        self.parameters.push(ParameterSlot { name, shape, fan_in, range, parameter });
    }

    fn push_buffer(&mut self, name: String, len: usize, initial: f32) {
        let start = self.buffer_len();
        self.buffers.push(Buffer { name, range: start..start + len, initial });
    }

    fn push(&mut self, name: &str, inputs: &[Value], shape: Shape, op: Op) -> Value {
        let parameters = self.nodes.last().map_or(0, |node| node.parameters.end)..self.parameter_len();
        let buffers = self.nodes.last().map_or(0, |node| node.buffers.end)..self.buffer_len();
        let output = Value(self.shapes.len());
        self.nodes.push(Node { name: name.to_owned(), inputs: inputs.to_vec(), output, op, parameters, buffers });
        self.shapes.push(shape);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;

    const WEIGHT: Parameter = Parameter::new(Initializer::Xavier);

    #[track_caller]
    fn check(describe: impl FnOnce(&mut Network) -> Result<(), BuildError>, expected: &str) {
        let mut network = Network::new([5, 4, 3], 10);
        let error = describe(&mut network).and_then(|()| network.finish().map(drop)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        check(
            |network| network.convolution("conv1", Value(0), Convolution::new(8, 7, WEIGHT, None).pad(1)).map(drop),
            "layer conv1: a kernel of 7 x 7 is larger than the image padded by 1 (its input is 5 x 4 x 3)",
        );
        check(
            |network| network.convolution("conv1", Value(0), Convolution::new(8, 3, WEIGHT, None).groups(2)).map(drop),
            "layer conv1: 8 filters on 3 channels do not divide into 2 groups (its input is 5 x 4 x 3)",
        );
        check(
            |network| network.pool("pool1", Value(0), Pool::max(9, 2)).map(drop),
            "layer pool1: the image is too small for pooling by 9 with stride 2 (its input is 5 x 4 x 3)",
        );
        check(
            |network| network.pool("pool1", Value(0), Pool::max(3, 0)).map(drop),
            "layer pool1: a window of 3, stride 0, padding 0: expected a window of 1 to 15, a stride of at least 1, and less \
             padding than window (its input is 5 x 4 x 3)",
        );
        check(
            |network| network.stochastic_depth("depth1", Value(0), 0.0).map(drop),
            "layer depth1: a survival of 0: expected a number above 0, and at most 1 (its input is 5 x 4 x 3)",
        );
        check(
            |network| network.dropout("drop1", Value(0), 1.0).map(drop),
            "layer drop1: a dropout probability outside 0 (included) to 1 (excluded) (its input is 5 x 4 x 3)",
        );
    }

    #[test]
    fn networks_without_an_end_are_refused() {
        check(|_| Ok(()), "the description of the network names no scores");
        check(
            |network| {
                let x = network.linear("ip1", Value(0), Linear { outputs: 9, weight: WEIGHT, bias: None })?;
                network.logits(x)
            },
            "the network ends in 9 scores for 10 classes",
        );
        check(
            |network| {
                let x = network.linear("ip1", Value(0), Linear { outputs: 10, weight: WEIGHT, bias: None })?;
                network.logits(x)?;
                network.logits(x)
            },
            "the scores must be made by a layer, and be named once",
        );
    }

    #[test]
    fn names_are_given_once_and_values_are_read() {
        check(
            |network| {
                let x = network.pool("pool1", Value(0), Pool::max(3, 2))?;
                network.pool("pool1", x, Pool::max(2, 1)).map(drop)
            },
            "layer pool1: another layer has this name (its input is 2 x 2 x 3)",
        );
        check(
            |network| {
                network.pool("pool1", Value(0), Pool::max(3, 2))?;
                let x = network.linear("ip1", Value(0), Linear { outputs: 10, weight: WEIGHT, bias: None })?;
                network.logits(x)
            },
            "nothing reads the output of pool1",
        );
    }

    #[test]
    fn only_values_of_one_shape_are_added() {
        check(
            |network| {
                let x = network.pool("pool1", Value(0), Pool::max(3, 2))?;
                network.add("sum", x, Value(0)).map(drop)
            },
            "layer sum: it is added to 5 x 4 x 3 (its input is 2 x 2 x 3)",
        );
    }

    #[test]
    fn only_values_of_one_height_and_width_are_concatenated() {
        check(
            |network| {
                let x = network.pool("pool1", Value(0), Pool::max(3, 2))?;
                network.concat("both", &[x, Value(0)]).map(drop)
            },
            "layer both: beside it stands 5 x 4 x 3 (its input is 2 x 2 x 3)",
        );
        check(
            |network| network.concat("none", &[]).map(drop),
            "layer none: a concatenation of nothing (its input is 5 x 4 x 3)",
        );
    }

    #[test]
    fn auxiliary_losses_that_cannot_be_are_refused() {
        let linear = |network: &mut Network, name: &str, outputs| {
            network.linear(name, Value(0), Linear { outputs, weight: WEIGHT, bias: None })
        };
        check(
            |network| {
                let x = linear(network, "ip1", 9)?;
                network.auxiliary_loss("loss1", x, 0.3)
            },
            "layer loss1: 9 scores for 10 classes (its input is 1 x 1 x 9)",
        );
        check(
            |network| {
                let x = linear(network, "ip1", 10)?;
                network.auxiliary_loss("loss1", x, f32::NAN)
            },
            "layer loss1: a weight of NaN: expected a number above 0 (its input is 1 x 1 x 10)",
        );
        check(
            |network| {
                let x = linear(network, "ip1", 10)?;
                network.auxiliary_loss("loss1", x, 0.3)?;
                network.logits(x)
            },
            "the scores must be made by a layer, and be named once",
        );
        check(
            |network| {
                let x = linear(network, "ip1", 10)?;
                network.auxiliary_loss("loss1", x, 0.3)
            },
            "the description of the network names no scores",
        );
    }

    #[test]
    fn parameters_lie_one_after_the_other() {
        let mut network = Network::new([5, 4, 3], 10);
        let bias = Some(WEIGHT);
        let x =
            network.convolution("conv1", Value(0), Convolution::new(6, 3, WEIGHT, bias).groups(3).stride(2)).unwrap();
        let x = network.linear("ip1", x, Linear { outputs: 10, weight: WEIGHT, bias }).unwrap();
        network.logits(x).unwrap();
        let slots = network.parameters().iter();
        let found: Vec<_> =
            slots.map(|slot| (&slot.name[..], &slot.shape[..], slot.fan_in, slot.range.clone())).collect();
        let expected: [(&str, &[usize], usize, Range<usize>); 4] = [
            ("conv1.weight", &[3, 3, 1, 6], 9, 0..54),
            ("conv1.bias", &[6], 1, 54..60),
            ("ip1.weight", &[12, 10], 12, 60..180),
            ("ip1.bias", &[10], 1, 180..190),
        ];
        assert_eq!(found, expected);
        assert_eq!([&network.nodes()[0].parameters, &network.nodes()[1].parameters], [&(0..60), &(60..190)]);
    }
}
