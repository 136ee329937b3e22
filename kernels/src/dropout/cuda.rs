//! Dropout on a GPU.

#![allow(unsafe_code)]

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count};
use crate::step::LaneStep;

const THREADS: usize = 256;

/// What all lanes' masks have in common: see [`super::Mask`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drop {
    /// The random word of the first value; the others follow. A multiple of 4.
    pub first_word: u64,
    /// How likely a value is dropped: at least 0, below 1.
    pub probability: f32,
}

/// `y`: of `len` values of `x` a lane, some become 0 and the others are divided by 1 - probability; both may be the same. The
/// mask is that of the lane's seed in `seeds` and of its step. The gradient takes the same way.
///
/// # Errors
/// What the driver says.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn apply(
    gpu: &Gpu,
    lanes: usize,
    drop: Drop,
    len: usize,
    seeds: &Buffer<u64>,
    steps: &Buffer<LaneStep>,
    x: Lanes<'_>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let Drop { first_word, probability } = drop;
    assert!(first_word.is_multiple_of(4));
    let launch = gpu.launch("dropout_apply").blocks([len.div_ceil(4 * THREADS), lanes, 1]).threads(THREADS);
    let launch = launch.value(count(len)).value(u32::from(x.is_aligned() && y.is_aligned()));
    let launch = launch.value(probability).value(1.0 / (1.0 - probability)).value(first_word / 4);
    let launch = launch.buffer(seeds, lanes).buffer(steps, lanes);
    // SAFETY: the arguments of `dropout_apply`.
    unsafe { launch.read(x, lanes, len).write(y, lanes, len).run() }
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
            let drop = Drop { first_word, probability };
            for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
                let x = Tensors::new(gpu, placing, &lane_values(lanes, 1, len));
                let seeds: Vec<u64> = lanes.iter().map(|&lane| seed(lane)).collect();
                let steps = lanes.iter().map(|&lane| LaneStep { step: step(lane), ..LaneStep::default() });
                let (seeds, steps) =
                    (gpu.alloc_from(&seeds).unwrap(), gpu.alloc_from(&steps.collect::<Vec<_>>()).unwrap());
                apply(gpu, lanes.len(), drop, len, &seeds, &steps, x.lanes(), x.lanes()).unwrap();
                x.read(gpu)
            }) {
                let mut expected = values(1000 * lane + 1, len);
                let philox = Philox::new(seed(lane), Stream::Dropout);
                let mask = Mask { philox, step: step(lane), first_word, probability };
                crate::dropout::apply(&cpu, &mask, &mut expected);
                assert_eq!(result, expected, "{drop:?} {placing:?}");
            }
        }
    }
}
