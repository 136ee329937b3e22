//! Networks of a plugin beside the same in PyTorch: for tests.
//!
//! `goldens.py` beside this crate trains a network in PyTorch, in float64, and writes down what came of it: a [`Golden`].
//! [`check`] trains the plugin's network likewise and compares. Images, labels, initial weights, batches and learning rates
//! come from formulas that both sides compute, so that a golden holds results alone.

use std::collections::BTreeMap;

use clr_plugin::{
    Dataset, Error, Evaluate, Lane, Plugin, Role, Scores, Session, SessionConfig, Split, SplitData, Status, StepTable,
    StepTableParts, Tensor, Transform,
};
use serde::Deserialize;

/// Training images.
pub const TRAIN: usize = 40;
/// Test images.
const TEST: usize = 8;
/// Of the step table: lr, momentum, weight decay, beta1, beta2.
pub const HYPERS: usize = 5;

/// What PyTorch made of a network.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// The name of the architecture.
    pub model: String,
    /// The options of the architecture.
    pub options: serde_json::Value,
    /// Height and width of the images.
    pub size: usize,
    /// Classes of the images.
    pub classes: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Initial weights are uniform in `±gain / sqrt(fan_in)`.
    #[serde(default = "usual_gain")]
    pub gain: f64,
    /// The optimizer and its options.
    pub optimizer: serde_json::Value,
    /// The largest learning rate.
    pub max_lr: f64,
    /// The decay of all weights, but for their multipliers.
    pub weight_decay: f64,
    /// Values of all parameters together.
    pub parameter_count: usize,
    /// Scores of the test images by the initial weights.
    #[serde(default)]
    pub first_scores: Vec<f64>,
    /// What training made of them; none of a network that draws coins.
    #[serde(flatten)]
    pub training: Option<Training>,
}

/// What PyTorch's training made of a network.
#[derive(Debug, Deserialize)]
pub struct Training {
    /// Of the gradient of the first batch, for each parameter: its norm, and its products with two random directions.
    pub gradients: BTreeMap<String, [f64; 3]>,
    /// Scores of the test images by the initial weights, after batch normalisation has seen the first batch.
    pub scores: Vec<f64>,
    /// Of each batch, before its update.
    pub loss: Vec<f64>,
    /// Of each batch.
    pub grad_norm: Vec<f64>,
    /// Scores of the test images after the last update.
    pub last_scores: Vec<f64>,
}

fn usual_gain() -> f64 {
    1.5
}

/// How far the network may be from PyTorch's, each relative to the size of what is compared.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Of scores and gradients from equal weights, and of the losses of the first five batches.
    pub first: f64,
    /// Of later losses, and of the scores at the end: rounding turns ReLUs, and from there on runs go slightly different ways.
    pub last: f64,
}

/// Reads what `goldens.py` wrote.
///
/// # Panics
/// If it is no list of goldens.
pub fn goldens(json: &str) -> Vec<Golden> {
    serde_json::from_str(json).expect("a list of goldens")
}

