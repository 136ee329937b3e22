//! Residual networks, as a clr-run plugin: those of CIFAR (He et al. 2016), which Smith (2017) trained in Table 4.
//!
//! Layers have the names that torchvision gives them, so that weights are found where a user of PyTorch looks for them.

mod cifar;

use clr_nn::{Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Network, Parameter, Pool};
use clr_nn::{Published, Value};

/// The family of networks.
#[derive(Debug)]
pub struct Resnet;

impl Family for Resnet {
    const NAME: &'static str = "resnet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        let published = Published { momentum: 0.9, weight_decay: 1e-4 };
        vec![Architecture { name: "cifar_resnet", options_schema: cifar::OPTIONS, published, build: cifar::build }]
    }
}

clr_nn::export!(Resnet);

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

/// The mean of each channel, and the scores of the classes from it: Torch's `Linear` with its bias at 0.
fn scores(network: &mut Network, x: Value) -> Result<(), BuildError> {
    let side = network.shape(x).height;
    let x = network.pool("avgpool", x, Pool::average(side, side))?;
    let bound = 1.0 / (network.shape(x).len() as f32).sqrt();
    let weight = Parameter::new(Initializer::Uniform { low: -bound, high: bound });
    let bias = Some(Parameter::new(Initializer::Constant { value: 0.0 }));
    let outputs = network.class_count();
    let x = network.linear("fc", x, Linear { outputs, weight, bias })?;
    network.logits(x)
}
