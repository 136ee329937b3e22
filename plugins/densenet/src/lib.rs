//! Densely connected networks (Huang et al. 2017), as a clr-run plugin: those that Smith (2017) trained in Table 4, with Torch and
//! with Caffe.
//!
//! In a dense block each layer reads the outputs of all layers before it, side by side. Layers have the names that torchvision
//! gives them.

use clr_nn::{
    Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Network, Options, Parameter, Pool,
    Published, Value,
};

/// The family of networks.
#[derive(Debug)]
pub struct Densenet;

impl Family for Densenet {
    const NAME: &'static str = "densenet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        [("densenet", TORCH_OPTIONS, torch as Build), ("densenet_caffe", CAFFE_OPTIONS, caffe)]
            .map(|(name, options_schema, build)| Architecture {
                name,
                options_schema,
                published: Published { momentum: 0.9, weight_decay: 1e-4 },
                build,
            })
            .to_vec()
    }
}

clr_nn::export!(Densenet);

type Build = fn(&mut Network, &Options) -> Result<(), BuildError>;

const TORCH_OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "depth": {
            "type": "integer", "minimum": 7, "maximum": 1000, "default": 40,
            "description": "layers with weights, 3n + 4 for three blocks of n layers; with bottleneck 6n + 4. Huang et al. (2017) trained 40 and 100, with bottleneck 100, 190 and 250. Smith (2017) does not say which; 40 is nearest to the accuracies of Table 4"
        },
        "growth": {
            "type": "integer", "minimum": 1, "maximum": 256, "default": 12,
            "description": "k, the channels that each layer adds. Huang et al. (2017) took 12 and 24, with bottleneck 12, 24 and 40. Smith (2017) does not say which; 12 is nearest to the accuracies of Table 4"
        },
        "dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0,
            "description": "the part of each convolution's output that is dropped, but for the first. Huang et al. (2017) took 0.2 where images were not augmented"
        },
        "bottleneck": {
            "type": "boolean", "default": false,
            "description": "whether a convolution of 1 x 1 to 4k channels precedes each of 3 x 3 (DenseNet-B). The authors' code has it since 2016-11-30, after Smith's experiments"
        },
        "compression": {
            "type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1,
            "description": "the part of its channels that a block passes on to the next; 0.5 in DenseNet-BC"
        },
        "first_channels": {
            "type": "integer", "minimum": 1, "maximum": 1024,
            "description": "channels of the first convolution; if absent 16 as in the authors' code of 2016, or 2k with bottleneck as in their later one"
        }
    },
    "additionalProperties": false
}"#;

const CAFFE_OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "depth": {
            "type": "integer", "minimum": 7, "maximum": 1000, "default": 40,
            "description": "layers with weights, 3n + 4 for three blocks of n layers; 40 in liuzhuang13/DenseNetCaffe"
        },
        "growth": {
            "type": "integer", "minimum": 1, "maximum": 256, "default": 12,
            "description": "the channels that each layer adds; 12 in liuzhuang13/DenseNetCaffe"
        },
        "dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.2,
            "description": "the part of each convolution's output that is dropped, but for the first; 0.2 in liuzhuang13/DenseNetCaffe, which does not augment images"
        },
        "first_channels": {
            "type": "integer", "minimum": 1, "maximum": 1024, "default": 16,
            "description": "channels of the first convolution; 16 in liuzhuang13/DenseNetCaffe"
        }
    },
    "additionalProperties": false
}"#;

/// As in liuzhuang13/DenseNet.
fn torch(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let form = Form {
        growth: options.integer("growth").unwrap_or_default() as usize,
        dropout: options.number("dropout").unwrap_or_default() as f32,
        bottleneck: options.boolean("bottleneck") == Some(true),
        compression: options.number("compression").unwrap_or_default(),
        is_caffe: false,
    };
    let first_channels = if form.bottleneck { 2 * form.growth } else { 16 };
    let first_channels = options.integer("first_channels").map_or(first_channels, |channels| channels as usize);
    form.build(network, options.integer("depth").unwrap_or_default(), first_channels)
}

/// As in liuzhuang13/DenseNetCaffe.
fn caffe(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let form = Form {
        growth: options.integer("growth").unwrap_or_default() as usize,
        dropout: options.number("dropout").unwrap_or_default() as f32,
        bottleneck: false,
        compression: 1.0,
        is_caffe: true,
    };
    let first_channels = options.integer("first_channels").unwrap_or_default() as usize;
    form.build(network, options.integer("depth").unwrap_or_default(), first_channels)
}