/// Trains a network for `steps` batches at most, on "cpu" or "cuda:0", and compares all that the golden has of them.
///
/// # Panics
/// Where it differs.
#[track_caller]
pub fn check<P: Plugin>(golden: &Golden, device: &str, convolution: &str, steps: usize, tolerance: Tolerance) {
    let what = format!("{} {} at {} on {device}, {convolution}", golden.model, golden.options, golden.size);
    let split = |first, count| {
        let (images, labels) = images(first, count, golden.size, golden.classes);
        SplitData { count, images: Some(images.leak()), labels: Some(labels.leak()) }
    };
    let splits = [split(0, TRAIN), SplitData::default(), split(TRAIN, TEST)];
    let transform = Transform { mean: &[80.0, 64.0, 64.0], scale: &[1.0 / 64.0], ..Transform::default() };
    let dataset = Dataset::new([golden.size, golden.size, 3], golden.classes, splits, transform, None).unwrap();
    let mut options = golden.options.clone();
    options["convolution"] = convolution.into();
    let (options, optimizer) = (options.to_string(), golden.optimizer.to_string());
    let config = |lane| SessionConfig {
        device,
        model: &golden.model,
        options: &options,
        dataset: &dataset,
        batch_size: golden.batch,
        thread_count: 1,
        lanes: vec![Lane { options: lane, init_seed: 0, data_seed: 0 }],
    };

    // Torch's momentum is the gradient after a first step, without weight decay.
    let mut session = P::session(&config(r#"{"optimizer": "sgd", "form": "torch"}"#)).unwrap();
    let tensors = set_weights(&mut session, golden.gain);
    assert_eq!(tensors.iter().map(Tensor::element_count).sum::<usize>(), golden.parameter_count, "{what}: parameters");
    if !golden.first_scores.is_empty() {
        compare_scores(&format!("{what}: first"), &mut session, &dataset, &golden.first_scores, tolerance.first);
    }
    let Some(expected) = &golden.training else {
        assert!(!golden.first_scores.is_empty(), "{what}: PyTorch says nothing");
        return;
    };
    train(&mut session, &dataset, golden.batch, 1, |_| [0.0, 0.9, 0.0, 0.9, 0.999]);
    let names: Vec<&str> = tensors.iter().map(|tensor| &*tensor.name).collect();
    assert_eq!(names.len(), expected.gradients.len(), "{what}: parameters are {names:?}");
    for (index, tensor) in session.tensors(0).into_iter().enumerate() {
        let Some(name) = tensor.name.strip_suffix(".momentum") else { continue };
        let mut gradient = vec![0.0; tensor.element_count()];
        session.save(0, index, &mut gradient).unwrap();
        let Some(wanted) = expected.gradients.get(name) else { panic!("{what}: PyTorch has no {name}") };
        let found = projections(&gradient);
        let distance = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // A bias before batch normalisation has no gradient but for rounding.
        let size = wanted[0].max(1e-3 * expected.grad_norm[0]);
        assert!(distance <= tolerance.first * size, "{what}: gradient of {name}: {found:?} instead of {wanted:?}");
    }
    compare_scores(&format!("{what}: early"), &mut session, &dataset, &expected.scores, tolerance.first);

    let mut session = P::session(&config(&optimizer)).unwrap();
    set_weights(&mut session, golden.gain);
    let steps = steps.min(expected.loss.len());
    let metrics = train(&mut session, &dataset, golden.batch, steps, |step| {
        // Up and down in 20 steps, from a tenth of the peak.
        let height = 1.0 - ((step % 20) as f64 - 10.0).abs() / 10.0;
        let lr = golden.max_lr * (0.1 + 0.9 * height);
        [lr as f32, 0.9, golden.weight_decay as f32, 0.9, 0.999]
    });
    for (step, row) in metrics.chunks_exact(3).enumerate() {
        let tolerance = if step < 5 { tolerance.first } else { tolerance.last };
        compare(&format!("{what}: loss {step}"), &row[..1], &expected.loss[step..=step], tolerance);
        compare(&format!("{what}: grad_norm {step}"), &row[2..], &expected.grad_norm[step..=step], 10.0 * tolerance);
    }
    if steps == expected.loss.len() {
        compare_scores(&format!("{what}: last"), &mut session, &dataset, &expected.last_scores, 10.0 * tolerance.last);
    }
}

/// Makes so many steps from the start, on batches of two sizes of [`TRAIN`] training images, and returns their metrics: loss,
/// accuracy and `grad_norm` of each.
///
/// # Panics
/// Where the session refuses.
pub fn train(
    session: &mut impl Session,
    dataset: &Dataset<'_>,
    batch: usize,
    steps: usize,
    hypers: impl Fn(usize) -> [f32; HYPERS],
) -> Vec<f32> {
    // Every fifth batch is a smaller one.
    let sample_counts: Vec<u32> = (0..steps).map(|step| if step % 5 == 4 { batch - 3 } else { batch } as u32).collect();
    let samples: Vec<u32> = (0..steps * batch).map(|sample| (sample * 7 % TRAIN) as u32).collect();
    let hypers: Vec<f32> = (0..steps).flat_map(hypers).collect();
    let (lane_steps, epochs) = ([steps as u32], vec![0; samples.len()]);
    let (mut metrics, mut steps_done) = (vec![0.0; steps * 3], [0]);
    let mut table = StepTable::new(StepTableParts {
        dataset,
        step_count: steps,
        lane_count: 1,
        batch_size: batch,
        hyper_count: HYPERS,
        metric_count: 3,
        first_steps: &[0],
        lane_steps: &lane_steps,
        sample_lane_count: 1,
        sample_counts: &sample_counts,
        samples: &samples,
        epochs: &epochs,
        hypers: &hypers,
        cancel: None,
        steps_done: &mut steps_done,
        metrics: &mut metrics,
    })
    .unwrap();
    session.step(&mut table).unwrap();
    assert_eq!(steps_done, lane_steps);
    metrics
}

/// The number of parameters of a model for square colour images of a size.
///
/// # Errors
/// Where the plugin has no such model, or it does not fit the images.
///
/// # Panics
/// Where the plugin cannot list parameters.
pub fn parameter_count<P: Plugin>(model: &str, options: &str, side: usize, classes: usize) -> Result<usize, Error> {
    let split = SplitData { count: 100, images: None, labels: None };
    let dataset = Dataset::new([side, side, 3], classes, [split; 3], Transform::default(), None).unwrap();
    let list = P::PARAMETERS.unwrap();
    let parameters = list(&SessionConfig {
        device: "cpu",
        model,
        options,
        dataset: &dataset,
        batch_size: 10,
        thread_count: 1,
        lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 0, data_seed: 0 }],
    })?;
    Ok(parameters.iter().map(|parameter| parameter.value_count).sum())
}

