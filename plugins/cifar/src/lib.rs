//! The CIFAR-10 networks of Caffe, as a clr-run plugin: what Smith (2017) trained in Tables 1 and 3 and in Figure 6.
//!
//! Each is written as in `examples/cifar10/*.prototxt`, layer by layer and under the same names. They fit any number of
//! classes and channels, and any image that leaves a pixel after three poolings: 8 x 8 and more.

use clr_nn::{
    Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Lrn, LrnRegion, Network, Options,
    Parameter, Pool, Published, Value,
};

/// The family of networks.
#[derive(Debug)]
pub struct Cifar;

impl Family for Cifar {
    const NAME: &'static str = "cifar";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        // The solvers of the sigmoid networks have their weight decay commented out.
        [
            ("cifar10_quick", 0.004, cifar10_quick as fn(&mut Network, &Options) -> Result<(), BuildError>),
            ("cifar10_full", 0.004, cifar10_full),
            ("cifar10_full_sigmoid", 0.0, cifar10_full_sigmoid),
            ("cifar10_full_sigmoid_bn", 0.0, cifar10_full_sigmoid_bn),
        ]
        .map(|(name, weight_decay, build)| Architecture {
            name,
            options_schema: r#"{"type": "object", "properties": {}, "additionalProperties": false}"#,
            published: Published { momentum: 0.9, weight_decay },
            build,
        })
        .to_vec()
    }
}

clr_nn::export!(Cifar);

fn cifar10_quick(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = network.convolution("conv1", x, conv5(32, gaussian(1e-4), bias(2.0)))?;
    let x = network.pool("pool1", x, Pool::max(3, 2))?;
    let x = network.relu(x)?;
    let x = network.convolution("conv2", x, conv5(32, gaussian(0.01), bias(2.0)))?;
    let x = network.relu(x)?;
    let x = network.pool("pool2", x, Pool::average(3, 2))?;
    let x = network.convolution("conv3", x, conv5(64, gaussian(0.01), bias(2.0)))?;
    let x = network.relu(x)?;
    let x = network.pool("pool3", x, Pool::average(3, 2))?;
    let x = network.linear("ip1", x, Linear { outputs: 64, weight: gaussian(0.1), bias: bias(2.0) })?;
    let outputs = network.class_count();
    let x = network.linear("ip2", x, Linear { outputs, weight: gaussian(0.1), bias: bias(2.0) })?;
    network.logits(x)
}

fn cifar10_full(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = network.convolution("conv1", x, conv5(32, gaussian(1e-4), bias(2.0)))?;
    let x = network.pool("pool1", x, Pool::max(3, 2))?;
    let x = network.relu(x)?;
    let x = norm(network, "norm1", x)?;
    let x = network.convolution("conv2", x, conv5(32, gaussian(0.01), bias(2.0)))?;
    let x = network.relu(x)?;
    let x = network.pool("pool2", x, Pool::average(3, 2))?;
    let x = norm(network, "norm2", x)?;
    // No `param` block: its bias learns at the common rate.
    let x = network.convolution("conv3", x, conv5(64, gaussian(0.01), bias(1.0)))?;
    let x = network.relu(x)?;
    let x = network.pool("pool3", x, Pool::average(3, 2))?;
    // With the solver's weight decay of 0.004 the weights decay by 1.0.
    let decay = (250.0, 0.0);
    scores(network, x, 2.0, decay)
}

fn cifar10_full_sigmoid(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let x = network.convolution("conv1", x, conv5(32, gaussian(1e-4), bias(2.0)))?;
    let x = network.pool("pool1", x, Pool::max(3, 2))?;
    let x = network.sigmoid(x)?;
    let x = network.convolution("conv2", x, conv5(32, gaussian(0.01), bias(2.0)))?;
    let x = network.sigmoid(x)?;
    let x = network.pool("pool2", x, Pool::average(3, 2))?;
    let x = network.convolution("conv3", x, conv5(64, gaussian(0.01), bias(1.0)))?;
    let x = network.sigmoid(x)?;
    let x = network.pool("pool3", x, Pool::average(3, 2))?;
    scores(network, x, 2.0, (0.0, 0.0))
}

/// As Caffe has had it since October 2015: no biases before the normalisation, and no Scale layers after it.
fn cifar10_full_sigmoid_bn(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let batch_norm = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-5 };
    let x = network.input();
    let x = network.convolution("conv1", x, conv5(32, gaussian(1e-4), None))?;
    let x = network.pool("pool1", x, Pool::max(3, 2))?;
    let x = network.batch_norm("bn1", x, batch_norm)?;
    let x = network.sigmoid(x)?;
    let x = network.convolution("conv2", x, conv5(32, gaussian(0.01), None))?;
    let x = network.batch_norm("bn2", x, batch_norm)?;
    let x = network.sigmoid(x)?;
    let x = network.pool("pool2", x, Pool::average(3, 2))?;
    let x = network.convolution("conv3", x, conv5(64, gaussian(0.01), None))?;
    let x = network.batch_norm("bn3", x, batch_norm)?;
    let x = network.sigmoid(x)?;
    let x = network.pool("pool3", x, Pool::average(3, 2))?;
    scores(network, x, 1.0, (1.0, 0.0))
}

/// `filters` kernels of 5 x 5 that keep the size of the image.
fn conv5(filters: usize, weight: Parameter, bias: Option<Parameter>) -> Convolution {
    Convolution::new(filters, 5, weight, bias).pad(2)
}

fn norm(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
    network.lrn(name, x, Lrn { region: LrnRegion::WithinChannel, size: 3, alpha: 5e-5, beta: 0.75 })
}

/// `ip1`, the last layer: its bias's learning rate, and what weight and bias multiply the weight decay by.
fn scores(
    network: &mut Network,
    x: Value,
    bias_lr_mult: f32,
    (weight_decay_mult, bias_decay_mult): (f32, f32),
) -> Result<(), BuildError> {
    let weight = gaussian(0.01).decay_mult(weight_decay_mult);
    let bias = bias(bias_lr_mult).map(|bias| bias.decay_mult(bias_decay_mult));
    let outputs = network.class_count();
    let x = network.linear("ip1", x, Linear { outputs, weight, bias })?;
    network.logits(x)
}

fn gaussian(std: f32) -> Parameter {
    Parameter::new(Initializer::Gaussian { std })
}

/// Biases start at 0.
fn bias(lr_mult: f32) -> Option<Parameter> {
    Some(Parameter::new(Initializer::Constant { value: 0.0 }).lr_mult(lr_mult))
}
