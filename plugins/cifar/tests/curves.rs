//! Whole networks against PyTorch: 50 iterations from equal weights on equal batches, with a learning rate that changes at
//! every step and batches of two sizes, then an evaluation. `goldens/make_goldens.py` made the curves, in float64.

use clr_cifar::Cifar;
use clr_parity::{TRAIN, images, train, unit};
use clr_plugin::{Dataset, Evaluate, Lane, Plugin, Session, SessionConfig, Split, SplitData, Transform};
use serde::Deserialize;

const CLASSES: usize = 4;
const TEST: usize = 12;
const BATCH: usize = 8;
const STEPS: usize = 50;

#[derive(Deserialize)]
struct Golden {
    model: String,
    size: usize,
    options: serde_json::Value,
    max_lr: f32,
    weight_decay: f32,
    /// Batches of an update.
    #[serde(default = "one")]
    accumulate: usize,
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    test_loss: f64,
    test_correct: usize,
}

fn one() -> usize {
    1
}

#[test]
fn curves_are_those_of_pytorch() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../goldens/curves.json")).unwrap();
    assert_eq!(goldens.len(), 18);
    let flawless = goldens.iter().filter(|golden| check(golden, "cpu", "direct", STEPS)).count();
    assert!(flawless >= 14, "only {flawless} of the 18 curves agree to the last digits");
}

/// Winograd's filtering rounds more, so that the first ReLU turns earlier: its curves are held to PyTorch's for as long
/// as none has. (Over 100 iterations on real images they are as far from PyTorch's in float64 as PyTorch's own float32:
/// parity/torch_cifar.py.)
#[test]
fn curves_of_winograds_filtering_begin_as_those_of_pytorch() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../goldens/curves.json")).unwrap();
    for golden in &goldens {
        check(golden, "cpu", "auto", 5);
    }
}

/// The first iterations only: the emulator takes its time. The last of them follows a smaller batch.
#[test]
fn curves_begin_as_those_of_pytorch_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../goldens/curves.json")).unwrap();
    let flawless = goldens.iter().filter(|golden| check(golden, "cuda:0", "auto", 6)).count();
    assert!(flawless >= 16, "only {flawless} of the 18 curves agree to the last digits");
}

/// Updates of two batches and of four, some of them a smaller one at the end: batch normalisation sees each batch by itself.
#[test]
fn accumulated_gradients_train_as_in_pytorch() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../goldens/accumulate.json")).unwrap();
    assert_eq!(goldens.iter().map(|golden| golden.accumulate).collect::<Vec<_>>(), [4, 2, 4]);
    for golden in &goldens {
        check(golden, "cpu", "direct", STEPS);
    }
    let on_gpu = clr_cuda_emulator::install_unchecked();
    for golden in goldens.iter().filter(|_| on_gpu) {
        assert!(check(golden, "cuda:0", "auto", 6), "the losses of {} differ on a GPU", golden.model);
    }
}

/// Several groups of parameters with rates and decays of their own, one of them frozen.
#[test]
fn groups_of_parameters_train_as_those_of_torch_optim() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../goldens/groups.json")).unwrap();
    let optimizers = goldens.iter().map(|golden| golden.options["optimizer"].as_str().unwrap());
    assert_eq!(optimizers.collect::<Vec<_>>(), ["sgd", "nesterov", "adam", "adamw"]);
    let flawless = goldens.iter().filter(|golden| check(golden, "cpu", "direct", STEPS)).count();
    assert!(flawless >= 3, "only {flawless} of the 4 curves agree to the last digits");
    let on_gpu = clr_cuda_emulator::install_unchecked();
    for golden in goldens.iter().filter(|_| on_gpu) {
        assert!(check(golden, "cuda:0", "auto", 6), "the losses of {} differ on a GPU", golden.options["optimizer"]);
    }
}

