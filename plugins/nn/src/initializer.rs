//! Initial weights of a network.

use clr_rng::{Philox, Stream, uniform};

/// How a parameter's values are drawn. `fan_in` is the number of inputs that each output sums over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    Constant {
        value: f32,
    },
    /// Normal, with mean 0.
    Gaussian {
        std: f32,
    },
    Uniform {
        low: f32,
        high: f32,
    },
    /// Uniform in `±sqrt(3 / fan_in)`: Caffe's form of Glorot and Bengio (2010), by the fan-in alone.
    Xavier,
    /// Normal with deviation `sqrt(2 / fan_in)` (He et al. 2015).
    Msra,
}

impl Initializer {
    /// Fills the values of the network's parameter number `index`, counted from 0. Made on the host, by functions that
    /// round alike everywhere, so that every device starts from the same bits.
    pub(crate) fn fill(self, values: &mut [f32], fan_in: usize, init_seed: u64, index: usize) {
        let words = Philox::new(init_seed, Stream::Init).words(index as u64);
        match self {
            Initializer::Constant { value } => values.fill(value),
            Initializer::Gaussian { std } => gaussian(values, f64::from(std), words),
            Initializer::Msra => gaussian(values, (2.0 / fan_in as f64).sqrt(), words),
            Initializer::Uniform { low, high } => {
                let (low, high) = (f64::from(low), f64::from(high));
                for (value, bits) in values.iter_mut().zip(words) {
                    *value = (low + (high - low) * f64::from(uniform(bits))) as f32;
                }
            }
            Initializer::Xavier => {
                let bound = (3.0 / fan_in as f64).sqrt();
                for (value, bits) in values.iter_mut().zip(words) {
                    *value = ((2.0 * f64::from(uniform(bits)) - 1.0) * bound) as f32;
                }
            }
        }
    }
}

/// Two values from two words each (Box and Muller 1958).
fn gaussian(values: &mut [f32], std: f64, mut words: impl Iterator<Item = u32>) {
    for pair in values.chunks_mut(2) {
        let (Some(first), Some(second)) = (words.next(), words.next()) else { return };
        // In (0, 1), so that the logarithm is finite.
        let radius = (-2.0 * libm::log((f64::from(first) + 0.5) / 4_294_967_296.0)).sqrt() * std;
        let angle = std::f64::consts::TAU * f64::from(second) / 4_294_967_296.0;
        pair[0] = (radius * libm::cos(angle)) as f32;
        if let Some(value) = pair.get_mut(1) {
            *value = (radius * libm::sin(angle)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and deviation of 100,000 values with a fan-in of 50, within five standard errors.
    #[track_caller]
    fn check(initializer: Initializer, expected_mean: f64, deviation: f64) {
        let mut values = vec![0.0; 100_001];
        initializer.fill(&mut values, 50, 7, 3);
        let count = values.len() as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let from_mean = |value: f32| f64::from(value) - expected_mean;
        let square = values.iter().copied().map(from_mean).map(|value| value * value).sum::<f64>() / count;
        assert!((mean - expected_mean).abs() < 5.0 * deviation / count.sqrt(), "mean {mean}");
        assert!((square.sqrt() - deviation).abs() < 5.0 * deviation / count.sqrt(), "deviation {}", square.sqrt());
    }

    #[test]
    fn initializers_have_their_moments() {
        check(Initializer::Gaussian { std: 0.01 }, 0.0, 0.01);
        check(Initializer::Msra, 0.0, 0.2);
        // A uniform distribution's deviation is its half-width / sqrt(3).
        check(Initializer::Xavier, 0.0, (1.0_f64 / 50.0).sqrt());
        check(Initializer::Uniform { low: 0.0, high: 1.0 }, 0.5, (1.0_f64 / 12.0).sqrt());
    }

    #[test]
    fn constants_are_constant() {
        let mut values = [0.0; 3];
        Initializer::Constant { value: 0.2 }.fill(&mut values, 1, 7, 3);
        assert_eq!(values, [0.2; 3]);
    }

    #[test]
    fn each_parameter_and_seed_has_values_of_its_own() {
        let draw = |seed, index| {
            let mut values = [0.0; 4];
            Initializer::Gaussian { std: 1.0 }.fill(&mut values, 1, seed, index);
            values
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }
}
