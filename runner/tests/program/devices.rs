//! GPUs that there are, are not, or are too old: on an emulated driver, and without one.

use std::fs;

use clr_cuda_emulator::{Flavour, environment};

use crate::world::{MIX, Ran, World};

/// Runs `spec.toml` on the emulated driver with further `settings`. None where there is no C++ compiler.
fn run(world: &World, arguments: &[&str], settings: &[(&str, &str)]) -> Option<Ran> {
    let mut command = world.command(&[&["spec.toml", "--data", "data"], arguments].concat());
    command.envs(environment(Flavour::Unchecked)?).envs(settings.iter().copied());
    Some(Ran::from(command.output().expect("the program starts")))
}

#[track_caller]
fn check_refused(device: &str, settings: &[(&str, &str)], expected: &str) {
    let world = World::new(MIX);
    let Some(ran) = run(&world, &["--device", device], settings) else { return };
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.said(), format!("error: --device: {expected}\n"));
    assert!(!world.path("outputs").exists());
}

#[test]
fn a_gpu_that_cannot_be_used_is_refused_with_the_reason() {
    check_refused(
        "cuda",
        &[("CUDA_EMULATOR_DRIVER_VERSION", "11080")],
        "the NVIDIA driver is too old: it supports CUDA 11.8, and 12.1 is needed (driver 530 or newer)",
    );
    check_refused("cuda", &[("CUDA_EMULATOR_DEVICES", "0")], "no GPU 0: the NVIDIA driver finds none");
    check_refused("cuda:0,3", &[], "no GPU 3: the NVIDIA driver finds 1, counted from 0");
}

#[test]
fn without_a_usable_gpu_auto_is_the_cpu() {
    let world = World::new(MIX);
    world.train(&["--device", "cpu", "--outputs", "cpu"]);
    let old = [("CUDA_EMULATOR_DRIVER_VERSION", "11080")];
    let Some(ran) = run(&world, &["--outputs", "auto"], &old) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(world.tables("auto/mix") == world.tables("cpu/mix"));
}

#[test]
fn trials_on_one_gpu_and_on_two_have_equal_bytes() {
    // The emulator is slow: an update of each trial on few images, and a second one.
    let few = MIX.replace("batch_size = 7", "batch_size = 2").replace("iterations = 11", "iterations = 2");
    let world = World::new(&few.replace("seeds = [1, 2]", "seeds = [1]"));
    let on = |outputs: &str, device: &str, settings: &[(&str, &str)]| {
        let ran = run(&world, &["--device", device, "--outputs", outputs], settings)?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let manifest = fs::read_to_string(world.path(&format!("{outputs}/mix/manifest.json"))).unwrap();
        Some((world.tables(&format!("{outputs}/mix")), manifest))
    };
    let Some((one, manifest)) = on("one", "auto", &[]) else { return };
    assert!(manifest.contains(r#""devices":["cuda:0"]"#) && manifest.contains("cuda-sm90-f32"), "{manifest}");
    let (two, manifest) = on("two", "cuda", &[("CUDA_EMULATOR_DEVICES", "2")]).unwrap();
    assert!(manifest.contains(r#""devices":["cuda:0","cuda:1"]"#), "{manifest}");
    assert!(one == two, "on two GPUs there are other bytes");
}
