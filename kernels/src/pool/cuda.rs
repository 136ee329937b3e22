//! Pooling on a GPU.

#![allow(unsafe_code)]

use super::{Divisor, Pool2d};
use crate::Activation;
use crate::cuda::{Gpu, GpuError, Lanes, Launch, count, mirror, width};

const THREADS: usize = 256;

mirror! {
    /// Mirrors `pool::LaunchShape` in pool.cu.
    struct LaunchShape = "pool::LaunchShape" {
        groups: u32,
        channels: u32,
        in_h: u32,
        in_w: u32,
        out_h: u32,
        out_w: u32,
        size: u32,
        stride: u32,
        pad: u32,
        counts_padding: u32,
        sums_rows: u32,
        width: u32,
    }
}

/// As [`super::max_forward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn max_forward(
    gpu: &Gpu,
    lanes: usize,
    pool: &Pool2d,
    activation: Activation,
    x: Lanes<'_>,
    y: Lanes<'_>,
    argmax: Lanes<'_, u8>,
) -> Result<(), GpuError> {
    let len = pool.output_len();
    let width = width(pool.channels, [x.is_aligned(), y.is_aligned(), argmax.is_aligned()]);
    let launch = begin(gpu, "pool_max_forward", lanes, pool, len, width).value("activation", activation as u32);
    let launch = launch.read("x", x, pool.input_len()).write("y", y, len).write("argmax", argmax, len);
    // SAFETY: the arguments of `pool_max_forward`.
    unsafe { launch.run() }
}

/// The arrays of [`max_backward`].
#[derive(Clone, Copy, Debug)]
pub struct MaxBackward<'a> {
    /// `[outputs]`: read for the sigmoid alone, and needed there.
    pub y: Option<Lanes<'a>>,
    /// `[outputs]`: what the forward pass wrote.
    pub argmax: Lanes<'a, u8>,
    /// `[outputs]`: the gradient of the output, which stays as it is.
    pub dy: Lanes<'a>,
    /// `[inputs]`: the gradient of the input.
    pub dx: Lanes<'a>,
}

/// As [`super::max_backward`], in each lane.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If the activation is the sigmoid and there is no `y`.
pub fn max_backward(
    gpu: &Gpu,
    lanes: usize,
    pool: &Pool2d,
    activation: Activation,
    arrays: &MaxBackward<'_>,
) -> Result<(), GpuError> {
    let &MaxBackward { y, argmax, dy, dx } = arrays;
    let (y, len) = (y.filter(|_| activation == Activation::Sigmoid), pool.output_len());
    assert!(y.is_some() || activation != Activation::Sigmoid, "the sigmoid's slope follows from its output");
    let aligned = [y.is_none_or(|y| y.is_aligned()), argmax.is_aligned(), dy.is_aligned(), dx.is_aligned()];
    let width = width(pool.channels, aligned);
    let launch = begin(gpu, "pool_max_backward", lanes, pool, pool.input_len(), width);
    let launch = launch.value("activation", activation as u32).read_optional("y", y, len);
    let launch = launch.read("argmax", argmax, len).read("dy", dy, len).write("dx", dx, pool.input_len());
    // SAFETY: the arguments of `pool_max_backward`.
    unsafe { launch.run() }
}

/// As [`super::average_forward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn average_forward(gpu: &Gpu, lanes: usize, pool: &Pool2d, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
    let width = width(pool.channels, [x.is_aligned(), y.is_aligned()]);
    let launch = begin(gpu, "pool_average_forward", lanes, pool, pool.output_len(), width);
    // SAFETY: the arguments of `pool_average_forward`.
    unsafe { launch.read("x", x, pool.input_len()).write("y", y, pool.output_len()).run() }
}

/// As [`super::average_backward`], in each lane; `x` is read where there is an activation.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If there is an activation and no `x`.
pub fn average_backward(
    gpu: &Gpu,
    lanes: usize,
    pool: &Pool2d,
    activation: Activation,
    x: Option<Lanes<'_>>,
    dy: Lanes<'_>,
    dx: Lanes<'_>,
) -> Result<(), GpuError> {
    let x = x.filter(|_| activation != Activation::None);
    assert!(x.is_some() || activation == Activation::None, "a slope follows from the activation's output");
    let len = pool.input_len();
    let width = width(pool.channels, [x.is_none_or(|x| x.is_aligned()), dy.is_aligned(), dx.is_aligned()]);
    let launch = begin(gpu, "pool_average_backward", lanes, pool, len, width).value("activation", activation as u32);
    let launch = launch.read_optional("x", x, len).read("dy", dy, pool.output_len()).write("dx", dx, len);
    // SAFETY: the arguments of `pool_average_backward`.
    unsafe { launch.run() }
}

