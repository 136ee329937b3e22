//! Kernels without bugs give the right results, in both orders of running warps and both ways of building them, and the
//! checker says nothing: a report would fail the launch.
//!
//! One process runs one flavour: `CLR_EMULATOR_UNCHECKED=1` runs these tests without the checker, as one of them does.

use std::ffi::c_void;

use clr_cuda_emulator::{Flavour, Order, Setting, set};
use clr_rng::{Philox, Stream, below, uniform};
use common::{Device, argument};
use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, ValidAsZeroBits};

mod common;

const KERNELS: [&str; 10] = [
    "scale",
    "sum_blocks",
    "transpose",
    "copy_ahead",
    "small_types",
    "warp_functions",
    "multiply_tf32",
    "multiply_bf16",
    "draw",
    "round_floats",
];

/// Variable that makes this file run without the checker.
const UNCHECKED: &str = "CLR_EMULATOR_UNCHECKED";

fn device() -> Option<Device> {
    let flavour = if std::env::var_os(UNCHECKED).is_some() { Flavour::Unchecked } else { Flavour::Checked };
    Device::open(&["clean.cu"], flavour, &KERNELS)
}

/// An argument of a kernel.
enum Argument<'a> {
    At(u64),
    Value(*const c_void, std::marker::PhantomData<&'a ()>),
}

fn value<T>(value: &T) -> Argument<'_> {
    Argument::Value(argument(value), std::marker::PhantomData)
}

impl Device {
    fn put<T: DeviceRepr>(&self, data: &[T]) -> CudaSlice<T> {
        self.stream.clone_htod(data).unwrap()
    }

    fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> CudaSlice<T> {
        self.stream.alloc_zeros(len).unwrap()
    }

    fn get<T: DeviceRepr>(&self, buffer: &CudaSlice<T>) -> Vec<T> {
        self.stream.clone_dtoh(buffer).unwrap()
    }

    fn at<T>(&self, buffer: &CudaSlice<T>) -> Argument<'static> {
        Argument::At(buffer.device_ptr(&self.stream).0)
    }

    /// Launches in both orders.
    #[track_caller]
    fn run(&self, kernel: &str, grid: (u32, u32), block: (u32, u32), shared: u32, arguments: &[Argument<'_>]) {
        let launch =
            LaunchConfig { grid_dim: (grid.0, grid.1, 1), block_dim: (block.0, block.1, 1), shared_mem_bytes: shared };
        let arguments: Vec<*const c_void> = arguments
            .iter()
            .map(|one| match one {
                Argument::At(address) => argument(address),
                Argument::Value(address, _) => *address,
            })
            .collect();
        for order in [Order::Forward, Order::Reverse] {
            set(Setting::Order(order));
            if let Err(error) = self.launch(kernel, launch, &arguments) {
                panic!("{kernel} ({order:?}): {}", error.error_string().unwrap().to_string_lossy());
            }
        }
    }
}

fn floats(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 8.0 - 6.0).collect()
}

#[test]
fn elementwise_and_sums() {
    let Some(device) = device() else { return };
    let x = floats(1000);
    let (input, output) = (device.put(&x), device.zeros::<f32>(1000));
    device.run("scale", (4, 1), (256, 1), 0, &[device.at(&input), device.at(&output), value(&2.0f32), value(&1000i32)]);
    assert_eq!(device.get(&output), x.iter().map(|x| 2.0 * x).collect::<Vec<_>>());

    let x = floats(1024);
    let (input, output) = (device.put(&x), device.zeros::<f32>(8));
    device.run("sum_blocks", (4, 1), (256, 1), 0, &[device.at(&input), device.at(&output)]);
    // Sums of small multiples of 1/8 are exact.
    let expected: Vec<f32> =
        x.chunks(256).flat_map(|part| [part.iter().sum(), part.iter().copied().fold(f32::MIN, f32::max)]).collect();
    assert_eq!(device.get(&output), expected);
}

#[test]
fn tiles_in_two_dimensions() {
    let Some(device) = device() else { return };
    let x = floats(1600);
    let (input, output) = (device.put(&x), device.zeros::<f32>(1600));
    device.run("transpose", (3, 3), (16, 16), 0, &[device.at(&input), device.at(&output)]);
    let expected: Vec<f32> = (0..1600).map(|i| x[i % 40 * 40 + i / 40]).collect();
    assert_eq!(device.get(&output), expected);
}

#[test]
fn asynchronous_copies() {
    let Some(device) = device() else { return };
    let x = floats(2048);
    let (input, output) = (device.put(&x), device.zeros::<f32>(32));
    device.run("copy_ahead", (1, 1), (32, 1), 1024, &[device.at(&input), device.at(&output)]);
    let element = |part: usize, t: usize, i: usize| x[part * 128 + (4 * t + 5 * i) % 128];
    let expected: Vec<f32> =
        (0..32).map(|t| (0..16).flat_map(|part| (0..4).map(move |i| element(part, t, i))).sum()).collect();
    assert_eq!(device.get(&output), expected);
}

