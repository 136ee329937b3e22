//! Residual networks, as a clr-run plugin: those of CIFAR (He et al. 2016) and of stochastic depth (Huang et al. 2016), which
//! Smith (2017) trained in Table 4; those of super-convergence (Smith and Topin 2017); and those of ImageNet.
//!
//! Layers have the names that torchvision gives them, or the authors' files of Caffe, so that weights are found where their
//! users look for them.

mod cifar;
mod imagenet;
mod stochastic_depth;
mod super_convergence;

use clr_nn::{
    Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Network, Options, Parameter,
};
use clr_nn::{Pool, Published, Value};
use imagenet::Blocks::{Basic, Bottleneck};

/// The family of networks.
#[derive(Debug)]
pub struct Resnet;

impl Family for Resnet {
    const NAME: &'static str = "resnet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        [
            ("cifar_resnet", cifar::OPTIONS, cifar::build as Build),
            ("stochastic_depth", stochastic_depth::OPTIONS, stochastic_depth::build),
            ("super_convergence", super_convergence::OPTIONS, super_convergence::build),
            ("resnet18", imagenet::OPTIONS, |network, options| imagenet::build(network, options, Basic, [2, 2, 2, 2])),
            ("resnet34", imagenet::OPTIONS, |network, options| imagenet::build(network, options, Basic, [3, 4, 6, 3])),
            ("resnet50", imagenet::OPTIONS, |network, options| {
                imagenet::build(network, options, Bottleneck, [3, 4, 6, 3])
            }),
        ]
        .map(|(name, options_schema, build)| Architecture {
            name,
            options_schema,
            published: Published { momentum: 0.9, weight_decay: 1e-4 },
            build,
        })
        .to_vec()
    }
}

clr_nn::export!(Resnet);

type Build = fn(&mut Network, &Options) -> Result<(), BuildError>;

/// A convolution without bias that keeps the size of the image, but for its stride, and starts as in fb.resnet.torch:
/// normal with deviation `sqrt(2 / (size² filters))`, by the outputs that each input reaches (He et al. 2015).
fn convolution(filters: usize, size: usize, stride: usize) -> Convolution {
    let std = (2.0 / (size * size * filters) as f64).sqrt() as f32;
    Convolution::new(filters, size, Parameter::new(Initializer::Gaussian { std }), None).pad(size / 2).stride(stride)
}

/// Torch's batch normalisation with its defaults, 1 and 0 at the start.
fn batch_norm(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
    let [weight, bias] = [1.0, 0.0].map(|value| Parameter::new(Initializer::Constant { value }));
    network.batch_norm(name, x, BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight, bias })
}

/// The mean of each channel, and the scores of the classes from it by Torch's `Linear`, whose bias some set to 0.
fn scores(network: &mut Network, x: Value, zero_bias: bool) -> Result<(), BuildError> {
    let x = network.pool("avgpool", x, Pool::global_average())?;
    let bound = 1.0 / (network.shape(x).len() as f32).sqrt();
    let random = Initializer::Uniform { low: -bound, high: bound };
    let bias = if zero_bias { Initializer::Constant { value: 0.0 } } else { random };
    let (weight, bias) = (Parameter::new(random), Some(Parameter::new(bias)));
    let outputs = network.class_count();
    let x = network.linear("fc", x, Linear { outputs, weight, bias })?;
    network.logits(x)
}
