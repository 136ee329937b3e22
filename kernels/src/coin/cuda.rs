//! Coins on a GPU.

#![allow(unsafe_code)]

use super::Coin;
use crate::cuda::{Buffer, Gpu, GpuError, count};
use crate::step::LaneStep;

const THREADS: usize = 256;

/// The tables of [`flip`].
#[derive(Clone, Copy, Debug)]
pub struct Flip<'a> {
    /// `[lanes]`: what keys each lane's coins.
    pub seeds: &'a Buffer<u64>,
    /// `[lanes]`: the step at hand.
    pub steps: &'a Buffer<LaneStep>,
    /// `[lanes]`: becomes what the branch is multiplied by, for [`crate::add::cuda::forward_scaled`].
    pub scales: &'a Buffer<f32>,
    /// `[lanes]`: becomes the step at hand as operations within the block are to see it. A lane that leaves the block out has
    /// no samples there, so that batch normalisation does not remember what it saw.
    pub block_steps: &'a Buffer<LaneStep>,
}

/// As [`Coin::flip`], in each lane: the same coins as on the CPU.
///
/// # Errors
/// What the driver says.
pub fn flip(gpu: &Gpu, lanes: usize, coin: &Coin, tables: &Flip<'_>) -> Result<(), GpuError> {
    let &Flip { seeds, steps, scales, block_steps } = tables;
    let launch = gpu.launch("coin_flip", lanes).blocks([lanes.div_ceil(THREADS), 1, 1]).threads(THREADS);
    let launch = launch.value("lanes", count(lanes)).value("block", coin.block).value("death_rate", coin.death_rate);
    let launch = launch.table("seeds", seeds, lanes).table("steps", steps, lanes);
    let launch = launch.table_mut("scales", scales, lanes).table_mut("block_steps", block_steps, lanes);
    // SAFETY: the arguments of `coin_flip`.
    unsafe { launch.run() }
}

#[cfg(test)]
mod tests {
    use clr_rng::{Philox, Stream};

    use super::*;

    #[test]
    fn coins_are_those_of_the_cpu() {
        let Some(gpu) = crate::testing::gpu() else { return };
        const LANES: usize = 300;
        let seeds: Vec<u64> = (0..LANES as u64).map(|lane| (lane << 37) + 11).collect();
        let steps: Vec<LaneStep> = (0..LANES as u64)
            .map(|lane| LaneStep { step: (1 << 32) + 3 * lane, samples: 20, row: 2, ..LaneStep::default() })
            .collect();
        let tables = (gpu.alloc_from(&seeds).unwrap(), gpu.alloc_from(&steps).unwrap());
        let (scales, block_steps) = (gpu.alloc(LANES).unwrap(), gpu.alloc(LANES).unwrap());
        let tables = Flip { seeds: &tables.0, steps: &tables.1, scales: &scales, block_steps: &block_steps };
        for coin in [Coin { block: 53, death_rate: 0.5 }, Coin { block: 0, death_rate: 0.0 }] {
            flip(&gpu, LANES, &coin, &tables).unwrap();
            let (mut found, mut found_steps) = ([9.0_f32; LANES], [LaneStep::default(); LANES]);
            gpu.download(&scales, 0, &mut found).unwrap();
            gpu.download(&block_steps, 0, &mut found_steps).unwrap();
            for lane in 0..LANES {
                let expected = coin.flip(&Philox::new(seeds[lane], Stream::Coin), steps[lane].step);
                let samples = if expected == 0.0 { 0 } else { 20 };
                let of_block = LaneStep { samples, ..steps[lane] };
                assert_eq!((found[lane], found_steps[lane]), (expected, of_block), "{coin:?}, lane {lane}");
            }
        }
    }
}
