//! Kernels without bugs run, and the checker says nothing.

use clr_cuda_emulator::Flavour;
use common::{Device, argument};
use cudarc::driver::{DevicePtr, LaunchConfig};

mod common;

#[test]
fn simple_kernels() {
    let Some(device) = Device::open(&["clean.cu"], Flavour::Checked, &["scale", "sum_blocks"]) else { return };
    let stream = &device.stream;
    let x: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    let (input, output) = (stream.clone_htod(&x).unwrap(), stream.alloc_zeros::<f32>(1024).unwrap());
    let sums = stream.alloc_zeros::<f32>(4).unwrap();
    let [x_at, y_at, sums_at] = [&input, &output, &sums].map(|buffer| buffer.device_ptr(stream).0);
    let launch = LaunchConfig { grid_dim: (4, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    let scale = [argument(&x_at), argument(&y_at), argument(&2.0f32), argument(&1024i32)];
    device.launch("scale", launch, &scale).unwrap();
    device.launch("sum_blocks", launch, &[argument(&y_at), argument(&sums_at)]).unwrap();
    let expected: Vec<f32> = x.chunks(256).map(|chunk| 2.0 * chunk.iter().sum::<f32>()).collect();
    assert_eq!(stream.clone_dtoh(&sums).unwrap(), expected);
}