#[test]
fn small_types() {
    let Some(device) = device() else { return };
    let bytes: Vec<u8> = (0..64).map(|i| i * 3).collect();
    let (input, halves, words) = (device.put(&bytes), device.zeros::<u16>(64), device.zeros::<f32>(64));
    device.run("small_types", (1, 1), (64, 1), 0, &[device.at(&input), device.at(&halves), device.at(&words)]);
    // Each value is reversed twice. Integers up to 255 are exact in bfloat16.
    let expected: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte)).collect();
    assert_eq!(device.get(&words), expected);
    assert_eq!(device.get(&halves), expected.iter().map(|x| (x.to_bits() >> 16) as u16).collect::<Vec<_>>());
}

#[test]
fn warp_functions() {
    let Some(device) = device() else { return };
    let x = floats(128);
    let (input, output, counts) = (device.put(&x), device.zeros::<f32>(128), device.zeros::<u32>(2));
    device.run("warp_functions", (2, 1), (80, 1), 0, &[device.at(&input), device.at(&output), device.at(&counts)]);
    let expected: Vec<f32> = (0..128)
        .map(|i| {
            let (warp, lane, t) = (i / 32 * 32, i % 32, i % 64);
            let down = if lane % 8 == 7 { x[i] } else { x[i + 1] };
            let up = if lane == 0 { x[i] } else { x[i - 1] };
            down + up + x[warp + t % 4 * 8] + [1.0, 10.0, 100.0, 1000.0][t % 4]
        })
        .collect();
    assert_eq!(device.get(&output), expected);
    // The largest vote is that of the second warp: threads 33, 36, ..., 63. Two launches of two blocks.
    let votes = (1..32).step_by(3).map(|lane| 1u32 << lane).sum::<u32>();
    assert_eq!(device.get(&counts), [votes, 2 * 2 * 80]);
}

#[test]
fn tensor_cores() {
    let Some(device) = device() else { return };
    // Multiples of 1/8 below 8 have 6 bits: exact in TF32 and bfloat16, and so are the products' sums in float32.
    let (a, b) = (floats(256), floats(128));
    let (left, right, output) = (device.put(&a), device.put(&b), device.zeros::<f32>(128));
    for (kernel, depth) in [("multiply_tf32", 8), ("multiply_bf16", 16)] {
        device.run(kernel, (1, 1), (32, 1), 0, &[device.at(&left), device.at(&right), device.at(&output)]);
        let expected: Vec<f32> =
            (0..128).map(|i| (0..depth).map(|k| a[i / 8 * depth + k] * b[k * 8 + i % 8]).sum()).collect();
        assert_eq!(device.get(&output), expected, "{kernel}");
    }
}

#[test]
fn random_words_are_those_of_clr_rng() {
    let Some(device) = device() else { return };
    #[repr(C)]
    struct Draw {
        seed: u64,
        step: u64,
        stream: u32,
    }
    let (seed, step) = (0x0123_4567_89ab_cdef, (1 << 40) + 7);
    let draw = Draw { seed, step, stream: Stream::Dropout as u32 };
    let (words, floats, integers) = (device.zeros::<u32>(100), device.zeros::<f32>(100), device.zeros::<u32>(100));
    let arguments = [value(&draw), device.at(&words), device.at(&floats), device.at(&integers), value(&100i32)];
    device.run("draw", (2, 1), (64, 1), 0, &arguments);
    let expected: Vec<u32> = Philox::new(seed, Stream::Dropout).words(step).take(100).collect();
    assert_eq!(device.get(&words), expected);
    assert_eq!(device.get(&floats), expected.iter().map(|word| uniform(*word)).collect::<Vec<_>>());
    assert_eq!(device.get(&integers), expected.iter().map(|word| below(*word, 1000)).collect::<Vec<_>>());
}

#[test]
fn rounding() {
    let Some(device) = device() else { return };
    // Bits of a float; rounded to TF32, halves away from zero; rounded to bfloat16, halves to even.
    let cases: [(u32, u32, u32); 8] = [
        (0x3f80_0000, 0x3f80_0000, 0x3f80),
        (0x3f80_0fff, 0x3f80_0000, 0x3f80),
        (0x3f80_1000, 0x3f80_2000, 0x3f80),
        (0x3f80_8000, 0x3f80_8000, 0x3f80),
        (0x3f81_8000, 0x3f81_8000, 0x3f82),
        (0xbf80_8001, 0xbf80_8000, 0xbf81),
        (0x7f7f_ffff, 0x7f80_0000, 0x7f80),
        (0x7f80_0000, 0x7f80_0000, 0x7f80),
    ];
    let x: Vec<f32> = cases.iter().map(|case| f32::from_bits(case.0)).collect();
    let (input, tf32, bf16s) = (device.put(&x), device.zeros::<u32>(8), device.zeros::<u32>(8));
    let arguments = [device.at(&input), device.at(&tf32), device.at(&bf16s), value(&8i32)];
    device.run("round_floats", (1, 1), (32, 1), 0, &arguments);
    assert_eq!(device.get(&tf32), cases.map(|case| case.1));
    assert_eq!(device.get(&bf16s), cases.map(|case| case.2 | (case.2 ^ 0x8000) << 16));
}

/// All of the above once more, in a process without the checker.
#[test]
fn without_the_checker() {
    if std::env::var_os(UNCHECKED).is_some() {
        return;
    }
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    let output = tests.arg("--test-threads=1").env(UNCHECKED, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
