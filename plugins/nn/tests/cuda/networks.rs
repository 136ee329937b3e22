//! Tiny networks that between them have every layer.

use clr_nn::{
    Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Lrn, LrnRegion, Network, Options,
    Parameter, Pool, Published, Value,
};

/// The family of them.
pub struct Tiny;

impl Family for Tiny {
    const NAME: &'static str = "tiny";
    const VERSION: &'static str = "0";
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        let plain = plain as fn(&mut Network, &Options) -> Result<(), BuildError>;
        [("plain", plain), ("residual", residual), ("branches", branches), ("linear", linear)]
            .map(|(name, build)| Architecture {
                name,
                options_schema: r#"{"type": "object", "properties": {}}"#,
                published: Published { momentum: 0.9, weight_decay: 0.004 },
                build,
            })
            .to_vec()
    }
}

fn weight() -> Parameter {
    Parameter::new(Initializer::Msra)
}

fn bias() -> Option<Parameter> {
    Some(Parameter::new(Initializer::Gaussian { std: 0.1 }).lr_mult(2.0).decay_mult(0.0))
}

/// As the networks of CIFAR-10: activations and slopes in the passes of other layers, both kinds of pooling and of LRN.
fn plain(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = network.convolution("conv1", x, Convolution::new(8, 3, weight(), bias()).pad(1))?;
    let x = network.pool("pool1", x, Pool::max(3, 2))?;
    let x = network.relu(x)?;
    let x = network.lrn("norm1", x, lrn(LrnRegion::WithinChannel))?;
    let x = network.convolution("conv2", x, Convolution::new(12, 3, weight(), bias()).pad(1).groups(2))?;
    let x = network.relu(x)?;
    let x = network.pool("pool2", x, Pool::average(3, 2))?;
    let x = network.lrn("norm2", x, lrn(LrnRegion::AcrossChannels))?;
    let x = network.batch_norm("bn", x, BatchNorm::Caffe { moving_average_fraction: 0.9, epsilon: 1e-3 })?;
    let x = network.sigmoid(x)?;
    let x = network.dropout("drop", x, 0.3)?;
    scores(network, x)
}

fn lrn(region: LrnRegion) -> Lrn {
    Lrn { region, size: 3, alpha: 0.5, beta: 0.75 }
}

/// A block of ResNet that shrinks the image, with a shortcut that is read twice.
fn residual(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = normalised(network, "conv1", x, 8, 1)?;
    let x = network.relu(x)?;
    let y = normalised(network, "conv2", x, 12, 2)?;
    let y = network.sigmoid(y)?;
    let y = normalised(network, "conv3", y, 12, 1)?;
    let shortcut = network.subsample("shortcut", x, 2, 12)?;
    let x = network.add("sum1", y, shortcut)?;
    let x = network.relu(x)?;
    let y = network.sigmoid(x)?;
    let x = network.add("sum2", x, y)?;
    let x = network.pool("pool", x, Pool::average(4, 4))?;
    scores(network, x)
}

/// Branches side by side, an auxiliary loss, and blocks that coins leave out.
fn branches(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = network.convolution("conv1", x, Convolution::new(6, 3, weight(), bias()).pad(1))?;
    let x = network.relu(x)?;
    let a = network.convolution("a", x, Convolution::new(3, 1, weight(), bias()))?;
    let b = network.pool("b", x, Pool::max(3, 1).pad(1))?;
    let x = network.concat("block", &[a, x, b])?;
    let head = network.pool("head.pool", x, Pool::average(5, 3).floor())?;
    let head =
        network.linear("head", head, Linear { outputs: network.class_count(), weight: weight(), bias: bias() })?;
    network.auxiliary_loss("head.loss", head, 0.3)?;
    let y = normalised(network, "deep1", x, 15, 1)?;
    let y = network.stochastic_depth("depth1", y, 0.6)?;
    let x = network.add("sum1", x, y)?;
    let x = network.relu(x)?;
    let y = normalised(network, "deep2", x, 15, 1)?;
    let z = normalised(network, "deep3", y, 15, 1)?;
    let z = network.stochastic_depth("depth3", z, 0.5)?;
    let y = network.add("sum3", y, z)?;
    let y = network.stochastic_depth("depth2", y, 0.7)?;
    let x = network.add("sum2", x, y)?;
    let x = network.pool("pool", x, Pool::global_average())?;
    scores(network, x)
}

fn normalised(network: &mut Network, name: &str, x: Value, filters: usize, stride: usize) -> Result<Value, BuildError> {
    let x = network.convolution(name, x, Convolution::new(filters, 3, weight(), None).pad(1).stride(stride))?;
    let [weight, bias] = [1.0, 0.0].map(|value| Parameter::new(Initializer::Constant { value }));
    network.batch_norm(&format!("{name}.bn"), x, BatchNorm::Torch { momentum: 0.1, epsilon: 1e-3, weight, bias })
}

/// Quick, for many steps.
fn linear(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.pool("pool", network.input(), Pool::average(4, 4))?;
    scores(network, x)
}

fn scores(network: &mut Network, x: Value) -> Result<(), BuildError> {
    let outputs = network.class_count();
    let x = network.linear("ip1", x, Linear { outputs, weight: weight(), bias: bias() })?;
    network.logits(x)
}
