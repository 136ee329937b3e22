//! GoogLeNet, as a clr-run plugin: Caffe's form of Szegedy et al. (2015), on which Smith (2017) trained ImageNet.
//!
//! It is written as in `models/bvlc_googlenet/train_val.prototxt`, layer by layer and under the same names, for images of
//! 224 x 224, with both auxiliary heads. The paper took a file of Princeton's that is lost; what is known of its initial weights
//! is an option.

use clr_nn::{
    Architecture, BuildError, Convolution, Family, Initializer, Linear, Lrn, LrnRegion, Network, Options, Parameter,
    Pool, Published, Value,
};

/// The family of networks.
#[derive(Debug)]
pub struct Googlenet;

impl Family for Googlenet {
    const NAME: &'static str = "googlenet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        vec![Architecture {
            name: "bvlc_googlenet",
            options_schema: OPTIONS,
            published: Published { momentum: 0.9, weight_decay: 2e-4 },
            build: googlenet,
        }]
    }
}

clr_nn::export!(Googlenet);

const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "fillers": {
            "type": "string", "enum": ["bvlc", "princeton"], "default": "bvlc",
            "description": "initial weights. bvlc: Caffe's file, Xavier's with biases of 0.2; princeton: those of the file that Smith (2017) took, as far as caffe-posenet shows them: Gaussians for kernels larger than 1x1, biases of 0"
        },
        "aux_weight": {
            "type": "number", "minimum": 0, "maximum": 1, "default": 0.3,
            "description": "the weight of each auxiliary head's loss, 0.3 as published; 0: the heads are left out"
        },
        "dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.4,
            "description": "the part of the last features that is dropped, 0.4 as published; 0: none"
        },
        "aux_dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.7,
            "description": "the part of the auxiliary heads' features that is dropped, 0.7 as published; 0: none"
        },
        "conv1_stride": {
            "type": "integer", "minimum": 1, "maximum": 2, "default": 2,
            "description": "the stride of conv1, 2 as published; 1 is for images of 32 to 64 pixels"
        },
        "global_pool": {
            "type": "boolean", "default": false,
            "description": "whether the last pooling is over the whole image, whatever its size, rather than by 7 x 7: for images that are not 224 x 224"
        }
    },
    "additionalProperties": false
}"#;

fn googlenet(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let number = |name| options.number(name).unwrap_or_default() as f32;
    let form = Form { princeton: options.text("fillers") == Some("princeton"), aux_dropout: number("aux_dropout") };
    let aux_weight = number("aux_weight");
    let conv1_stride = options.integer("conv1_stride").unwrap_or_default() as usize;

    let x = network.input();
    let conv1 = form.convolution(64, 7).stride(conv1_stride).pad(3);
    let x = form.activated(network, "conv1/7x7_s2", x, conv1)?;
    let x = network.pool("pool1/3x3_s2", x, Pool::max(3, 2))?;
    let x = network.lrn("pool1/norm1", x, LRN)?;
    let x = form.activated(network, "conv2/3x3_reduce", x, form.convolution(64, 1))?;
    let conv2 = Convolution { weight: form.weight(0.02), ..form.convolution(192, 3) };
    let x = form.activated(network, "conv2/3x3", x, conv2)?;
    let x = network.lrn("conv2/norm2", x, LRN)?;
    let x = network.pool("pool2/3x3_s2", x, Pool::max(3, 2))?;
    let x = form.inception(network, "inception_3a", x, [64, 96, 128, 16, 32, 32])?;
    let x = form.inception(network, "inception_3b", x, [128, 128, 192, 32, 96, 64])?;
    let x = network.pool("pool3/3x3_s2", x, Pool::max(3, 2))?;
    let x = form.inception(network, "inception_4a", x, [192, 96, 208, 16, 48, 64])?;
    form.head(network, "loss1", x, aux_weight)?;
    let x = form.inception(network, "inception_4b", x, [160, 112, 224, 24, 64, 64])?;
    let x = form.inception(network, "inception_4c", x, [128, 128, 256, 24, 64, 64])?;
    let x = form.inception(network, "inception_4d", x, [112, 144, 288, 32, 64, 64])?;
    form.head(network, "loss2", x, aux_weight)?;
    let x = form.inception(network, "inception_4e", x, [256, 160, 320, 32, 128, 128])?;
    let x = network.pool("pool4/3x3_s2", x, Pool::max(3, 2))?;
    let x = form.inception(network, "inception_5a", x, [256, 160, 320, 32, 128, 128])?;
    let x = form.inception(network, "inception_5b", x, [384, 192, 384, 48, 128, 128])?;
    let is_global = options.boolean("global_pool") == Some(true);
    let pool5 = if is_global { Pool::global_average() } else { Pool::average(7, 1) };
    let x = network.pool("pool5/7x7_s1", x, pool5)?;
    let x = dropped(network, "pool5/drop_7x7_s1", x, number("dropout"))?;
    let x = classifier(network, "loss3/classifier", x)?;
    network.logits(x)
}

