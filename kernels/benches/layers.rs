//! Milliseconds, and gigabytes a second of input and output, of the operations between the convolutions of Caffe's CIFAR-10
//! networks and of ResNet, at their published batch sizes. On one thread; each the least of 30 runs.
//!
//!     cargo bench -p clr-kernels --bench layers [-- PART OF A NAME]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clr_kernels::batch_norm::{self, Backward, BatchNorm, Forward};
use clr_kernels::lrn::{self, Lrn, Region};
use clr_kernels::pool::{self, Divisor, Pool2d, Rounding};
use clr_kernels::{Activation, Cpu, CpuError, activation, add};

fn main() -> Result<(), CpuError> {
    let cpu = Cpu::new(1)?;
    for side in [32, 16, 8] {
        let channels = if side == 8 { 64 } else { 32 };
        pooling(&cpu, window((100, side, channels), (3, 2, 0)));
    }
    // Of AlexNet and GoogLeNet.
    for (image, size) in [
        ((8, 55, 96), (3, 2, 0)),
        ((8, 112, 64), (3, 2, 0)),
        ((8, 28, 192), (3, 1, 1)),
        ((8, 14, 512), (5, 3, 0)),
        ((8, 7, 1024), (7, 1, 0)),
    ] {
        pooling(&cpu, window(image, size));
    }
    for side in [16, 8] {
        let region = Region::WithinChannel;
        let (alpha, beta) = (5e-5, 0.75);
        normalisation(
            &cpu,
            Lrn { batch: 100, height: side, width: side, channels: 32, region, size: 3, alpha, beta, k: 1.0 },
        );
    }
    for (side, channels, batch) in [(16, 32, 100), (32, 16, 128), (16, 32, 128), (8, 64, 128)] {
        let shape = BatchNorm { rows: batch * side * side, channels, epsilon: 1e-5 };
        batch_normalisation(&cpu, shape, Activation::Relu);
        batch_normalisation(&cpu, shape, Activation::Sigmoid);
    }
    let (a, b) = (values(128 * 32 * 32 * 16), values(128 * 32 * 32 * 16));
    let mut y = b.clone();
    report("add+relu 32x32x16", 3 * y.len(), || add::forward(&cpu, Activation::Relu, &a, &b, &mut y));
    report("add+relu backward", 3 * y.len(), || activation::backward(&cpu, Activation::Relu, &a, &mut y));
    Ok(())
}

fn window((batch, side, channels): (usize, usize, usize), (size, stride, pad): (usize, usize, usize)) -> Pool2d {
    let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
    Pool2d { batch, in_h: side, in_w: side, channels, size, stride, pad, rounding, divisor }
}

fn pooling(cpu: &Cpu, pool: Pool2d) {
    let (x, mut dy) = (values(pool.input_len()), values(pool.output_len()));
    let (mut y, mut dx, mut argmax) = (dy.clone(), x.clone(), vec![0; dy.len()]);
    let name = format!("{0}x{0}x{1} by {2}/{3}", pool.in_h, pool.channels, pool.size, pool.stride);
    let floats = x.len() + y.len();
    let relu = Activation::Relu;
    report(&format!("max pool+relu {name}"), floats, || pool::max_forward(cpu, &pool, relu, &x, &mut y, &mut argmax));
    report(&format!("max pool {name} backward"), floats, || {
        pool::max_backward(cpu, &pool, relu, &y, &argmax, &mut dy, &mut dx)
    });
    report(&format!("average pool {name}"), floats, || pool::average_forward(cpu, &pool, &x, &mut y));
    report(&format!("average pool {name} backward, slope of relu"), floats + x.len(), || {
        pool::average_backward(cpu, &pool, relu, &x, &dy, &mut dx);
    });
}

fn normalisation(cpu: &Cpu, lrn: Lrn) {
    let (x, dy) = (values(lrn.input_len()), values(lrn.input_len()));
    let (mut y, mut scratch) = (x.clone(), vec![0.0; lrn.scratch_len()]);
    let name = format!("lrn {}x{}x{}", lrn.height, lrn.width, lrn.channels);
    report(&name, 2 * x.len(), || lrn::forward(cpu, &lrn, &x, &mut y, &mut scratch));
    report(&format!("{name} backward"), 3 * x.len(), || lrn::backward(cpu, &lrn, &x, &dy, &mut y, &mut scratch));
}

fn batch_normalisation(cpu: &Cpu, shape: BatchNorm, activation: Activation) {
    let len = shape.rows * shape.channels;
    let (x, mut dy) = (values(len), values(len));
    let (mut y, mut dx, mut scratch) = (x.clone(), x.clone(), vec![0.0; shape.scratch_len()]);
    let [mut mean, mut variance, mut dweight, mut dbias] = [(); 4].map(|()| vec![0.0; shape.channels]);
    let ones = vec![1.0; shape.channels];
    let affine = Some((&ones[..], &ones[..]));
    let name = format!("{} x {}", shape.rows, shape.channels);
    report(&format!("batch norm {name} statistics"), len, || {
        batch_norm::statistics(cpu, &shape, &x, &mut mean, &mut variance, &mut scratch);
    });
    report(&format!("batch norm {name}, {activation:?}"), 2 * len, || {
        let arrays = Forward { x: &x, mean: &mean, variance: &variance, affine, y: &mut y, scratch: &mut scratch };
        batch_norm::forward(cpu, &shape, activation, arrays);
    });
    report(&format!("batch norm {name} backward, {activation:?}"), 5 * len, || {
        let arrays = Backward {
            x: &x,
            mean: &mean,
            variance: &variance,
            affine,
            y: &y,
            dy: &mut dy,
            dx: Some(&mut dx),
            dweight: &mut dweight,
            dbias: &mut dbias,
            scratch: &mut scratch,
        };
        batch_norm::backward(cpu, &shape, activation, arrays);
    });
}

/// Between -1 and 1.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// Prints the least time of a run, in which so many floats pass.
fn report(name: &str, floats: usize, mut run: impl FnMut()) {
    if std::env::args().skip(1).any(|argument| !argument.starts_with("--") && !name.contains(&argument)) {
        return;
    }
    let mut least = Duration::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        run();
        black_box(&mut run);
        least = least.min(start.elapsed());
    }
    let rate = 4e-9 * floats as f64 / least.as_secs_f64();
    println!("{name:40} {:7.3} ms {rate:6.1} GB/s", 1e3 * least.as_secs_f64());
}
