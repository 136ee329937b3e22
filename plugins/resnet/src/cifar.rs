//! The residual networks of CIFAR (He et al. 2016, section 4.2) as in fb.resnet.torch: 3 x 3 convolutions, three stages of
//! 16, 32 and 64 channels, and shortcuts without weights (option A).

use clr_nn::{BuildError, Network, Options, Value};

use crate::layers;

pub const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "depth": {
            "type": "integer", "minimum": 8, "maximum": 1202, "default": 20,
            "description": "layers with weights, 6n + 2 for three stages of n blocks. He et al. (2016) trained 20, 32, 44, 56, 110 and 1202. Smith (2017) does not say which; 56 is nearest to the accuracies of Table 4"
        }
    },
    "additionalProperties": false
}"#;

pub fn build(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let blocks = blocks_of_a_stage(options.integer("depth").unwrap_or_default())?;
    let x = network.input();
    let x = network.convolution("conv1", x, layers::convolution(16, 3, 1))?;
    let x = layers::batch_norm(network, "bn1", x)?;
    let mut x = network.relu(x)?;
    for (stage, channels) in (1..).zip([16, 32, 64]) {
        for number in 0..blocks {
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            x = block(network, &format!("layer{stage}.{number}"), x, channels, stride)?;
        }
    }
    layers::scores(network, x, true)
}

/// n, where the depth is 6n + 2.
pub fn blocks_of_a_stage(depth: u64) -> Result<u64, BuildError> {
    let blocks = depth.saturating_sub(2) / 6;
    let (below, above) = (6 * blocks + 2, 6 * blocks + 8);
    if depth != below {
        return Err(BuildError::Network(format!(
            "`depth` {depth} is not 6n + 2, as three stages of n blocks need: the nearest are {below} and {above}"
        )));
    }
    Ok(blocks)
}

/// Two convolutions and the shortcut around them.
fn block(network: &mut Network, name: &str, x: Value, channels: usize, stride: usize) -> Result<Value, BuildError> {
    let y = network.convolution(&format!("{name}.conv1"), x, layers::convolution(channels, 3, stride))?;
    let y = layers::batch_norm(network, &format!("{name}.bn1"), y)?;
    let y = network.relu(y)?;
    let y = network.convolution(&format!("{name}.conv2"), y, layers::convolution(channels, 3, 1))?;
    let y = layers::batch_norm(network, &format!("{name}.bn2"), y)?;
    let shortcut = if stride == 1 { x } else { network.subsample(&format!("{name}.shortcut"), x, stride, channels)? };
    let y = network.add(&format!("{name}.sum"), y, shortcut)?;
    network.relu(y)
}
