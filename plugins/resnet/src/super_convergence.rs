//! The residual networks of super-convergence (Smith and Topin 2017) as in lnsmith54/super-convergence: Caffe's layers, in
//! which a stage's first block keeps the channels of the stage before, and zeros double them behind its last ReLU.

use clr_nn::{BatchNorm, BuildError, Convolution, Initializer, Linear, Network, Options, Parameter, Pool, Value};

pub const OPTIONS: &str = r#"{
    "type": "object",
    "properties": {
        "depth": {
            "type": "integer", "minimum": 8, "maximum": 1202, "default": 56,
            "description": "layers with weights, 6n + 2 for three stages of n blocks; the authors' files have 20, 56 and 110"
        },
        "moving_average_fraction": {
            "type": "number", "minimum": 0, "maximum": 1, "default": 0.999,
            "description": "the part of its running statistics that batch normalisation keeps at each batch. 0.999 in the authors' files, for 80,000 iterations; for a cycle of 20,000, 15,000, 10,000, 8000, 6000, 4000 and 2000 iterations their script makes it 0.97, 0.96, 0.95, 0.93, 0.90, 0.85 and 0.80"
        },
        "bias_decay": {
            "type": "boolean", "default": false,
            "description": "whether weight decay is on the biases of convolutions too: it is in the authors' files of depth 20 and in Resnet56DM1"
        },
        "dropout": {
            "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0,
            "description": "the part of each convolution's output in a block that is dropped; 0.2 in Resnet56Dropout"
        }
    },
    "additionalProperties": false
}"#;

pub fn build(network: &mut Network, options: &Options) -> Result<(), BuildError> {
    let blocks = crate::cifar::blocks_of_a_stage(options.integer("depth").unwrap_or_default())?;
    let form = Form {
        moving_average_fraction: options.number("moving_average_fraction").unwrap_or_default() as f32,
        bias_decay: if options.boolean("bias_decay") == Some(true) { 1.0 } else { 0.0 },
        dropout: options.number("dropout").unwrap_or_default() as f32,
    };
    let x = network.input();
    let x = network.convolution("pre_conv", x, form.convolution(16, 1))?;
    let x = form.batch_norm(network, "pre_bn", x)?;
    let mut x = network.relu(x)?;
    for (stage, channels) in (1..).zip([16, 32, 64]) {
        for number in 1..=blocks {
            let name = format!("L{stage}_b{number}");
            let is_smaller = stage > 1 && number == 1;
            x = form.block(network, &name, x, if is_smaller { 2 } else { 1 })?;
            if is_smaller {
                x = network.pad_channels(&format!("{name}_concat0"), x, channels)?;
            }
        }
    }
    let x = network.pool("post_pool", x, Pool::global_average())?;
    let weight = Parameter::new(Initializer::Xavier);
    let bias = Some(Parameter::new(Initializer::Constant { value: 0.0 }).lr_mult(2.0));
    let outputs = network.class_count();
    let x = network.linear("post_FC", x, Linear { outputs, weight, bias })?;
    network.logits(x)
}

struct Form {
    moving_average_fraction: f32,
    /// The multiplier of the weight decay of biases.
    bias_decay: f32,
    dropout: f32,
}

impl Form {
    /// Two convolutions and the shortcut around them, all with the channels of `x`.
    fn block(&self, network: &mut Network, name: &str, x: Value, stride: usize) -> Result<Value, BuildError> {
        let y = self.normalised(network, &format!("{name}_cbr1"), x, stride)?;
        let y = network.relu(y)?;
        let y = self.normalised(network, &format!("{name}_cbr2"), y, 1)?;
        let shortcut =
            if stride == 1 { x } else { network.pool(&format!("{name}_pool"), x, Pool::average(3, stride))? };
        let y = network.add(&format!("{name}_sum_eltwise"), y, shortcut)?;
        network.relu(y)
    }

    fn normalised(&self, network: &mut Network, name: &str, x: Value, stride: usize) -> Result<Value, BuildError> {
        let filters = network.shape(x).channels;
        let mut x = network.convolution(&format!("{name}_conv"), x, self.convolution(filters, stride))?;
        if self.dropout > 0.0 {
            x = network.dropout(&format!("{name}_drop"), x, self.dropout)?;
        }
        self.batch_norm(network, &format!("{name}_bn"), x)
    }

    fn convolution(&self, filters: usize, stride: usize) -> Convolution {
        let bias = Parameter::new(Initializer::Constant { value: 0.0 }).lr_mult(2.0).decay_mult(self.bias_decay);
        Convolution::new(filters, 3, Parameter::new(Initializer::Msra), Some(bias)).pad(1).stride(stride)
    }

    /// Caffe's BatchNorm and its Scale, whose weights decay.
    fn batch_norm(&self, network: &mut Network, name: &str, x: Value) -> Result<Value, BuildError> {
        let [weight, bias] = [1.0, 0.0].map(|value| Parameter::new(Initializer::Constant { value }));
        let moving_average_fraction = self.moving_average_fraction;
        network.batch_norm(name, x, BatchNorm::CaffeScale { moving_average_fraction, epsilon: 1e-5, weight, bias })
    }
}
