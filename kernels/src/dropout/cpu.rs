//! Dropout on the CPU.

use clr_rng::uniform;

use super::Mask;
use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// Values become 0 with the mask's probability, the others are divided by 1 - probability. The gradient of the output
/// becomes that of the input by the same call.
pub fn apply(cpu: &Cpu, mask: &Mask, values: &mut [f32]) {
    assert!(mask.first_word.is_multiple_of(4));
    let scale = 1.0 / (1.0 - mask.probability);
    cpu.for_each_chunk_mut(values, ELEMENTS_PER_CHUNK, |chunk, values| {
        let first_block = mask.first_word / 4 + (chunk * ELEMENTS_PER_CHUNK / 4) as u64;
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                for (block, values) in (first_block..).zip(values.chunks_mut(4)) {
                    let words = mask.philox.block(mask.step, block as u32);
                    for (value, word) in values.iter_mut().zip(words) {
                        *value = if uniform(word) < mask.probability { 0.0 } else { *value * scale };
                    }
                }
            },
        );
    });
}
