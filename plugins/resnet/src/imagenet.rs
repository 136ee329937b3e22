//! The residual networks of ImageNet (He et al. 2016, table 1) as in torchvision: those of 50 layers and more have bottlenecks,
//! with their stride in the 3 x 3 convolution.

use clr_nn::{BuildError, Network, Options, Pool, Value};

use crate::layers;

pub const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "stem": {
            "type": "string", "enum": ["7x7", "3x3"], "default": "7x7",
            "description": "what comes before the blocks. 7x7: a convolution with stride 2 and a max pooling, as published; 3x3: a convolution with stride 1 and no pooling, for images of 32 to 64 pixels"
        }
    },
    "additionalProperties": false
}"#;

/// What a block is made of.
#[derive(Clone, Copy)]
pub enum Blocks {
    /// Two convolutions of 3 x 3.
    Basic,
    /// A convolution of 3 x 3 between two of 1 x 1, of which the last has four times the channels.
    Bottleneck,
}

/// `counts` are the blocks of each stage.
pub fn build(network: &mut Network, options: &Options, blocks: Blocks, counts: [usize; 4]) -> Result<(), BuildError> {
    let is_small = options.text("stem") == Some("3x3");
    let (size, stride) = if is_small { (3, 1) } else { (7, 2) };
    let x = network.input();
    let x = normalised(network, ["conv1", "bn1"], x, 64, size, stride)?;
    let mut x = network.relu(x)?;
    if !is_small {
        x = network.pool("maxpool", x, Pool::max(3, 2).pad(1).floor())?;
    }
    for ((stage, channels), count) in (1..).zip([64, 128, 256, 512]).zip(counts) {
        for number in 0..count {
            let stride = if stage > 1 && number == 0 { 2 } else { 1 };
            x = block(network, &format!("layer{stage}.{number}"), x, channels, stride, blocks)?;
        }
    }
    layers::scores(network, x, false)
}

fn block(
    network: &mut Network,
    name: &str,
    x: Value,
    channels: usize,
    stride: usize,
    blocks: Blocks,
) -> Result<Value, BuildError> {
    // Size, stride and filters of each convolution.
    let (convolutions, filters) = match blocks {
        Blocks::Basic => (vec![(3, stride, channels), (3, 1, channels)], channels),
        Blocks::Bottleneck => (vec![(1, 1, channels), (3, stride, channels), (1, 1, 4 * channels)], 4 * channels),
    };
    let mut y = x;
    for (index, &(size, stride, filters)) in (1..).zip(&convolutions) {
        let names = [&*format!("{name}.conv{index}"), &*format!("{name}.bn{index}")];
        y = normalised(network, names, y, filters, size, stride)?;
        if index < convolutions.len() {
            y = network.relu(y)?;
        }
    }
    let shortcut = if stride == 1 && network.shape(x).channels == filters {
        x
    } else {
        let names = [&*format!("{name}.downsample.0"), &*format!("{name}.downsample.1")];
        normalised(network, names, x, filters, 1, stride)?
    };
    let y = network.add(&format!("{name}.sum"), y, shortcut)?;
    network.relu(y)
}

/// A convolution and its normalisation.
fn normalised(
    network: &mut Network,
    [convolution, batch_norm]: [&str; 2],
    x: Value,
    filters: usize,
    size: usize,
    stride: usize,
) -> Result<Value, BuildError> {
    let x = network.convolution(convolution, x, layers::convolution(filters, size, stride))?;
    layers::batch_norm(network, batch_norm, x)
}
