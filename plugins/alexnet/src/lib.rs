//! AlexNet and CaffeNet, as a clr-run plugin: Caffe's forms of Krizhevsky et al. (2012), on which Smith (2017) trained ImageNet.
//!
//! Each is written as in `models/bvlc_*/train_val.prototxt`, layer by layer and under the same names, for images of 227 x 227.
//! The paper says only that its network is "slightly modified" from one of Caffe; both have the same solver.

use clr_nn::{
    Architecture, BuildError, Convolution, Family, Initializer, Linear, Lrn, LrnRegion, Network, Options, Parameter,
    Pool, Published, Value,
};

/// The family of networks.
#[derive(Debug)]
pub struct Alexnet;

impl Family for Alexnet {
    const NAME: &'static str = "alexnet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        [
            ("bvlc_alexnet", (|network, options| alexnet(network, options, &BVLC_ALEXNET)) as Build),
            ("bvlc_reference_caffenet", |network, options| alexnet(network, options, &CAFFENET)),
        ]
        .map(|(name, build)| Architecture {
            name,
            options_schema: OPTIONS,
            published: Published { momentum: 0.9, weight_decay: 5e-4 },
            build,
        })
        .to_vec()
    }
}

clr_nn::export!(Alexnet);

type Build = fn(&mut Network, &Options) -> Result<(), BuildError>;

const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.5,
            "description": "the part of fc6 and fc7 that is dropped; 0: none"
        },
        "conv1_size": {
            "type": "integer", "minimum": 1, "maximum": 64, "default": 11,
            "description": "height and width of the kernels of conv1; another than Caffe's 11 is for images smaller than 227"
        },
        "conv1_stride": {
            "type": "integer", "minimum": 1, "maximum": 64, "default": 4,
            "description": "the stride of conv1; another than Caffe's 4 is for images smaller than 227"
        },
        "conv1_pad": {
            "type": "integer", "minimum": 0, "maximum": 64, "default": 0,
            "description": "zeros around the image; another than Caffe's 0 is for images smaller than 227"
        },
        "hidden": {
            "type": "integer", "minimum": 1, "maximum": 65536, "default": 4096,
            "description": "outputs of fc6 and of fc7; fewer than Caffe's 4096 are for images smaller than 227"
        }
    },
    "additionalProperties": false
}"#;

/// How the two networks differ.
struct Form {
    /// Normalisation follows pooling, rather than precedes it.
    pool_first: bool,
    /// What the biases of conv2, conv4, conv5, fc6 and fc7 start at, so that their ReLUs begin with positive inputs.
    bias: f32,
}

const BVLC_ALEXNET: Form = Form { pool_first: false, bias: 0.1 };
const CAFFENET: Form = Form { pool_first: true, bias: 1.0 };

fn alexnet(network: &mut Network, options: &Options, form: &Form) -> Result<(), BuildError> {
    let count = |name| options.integer(name).unwrap_or_default() as usize;
    let hidden = |std| Linear { outputs: count("hidden"), weight: gaussian(std), bias: bias(form.bias) };
    let dropout = options.number("dropout").unwrap_or_default() as f32;

    let x = network.input();
    let conv1 = convolution(96, count("conv1_size"), 0.0).stride(count("conv1_stride")).pad(count("conv1_pad"));
    let x = network.convolution("conv1", x, conv1)?;
    let x = network.relu(x)?;
    let x = normalised_and_pooled(network, 1, x, form)?;
    let x = network.convolution("conv2", x, convolution(256, 5, form.bias).pad(2).groups(2))?;
    let x = network.relu(x)?;
    let x = normalised_and_pooled(network, 2, x, form)?;
    let x = network.convolution("conv3", x, convolution(384, 3, 0.0).pad(1))?;
    let x = network.relu(x)?;
    let x = network.convolution("conv4", x, convolution(384, 3, form.bias).pad(1).groups(2))?;
    let x = network.relu(x)?;
    let x = network.convolution("conv5", x, convolution(256, 3, form.bias).pad(1).groups(2))?;
    let x = network.relu(x)?;
    let mut x = network.pool("pool5", x, Pool::max(3, 2))?;
    for layer in [6, 7] {
        x = network.linear(&format!("fc{layer}"), x, hidden(0.005))?;
        x = network.relu(x)?;
        if dropout > 0.0 {
            x = network.dropout(&format!("drop{layer}"), x, dropout)?;
        }
    }
    let outputs = network.class_count();
    let x = network.linear("fc8", x, Linear { outputs, weight: gaussian(0.01), bias: bias(0.0) })?;
    network.logits(x)
}

fn normalised_and_pooled(network: &mut Network, layer: usize, x: Value, form: &Form) -> Result<Value, BuildError> {
    let (norm, pool) = (format!("norm{layer}"), format!("pool{layer}"));
    let lrn = Lrn { region: LrnRegion::AcrossChannels, size: 5, alpha: 1e-4, beta: 0.75 };
    if form.pool_first {
        let x = network.pool(&pool, x, Pool::max(3, 2))?;
        network.lrn(&norm, x, lrn)
    } else {
        let x = network.lrn(&norm, x, lrn)?;
        network.pool(&pool, x, Pool::max(3, 2))
    }
}

fn convolution(filters: usize, size: usize, bias_value: f32) -> Convolution {
    Convolution::new(filters, size, gaussian(0.01), bias(bias_value))
}

fn gaussian(std: f32) -> Parameter {
    Parameter::new(Initializer::Gaussian { std })
}

/// Biases learn at twice the rate and do not decay.
fn bias(value: f32) -> Option<Parameter> {
    Some(Parameter::new(Initializer::Constant { value }).lr_mult(2.0).decay_mult(0.0))
}