const LRN: Lrn = Lrn { region: LrnRegion::AcrossChannels, size: 5, alpha: 1e-4, beta: 0.75 };

struct Form {
    /// Initial weights are those of Princeton's file.
    princeton: bool,
    aux_dropout: f32,
}

impl Form {
    /// Four branches side by side. `filters` are those of 1x1; of 3x3, behind its reduction; of 5x5, likewise; and of the
    /// projection of what is pooled.
    fn inception(
        &self,
        network: &mut Network,
        name: &str,
        x: Value,
        [one, reduce_three, three, reduce_five, five, projection]: [usize; 6],
    ) -> Result<Value, BuildError> {
        let name = |part: &str| format!("{name}/{part}");
        let a = self.activated(network, &name("1x1"), x, self.convolution(one, 1))?;
        let b = self.activated(network, &name("3x3_reduce"), x, self.convolution(reduce_three, 1))?;
        let b = self.activated(network, &name("3x3"), b, self.convolution(three, 3))?;
        let c = self.activated(network, &name("5x5_reduce"), x, self.convolution(reduce_five, 1))?;
        let c = self.activated(network, &name("5x5"), c, self.convolution(five, 5))?;
        let d = network.pool(&name("pool"), x, Pool::max(3, 1).pad(1))?;
        let d = self.activated(network, &name("pool_proj"), d, self.convolution(projection, 1))?;
        network.concat(&name("output"), &[a, b, c, d])
    }

    /// An auxiliary head, unless its loss counts for nothing.
    fn head(&self, network: &mut Network, name: &str, x: Value, weight: f32) -> Result<(), BuildError> {
        if weight == 0.0 {
            return Ok(());
        }
        let part = |part: &str| format!("{name}/{part}");
        let x = network.pool(&part("ave_pool"), x, Pool::average(5, 3))?;
        let x = self.activated(network, &part("conv"), x, self.convolution(128, 1))?;
        let x =
            network.linear(&part("fc"), x, Linear { outputs: 1024, weight: self.weight(0.01), bias: self.bias() })?;
        let x = network.relu(x)?;
        let x = dropped(network, &part("drop_fc"), x, self.aux_dropout)?;
        let x = classifier(network, &part("classifier"), x)?;
        network.auxiliary_loss(name, x, weight)
    }

    fn activated(
        &self,
        network: &mut Network,
        name: &str,
        x: Value,
        convolution: Convolution,
    ) -> Result<Value, BuildError> {
        let x = network.convolution(name, x, convolution)?;
        network.relu(x)
    }

    /// A convolution that keeps the size of the image.
    fn convolution(&self, filters: usize, size: usize) -> Convolution {
        let weight = match size {
            1 => xavier(),
            3 => self.weight(0.04),
            5 => self.weight(0.08),
            _ => self.weight(0.015),
        };
        Convolution::new(filters, size, weight, self.bias()).pad(size / 2)
    }

    /// Xavier's, or a Gaussian with Princeton's deviation.
    fn weight(&self, std: f32) -> Parameter {
        if self.princeton { Parameter::new(Initializer::Gaussian { std }) } else { xavier() }
    }

    fn bias(&self) -> Option<Parameter> {
        bias(if self.princeton { 0.0 } else { 0.2 })
    }
}

fn dropped(network: &mut Network, name: &str, x: Value, probability: f32) -> Result<Value, BuildError> {
    if probability > 0.0 { network.dropout(name, x, probability) } else { Ok(x) }
}

fn classifier(network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
    let outputs = network.class_count();
    network.linear(name, x, Linear { outputs, weight: xavier(), bias: bias(0.0) })
}

fn xavier() -> Parameter {
    Parameter::new(Initializer::Xavier)
}

/// Biases learn at twice the rate and do not decay.
fn bias(value: f32) -> Option<Parameter> {
    Some(Parameter::new(Initializer::Constant { value }).lr_mult(2.0).decay_mult(0.0))
}
