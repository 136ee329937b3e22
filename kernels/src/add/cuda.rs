//! Sums on a GPU.

#![allow(unsafe_code)]

use crate::Activation;
use crate::cuda::{Buffer, Gpu, GpuError, Lanes, Launch, count, width};

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
    let plain = |values| Term { values, scales: None };
    forward_scaled(gpu, lanes, activation, len, plain(a), plain(b), y)
}

/// A term of a sum.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// Where its values lie in each lane.
    pub values: Lanes<'a>,
    /// `[lanes]`: what they are multiplied by, if by anything. With 0 they are left out, whatever they are.
    pub scales: Option<&'a Buffer<f32>>,
}

/// As [`forward`], with terms that each lane multiplies by a number of its own.
///
/// # Errors
/// What the driver says.
pub fn forward_scaled(
    gpu: &Gpu,
    lanes: usize,
    activation: Activation,
    len: usize,
    a: Term<'_>,
    b: Term<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let launch = begin(gpu, "add_forward", lanes, len, [a.values, b.values, y]);
    let launch = launch.value("activation", activation as u32).table_optional("scales_a", a.scales, lanes);
    let launch = launch.table_optional("scales_b", b.scales, lanes).read("a", a.values, len);
    // SAFETY: the arguments of `add_forward`.
    unsafe { launch.read("b", b.values, len).write("y", y, len).run() }
}

/// `y = x`, which each lane multiplies by its number of `scales`; `y` may be `x`. The gradient of a scaled term of a sum, from
/// that of the sum.
///
/// # Errors
/// What the driver says.
pub fn scale(
    gpu: &Gpu,
    lanes: usize,
    scales: &Buffer<f32>,
    len: usize,
    x: Lanes<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let launch = begin(gpu, "add_scale", lanes, len, [x, y]).table("scales", scales, lanes);
    // SAFETY: the arguments of `add_scale`.
    unsafe { launch.read("x", x, len).write("y", y, len).run() }
}

/// A thread for each group of neighbouring values.
fn begin<'a, const N: usize>(
    gpu: &'a Gpu,
    kernel: &'static str,
    lanes: usize,
    len: usize,
    views: [Lanes<'_>; N],
) -> Launch<'a> {
    let width = width(len, views.map(|view| view.is_aligned()));
    let launch = gpu.launch(kernel, lanes).threads_for(len / width, THREADS);
    launch.value("groups", count(len / width)).value("width", width as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tensors, join, lane_values, on_the_gpu, values};
    use crate::{Cpu, add};

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

    /// Lanes 0 to 2: the term is there, is left out though it is not finite, and is scaled.
    #[test]
    fn scaled_sums_and_their_gradients_are_those_of_the_cpu() {
        let cpu = Cpu::new(1).unwrap();
        const SCALES: [f32; 3] = [1.0, 0.0, 0.25];
        let branch = |lane: u64, len| match lane {
            1 => vec![f32::NAN; len],
            _ => values(1000 * lane + 2, len),
        };
        for (activation, len) in [(Activation::None, 3), (Activation::Relu, 1032), (Activation::Relu, 515)] {
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let shortcut = Tensors::new(gpu, placing, &lane_values(lanes, 1, len));
                let branches: Vec<_> = lanes.iter().map(|&lane| branch(lane, len)).collect();
                let [over, gradient] = [(); 2].map(|()| Tensors::new(gpu, placing, &branches));
                let sum = Tensors::unwritten(gpu, placing, lanes.len(), len);
                let scales: Vec<f32> = lanes.iter().map(|&lane| SCALES[lane as usize]).collect();
                let scales = gpu.alloc_from(&scales).unwrap();
                let a = Term { values: shortcut.lanes(), scales: None };
                let b = Term { values: over.lanes(), scales: Some(&scales) };
                forward_scaled(gpu, lanes.len(), activation, len, a, b, sum.lanes()).unwrap();
                forward_scaled(gpu, lanes.len(), activation, len, b, a, over.lanes()).unwrap();
                scale(gpu, lanes.len(), &scales, len, gradient.lanes(), gradient.lanes()).unwrap();
                join([sum.read(gpu), over.read(gpu), gradient.read(gpu)])
            }) {
                let (shortcut, branch) = (values(1000 * lane + 1, len), branch(lane, len));
                let (mut y, mut dx) = (vec![f32::NAN; len], vec![f32::NAN; len]);
                let term = add::Term { values: &branch, scale: SCALES[lane as usize] };
                add::forward_scaled(&cpu, activation, add::Term { values: &shortcut, scale: 1.0 }, term, &mut y);
                add::scale(&cpu, term, &mut dx);
                assert_eq!(result, [&y[..], &y, &dx].concat(), "{activation:?} {placing:?}");
            }
        }
    }
}
