//! Activations on a GPU, by themselves.

#![allow(unsafe_code)]

use super::Activation;
use crate::cuda::{Gpu, GpuError, Lanes, count, width};

const THREADS: usize = 256;

/// `y = activation(x)` of `len` values a lane; both may be the same. Without an activation it is a copy.
///
/// # Errors
/// What the driver says.
pub fn forward(
    gpu: &Gpu,
    lanes: usize,
    activation: Activation,
    len: usize,
    x: Lanes<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let width = width(len, [x.is_aligned(), y.is_aligned()]);
    let groups = len / width;
    let launch = gpu.launch("activation_forward", lanes).threads_for(groups, THREADS);
    let launch = launch.value("groups", count(groups)).value("width", width as u32);
    let launch = launch.value("activation", activation as u32).read("x", x, len).write("y", y, len);
    // SAFETY: the arguments of `activation_forward`.
    unsafe { launch.run() }
}

/// `dx`: the gradient of the input, from that of the output, `dy`, and the output `y`. `dx` may be `dy`.
///
/// # Errors
/// What the driver says.
pub fn backward(
    gpu: &Gpu,
    lanes: usize,
    activation: Activation,
    len: usize,
    y: Lanes<'_>,
    dy: Lanes<'_>,
    dx: Lanes<'_>,
) -> Result<(), GpuError> {
    let width = width(len, [y.is_aligned(), dy.is_aligned(), dx.is_aligned()]);
    let groups = len / width;
    let launch = gpu.launch("activation_backward", lanes).threads_for(groups, THREADS);
    let launch = launch.value("groups", count(groups)).value("width", width as u32);
    let launch = launch.value("activation", activation as u32).read("y", y, len).read("dy", dy, len);
    // SAFETY: the arguments of `activation_backward`.
    unsafe { launch.write("dx", dx, len).run() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    #[test]
    fn outputs_and_gradients_are_those_of_the_cpu() {
        for (activation, len) in
            [Activation::None, Activation::Relu, Activation::Sigmoid].into_iter().zip([8, 1031, 1036])
        {
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let [x, dy] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
                let y = Tensors::unwritten(gpu, placing, lanes.len(), len);
                forward(gpu, lanes.len(), activation, len, x.lanes(), y.lanes()).unwrap();
                backward(gpu, lanes.len(), activation, len, y.lanes(), dy.lanes(), dy.lanes()).unwrap();
                join([y.read(gpu), dy.read(gpu)])
            }) {
                let [mut y, mut dx] = [1, 2].map(|seed| values(1000 * lane + seed, len));
                activation.apply(&mut y);
                activation.differentiate(&y, &mut dx);
                assert_close(&format!("{activation:?} {placing:?}"), &result, &widened(&[y, dx].concat()), 2e-7);
            }
        }
    }
}
