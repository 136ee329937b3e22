//! Speed of convolution on one thread, beside the processor's peak: `cargo bench -p clr-kernels`.
//!
//! Each number is the best of several calls, since other work on the machine only ever adds time.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clr_kernels::conv2d::{self, Conv2d};
use clr_kernels::{Cpu, CpuError, Isa};

fn main() -> Result<(), CpuError> {
    let cpu = Cpu::new(1)?;
    let peak = peak(cpu.isa());
    println!("{}, peak of one thread {peak:.1} GFLOP/s, batch 100", cpu.isa().name());
    println!("{:28} {:>18} {:>18} {:>18}", "layer", "forward", "backward_input", "backward_weight");
    let layer = |name: &str, size, in_c, out_c, kernel| {
        let geometry = Conv2d {
            batch: 100,
            in_h: size,
            in_w: size,
            in_c,
            out_c,
            kernel_h: kernel,
            kernel_w: kernel,
            stride: 1,
            pad: kernel / 2,
            groups: 1,
        };
        let columns = rates(&cpu, &geometry).map(|rate| format!("{rate:6.1} {:3.0} %", 100.0 * rate / peak));
        let shape = format!("{name} {kernel}x{kernel} {in_c}->{out_c} at {size}x{size}");
        println!("{shape:28} {:>18} {:>18} {:>18}", columns[0], columns[1], columns[2]);
    };
    // The first layer's input gradient is shown too, though training never needs it.
    layer("conv1", 32, 3, 32, 5);
    layer("conv2", 16, 32, 32, 5);
    layer("conv3", 8, 32, 64, 5);
    layer("stage1", 32, 16, 16, 3);
    layer("stage2", 16, 32, 32, 3);
    layer("stage3", 8, 64, 64, 3);
    Ok(())
}

/// GFLOP/s of the three operations.
fn rates(cpu: &Cpu, geometry: &Conv2d) -> [f64; 3] {
    let buffer = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (x, w, dy) = (buffer(geometry.input_len()), buffer(geometry.weight_len()), buffer(geometry.output_len()));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
    let bias = buffer(geometry.out_c);
    let mut db = bias.clone();
    let mut scratch = vec![0.0; geometry.scratch_len()];
    [
        best(|| conv2d::forward(cpu, geometry, &x, &w, Some(&bias), &mut y, &mut scratch)),
        best(|| conv2d::backward_input(cpu, geometry, &dy, &w, &mut dx, &mut scratch)),
        best(|| conv2d::backward_weight(cpu, geometry, &x, &dy, &mut dw, Some(&mut db), &mut scratch)),
    ]
    .map(|time| geometry.flops() as f64 / time.as_secs_f64() / 1e9)
}

/// The shortest of 15 calls.
fn best(mut call: impl FnMut()) -> Duration {
    let timed = (0..15).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed()
    });
    timed.min().unwrap_or_default()
}

/// GFLOP/s of multiply-adds on registers alone: twelve sums, enough to hide their latency. NaN where no such loop is written.
fn peak(isa: Isa) -> f64 {
    const ROUNDS: usize = 1_000_000;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        macro_rules! peak {
            ($features:literal, $lanes:literal, $splat:ident, |$a:ident, $b:ident, $c:ident| $mul_add:expr) => {{
                #[target_feature(enable = $features)]
                fn multiply_add() {
                    let ($a, $b) = ($splat(black_box(0.9)), $splat(black_box(0.1)));
                    let mut sums = [$splat(1.0); 12];
                    for _ in 0..ROUNDS {
                        for $c in &mut sums {
                            *$c = $mul_add;
                        }
                    }
                    black_box(sums);
                }
                assert!(isa.is_available());
                // SAFETY: the machine has the instruction set, as asserted.
                let time = best(|| unsafe { multiply_add() });
                2.0 * 12.0 * $lanes * ROUNDS as f64 / time.as_secs_f64() / 1e9
            }};
        }
        match isa {
            Isa::Avx512 => peak!("avx512f", 16.0, _mm512_set1_ps, |a, b, c| _mm512_fmadd_ps(a, *c, b)),
            Isa::Avx2 => peak!("avx2,fma", 8.0, _mm256_set1_ps, |a, b, c| _mm256_fmadd_ps(a, *c, b)),
            Isa::Portable => peak!("sse2", 4.0, _mm_set1_ps, |a, b, c| _mm_add_ps(_mm_mul_ps(a, *c), b)),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    f64::NAN
}
