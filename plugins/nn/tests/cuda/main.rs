//! Sessions on an emulated GPU, held against those of the CPU. Kernels run under the emulator's checker.

mod networks;
mod trials;

use std::sync::{Mutex, MutexGuard, PoisonError};

use clr_cuda_emulator::Setting;
use clr_kernels::cuda::Gpu;
use clr_nn::sdk::{Error, Session, Status};

use crate::trials::{Images, Run, Setup, TRIALS, Trial};

/// The emulated GPU, for one test at a time: its settings and its memory are the process's. None where it cannot be built.
fn gpu() -> Option<MutexGuard<'static, ()>> {
    static GPU: Mutex<()> = Mutex::new(());
    let guard = GPU.lock().unwrap_or_else(PoisonError::into_inner);
    clr_cuda_emulator::install().then_some(guard)
}

fn bits(rows: &[[f32; 3]]) -> Vec<[u32; 3]> {
    rows.iter().map(|row| row.map(f32::to_bits)).collect()
}

/// Asserts that losses and norms agree within `tolerance` of themselves, and accuracies but for what a sample more makes.
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

/// Largest relative difference between two curves of losses.
fn difference(found: &[[f32; 3]], expected: &[[f32; 3]]) -> f32 {
    found.iter().zip(expected).map(|(found, expected)| ((found[0] - expected[0]) / expected[0]).abs()).fold(0.0, f32::max)
}

/// Three epochs and a part.
const STEPS: u32 = 20;

/// Of a float32 loss and norm after so many steps, relative: sums in another order differ in the last bits of 24.
const TOLERANCE: f32 = 1e-5;

#[track_caller]
fn check_curves(model: &str) {
    let Some(_guard) = gpu() else { return };
    let images = Images::new();
    let dataset = images.dataset();
    let setup = Setup::new(model, &dataset);
    let mut cpu = Setup { device: "cpu", ..setup }.start(&TRIALS).unwrap();
    let mut gpu = setup.start(&TRIALS).unwrap();
    for run in [&mut cpu, &mut gpu] {
        run.advance(&[STEPS; 3]).unwrap();
    }
    for (on_gpu, on_cpu) in gpu.lanes.iter().zip(&cpu.lanes) {
        let what = format!("{model}, {}", on_gpu.trial.optimizer);
        eprintln!("{what}: {}", difference(&on_gpu.rows, &on_cpu.rows));
        assert_close(&what, &on_gpu.rows, &on_cpu.rows, TOLERANCE);
    }
    assert_close("evaluation", &gpu.evaluate(), &cpu.evaluate(), TOLERANCE);
}

#[test]
fn the_plain_network_trains_as_on_the_cpu() {
    check_curves("plain");
}

#[test]
fn the_residual_network_trains_as_on_the_cpu() {
    check_curves("residual");
}
