//! The layers that several of the networks have.

use clr_nn::{BatchNorm, BuildError, Convolution, Initializer, Linear, Network, Parameter, Pool, Value};

/// A convolution without bias that keeps the size of the image, but for its stride, and starts as in fb.resnet.torch:
/// normal with deviation `sqrt(2 / (size² filters))`, by the outputs that each input reaches (He et al. 2015).
pub fn convolution(filters: usize, size: usize, stride: usize) -> Convolution {
    let std = (2.0 / (size * size * filters) as f64).sqrt() as f32;
    Convolution::new(filters, size, Parameter::new(Initializer::Gaussian { std }), None).pad(size / 2).stride(stride)
}

/// Torch's batch normalisation with its defaults, 1 and 0 at the start.
pub fn batch_norm(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
    let [weight, bias] = [1.0, 0.0].map(|value| Parameter::new(Initializer::Constant { value }));
    network.batch_norm(name, x, BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight, bias })
}

/// The mean of each channel, and the scores of the classes from it by Torch's `Linear`, whose bias some set to 0.
pub fn scores(network: &mut Network, x: Value, zero_bias: bool) -> Result<(), BuildError> {
    let x = network.pool("avgpool", x, Pool::global_average())?;
    let bound = 1.0 / (network.shape(x).len() as f32).sqrt();
    let random = Initializer::Uniform { low: -bound, high: bound };
    let bias = if zero_bias { Initializer::Constant { value: 0.0 } } else { random };
    let (weight, bias) = (Parameter::new(random), Some(Parameter::new(bias)));
    let outputs = network.class_count();
    let x = network.linear("fc", x, Linear { outputs, weight, bias })?;
    network.logits(x)
}
