//! Networks of stochastic depth (Huang et al. 2016) for CIFAR as in yueatsprograms/Stochastic_Depth: residual networks whose
//! blocks are left out at random in training, the later ones more often.

use clr_nn::{BatchNorm, BuildError, Convolution, Initializer, Network, Options, Parameter, Pool, Value};

use crate::layers;

pub const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "depth": {
            "type": "integer", "minimum": 8, "maximum": 1202, "default": 110,
            "description": "layers with weights, 6n + 2 for three stages of n blocks; 110 in the authors' code and in Huang et al. (2016), who trained 1202 too"
        },
        "death_rate": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.5,
            "description": "how often the last block is left out of a training batch. 0.5 in Huang et al. (2016) and in the command of the authors' README, whose code itself has 0"
        },
        "death_mode": {
            "type": "string", "enum": ["lin_decay", "uniform"], "default": "lin_decay",
            "description": "lin_decay: block l of L is left out with l / L of the rate, as published; uniform: each with all of it"
        }
    },
    "additionalProperties": false
}"#;

pub fn build(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let blocks = crate::cifar::blocks_of_a_stage(options.integer("depth").unwrap_or_default())?;
    let rate = options.number("death_rate").unwrap_or_default();
    let is_uniform = options.text("death_mode") == Some("uniform");
    let mut number = 0;
    let x = network.input();
    let x = network.convolution("conv1", x, convolution(16, 1))?;
    let x = batch_norm(network, "bn1", x)?;
    let mut x = network.relu(x)?;
    for (stage, channels) in (1..).zip([16, 32, 64]) {
        for block in 0..blocks {
            number += 1;
            let share = if is_uniform { 1.0 } else { number as f64 / (3 * blocks) as f64 };
            let name = format!("layer{stage}.{block}");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            x = self::block(network, &name, x, channels, stride, (1.0 - rate * share) as f32)?;
        }
    }
    layers::scores(network, x, false)
}

/// Two convolutions that are there with the probability `survival`, and the shortcut around them.
fn block(
    network: &mut Network,
    name: &str,
    x: Value,
    channels: usize,
    stride: usize,
    survival: f32,
) -> Result<Value, BuildError> {
    let y = network.convolution(&format!("{name}.conv1"), x, convolution(channels, stride))?;
    let y = batch_norm(network, &format!("{name}.bn1"), y)?;
    let y = network.relu(y)?;
    let y = network.convolution(&format!("{name}.conv2"), y, convolution(channels, 1))?;
    let y = batch_norm(network, &format!("{name}.bn2"), y)?;
    let y = network.stochastic_depth(&format!("{name}.gate"), y, survival)?;
    let shortcut = if stride == 1 {
        x
    } else {
        let x = network.pool(&format!("{name}.shortcut"), x, Pool::average(stride, stride))?;
        network.pad_channels(&format!("{name}.zeros"), x, channels)?
    };
    let y = network.add(&format!("{name}.sum"), y, shortcut)?;
    network.relu(y)
}

/// 3 x 3 with a bias, in front of a normalisation that undoes it.
fn convolution(filters: usize, stride: usize) -> Convolution {
    let bias = Some(Parameter::new(Initializer::Constant { value: 0.0 }));
    Convolution::new(filters, 3, Parameter::new(Initializer::Msra), bias).pad(1).stride(stride)
}

/// Torch7's normalisation as it is, whose weights start anywhere between 0 and 1.
fn batch_norm(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
    let weight = Parameter::new(Initializer::Uniform { low: 0.0, high: 1.0 });
    let bias = Parameter::new(Initializer::Constant { value: 0.0 });
    network.batch_norm(name, x, BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight, bias })
}
