//! Sessions on an emulated GPU, held against those of the CPU. Kernels run under the emulator's checker.

mod networks;
mod trials;

use std::sync::{Mutex, MutexGuard, PoisonError};

use clr_cuda_emulator::Setting;
use clr_kernels::cuda::Gpu;
use clr_nn::sdk::{Session, Status};

use crate::trials::{Images, Run, Setup, TRIALS, Trial};

/// The emulated GPU, for one test at a time: its settings and its memory are the process's. None where it cannot be
/// built.
fn gpu() -> Option<MutexGuard<'static, ()>> {
    static GPU: Mutex<()> = Mutex::new(());
    let guard = GPU.lock().unwrap_or_else(PoisonError::into_inner);
    clr_cuda_emulator::install().then_some(guard)
}

fn bits(rows: &[[f32; 3]]) -> Vec<[u32; 3]> {
    rows.iter().map(|row| row.map(f32::to_bits)).collect()
}

/// Asserts that losses and norms agree within `tolerance` of themselves, and accuracies but for what some samples make.
#[track_caller]
fn assert_close(what: &str, found: &[[f32; 3]], expected: &[[f32; 3]], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        for column in [0, 2] {
            let (found, expected) = (found[column], expected[column]);
            if expected.is_nan() {
                assert!(found.is_nan());
                continue;
            }
            // Written so that a NaN fails.
            let close = (found - expected).abs() <= tolerance * expected.abs();
            assert!(close, "{what}, row {step}, column {column}: {found} instead of {expected}");
        }
        assert!((found[1] - expected[1]).abs() < 0.6, "{what}, row {step}: accuracy {found:?} {expected:?}");
    }
}

/// Three epochs and a part.
const STEPS: u32 = 20;

/// Of a float32 loss and norm after so many steps, relative: sums in another order differ in the last bits of 24.
const TOLERANCE: f32 = 1e-5;

#[track_caller]
fn check_curves(model: &str, options: &str) {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup { options, ..Setup::new(model, &dataset) };
    let mut cpu = Setup { device: "cpu", ..setup }.start(&TRIALS).unwrap();
    let mut gpu = setup.start(&TRIALS).unwrap();
    for run in [&mut cpu, &mut gpu] {
        run.advance(&[STEPS; 3]).unwrap();
    }
    for (on_gpu, on_cpu) in gpu.lanes.iter().zip(&cpu.lanes) {
        let what = format!("{model} {options}, {}", on_gpu.trial.optimizer);
        assert_close(&what, &on_gpu.rows, &on_cpu.rows, TOLERANCE);
    }
    assert_close("evaluation", &gpu.evaluate(), &cpu.evaluate(), TOLERANCE);
}

#[test]
fn the_plain_network_trains_as_on_the_cpu() {
    check_curves("plain", "{}");
}

#[test]
fn the_residual_network_trains_as_on_the_cpu() {
    check_curves("residual", "{}");
}

/// What lanes leave out, what they remember, and which loss is that of the metrics.
#[test]
fn the_network_of_branches_trains_as_on_the_cpu() {
    check_curves("branches", "{}");
}

