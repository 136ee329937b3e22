//! Inverted dropout: nothing is kept, the mask is a function of seed, step and place.

mod cpu;
pub mod cuda;

pub use cpu::apply;

use clr_rng::Philox;

/// A mask: the values that are dropped. (Srivastava et al. 2014.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// The source of random bits.
    pub philox: Philox,
    /// The iteration, which keys the bits.
    pub step: u64,
    /// The random word of the first value; the others follow. A multiple of 4.
    pub first_word: u64,
    /// How likely a value is dropped: at least 0, below 1.
    pub probability: f32,
}

#[cfg(test)]
mod tests {
    use clr_rng::Stream;

    use super::*;
    use crate::testing::{on_every_cpu, values};
    use crate::{Cpu, Isa};

    fn mask(step: u64, first_word: u64, probability: f32) -> Mask {
        Mask { philox: Philox::new(5, Stream::Dropout), step, first_word, probability }
    }

    #[test]
    fn each_value_follows_its_own_word() {
        let x = values(1, 40_001);
        let mask = mask(3, 400, 0.3);
        for (_, y) in on_every_cpu(|cpu| {
            let mut y = x.clone();
            apply(cpu, &mask, &mut y);
            y
        }) {
            for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                let dropped = clr_rng::uniform(mask.philox.word(3, 400 + i as u64)) < 0.3;
                assert_eq!(*y, if dropped { 0.0 } else { x * (1.0 / (1.0 - 0.3)) }, "value {i}");
            }
            let dropped = y.iter().filter(|y| **y == 0.0).count() as f64;
            // Within five standard deviations.
            assert!((dropped - 12_000.0).abs() < 5.0 * (40_001.0_f64 * 0.3 * 0.7).sqrt(), "{dropped} dropped");
        }
    }

    #[test]
    fn steps_differ_and_a_probability_of_zero_drops_nothing() {
        let cpu = Cpu::with_isa(1, Isa::Portable).unwrap();
        let drop = |step, probability| {
            let mut values = vec![1.0; 64];
            apply(&cpu, &mask(step, 0, probability), &mut values);
            values
        };
        assert_ne!(drop(0, 0.5), drop(1, 0.5));
        assert_eq!(drop(0, 0.5), drop(0, 0.5));
        assert_eq!(drop(0, 0.0), vec![1.0; 64]);
    }
}