/// True if the first `steps` losses of a curve agree to 1e-5; panics where one differs by more than rounding explains.
#[track_caller]
fn check(golden: &Golden, device: &str, convolution: &str, steps: usize) -> bool {
    let what = format!("{} at {} by {} on {device}, {convolution}", golden.model, golden.size, golden.options);
    let split = |first, count| {
        let (images, labels) = images(first, count, golden.size, CLASSES);
        SplitData { count, images: Some(images.leak()), labels: Some(labels.leak()) }
    };
    let splits = [split(0, TRAIN), SplitData::default(), split(TRAIN, TEST)];
    let transform = Transform { mean: &[80.0, 64.0, 64.0], ..Transform::default() };
    let dataset = Dataset::new([golden.size, golden.size, 3], CLASSES, splits, transform, None).unwrap();
    let options = golden.options.to_string();
    let model_options = serde_json::json!({"convolution": convolution, "accumulate": golden.accumulate}).to_string();
    let config = SessionConfig {
        device,
        model: &golden.model,
        options: &model_options,
        dataset: &dataset,
        batch_size: BATCH,
        thread_count: 1,
        lanes: vec![Lane { options: &options, init_seed: 0, data_seed: 0 }],
    };
    let mut session = Cifar::session(&config).unwrap();
    set_weights(&mut session);

    // The learning rate goes up and down in 20 steps, from a tenth of the peak.
    let metrics = train(&mut session, &dataset, BATCH, steps, |step| {
        let height = 1.0 - ((step % 20) as f64 - 10.0).abs() / 10.0;
        let lr = decimal(golden.max_lr) * (0.1 + 0.9 * height);
        [lr as f32, 0.9, golden.weight_decay, 0.9, 0.999]
    });
    for (step, row) in metrics.chunks_exact(3).enumerate() {
        let tolerance = if step < 5 { 1e-5 } else { LATER_TOLERANCE };
        assert_close(&format!("{what}: loss {step}"), row[0], golden.loss[step], tolerance);
        assert_close(&format!("{what}: grad_norm {step}"), row[2], golden.grad_norm[step], 10.0 * tolerance);
    }

    let losses: Vec<f64> = metrics.iter().step_by(3).copied().map(f64::from).collect();
    let flawless = losses.iter().zip(&golden.loss).all(|(loss, expected)| (loss - expected).abs() <= 1e-5 * expected);
    if steps < STEPS {
        return flawless;
    }

    // The golden is a mean over all 12 samples; batches here have 8 and 4.
    let mut metrics = [0.0; 3];
    let mut evaluate = Evaluate::new(&dataset, Split::Test, 0..TEST, &[true], None, &mut metrics).unwrap();
    session.evaluate(&mut evaluate).unwrap();
    assert_close(&format!("{what}: test loss"), metrics[0], golden.test_loss, LATER_TOLERANCE);
    assert_eq!(metrics[1], golden.test_correct as f32 / TEST as f32, "{what}: test accuracy");
    flawless
}

/// Losses agree to 1e-7 until rounding turns a ReLU or another pixel of a pooling on: from there on the two runs go
/// slightly different ways. It befalls 2 of the 18 curves on AVX2, and others without.
const LATER_TOLERANCE: f64 = 1e-2;

#[track_caller]
fn assert_close(what: &str, actual: f32, expected: f64, tolerance: f64) {
    let error = (f64::from(actual) - expected).abs();
    // Written so that a NaN fails.
    assert!(error <= tolerance * expected.abs(), "{what}: {actual} instead of {expected}");
}

/// The decimal number that an f32 was read from.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap()
}

fn set_weights(session: &mut impl Session) {
    let mut parameter = 0;
    for (index, tensor) in session.tensors(0).into_iter().enumerate() {
        let scale = match &tensor.shape[..] {
            _ if tensor.role != clr_plugin::Role::Weight => continue,
            _ if tensor.name == "conv1.weight" => 0.01,
            [height, width, channels, _] => 1.5 / ((height * width * channels) as f64).sqrt(),
            [inputs, _] => 1.5 / (*inputs as f64).sqrt(),
            _ => 0.1,
        };
        let values: Vec<f32> = (0..tensor.element_count() as u32)
            .map(|i| (unit(i.wrapping_add(1_000_003 * (parameter + 1))) * f64::from(scale as f32)) as f32)
            .collect();
        session.load(0, index, &values).unwrap();
        parameter += 1;
    }
}