/// Compares the scores of all test images, where a session has them, and their mean loss.
#[track_caller]
fn compare_scores(what: &str, session: &mut impl Session, dataset: &Dataset<'_>, expected: &[f64], tolerance: f64) {
    let mut logits = vec![0.0; TEST * dataset.class_count()];
    let mut scores = Scores::new(dataset, Split::Test, 0..TEST, 0, None, &mut logits).unwrap();
    match session.scores(&mut scores) {
        Err(error) if error.status == Status::Unsupported => {}
        result => {
            result.unwrap();
            compare(&format!("{what} scores"), &logits, expected, tolerance);
        }
    }
    let (_, labels) = images(TRAIN, TEST, 1, dataset.class_count());
    let losses = expected.chunks(dataset.class_count()).zip(labels).map(|(scores, label)| {
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| libm::exp(score - largest)).sum();
        largest + libm::log(sum) - scores[label as usize]
    });
    let mut metrics = [0.0; 3];
    let mut evaluate = Evaluate::new(dataset, Split::Test, 0..TEST, &[true], None, &mut metrics).unwrap();
    session.evaluate(&mut evaluate).unwrap();
    compare(&format!("{what} test loss"), &metrics[..1], &[losses.sum::<f64>() / TEST as f64], tolerance);
}

/// Compares the largest difference with the largest value.
#[track_caller]
fn compare(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    let distances = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
    for (place, distance) in distances.enumerate() {
        // Written so that a NaN fails.
        assert!(distance <= tolerance * size, "{what}: {} instead of {}", found[place], expected[place]);
    }
}

/// The norm of a gradient, and its products with two directions whose values are uniform in -1 to 1.
fn projections(gradient: &[f32]) -> [f64; 3] {
    let values = || gradient.iter().copied().map(f64::from);
    let product = |seed| values().zip(0_u32..).map(|(value, i)| value * unit(i.wrapping_add(seed))).sum();
    [values().map(|value| value * value).sum::<f64>().sqrt(), product(0x5EED_0001), product(0x5EED_0002)]
}

/// Sets all weights by formulas, as `goldens.py` does, and returns the parameters.
fn set_weights(session: &mut impl Session, gain: f64) -> Vec<Tensor> {
    let tensors = session.tensors(0);
    for (index, tensor) in tensors.iter().enumerate().filter(|(_, tensor)| tensor.role == Role::Weight) {
        let (middle, half_width) = match &tensor.shape[..] {
            [height, width, channels, _] => (0.0, gain / ((height * width * channels) as f64).sqrt()),
            [inputs, _] => (0.0, gain / (*inputs as f64).sqrt()),
            // Of a normalisation.
            _ if tensor.name.ends_with(".weight") => (1.0, 0.25),
            _ => (0.0, 0.1),
        };
        let seed =
            tensor.name.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let value = |i: u32| (middle + unit(seed.wrapping_add(i)) * half_width) as f32;
        let values: Vec<f32> = (0..tensor.element_count() as u32).map(value).collect();
        session.load(0, index, &values).unwrap();
    }
    tensors.into_iter().filter(|tensor| tensor.role == Role::Weight).collect()
}

/// Square colour images with their labels: labels at random, and noise with a band of rows that is a little brighter, by label.
pub fn images(first: usize, count: usize, size: usize, classes: usize) -> (Vec<u8>, Vec<i32>) {
    let labels: Vec<i32> = (first..first + count).map(|n| (mixed(n as u32 + 77) % classes as u32) as i32).collect();
    let mut pixels = Vec::new();
    for (n, &label) in (first..).zip(&labels) {
        for y in 0..size {
            for x in 0..size {
                for c in 0..3 {
                    let noise = mixed((((n * size + y) * size + x) * 3 + c) as u32) & 127;
                    let band = if y * classes / size == label as usize { 10 } else { 0 };
                    pixels.push(noise as u8 + band);
                }
            }
        }
    }
    (pixels, labels)
}

/// A number in -1 to 1, by hash.
pub fn unit(i: u32) -> f64 {
    f64::from(mixed(i) >> 8) / 8_388_608.0 - 1.0
}

/// The finalizer of MurmurHash3.
fn mixed(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x = x.wrapping_mul(0xC2B2_AE35);
    x ^ (x >> 16)
}
