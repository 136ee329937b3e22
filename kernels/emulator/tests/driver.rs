//! The test driver behaves as a driver does: errors, capture, memory, images, and what a test makes it do.
//!
//! Settings hold for the process, so all is one test.
#![allow(unsafe_code)]

use clr_cuda_emulator::{Flavour, Setting, set};
use common::{Device, argument, load};
use cudarc::driver::sys::{self, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus};
use cudarc::driver::{CudaContext, DevicePtr, DriverError, LaunchConfig};

mod common;

#[track_caller]
fn refused<T>(result: Result<T, DriverError>, expected: CUresult) {
    match result {
        Ok(_) => panic!("this should give {expected:?}"),
        Err(error) => assert_eq!(error.0, expected, "{error:?}"),
    }
}

#[test]
fn the_driver() {
    let Some(device) = Device::open(&["clean.cu", "planted.cu"], Flavour::Checked, &["scale", "race_two_writers"])
    else {
        return;
    };
    devices();
    images();
    memory(&device);
    launches(&device);
    capture(&device);
    faults(&device);
}

fn devices() {
    set(Setting::Devices(2));
    assert_eq!(CudaContext::device_count().unwrap(), 2);
    let second = CudaContext::new(1).unwrap();
    assert_eq!(second.ordinal(), 1);
    refused(CudaContext::new(2), CUresult::CUDA_ERROR_INVALID_DEVICE);
    set(Setting::Devices(0));
    // SAFETY: a call without arguments.
    refused(unsafe { sys::cuInit(0).result() }, CUresult::CUDA_ERROR_NO_DEVICE);
    set(Setting::Devices(1));
    let (mut version, first) = (0, CudaContext::new(0).unwrap());
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().unwrap();
    assert_eq!(version, 12010);
    assert_eq!(first.compute_capability().unwrap(), (9, 0));
    set(Setting::ComputeCapability(86));
    assert_eq!(first.compute_capability().unwrap(), (8, 6));
    set(Setting::ComputeCapability(90));
    let opted_in = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    assert_eq!(first.attribute(opted_in).unwrap(), 227 << 10);
}

