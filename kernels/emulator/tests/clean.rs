//! Kernels without bugs run, and the checker says nothing.
#![allow(unsafe_code)]

use clr_cuda_emulator::Flavour;
use cudarc::driver::{LaunchConfig, PushKernelArg};

mod common;

#[test]
fn simple_kernels() {
    let Some(device) = common::Device::open(&["clean.cu"], Flavour::Checked, &["scale", "sum_blocks"]) else { return };
    let stream = &device.stream;
    let x: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    let input = stream.clone_htod(&x).unwrap();
    let mut output = stream.alloc_zeros::<f32>(1024).unwrap();
    let mut sums = stream.alloc_zeros::<f32>(4).unwrap();
    let launch = LaunchConfig { grid_dim: (4, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the arguments are those of the kernels in clean.cu.
    unsafe {
        let (scale, sum) = (device.function("scale"), device.function("sum_blocks"));
        stream.launch_builder(&scale).arg(&input).arg(&mut output).arg(&2.0f32).arg(&1024i32).launch(launch).unwrap();
        stream.launch_builder(&sum).arg(&output).arg(&mut sums).launch(launch).unwrap();
    }
    let expected: Vec<f32> = x.chunks(256).map(|chunk| 2.0 * chunk.iter().sum::<f32>()).collect();
    assert_eq!(stream.clone_dtoh(&sums).unwrap(), expected);
}