#[test]
fn accumulated_gradients_train_as_on_the_cpu() {
    check_curves("plain", r#"{"accumulate": 2}"#);
}

/// The bits of all that comes of a lane.
#[derive(Debug, PartialEq)]
struct Results {
    rows: Vec<[u32; 3]>,
    evaluation: [u32; 2],
    state: Vec<Vec<u32>>,
}

fn results(run: &mut Run<'_>, lane: usize) -> Results {
    let [loss, accuracy, _] = run.evaluate()[lane].map(f32::to_bits);
    let state = run.save(lane).iter().map(|tensor| tensor.iter().map(|value| value.to_bits()).collect()).collect();
    Results { rows: bits(&run.lanes[lane].rows), evaluation: [loss, accuracy], state }
}

/// Each trial alone, for nine steps in one call.
fn alone(setup: Setup<'_>) -> Vec<Results> {
    let trial = |trial: &Trial| {
        let mut run = setup.start(&[*trial]).unwrap();
        run.advance(&[9]).unwrap();
        results(&mut run, 0)
    };
    TRIALS.iter().map(trial).collect()
}

#[test]
fn a_lane_does_not_depend_on_its_neighbours_or_on_pauses() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let bf16 = r#"{"precision": "bf16"}"#;
    let parts = r#"{"accumulate": 4}"#;
    for (model, options) in [("plain", "{}"), ("residual", bf16), ("branches", "{}"), ("plain", parts)] {
        let setup = Setup { options, ..Setup::new(model, &dataset) };
        let expected = alone(setup);
        let mut together = setup.start(&TRIALS).unwrap();
        together.advance(&[9; 3]).unwrap();
        let mut pausing = setup.start(&TRIALS).unwrap();
        // Lane 0's small batch, of step 5, comes while others have full ones; evaluations change nothing.
        pausing.advance(&[4, 0, 1]).unwrap();
        pausing.evaluate();
        pausing.advance(&[3, 5, 0]).unwrap();
        pausing.advance(&[2, 4, 8]).unwrap();
        for (lane, expected) in expected.iter().enumerate() {
            assert!(results(&mut together, lane) == *expected, "{model} {options}: lane {lane} among others");
            assert!(results(&mut pausing, lane) == *expected, "{model} {options}: lane {lane}, which pauses");
        }
    }
}

#[test]
fn a_lane_is_filled_again() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup::new("plain", &dataset);
    let expected = alone(setup);
    // Neither of the first trials keeps two values for each weight; Adam does.
    let mut run = setup.start(&[TRIALS[0], TRIALS[2]]).unwrap();
    run.advance(&[3, 4]).unwrap();
    run.reset(1, TRIALS[1]).unwrap();
    run.advance(&[6, 9]).unwrap();
    assert!(results(&mut run, 0) == expected[0]);
    assert!(results(&mut run, 1) == expected[1]);
    assert!(run.session.reset_lane(0, &bad_lane(), &dataset).is_err());
    assert!(results(&mut run, 0) == expected[0], "a reset that is refused leaves the lane as it was");
}

fn bad_lane() -> clr_nn::sdk::Lane<'static> {
    clr_nn::sdk::Lane { options: r#"{"optimizer": "sgd", "rate": 1}"#, init_seed: 0, data_seed: 0 }
}

#[test]
fn a_checkpoint_moves_between_devices() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    for model in ["plain", "residual"] {
        let setup = Setup::new(model, &dataset);
        let on_cpu = Setup { device: "cpu", ..setup };
        let mut expected = on_cpu.start(&TRIALS[1..]).unwrap();
        expected.advance(&[10; 2]).unwrap();
        // Three steps here, three there, the rest here again.
        let mut first = on_cpu.start(&TRIALS[1..]).unwrap();
        first.advance(&[3; 2]).unwrap();
        let mut there = setup.start(&TRIALS[1..]).unwrap();
        let mut last = on_cpu.start(&TRIALS[1..]).unwrap();
        for lane in 0..2 {
            assert_eq!(first.session.tensors(lane), there.session.tensors(lane));
            assert_eq!(first.save(lane), there_and_back(&mut there, lane, &first.save(lane)));
            there.load(lane, 3, &first.save(lane));
        }
        there.advance(&[3; 2]).unwrap();
        for lane in 0..2 {
            last.load(lane, 6, &there.save(lane));
        }
        last.advance(&[4; 2]).unwrap();
        for (lane, expected) in expected.lanes.iter().enumerate() {
            let what = format!("{model}, lane {lane}");
            assert_close(&what, &there.lanes[lane].rows, &expected.rows[3..6], TOLERANCE);
            assert_close(&what, &last.lanes[lane].rows, &expected.rows[6..], TOLERANCE);
        }
    }
}

fn there_and_back(run: &mut Run<'_>, lane: usize, tensors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    run.load(lane, 0, tensors);
    run.save(lane)
}

