//! Subsampling on a GPU.

#![allow(unsafe_code)]

use super::Subsample;
use crate::cuda::{Gpu, GpuError, Lanes, Launch, count, mirror, width};

const THREADS: usize = 256;

mirror! {
    /// Mirrors `subsample::LaunchShape` in subsample.cu.
    struct LaunchShape = "subsample::LaunchShape" {
        groups: u32,
        in_h: u32,
        in_w: u32,
        in_channels: u32,
        out_h: u32,
        out_w: u32,
        out_channels: u32,
        before: u32,
        stride: u32,
        width: u32,
    }
}

/// As [`super::forward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn forward(gpu: &Gpu, lanes: usize, shape: &Subsample, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
    let width = width_of(shape, x, y);
    let launch = begin(gpu, "subsample_forward", lanes, shape, shape.output_len(), width);
    // SAFETY: the arguments of `subsample_forward`.
    unsafe { launch.read("x", x, shape.input_len()).write("y", y, shape.output_len()).run() }
}

/// As [`super::backward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn backward(gpu: &Gpu, lanes: usize, shape: &Subsample, dy: Lanes<'_>, dx: Lanes<'_>) -> Result<(), GpuError> {
    let width = width_of(shape, dy, dx);
    let launch = begin(gpu, "subsample_backward", lanes, shape, shape.input_len(), width);
    // SAFETY: the arguments of `subsample_backward`.
    unsafe { launch.read("dy", dy, shape.output_len()).write("dx", dx, shape.input_len()).run() }
}

fn width_of(shape: &Subsample, source: Lanes<'_>, target: Lanes<'_>) -> usize {
    width(shape.in_c, [shape.out_c.is_multiple_of(4), source.is_aligned(), target.is_aligned()])
}

fn begin<'a>(
    gpu: &'a Gpu,
    kernel: &'static str,
    lanes: usize,
    shape: &Subsample,
    len: usize,
    width: usize,
) -> Launch<'a> {
    let groups = len / width;
    let shape = LaunchShape {
        groups: count(groups),
        in_h: count(shape.in_h),
        in_w: count(shape.in_w),
        in_channels: count(shape.in_c / width),
        out_h: count(shape.out_h()),
        out_w: count(shape.out_w()),
        out_channels: count(shape.out_c / width),
        before: 0,
        stride: count(shape.stride),
        width: width as u32,
    };
    gpu.launch(kernel, lanes).threads_for(groups, THREADS).value("shape", shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{Tensors, join, lane_values, on_the_gpu, values};

    #[test]
    fn passes_are_those_of_the_cpu() {
        let cpu = Cpu::new(1).unwrap();
        // Channels by fours and not, with and without new ones.
        for (in_h, in_w, in_c, out_c, stride) in [(5, 4, 4, 12, 2), (3, 6, 8, 16, 3), (4, 4, 3, 8, 2), (2, 3, 4, 4, 1)]
        {
            let shape = Subsample { batch: 2, in_h, in_w, in_c, out_c, stride };
            let (in_len, out_len) = (shape.input_len(), shape.output_len());
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let x = Tensors::new(gpu, placing, &lane_values(lanes, 1, in_len));
                let dy = Tensors::new(gpu, placing, &lane_values(lanes, 2, out_len));
                let [y, dx] = [out_len, in_len].map(|len| Tensors::unwritten(gpu, placing, lanes.len(), len));
                forward(gpu, lanes.len(), &shape, x.lanes(), y.lanes()).unwrap();
                backward(gpu, lanes.len(), &shape, dy.lanes(), dx.lanes()).unwrap();
                join([y.read(gpu), dx.read(gpu)])
            }) {
                let (mut y, mut dx) = (vec![f32::NAN; out_len], vec![f32::NAN; in_len]);
                crate::subsample::forward(&cpu, &shape, &values(1000 * lane + 1, in_len), &mut y);
                crate::subsample::backward(&cpu, &shape, &values(1000 * lane + 2, out_len), &mut dx);
                assert_eq!(result, [y, dx].concat(), "{shape:?} {placing:?}");
            }
        }
    }
}
