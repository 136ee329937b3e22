//! Every planted bug is caught, in both orders of running warps, and the report names its kernel and its line.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use clr_cuda_emulator::{Flavour, Order, Setting, set};
use common::{Device, argument};
use cudarc::driver::{DevicePtr, LaunchConfig};

mod common;

/// The kernels of planted.cu, each with the numbers of its lines marked as buggy.
fn bugs() -> BTreeMap<String, Vec<usize>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/planted.cu");
    let text = std::fs::read_to_string(path).unwrap();
    let mut bugs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut kernel = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("KERNEL ") {
            kernel = rest.split('(').next().unwrap().to_owned();
        }
        if line.ends_with("// BUG") {
            bugs.entry(kernel.clone()).or_default().push(index + 1);
        }
    }
    bugs
}

/// What the beginning of a kernel's name stands for: the error of the launch, and a word of its report.
fn expected(kernel: &str) -> (&'static str, &'static str) {
    match kernel.split('_').next().unwrap() {
        "race" | "copy" => ("LAUNCH_FAILED", "race: "),
        "bounds" => ("ILLEGAL_ADDRESS", "out of bounds: "),
        "misaligned" => ("MISALIGNED_ADDRESS", "misaligned: "),
        "uninitialised" => ("LAUNCH_FAILED", "uninitialised: "),
        "divergence" => ("LAUNCH_FAILED", ""),
        "deadlock" => ("LAUNCH_FAILED", "deadlock: "),
        other => panic!("no such kind of bug: {other}"),
    }
}

#[test]
fn planted_bugs_are_caught() {
    let bugs = bugs();
    assert!(bugs.len() >= 30, "the kernels of planted.cu were not found");
    let names: Vec<&str> = bugs.keys().map(String::as_str).collect();
    let Some(device) = Device::open(&["planted.cu"], Flavour::Checked, &names) else { return };
    let stream = &device.stream;
    let mut wrong = String::new();
    for order in [Order::Forward, Order::Reverse] {
        set(Setting::Order(order));
        for (kernel, lines) in &bugs {
            let x = stream.clone_htod(&vec![1.0f32; 1024]).unwrap();
            // SAFETY: what the kernels do with memory that was never written is what is tested.
            let mut y = unsafe { stream.alloc::<f32>(1024) }.unwrap();
            stream.memset_zeros(&mut y.slice_mut(..512)).unwrap();
            let (x_at, y_at) = (x.device_ptr(stream).0, y.device_ptr(stream).0);
            let launch = LaunchConfig { grid_dim: (2, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 256 };
            let (error, kind) = expected(kernel);
            let text = match device.launch(kernel, launch, &[argument(&x_at), argument(&y_at)]) {
                Ok(()) => "no report".to_owned(),
                Err(error) => error.error_string().unwrap().to_string_lossy().into_owned(),
            };
            let named = lines.iter().any(|line| text.contains(&format!("planted.cu:{line}")));
            let known = text.starts_with(&format!("CUDA_ERROR_{error}")) && text.contains(kind);
            if !(known && named && text.contains(&format!("kernel `{kernel}`"))) {
                wrong += &format!("\n{kernel} ({order:?}), lines {lines:?}:\n{text}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
