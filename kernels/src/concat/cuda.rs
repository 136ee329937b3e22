//! Concatenation on a GPU.

#![allow(unsafe_code)]

use super::Slice;
use crate::cuda::{Gpu, GpuError, Lanes, Launch, count, mirror, width};

const THREADS: usize = 256;

mirror! {
    /// Mirrors `concat::LaunchShape` in concat.cu.
    struct LaunchShape = "concat::LaunchShape" {
        groups: u32,
        channels: u32,
        first: u32,
        of: u32,
        width: u32,
    }
}

/// As [`super::forward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn forward(gpu: &Gpu, lanes: usize, slice: &Slice, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
    let launch = begin(gpu, "concat_forward", lanes, slice, [x, y]);
    // SAFETY: the arguments of `concat_forward`.
    unsafe { launch.read("x", x, slice.len()).write("y", y, slice.whole_len()).run() }
}

/// As [`super::backward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn backward(gpu: &Gpu, lanes: usize, slice: &Slice, dy: Lanes<'_>, dx: Lanes<'_>) -> Result<(), GpuError> {
    gather(gpu, lanes, slice, dy, dx, false)
}

/// As [`super::accumulate`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn accumulate(gpu: &Gpu, lanes: usize, slice: &Slice, dy: Lanes<'_>, dx: Lanes<'_>) -> Result<(), GpuError> {
    gather(gpu, lanes, slice, dy, dx, true)
}

fn gather(gpu: &Gpu, lanes: usize, slice: &Slice, dy: Lanes<'_>, dx: Lanes<'_>, adds: bool) -> Result<(), GpuError> {
    let launch = begin(gpu, "concat_backward", lanes, slice, [dy, dx]).value("adds", u32::from(adds));
    // SAFETY: the arguments of `concat_backward`.
    unsafe { launch.read("dy", dy, slice.whole_len()).write("dx", dx, slice.len()).run() }
}

/// A thread for each group of the value's floats.
fn begin<'a>(gpu: &'a Gpu, kernel: &'static str, lanes: usize, slice: &Slice, views: [Lanes<'_>; 2]) -> Launch<'a> {
    slice.check();
    let whole = [slice.first, slice.of].map(|channels| channels.is_multiple_of(4));
    let width = width(slice.channels, [whole[0], whole[1], views[0].is_aligned(), views[1].is_aligned()]);
    let groups = slice.len() / width;
    let shape = LaunchShape {
        groups: count(groups),
        channels: count(slice.channels / width),
        first: count(slice.first / width),
        of: count(slice.of / width),
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
        // Channels by fours and not; a value that begins and ends anywhere; more than a block.
        for (pixels, channels, first, of) in
            [(9, 8, 4, 16), (100, 12, 0, 28), (7, 4, 3, 8), (30, 5, 8, 13), (1, 1, 0, 1)]
        {
            let slice = Slice { pixels, channels, first, of };
            let (len, whole_len) = (slice.len(), slice.whole_len());
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let new = |seed, len| Tensors::new(gpu, placing, &lane_values(lanes, seed, len));
                let (x, y, dy, sum) = (new(1, len), new(2, whole_len), new(3, whole_len), new(4, len));
                let dx = Tensors::unwritten(gpu, placing, lanes.len(), len);
                forward(gpu, lanes.len(), &slice, x.lanes(), y.lanes()).unwrap();
                backward(gpu, lanes.len(), &slice, dy.lanes(), dx.lanes()).unwrap();
                accumulate(gpu, lanes.len(), &slice, dy.lanes(), sum.lanes()).unwrap();
                join([y.read(gpu), dx.read(gpu), sum.read(gpu)])
            }) {
                let [x, mut y, dy, mut sum] = [(1, len), (2, whole_len), (3, whole_len), (4, len)]
                    .map(|(seed, len)| values(1000 * lane + seed, len));
                let mut dx = vec![f32::NAN; len];
                crate::concat::forward(&cpu, &slice, &x, &mut y);
                crate::concat::backward(&cpu, &slice, &dy, &mut dx);
                crate::concat::accumulate(&cpu, &slice, &dy, &mut sum);
                assert_eq!(result, [y, dx, sum].concat(), "{slice:?} {placing:?}");
            }
        }
    }
}
