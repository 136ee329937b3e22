//! The device layer on the emulated driver.

#![allow(unsafe_code)]

use crate::Activation;
use crate::activation::cuda::forward;
use crate::cuda::*;
use crate::testing::gpu;

#[test]
fn values_come_back_as_they_went() {
    let Some(gpu) = gpu() else { return };
    let buffer = gpu.alloc::<f32>(5).unwrap();
    gpu.upload(&buffer, 1, &[1.0, 2.0, 3.0]).unwrap();
    gpu.copy((&buffer, 2), (&buffer, 4), 1).unwrap();
    let mut values = [9.0; 5];
    gpu.download(&buffer, 0, &mut values).unwrap();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 2.0]);
    assert!(gpu.alloc::<u64>(0).unwrap().is_empty());
    let Memory { free, total } = gpu.memory().unwrap();
    assert!(free <= total && total > 0);
}

#[test]
fn a_graph_runs_when_it_is_launched_and_keeps_its_buffers() {
    let Some(gpu) = gpu() else { return };
    let y = gpu.alloc_from(&[0.0_f32; 4]).unwrap();
    let graph = {
        let x = gpu.alloc_from(&[-1.0_f32, 2.0, -3.0, 4.0]).unwrap();
        gpu.capture(|gpu| {
            forward(gpu, 1, Activation::Relu, 4, x.shared(), y.shared())?;
            gpu.copy((&y, 1), (&y, 0), 1)
        })
        .unwrap()
    };
    let read = || {
        let mut values = [9.0; 4];
        gpu.download(&y, 0, &mut values).unwrap();
        values
    };
    assert_eq!(read(), [0.0; 4]);
    for _ in 0..2 {
        graph.launch().unwrap();
        assert_eq!(read(), [2.0, 2.0, 0.0, 4.0]);
    }
}

#[test]
fn a_capture_that_fails_leaves_the_stream_usable() {
    let Some(gpu) = gpu() else { return };
    let y = gpu.alloc_from(&[-1.0_f32]).unwrap();
    let failed = GpuError::NoSuchGpu { ordinal: 3, count: 1 };
    assert_eq!(gpu.capture(|_| Err(failed.clone())).unwrap_err(), failed);
    forward(&gpu, 1, Activation::Relu, 1, y.shared(), y.shared()).unwrap();
    let mut values = [9.0];
    gpu.download(&y, 0, &mut values).unwrap();
    assert_eq!(values, [0.0]);
}

#[test]
fn a_gpu_that_is_not_there_is_named() {
    let Some(gpu) = gpu() else { return };
    let count = Gpu::count().unwrap();
    assert_eq!(Gpu::open(count + 1).unwrap_err(), GpuError::NoSuchGpu { ordinal: count + 1, count });
    assert_eq!(gpu.compute_capability(), (9, 0));
    let bytes = gpu.memory().unwrap().total + 1;
    assert!(
        matches!(gpu.alloc::<u8>(bytes).unwrap_err(), GpuError::OutOfMemory { bytes: asked, .. } if asked == bytes)
    );
}

#[test]
#[should_panic(expected = "4 values from 1 on of a buffer of 4")]
fn a_short_buffer_is_found_before_the_launch() {
    let Some(gpu) = gpu() else { panic!("4 values from 1 on of a buffer of 4: not checked here") };
    let y = gpu.alloc::<f32>(4).unwrap();
    let _ = forward(&gpu, 1, Activation::Relu, 4, y.shared(), y.shared().at(1));
}

#[test]
#[should_panic(expected = "lanes of 4 values written 0 apart")]
fn lanes_that_overlap_are_not_written() {
    let Some(gpu) = gpu() else { panic!("lanes of 4 values written 0 apart: not checked here") };
    let y = gpu.alloc::<f32>(8).unwrap();
    let _ = forward(&gpu, 2, Activation::Relu, 4, y.lanes(4), y.shared());
}

#[test]
#[should_panic(expected = "the arguments of `activation_forward`, as given and as declared")]
fn a_launch_with_two_numbers_exchanged_is_refused() {
    let Some(gpu) = gpu() else {
        panic!("the arguments of `activation_forward`, as given and as declared: not checked")
    };
    let y = gpu.alloc::<f32>(4).unwrap();
    let launch = gpu.launch("activation_forward", 1).threads_for(4, 256).value("width", 1_u32).value("groups", 4_u32);
    let launch = launch.value("activation", 0_u32).read("x", y.shared(), 4).write("y", y.shared(), 4);
    // SAFETY: nothing is launched.
    let _ = unsafe { launch.run() };
}