fn images() {
    CudaContext::new(0).unwrap().bind_to_thread().unwrap();
    let ptx = |version: &str, target: &str| format!(".version {version}\n.target {target}\n\0").into_bytes();
    load(&ptx("8.1", "sm_80")).unwrap();
    refused(load(&ptx("8.2", "sm_80")), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    refused(load(&ptx("8.1", "sm_100")), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    refused(load(b"no image\0"), CUresult::CUDA_ERROR_INVALID_IMAGE);
    set(Setting::DriverVersion(11080));
    refused(load(&ptx("8.1", "sm_80")), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    set(Setting::DriverVersion(12010));
    let cubin = include_bytes!("../../cuda/kernels.sm_90.cubin");
    load(cubin).unwrap();
    set(Setting::ComputeCapability(80));
    refused(load(cubin), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    load(&[include_bytes!("../../cuda/kernels.compute_80.ptx"), &b"\0"[..]].concat()).unwrap();
    set(Setting::ComputeCapability(90));
}

fn memory(device: &Device) {
    let stream = &device.stream;
    set(Setting::MemoryMib(1));
    let free = stream.context().mem_get_info().unwrap().0;
    assert_eq!(free, 1 << 20);
    let half = stream.alloc_zeros::<u8>(600 << 10).unwrap();
    refused(stream.alloc_zeros::<u8>(600 << 10), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    drop(half);
    assert_eq!(stream.context().mem_get_info().unwrap().0, free);
    set(Setting::MemoryMib(8192));

    // SAFETY: what the driver says to reading it is what is tested.
    let unwritten = unsafe { stream.alloc::<u32>(16) }.unwrap();
    refused(stream.clone_dtoh(&unwritten), CUresult::CUDA_ERROR_INVALID_VALUE);
    let mut copy = stream.alloc_zeros::<u32>(16).unwrap();
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), [0; 16]);
    // What was not written does not become so by being copied.
    stream.memcpy_dtod(&unwritten, &mut copy).unwrap();
    refused(stream.clone_dtoh(&copy), CUresult::CUDA_ERROR_INVALID_VALUE);
}

fn launches(device: &Device) {
    let stream = &device.stream;
    let (x, y) = (stream.clone_htod(&[1.0f32; 1024]).unwrap(), stream.alloc_zeros::<f32>(1024).unwrap());
    let (x_at, y_at) = (x.device_ptr(stream).0, y.device_ptr(stream).0);
    let scale = [argument(&x_at), argument(&y_at), argument(&2.0f32), argument(&256i32)];
    let launch = |grid: (u32, u32, u32), block: u32, shared_mem_bytes: u32| {
        device.launch("scale", LaunchConfig { grid_dim: grid, block_dim: (block, 1, 1), shared_mem_bytes }, &scale)
    };
    launch((1, 1, 1), 256, 0).unwrap();
    refused(launch((1, 0, 1), 256, 0), CUresult::CUDA_ERROR_INVALID_VALUE);
    refused(launch((1, 65536, 1), 256, 0), CUresult::CUDA_ERROR_INVALID_VALUE);
    refused(launch((1, 1, 1), 2048, 0), CUresult::CUDA_ERROR_INVALID_VALUE);
    // More than `__launch_bounds__(256)`.
    refused(launch((1, 1, 1), 512, 0), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    refused(launch((1, 1, 1), 256, 49 << 10), CUresult::CUDA_ERROR_INVALID_VALUE);
    let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
    // Built for the CPU, but missing in the image; and the other way round.
    refused(device.launch("transpose", one, &scale), CUresult::CUDA_ERROR_NOT_FOUND);
    refused(device.launch("nothing", one, &scale), CUresult::CUDA_ERROR_NOT_FOUND);

    // A failed kernel fails itself; if errors stick, all that follows.
    let racing = || device.launch("race_two_writers", one, &scale[..2]);
    refused(racing(), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    stream.synchronize().unwrap();
    set(Setting::StickyErrors(true));
    refused(racing(), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    refused(stream.synchronize(), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    set(Setting::StickyErrors(false));
    stream.synchronize().unwrap();
}

fn capture(device: &Device) {
    let stream = &device.stream;
    // Event tracking would record calls of its own.
    // SAFETY: all work is on one stream.
    unsafe { stream.context().disable_event_tracking() };
    let (mut x, y) = (stream.clone_htod(&[1.0f32; 256]).unwrap(), stream.alloc_zeros::<f32>(256).unwrap());
    let (x_at, y_at) = (x.device_ptr(stream).0, y.device_ptr(stream).0);
    let launch = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    let begin = || stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    begin();
    // A graph keeps the arguments of its launches.
    let mut factor = 3.0f32;
    device.launch("scale", launch, &[argument(&x_at), argument(&y_at), argument(&factor), argument(&256i32)]).unwrap();
    factor += 1.0;
    assert_eq!(factor, 4.0);
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
    let graph = stream.end_capture(flags).unwrap().unwrap();
    // Nothing ran yet.
    assert_eq!(stream.clone_dtoh(&y).unwrap(), [0.0; 256]);
    for value in [1.0f32, 2.0] {
        stream.memcpy_htod(&[value; 256], &mut x).unwrap();
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&y).unwrap(), [3.0 * value; 256]);
    }

    // Waiting and allocating do not belong into a capture, and break it.
    let breakers: [&dyn Fn() -> Result<(), DriverError>; 2] =
        [&|| stream.synchronize(), &|| stream.alloc_zeros::<u8>(1).map(|_| ())];
    for call in breakers {
        begin();
        refused(call(), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        assert_eq!(stream.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
        refused(stream.end_capture(flags), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    // What another thread does breaks no capture that is its thread's own.
    begin();
    std::thread::scope(|scope| {
        let other = || {
            stream.context().bind_to_thread()?;
            stream.context().new_stream()?.alloc_zeros::<u8>(1).map(|_| ())
        };
        scope.spawn(other).join().unwrap().unwrap();
    });
    stream.end_capture(flags).unwrap();
    // The default stream cannot be captured.
    let default = stream.context().default_stream();
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    refused(default.begin_capture(mode), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

fn faults(device: &Device) {
    let stream = &device.stream;
    let out_of_memory = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    set(Setting::Fail { function: "cuMemAllocAsync", call: 2, result: out_of_memory as u32 });
    stream.alloc_zeros::<u8>(16).unwrap();
    refused(stream.alloc_zeros::<u8>(16), out_of_memory);
    stream.alloc_zeros::<u8>(16).unwrap();
    set(Setting::Fail { function: "*", call: 1, result: CUresult::CUDA_ERROR_ECC_UNCORRECTABLE as u32 });
    refused(stream.synchronize(), CUresult::CUDA_ERROR_ECC_UNCORRECTABLE);
    set(Setting::Fail { function: "cuStreamSynchronize", call: 1, result: out_of_memory as u32 });
    set(Setting::FailNothing);
    stream.synchronize().unwrap();
}