struct Form {
    growth: usize,
    dropout: f32,
    bottleneck: bool,
    compression: f64,
    /// Normalisation and initial weights are Caffe's.
    is_caffe: bool,
}

impl Form {
    fn build(&self, network: &mut Network, depth: u64, first_channels: usize) -> Result<(), BuildError> {
        let layers = self.layers_of_a_block(depth)?;
        let x = network.input();
        let mut x = network.convolution("features.conv0", x, self.convolution(first_channels, 3))?;
        for block in 1..=3 {
            for layer in 1..=layers {
                x = self.layer(network, &format!("features.denseblock{block}.denselayer{layer}"), x)?;
            }
            if block < 3 {
                x = self.transition(network, &format!("features.transition{block}"), x)?;
            }
        }
        let x = self.batch_norm(network, "features.norm5", x)?;
        let x = network.relu(x)?;
        let x = network.pool("features.pool5", x, Pool::global_average())?;
        let bound = 1.0 / (network.shape(x).len() as f32).sqrt();
        let torch = Initializer::Uniform { low: -bound, high: bound };
        let weight = Parameter::new(if self.is_caffe { Initializer::Xavier } else { torch });
        let bias = Some(Parameter::new(Initializer::Constant { value: 0.0 }));
        let outputs = network.class_count();
        let x = network.linear("classifier", x, Linear { outputs, weight, bias })?;
        network.logits(x)
    }

    /// n, where the depth is 3n + 4, or 6n + 4 with bottlenecks.
    fn layers_of_a_block(&self, depth: u64) -> Result<u64, BuildError> {
        let (convolutions, with) = if self.bottleneck { (6, " with bottlenecks") } else { (3, "") };
        let layers = depth.saturating_sub(4) / convolutions;
        let (below, above) = (convolutions * layers + 4, convolutions * (layers + 1) + 4);
        if depth != below || layers == 0 {
            let nearest = if layers == 0 {
                format!("the least is {above}")
            } else {
                format!("the nearest are {below} and {above}")
            };
            return Err(BuildError::Network(format!(
                "`depth` {depth} is not {convolutions}n + 4, as three blocks of n layers{with} need: {nearest}"
            )));
        }
        Ok(layers)
    }

    /// A layer of a dense block: its input with `growth` channels behind it.
    fn layer(&self, network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        let (mut y, mut number) = (x, 1);
        if self.bottleneck {
            y = self.convolved(network, name, "1", y, self.convolution(4 * self.growth, 1))?;
            number = 2;
        }
        y = self.convolved(network, name, &number.to_string(), y, self.convolution(self.growth, 3))?;
        network.concat(&format!("{name}.concat"), &[x, y])
    }

    /// Between two dense blocks: a convolution of 1 x 1, and a pooling.
    fn transition(&self, network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        let channels = (self.compression * network.shape(x).channels as f64) as usize;
        let x = self.convolved(network, name, "", x, self.convolution(channels, 1))?;
        // Torch leaves out the last row and column of an odd image.
        let pool = Pool::average(2, 2);
        network.pool(&format!("{name}.pool"), x, if self.is_caffe { pool } else { pool.floor() })
    }

    /// Normalisation, ReLU, convolution, dropout.
    fn convolved(
        &self,
        network: &mut Network,
        name: &str,
        number: &str,
        x: Value,
        convolution: Convolution,
    ) -> Result<Value, BuildError> {
        let x = self.batch_norm(network, &format!("{name}.norm{number}"), x)?;
        let x = network.relu(x)?;
        let x = network.convolution(&format!("{name}.conv{number}"), x, convolution)?;
        if self.dropout > 0.0 { network.dropout(&format!("{name}.drop{number}"), x, self.dropout) } else { Ok(x) }
    }

    /// Without bias and keeping the size of the image. Torch's starts normal by its fan-out, as fb.resnet.torch has it.
    fn convolution(&self, filters: usize, size: usize) -> Convolution {
        let std = (2.0 / (size * size * filters) as f64).sqrt() as f32;
        let weight = if self.is_caffe { Initializer::Msra } else { Initializer::Gaussian { std } };
        Convolution::new(filters, size, Parameter::new(weight), None).pad(size / 2)
    }

    fn batch_norm(&self, network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        let [weight, bias] = [1.0, 0.0].map(|value| Parameter::new(Initializer::Constant { value }));
        let batch_norm = if self.is_caffe {
            BatchNorm::CaffeScale { moving_average_fraction: 0.999, epsilon: 1e-5, weight, bias }
        } else {
            BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight, bias }
        };
        network.batch_norm(name, x, batch_norm)
    }
}