#[test]
fn images_that_are_shared_or_streamed_are_the_same() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let (resident, streamed) = (images.dataset(), images.streamed());
    let same = TRIALS.map(|trial| Trial { data_seed: 5, ..trial });
    for (trials, options) in [(&TRIALS, "{}"), (&same, "{}"), (&TRIALS, r#"{"accumulate": 2}"#)] {
        let rows = [&resident, &streamed].map(|dataset| {
            let mut run = Setup { options, ..Setup::new("plain", dataset) }.start(trials).unwrap();
            run.advance(&[6; 3]).unwrap();
            // From now on, nothing is shared.
            run.advance(&[1, 0, 0]).unwrap();
            run.advance(&[1, 2, 2]).unwrap();
            (0..3).map(|lane| results(&mut run, lane)).collect::<Vec<_>>()
        });
        assert!(rows[0] == rows[1]);
        let mut alone = Setup { options, ..Setup::new("plain", &resident) }.start(&trials[2..]).unwrap();
        alone.advance(&[8]).unwrap();
        assert!(results(&mut alone, 0) == rows[0][2]);
    }
}

/// More steps than the tables have rows.
#[test]
fn long_calls_are_made_in_parts() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup::new("linear", &dataset);
    let mut one = setup.start(&TRIALS[..2]).unwrap();
    one.advance(&[530, 300]).unwrap();
    let mut many = setup.start(&TRIALS[..2]).unwrap();
    many.advance(&[200, 200]).unwrap();
    many.advance(&[230, 100]).unwrap();
    many.advance(&[100, 0]).unwrap();
    let mut cpu = Setup { device: "cpu", ..setup }.start(&TRIALS[..2]).unwrap();
    cpu.advance(&[530, 300]).unwrap();
    for lane in 0..2 {
        assert!(results(&mut one, lane) == results(&mut many, lane), "lane {lane}");
        assert_close("a long call", &one.lanes[lane].rows, &cpu.lanes[lane].rows, 1e-3);
    }
}

/// TF32 keeps 11 bits of each factor, bfloat16 8.
#[test]
fn lower_precisions_stay_near() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup::new("residual", &dataset);
    let mut exact = setup.start(&TRIALS[..1]).unwrap();
    exact.advance(&[8]).unwrap();
    for (options, tolerance) in [(r#"{"precision": "tf32"}"#, 0.01), (r#"{"precision": "bf16"}"#, 0.08)] {
        let mut run = Setup { options, ..setup }.start(&TRIALS[..1]).unwrap();
        run.advance(&[8]).unwrap();
        assert_close(options, &run.lanes[0].rows, &exact.lanes[0].rows, tolerance);
        assert_ne!(bits(&run.lanes[0].rows), bits(&exact.lanes[0].rows), "{options}: another arithmetic");
    }
}

#[test]
fn the_footprint_is_what_is_allocated() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let (resident, streamed) = (images.dataset(), images.streamed());
    // Holds what the driver counts for an open GPU.
    let gpu = Gpu::open(0).unwrap();
    let parted = r#"{"accumulate": 2}"#;
    for (model, dataset, options) in [
        ("plain", &resident, "{}"),
        ("residual", &streamed, "{}"),
        ("linear", &resident, "{}"),
        ("branches", &resident, "{}"),
        ("plain", &resident, parted),
        ("plain", &streamed, parted),
    ] {
        for trials in [&TRIALS[..1], &TRIALS, &TRIALS[..1].repeat(40)] {
            let setup = Setup { options, ..Setup::new(model, dataset) };
            let footprint = setup.footprint(trials).unwrap();
            let before = gpu.memory().unwrap().free;
            let mut run = setup.start(trials).unwrap();
            let counted = footprint.bytes_shared + trials.len() as u64 * footprint.bytes_per_lane;
            let used = || (before - gpu.memory().unwrap().free) as u64;
            let found = used();
            // Each allocation is rounded up by less than 512 bytes.
            assert!(found <= counted && counted < found + 40 * 512, "{model}: {counted} counted, {found} used");
            if trials.len() <= 3 {
                run.advance(&vec![7; trials.len()]).unwrap();
                run.evaluate();
                assert_eq!(used(), found, "{model}: training takes no more");
            }
        }
    }
}

