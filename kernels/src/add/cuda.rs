//! Sums on a GPU.

#![allow(unsafe_code)]

use crate::Activation;
use crate::cuda::{Gpu, GpuError, Lanes, count, width};

const THREADS: usize = 256;

/// `y = activation(a + b)` of `len` values a lane; `y` may be one of them, and then accumulates. The gradient of each term is
/// what [`crate::activation::cuda::backward`] makes of that of the sum.
///
/// # Errors
/// What the driver says.
pub fn forward(
    gpu: &Gpu,
    lanes: usize,
    activation: Activation,
    len: usize,
    a: Lanes<'_>,
    b: Lanes<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let width = width(len, [a.is_aligned(), b.is_aligned(), y.is_aligned()]);
    let groups = len / width;
    let launch = gpu.launch("add_forward", lanes).threads_for(groups, THREADS);
    let launch = launch.value("groups", count(groups)).value("width", width as u32);
    let launch = launch.value("activation", activation as u32).read("a", a, len).read("b", b, len);
    // SAFETY: the arguments of `add_forward`.
    unsafe { launch.write("y", y, len).run() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{Tensors, lane_values, on_the_gpu, values};

    #[test]
    fn sums_are_those_of_the_cpu() {
        let cpu = Cpu::new(1).unwrap();
        for (activation, len) in [(Activation::None, 1), (Activation::Relu, 1032), (Activation::Relu, 515)] {
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let [a, b] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
                forward(gpu, lanes.len(), activation, len, a.lanes(), b.lanes(), b.lanes()).unwrap();
                b.read(gpu)
            }) {
                let mut y = vec![0.0; len];
                let [a, b] = [1, 2].map(|seed| values(1000 * lane + seed, len));
                crate::add::forward(&cpu, activation, &a, &b, &mut y);
                assert_eq!(result, y, "{activation:?} {placing:?}");
            }
        }
    }
}
