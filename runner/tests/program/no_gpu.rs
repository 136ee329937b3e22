//! Machines without a driver, and GPUs without room.

use clr_cuda_emulator::{Flavour, environment};
use clr_kernels::cuda::{Gpu, GpuError};

use crate::world::{MIX, Ran, World};

#[test]
fn without_a_driver_a_gpu_is_refused_and_auto_is_the_cpu() {
    if !matches!(Gpu::count(), Err(GpuError::NoDriver)) {
        eprintln!("SKIPPED: this machine has a driver");
        return;
    }
    let world = World::new(MIX);
    let ran = world.run(&["spec.toml", "--data", "data", "--device", "cuda"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.said(), "error: --device: no NVIDIA driver: its library (libcuda.so.1) was not found\n");
    assert!(!world.path("outputs").exists());
    world.train(&["--device", "auto"]);
}

#[test]
fn without_room_for_a_trial_a_gpu_is_refused_and_auto_is_the_cpu() {
    let Some(emulator) = environment(Flavour::Unchecked) else { return };
    let world = World::new(MIX);
    let run = |device: &str| {
        let mut command = world.command(&["spec.toml", "--data", "data", "--device", device]);
        command.envs(emulator.iter().cloned()).env("CUDA_EMULATOR_MEMORY_MIB", "1");
        Ran::from(command.output().expect("the program starts"))
    };
    let ran = run("cuda:0");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let expected = "error: --device: GPU 0 is out of memory: a trial of cifar10_quick takes ";
    assert!(ran.said().starts_with(expected) && ran.stderr.ends_with("of 1.0 MiB are free\n"), "{ran:?}");
    assert!(!world.path("outputs").exists());
    let ran = run("auto");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
