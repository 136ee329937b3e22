//! Dropout on a GPU.

#![allow(unsafe_code)]

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count};
use crate::step::LaneStep;

const THREADS: usize = 256;

/// The masks of all lanes and the values that they are applied to; see [`super::Mask`].
#[derive(Clone, Copy, Debug)]
pub struct Dropout<'a> {
    /// The random word of the first value; the others follow. A multiple of 4.
    pub first_word: u64,
    /// How likely a value is dropped: at least 0, below 1.
    pub probability: f32,
    /// `[lanes]`: what keys each lane's masks.
    pub seeds: &'a Buffer<u64>,
    /// `[lanes]`: the step at hand.
    pub steps: &'a Buffer<LaneStep>,
    /// Floats of `x` and of `y`.
    pub len: usize,
    /// The input, or the gradient of the output.
    pub x: Lanes<'a>,
    /// The output, or the gradient of the input; it may be `x`.
    pub y: Lanes<'a>,
}

/// In each lane, some values become 0 and the others are divided by 1 - probability. The gradient takes the same way.
///
/// # Errors
/// What the driver says.
pub fn apply(gpu: &Gpu, lanes: usize, dropout: &Dropout<'_>) -> Result<(), GpuError> {
    let &Dropout { first_word, probability, seeds, steps, len, x, y } = dropout;
    assert!(first_word.is_multiple_of(4));
    let launch = gpu.launch("dropout_apply", lanes).threads_for(len.div_ceil(4), THREADS);
    let launch = launch.value("len", count(len)).value("aligned", u32::from(x.is_aligned() && y.is_aligned()));
    let launch = launch.value("probability", probability).value("scale", 1.0 / (1.0 - probability));
    let launch = launch.value("first_block", first_word / 4).table("seeds", seeds, lanes);
    let launch = launch.table("steps", steps, lanes).read("x", x, len).write("y", y, len);
    // SAFETY: the arguments of `dropout_apply`.
    unsafe { launch.run() }
}

#[cfg(test)]
mod tests {
    use clr_rng::{Philox, Stream};

    use super::*;
    use crate::Cpu;
    use crate::dropout::Mask;
    use crate::testing::{Tensors, lane_values, on_the_gpu, values};

    #[test]
    fn masks_are_those_of_the_cpu() {
        let cpu = Cpu::new(1).unwrap();
        let step = |lane: u64| (1 << 32) + 7 * lane;
        let seed = |lane: u64| (lane << 40) + 5;
        for (len, first_word, probability) in [(1030, 0, 0.3), (64, 400, 0.5), (3, 4, 0.0)] {
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let x = Tensors::new(gpu, placing, &lane_values(lanes, 1, len));
                let seeds: Vec<u64> = lanes.iter().map(|&lane| seed(lane)).collect();
                let steps = lanes.iter().map(|&lane| LaneStep { step: step(lane), ..LaneStep::default() });
                let (seeds, steps) =
                    (gpu.alloc_from(&seeds).unwrap(), gpu.alloc_from(&steps.collect::<Vec<_>>()).unwrap());
                let (seeds, steps, y) = (&seeds, &steps, x.lanes());
                let dropout = Dropout { first_word, probability, seeds, steps, len, x: x.lanes(), y };
                apply(gpu, lanes.len(), &dropout).unwrap();
                x.read(gpu)
            }) {
                let mut expected = values(1000 * lane + 1, len);
                let philox = Philox::new(seed(lane), Stream::Dropout);
                let mask = Mask { philox, step: step(lane), first_word, probability };
                crate::dropout::apply(&cpu, &mask, &mut expected);
                assert_eq!(result, expected, "{first_word} {probability} {placing:?}");
            }
        }
    }
}
