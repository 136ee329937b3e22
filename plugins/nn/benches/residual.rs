//! The time of each part of a training step of ResNet-20 (He et al. 2016: CIFAR-10, 3 x 3 convolutions of 16, 32 and 64
//! channels, batch normalisation, shortcuts without weights), at its published batch size of 128. Each time is the least over
//! the repetitions.
//!
//!     cargo bench -p clr-nn --bench residual [-- THREADS [BLOCKS [STEPS]]] [auto|direct]
//!
//! `BLOCKS` is how many blocks each of the three stages has: 3 for ResNet-20, 9 for ResNet-56. The last line is the images a
//! second over all steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clr_nn::sdk::{Dataset, Lane, SessionConfig, SplitData, Transform};
use clr_nn::{
    Architecture, BatchNorm, BuildError, Convolution, Family, Initializer, Linear, Network, Options, Parameter, Pool,
    Published, Value,
};

const BATCH: usize = 128;

static BLOCKS: AtomicUsize = AtomicUsize::new(3);

struct Residual;

impl Family for Residual {
    const NAME: &'static str = "residual";
    const VERSION: &'static str = "0";
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        let published = Published { momentum: 0.9, weight_decay: 1e-4 };
        let options_schema = r#"{"type": "object", "properties": {}}"#;
        vec![Architecture { name: "resnet", options_schema, published, build: resnet }]
    }
}

fn resnet(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let x = network.input();
    let mut x = convolution(network, "conv1", x, 16, 1)?;
    x = network.relu(x)?;
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..BLOCKS.load(Ordering::Relaxed) {
            let name = |part: &str| format!("stage{stage}.{block}.{part}");
            let shrinks = stage > 0 && block == 0;
            let stride = if shrinks { 2 } else { 1 };
            let y = convolution(network, &name("conv1"), x, channels, stride)?;
            let y = network.relu(y)?;
            let y = convolution(network, &name("conv2"), y, channels, 1)?;
            let shortcut = if shrinks { network.subsample(&name("shortcut"), x, stride, channels)? } else { x };
            let y = network.add(&name("sum"), y, shortcut)?;
            x = network.relu(y)?;
        }
    }
    let side = network.shape(x).height;
    let x = network.pool("pool", x, Pool::average(side, side))?;
    let outputs = network.class_count();
    let x = network.linear("scores", x, Linear { outputs, weight: parameter(Initializer::Msra), bias: None })?;
    network.logits(x)
}

/// A convolution of 3 x 3 and its batch normalisation.
fn convolution(
    network: &mut Network,
    name: &str,
    x: Value,
    filters: usize,
    stride: usize,
) -> Result<Value, BuildError> {
    let convolution = Convolution::new(filters, 3, parameter(Initializer::Msra), None).pad(1).stride(stride);
    let x = network.convolution(name, x, convolution)?;
    let weight = parameter(Initializer::Constant { value: 1.0 });
    let bias = parameter(Initializer::Constant { value: 0.0 });
    network.batch_norm(&format!("{name}.bn"), x, BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight, bias })
}

fn parameter(initializer: Initializer) -> Parameter {
    Parameter::new(initializer)
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let thread_count = numbers.next().unwrap_or(1);
    BLOCKS.store(numbers.next().unwrap_or(3), Ordering::Relaxed);
    let steps = numbers.next().unwrap_or(12);
    let way = if std::env::args().any(|argument| argument == "direct") { "direct" } else { "auto" };
    let options = format!(r#"{{"convolution": "{way}"}}"#);
    let images: Vec<u8> = (0..BATCH * 3072).map(|i| (i * 7919 % 251) as u8).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let train = SplitData { count: BATCH, images: Some(&images), labels: Some(&labels) };
    let transform = Transform { mean: &[125.0; 3], scale: &[1.0 / 64.0], ..Transform::default() };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([32, 32, 3], 10, splits, transform, None).expect("a valid dataset");
    let config = SessionConfig {
        device: "cpu",
        model: "resnet",
        options: &options,
        dataset: &dataset,
        batch_size: BATCH,
        thread_count,
        lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }],
    };
    let start = Instant::now();
    println!("{}", clr_nn::profile::<Residual>(&config, steps).expect("a profile"));
    println!("{:.1} images/s", (BATCH * steps) as f64 / start.elapsed().as_secs_f64());
}