/// A thread for each group of `width` of the target's `len` values.
fn begin<'a>(gpu: &'a Gpu, kernel: &'static str, lanes: usize, pool: &Pool2d, len: usize, width: usize) -> Launch<'a> {
    let groups = len / width;
    let shape = LaunchShape {
        groups: count(groups),
        channels: count(pool.channels / width),
        in_h: count(pool.in_h),
        in_w: count(pool.in_w),
        out_h: count(pool.out_h()),
        out_w: count(pool.out_w()),
        size: count(pool.size),
        stride: count(pool.stride),
        pad: count(pool.pad),
        counts_padding: u32::from(pool.divisor == Divisor::WithPadding),
        sums_rows: u32::from(pool.sums_rows()),
        width: width as u32,
    };
    gpu.launch(kernel, lanes).threads_for(groups, THREADS).value("shape", shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::pool::Rounding;
    use crate::pool::tests::caffe;
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    #[track_caller]
    fn check(pool: &Pool2d, activation: Activation) {
        let cpu = Cpu::new(1).unwrap();
        let (in_len, out_len) = (pool.input_len(), pool.output_len());
        let what = |kind, placing| format!("{kind} {pool:?} {activation:?} {placing:?}");
        let max = |gpu: &Gpu, placing, lanes: &[u64]| {
            let count = lanes.len();
            let x = Tensors::new(gpu, placing, &lane_values(lanes, 1, in_len));
            let dy = Tensors::new(gpu, placing, &lane_values(lanes, 2, out_len));
            let (y, dx) =
                (Tensors::unwritten(gpu, placing, count, out_len), Tensors::unwritten(gpu, placing, count, in_len));
            let argmax = Tensors::<u8>::unwritten(gpu, placing, count, out_len);
            max_forward(gpu, count, pool, activation, x.lanes(), y.lanes(), argmax.lanes()).unwrap();
            let (dy, argmax) = (dy.lanes(), argmax.lanes());
            let arrays = MaxBackward { y: Some(y.lanes()), argmax, dy, dx: dx.lanes() };
            max_backward(gpu, count, pool, activation, &arrays).unwrap();
            join([y.read(gpu), dx.read(gpu)])
        };
        let is_both = pool.size <= Pool2d::LARGEST_MAX;
        for (lane, placing, result) in if is_both { on_the_gpu(max) } else { Vec::new() } {
            let (x, mut dy) = (values(1000 * lane + 1, in_len), values(1000 * lane + 2, out_len));
            let (mut y, mut argmax, mut dx) = (vec![0.0; out_len], vec![0; out_len], vec![0.0; in_len]);
            crate::pool::max_forward(&cpu, pool, activation, &x, &mut y, &mut argmax);
            crate::pool::max_backward(&cpu, pool, activation, &y, &argmax, &mut dy, &mut dx);
            assert_close(&what("max", placing), &result, &widened(&[y, dx].concat()), 3e-7);
        }
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let x = Tensors::new(gpu, placing, &lane_values(lanes, 1, in_len));
            let dy = Tensors::new(gpu, placing, &lane_values(lanes, 2, out_len));
            let (y, dx) =
                (Tensors::unwritten(gpu, placing, count, out_len), Tensors::unwritten(gpu, placing, count, in_len));
            average_forward(gpu, count, pool, x.lanes(), y.lanes()).unwrap();
            average_backward(gpu, count, pool, activation, Some(x.lanes()), dy.lanes(), dx.lanes()).unwrap();
            join([y.read(gpu), dx.read(gpu)])
        }) {
            let (x, dy) = (values(1000 * lane + 1, in_len), values(1000 * lane + 2, out_len));
            let (mut y, mut dx) = (vec![0.0; out_len], vec![0.0; in_len]);
            crate::pool::average_forward(&cpu, pool, &x, &mut y);
            crate::pool::average_backward(&cpu, pool, activation, &x, &dy, &mut dx);
            assert_close(&what("average", placing), &result, &widened(&[y, dx].concat()), 3e-7);
        }
    }

    #[test]
    fn passes_are_those_of_the_cpu() {
        let activations = [Activation::None, Activation::Relu, Activation::Sigmoid].into_iter().cycle();
        // As on the CPU: windows that overlap, leave gaps, hang over, and are padded.
        let shapes =
            [(5, 6, 8, 3, 2, 0), (4, 4, 1, 2, 3, 1), (7, 3, 4, 3, 2, 1), (2, 2, 12, 3, 2, 0), (3, 3, 2, 3, 1, 1)];
        for ((in_h, in_w, channels, size, stride, pad), activation) in shapes.into_iter().zip(activations) {
            check(&caffe((2, in_h, in_w, channels), (size, stride, pad)), activation);
        }
    }

    #[test]
    fn roundings_divisors_and_large_windows_are_those_of_the_cpu() {
        let (down, up, alone) = (Rounding::Down, Rounding::Up, Divisor::ImageAlone);
        check(&Pool2d { rounding: down, ..caffe((2, 6, 5, 4), (3, 2, 1)) }, Activation::Relu);
        check(&Pool2d { rounding: down, divisor: alone, ..caffe((1, 5, 5, 3), (3, 1, 1)) }, Activation::None);
        check(&Pool2d { rounding: up, divisor: alone, ..caffe((2, 6, 6, 1), (5, 3, 2)) }, Activation::Sigmoid);
        check(&caffe((1, 18, 17, 8), (16, 3, 2)), Activation::None);
        check(&Pool2d::global(2, 3, 7, 12), Activation::Relu);
        check(&Pool2d::global(1, 19, 2, 5), Activation::None);
    }

    #[test]
    fn nan_is_chosen_before_all() {
        let Some(gpu) = crate::testing::gpu() else { return };
        let pool = caffe((1, 1, 4, 1), (4, 4, 0));
        let x = gpu.alloc_from(&[1.0, f32::NAN, 5.0, f32::NEG_INFINITY]).unwrap();
        let (y, argmax) = (gpu.alloc::<f32>(1).unwrap(), gpu.alloc::<u8>(1).unwrap());
        max_forward(&gpu, 1, &pool, Activation::None, x.lanes(4), y.lanes(1), argmax.lanes(1)).unwrap();
        let (mut largest, mut place) = ([0.0_f32], [0]);
        gpu.download(&y, 0, &mut largest).unwrap();
        gpu.download(&argmax, 0, &mut place).unwrap();
        assert!(largest[0].is_nan() && place == [1]);
    }
}
