//! Speed of convolution on one thread, beside the processor's peak: `cargo bench -p clr-kernels --bench conv2d`.
//!
//! Each number is the best of many calls, since other work on the machine only ever adds time. GFLOP/s count the
//! multiplications of the definition, those by padding included: an algorithm that needs fewer may pass the peak. The lines
//! that have all words of the arguments are shown: `cargo bench -p clr-kernels --bench conv2d -- conv2 auto`.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clr_kernels::conv2d::{self, Algorithm, Conv2d, Epilogue, OutputGradient};
use clr_kernels::{Cpu, CpuError, Isa};

/// How long calls of one operation are repeated.
const PATIENCE: Duration = Duration::from_millis(400);

/// The convolutions of cifar10_quick and cifar10_full (conv1 to conv3), of ResNet's blocks on CIFAR-10, and large kernels,
/// strides, groups and 1x1 as AlexNet and GoogLeNet have them.
const LAYERS: [(&str, Conv2d); 18] = [
    ("conv1", layer(100, (32, 3), 32, (5, 1, 2, 1))),
    ("conv2", layer(100, (16, 32), 32, (5, 1, 2, 1))),
    ("conv3", layer(100, (8, 32), 64, (5, 1, 2, 1))),
    ("stage1", layer(128, (32, 16), 16, (3, 1, 1, 1))),
    ("stage2", layer(128, (16, 32), 32, (3, 1, 1, 1))),
    ("stage3", layer(128, (8, 64), 64, (3, 1, 1, 1))),
    ("strided", layer(128, (32, 16), 32, (3, 2, 1, 1))),
    ("pointwise", layer(8, (28, 192), 64, (1, 1, 0, 1))),
    ("alexnet1", layer(4, (227, 3), 96, (11, 4, 0, 1))),
    ("alexnet2", layer(4, (27, 96), 256, (5, 1, 2, 2))),
    ("alexnet3", layer(32, (13, 256), 384, (3, 1, 1, 1))),
    ("alexnet4", layer(32, (13, 384), 384, (3, 1, 1, 2))),
    ("alexnet5", layer(32, (13, 384), 256, (3, 1, 1, 2))),
    ("googlenet1", layer(4, (224, 3), 64, (7, 2, 3, 1))),
    ("googlenet2", layer(4, (56, 64), 192, (3, 1, 1, 1))),
    ("inception3a5", layer(32, (28, 16), 32, (5, 1, 2, 1))),
    ("inception4e3", layer(32, (14, 160), 320, (3, 1, 1, 1))),
    ("inception5b3", layer(32, (7, 192), 384, (3, 1, 1, 1))),
];

const fn layer(
    batch: usize,
    (size, in_c): (usize, usize),
    out_c: usize,
    (kernel, stride, pad, groups): (usize, usize, usize, usize),
) -> Conv2d {
    Conv2d {
        batch,
        in_h: size,
        in_w: size,
        in_c,
        out_c,
        kernel_h: kernel,
        kernel_w: kernel,
        stride,
        pad,
        groups,
        algorithm: Algorithm::Auto,
    }
}

fn main() -> Result<(), CpuError> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let cpu = Cpu::new(1)?;
    let peak = peak(cpu.isa());
    println!("{}, peak of one thread {peak:.1} GFLOP/s", cpu.isa().name());
    println!(
        "{:48} {:>23} {:>23} {:>23}",
        "layer, ms, GFLOP/s, of peak", "forward", "backward_input", "backward_weight"
    );
    for (name, geometry) in LAYERS {
        let Conv2d { batch, in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, .. } = geometry;
        let shape = format!("{name} {kernel_h}x{kernel_w}/{stride} {in_c}->{out_c} at {batch}x{in_h}x{in_w}");
        for (algorithm, key) in [(Algorithm::Direct, "direct"), (Algorithm::Auto, "auto")] {
            let line = format!("{shape:41} {key:6}");
            if !wanted.iter().all(|word| line.contains(word.as_str())) {
                continue;
            }
            // The first layer's input gradient is shown too, though training never needs it.
            let columns = times(&cpu, &Conv2d { algorithm, ..geometry }).map(|time| {
                let rate = geometry.flops() as f64 / time.as_secs_f64() / 1e9;
                format!("{:8.3} {rate:6.1} {:5.0} %", time.as_secs_f64() * 1e3, 100.0 * rate / peak)
            });
            println!("{line} {:>23} {:>23} {:>23}", columns[0], columns[1], columns[2]);
        }
    }
    Ok(())
}

/// The shortest times of the three operations.
fn times(cpu: &Cpu, geometry: &Conv2d) -> [Duration; 3] {
    let buffer = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (x, w, dy) = (buffer(geometry.input_len()), buffer(geometry.weight_len()), buffer(geometry.output_len()));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
    let bias = buffer(geometry.out_c);
    let mut db = bias.clone();
    let epilogue = Epilogue { bias: Some(&bias), relu: false };
    let dy = OutputGradient { dy: &dy, relu_y: None };
    let mut scratch = vec![0.0; geometry.scratch_len(cpu.thread_count())];
    [
        best(|| conv2d::forward(cpu, geometry, &x, &w, epilogue, &mut y, &mut scratch)),
        best(|| conv2d::backward_input(cpu, geometry, dy, &w, &mut dx, &mut scratch)),
        best(|| conv2d::backward_weight(cpu, geometry, &x, dy, &mut dw, Some(&mut db), &mut scratch)),
    ]
}

/// The shortest of at least 5 calls.
fn best(mut call: impl FnMut()) -> Duration {
    let begin = Instant::now();
    let timed = (0..).map_while(|i| {
        let start = Instant::now();
        (i < 5 || start - begin < PATIENCE).then(|| {
            call();
            start.elapsed()
        })
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
