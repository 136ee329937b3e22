//! Philox 4x32-10: the one home of randomness in clr-run.
//!
//! A counter-based generator has no state: the bits at (seed, stream, step, index) are a function of those four numbers
//! (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). So a shuffle or a dropout mask is the same on
//! every device and with any number of threads, and a checkpoint saves none of it.

#![warn(missing_docs)]

/// The random bits of one stream under one seed.
///
/// ```
/// use clr_rng::{Philox, Stream, uniform};
///
/// let dropout = Philox::new(42, Stream::Dropout);
/// let mask_of_step_7: Vec<bool> = (0..6).map(|element| uniform(dropout.word(7, element)) < 0.5).collect();
/// assert_eq!(mask_of_step_7, (0..6).map(|element| uniform(dropout.word(7, element)) < 0.5).collect::<Vec<_>>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    stream: u32,
}

/// The purpose of random bits. Each purpose draws from its own stream, so that adding a use shifts no other.
///
/// The numbers are part of every result's bits: append, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// The order of the samples. Step: the epoch.
    Shuffle = 0,
    /// Crops and flips of training images. Index: the sample; step: the epoch.
    Augment = 1,
    /// Dropout masks. Step: the iteration; words are numbered across all dropout layers of the network.
    Dropout = 2,
    /// Initial weights. Step: the number of the parameter in the network.
    Init = 3,
    /// Procedural data sets. Step: the number of the image.
    Dataset = 4,
    /// Noise that a model adds to its gradients or loss, as `quadratic` does. Step: the iteration.
    Noise = 5,
    /// Blocks of a network that take part in a batch. Step: the iteration; a word for each block.
    Coin = 6,
}

impl Philox {
    /// The generator of `stream` under `seed`.
    pub const fn new(seed: u64, stream: Stream) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], stream: stream as u32 }
    }

    /// The four words at (`step`, `index`).
    ///
    /// Key: `[seed low, seed high]`. Counter: `[index, step low, step high, stream]`.
    pub const fn block(&self, step: u64, index: u32) -> [u32; 4] {
        philox_4x32_10([index, step as u32, (step >> 32) as u32, self.stream], self.key)
    }

    /// Word `index` of `step`: lane `index % 4` of block `index / 4`.
    ///
    /// A step has 2^34 words; indices beyond them wrap around.
    pub const fn word(&self, step: u64, index: u64) -> u32 {
        self.block(step, (index / 4) as u32)[(index % 4) as usize]
    }

    /// All words of `step` in order, from word 0.
    pub fn words(&self, step: u64) -> impl Iterator<Item = u32> + use<> {
        let philox = *self;
        (0..=u32::MAX).flat_map(move |index| philox.block(step, index))
    }
}

/// An integer in `0..bound` from 32 random bits: the high half of `bits x bound` (Lemire 2019, without the rejection).
///
/// A value is favoured by at most `bound / 2^32` of its probability: 1.2e-5 for a data set of 50,000 images. In return
/// every draw takes exactly one word, which keeps the words numbered. `bound` 0 gives 0.
pub const fn below(bits: u32, bound: u32) -> u32 {
    ((bits as u64 * bound as u64) >> 32) as u32
}

/// A float in `[0, 1)`, a multiple of 2^-24, from the upper 24 of 32 random bits. Exact in f32.
pub const fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Shuffles `items` in place with the words of one step (Fisher-Yates, from the end).
///
/// ```
/// use clr_rng::{Philox, Stream, shuffle};
///
/// let mut order: Vec<u32> = (0..5).collect();
/// shuffle(&mut order, Philox::new(1, Stream::Shuffle).words(0));
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
pub fn shuffle<T>(items: &mut [T], words: impl Iterator<Item = u32>) {
    // Draw j decides what stands at position len - 1 - j. Lists of 2^32 items and more do not occur: bounds are u32.
    for (last, bits) in (1..items.len()).rev().zip(words) {
        items.swap(last, below(bits, last as u32 + 1) as usize);
    }
}

/// The Philox 4x32 bijection with ten rounds.
pub const fn philox_4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    // The key schedule adds the golden ratio and sqrt(3) - 1, as 32-bit fractions.
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    let mut round = 0;
    while round < 10 {
        let (product_0, product_1) = (MULTIPLIERS[0] * c0 as u64, MULTIPLIERS[1] * c2 as u64);
        (c0, c1, c2, c3) = (
            (product_1 >> 32) as u32 ^ c1 ^ k0,
            product_1 as u32,
            (product_0 >> 32) as u32 ^ c3 ^ k1,
            product_0 as u32,
        );
        (k0, k1) = (k0.wrapping_add(WEYL[0]), k1.wrapping_add(WEYL[1]));
        round += 1;
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123's `kat_vectors`.
    #[test]
    fn philox_gives_the_published_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox_4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn seed_stream_step_and_index_fill_key_and_counter() {
        let philox = Philox::new(0x299f31d0_a4093822, Stream::Augment);
        let expected = philox_4x32_10([0x243f6a88, 0x85a308d3, 0x13198a2e, 1], [0xa4093822, 0x299f31d0]);
        assert_eq!(philox.block(0x13198a2e_85a308d3, 0x243f6a88), expected);
        assert_eq!(Philox::new(0, Stream::Shuffle).block(0, 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    }

    #[test]
    fn streams_keep_their_numbers() {
        let numbers = [
            Stream::Shuffle,
            Stream::Augment,
            Stream::Dropout,
            Stream::Init,
            Stream::Dataset,
            Stream::Noise,
            Stream::Coin,
        ]
        .map(|stream| stream as u32);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn words_are_the_lanes_of_successive_blocks() {
        let philox = Philox::new(9, Stream::Init);
        let expected: Vec<u32> = (0..3).flat_map(|index| philox.block(5, index)).collect();
        assert_eq!(philox.words(5).take(12).collect::<Vec<_>>(), expected);
        assert_eq!((0..12).map(|index| philox.word(5, index)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn below_maps_the_ends_of_the_range() {
        for (bits, bound, expected) in
            [(0, 10, 0), (u32::MAX, 10, 9), (1 << 31, 10, 5), (u32::MAX, 1, 0), (5, 0, 0), (7, u32::MAX, 6)]
        {
            assert_eq!(below(bits, bound), expected, "below({bits}, {bound})");
        }
    }

    #[test]
    fn uniform_is_below_one_and_exact() {
        assert_eq!([0, 1 << 31, u32::MAX].map(uniform), [0.0, 0.5, 1.0 - 1.0 / 16_777_216.0]);
    }

    /// 60,000 shuffles of 4 items: each item is at each place 15,000 times, within five standard deviations (530).
    #[test]
    fn shuffle_favours_no_place() {
        let philox = Philox::new(3, Stream::Shuffle);
        let mut counts = [[0_i32; 4]; 4];
        for step in 0..60_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, philox.words(step));
            for (place, item) in items.into_iter().enumerate() {
                counts[item][place] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|count| (count - 15_000).abs() < 530), "{counts:?}");
    }
}
