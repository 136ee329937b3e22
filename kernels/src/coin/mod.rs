//! A coin for each lane, batch and block of a network: stochastic depth (Huang et al. 2016).
//!
//! In a batch whose coin fell on the wrong side a block is left out: only its shortcut is seen, and its weights have no
//! gradient. In evaluation all blocks take part, each scaled by the probability with which it does in training. What a branch
//! is multiplied by is a term's scale in the sums of [`crate::add`].

pub mod cuda;

use clr_rng::{Philox, uniform};

/// The coin of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coin {
    /// The number of the block in its network, which keys its coin together with seed and step.
    pub block: u64,
    /// How likely the block is left out: at least 0, below 1.
    pub death_rate: f32,
}

impl Coin {
    /// What the branch is multiplied by in training: 1, or 0 where the block is left out. `philox` is of the lane's seed and
    /// [`Stream::Coin`](clr_rng::Stream::Coin).
    ///
    /// ```
    /// use clr_kernels::coin::Coin;
    /// use clr_rng::{Philox, Stream};
    ///
    /// let (philox, coin) = (Philox::new(1, Stream::Coin), Coin { block: 3, death_rate: 0.5 });
    /// let open = (0..1000).filter(|&step| coin.flip(&philox, step) == 1.0).count();
    /// assert!((450..550).contains(&open));
    /// ```
    pub fn flip(&self, philox: &Philox, step: u64) -> f32 {
        if uniform(philox.word(step, self.block)) < self.death_rate { 0.0 } else { 1.0 }
    }

    /// What the branch is multiplied by in evaluation.
    pub fn survival(&self) -> f32 {
        1.0 - self.death_rate
    }
}

#[cfg(test)]
mod tests {
    use clr_rng::Stream;

    use super::*;

    /// By the words that `clr-rng`'s own tests compare with Random123.
    #[test]
    fn a_block_is_left_out_where_its_word_is_below_the_death_rate() {
        let philox = Philox::new(77, Stream::Coin);
        for step in [0, 1, 2, 1 << 33] {
            let words: Vec<u32> = philox.words(step).take(54).collect();
            for (block, word) in (0..).zip(words) {
                // As fractions of 2^32, of which the lower bits do not count.
                let is_left_out = f64::from(word >> 8) / f64::from(1 << 24) < 0.3_f32.into();
                let scale = Coin { block, death_rate: 0.3 }.flip(&philox, step);
                assert_eq!(scale, if is_left_out { 0.0 } else { 1.0 }, "block {block}, step {step}");
            }
        }
    }

    #[test]
    fn coins_of_seeds_steps_and_blocks_differ_and_fall_as_often_as_they_say() {
        let flips = |seed, block, death_rate| -> Vec<f32> {
            let philox = Philox::new(seed, Stream::Coin);
            (0..20_000).map(|step| Coin { block, death_rate }.flip(&philox, step)).collect()
        };
        let (a, b, c) = (flips(1, 0, 0.3), flips(2, 0, 0.3), flips(1, 1, 0.3));
        let pairs = [(&a, &b), (&a, &c), (&a, &a[1..].to_vec())];
        for (one, other) in pairs {
            // Equal by chance with probability 0.3^2 + 0.7^2; within five standard deviations.
            let equal = one.iter().zip(other).filter(|(one, other)| one == other).count() as f64;
            assert!((equal - 0.58 * 20_000.0).abs() < 5.0 * (20_000.0_f64 * 0.58 * 0.42).sqrt(), "{equal} equal");
        }
        let open = a.iter().filter(|scale| **scale == 1.0).count() as f64;
        assert!((open - 14_000.0).abs() < 5.0 * (20_000.0_f64 * 0.3 * 0.7).sqrt(), "{open} open");
        assert!(flips(1, 0, 0.0).iter().all(|scale| *scale == 1.0));
        assert_eq!(Coin { block: 0, death_rate: 0.25 }.survival(), 0.75);
    }
}