#[test]
fn numerics_name_the_gpu_and_the_precision() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    for (options, expected) in [
        ("{}", "cuda-sm90-f32"),
        (r#"{"precision": "tf32"}"#, "cuda-sm90-tf32"),
        (r#"{"precision": "bf16"}"#, "cuda-sm90-bf16"),
    ] {
        let setup = Setup { options, ..Setup::new("plain", &dataset) };
        assert_eq!(setup.footprint(&TRIALS).unwrap().numerics, expected);
    }
}

/// The errors of footprint and session for a setup that cannot be.
#[track_caller]
fn check_refused(setup: Setup<'_>, status: Status, message: &str) {
    for error in [setup.footprint(&TRIALS).unwrap_err(), setup.start(&TRIALS).unwrap_err()] {
        assert_eq!((error.status, &error.message[..]), (status, message));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let good = Setup::new("plain", &dataset);
    let device = |device| Setup { device, ..good };
    check_refused(device("cuda:1"), Status::Device, "no GPU 1: the NVIDIA driver finds 1, counted from 0");
    check_refused(device("cuda:-1"), Status::Unsupported, "device cuda:-1: expected cpu, or cuda:0 and so on");
    let options = r#"{"precision": "f64"}"#;
    let message = r#"precision "f64": a GPU computes in "f32", "tf32" or "bf16""#;
    check_refused(Setup { options, ..good }, Status::Unsupported, message);
    let options = r#"{"precision": "tf32"}"#;
    let message = r#"precision "tf32": the CPU computes in "f32""#;
    check_refused(Setup { options, ..device("cpu") }, Status::Unsupported, message);
    clr_cuda_emulator::set(Setting::ComputeCapability(75));
    let refused = [good.footprint(&TRIALS).map(drop), good.start(&TRIALS).map(drop)];
    clr_cuda_emulator::set(Setting::ComputeCapability(90));
    for refused in refused {
        assert_eq!(refused.unwrap_err().status, Status::Unsupported);
    }
}

#[test]
fn memory_that_runs_out_leaves_nothing_behind() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup::new("plain", &dataset);
    let gpu = Gpu::open(0).unwrap();
    let before = gpu.memory().unwrap().free;
    for call in [1, 5, 15, 25] {
        clr_cuda_emulator::set(Setting::Fail { function: "cuMemAlloc_v2", call, result: OUT_OF_MEMORY });
        let error = setup.start(&TRIALS).unwrap_err();
        assert_eq!(error.status, Status::OutOfMemory, "{error}");
        assert_eq!(gpu.memory().unwrap().free, before, "allocation {call}");
    }
    let mut run = setup.start(&TRIALS).unwrap();
    clr_cuda_emulator::set(Setting::Fail { function: "cuGraphUpload", call: 1, result: OUT_OF_MEMORY });
    assert_eq!(run.advance(&[1; 3]).unwrap_err().status, Status::OutOfMemory, "the driver's memory for a graph");
    setup.start(&TRIALS).unwrap().advance(&[1; 3]).unwrap();
}

const OUT_OF_MEMORY: u32 = 2;
const LAUNCH_FAILED: u32 = 719;

#[test]
fn what_fails_on_the_gpu_is_its_device_s_error() {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let mut run = Setup::new("linear", &dataset).start(&TRIALS).unwrap();
    run.advance(&[2; 3]).unwrap();
    clr_cuda_emulator::set(Setting::Fail { function: "cuGraphLaunch", call: 2, result: LAUNCH_FAILED });
    let error = run.advance(&[3; 3]).unwrap_err();
    assert_eq!(error.status, Status::Device, "{error}");
    assert!(error.message.starts_with("GPU: launching a graph: "), "{error}");
}
