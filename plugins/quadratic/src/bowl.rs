//! The model: `loss(w) = mean over samples s of 1/2 sum over i of a_i (w_i - t_si)^2`.
//!
//! `a_i` goes evenly from 1 to `condition`; the optimum of sample s is `t_si = 1 + noise u_si` with `u_si` uniform in
//! [-1, 1), a function of the split, the sample and i. So without noise, gradient descent is `w_n - 1 = (1 - lr a)^n (w_0 - 1)`.

use clr_plugin::{Error, SessionConfig, Split};
use clr_rng::{Philox, Stream, uniform};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub dimension: usize,
    pub condition: f32,
    pub noise: f32,
    pub tolerance: f32,
    precision: Precision,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Precision {
    F32,
}

impl Default for Options {
    fn default() -> Options {
        Options { dimension: 8, condition: 10.0, noise: 0.0, tolerance: 0.1, precision: Precision::F32 }
    }
}

impl Options {
    /// Reads and checks what a session is asked for.
    pub fn parse(config: &SessionConfig<'_>) -> Result<Options, Error> {
        if config.device != "cpu" {
            return Err(Error::unsupported(format!("device `{}`; there is cpu", config.device)));
        }
        let options: Options = clr_plugin::parse_options(config.options, "model options")?;
        if !(1..=65_536).contains(&options.dimension) {
            return Err(Error::invalid(format!("dimension is {}, expected 1 to 65536", options.dimension)));
        }
        for (name, value, minimum) in [
            ("condition", options.condition, 1.0),
            ("noise", options.noise, 0.0),
            ("tolerance", options.tolerance, 0.0),
        ] {
            if !(value >= minimum && value.is_finite()) {
                return Err(Error::invalid(format!("{name} is {value}, expected at least {minimum}")));
            }
        }
        let Precision::F32 = options.precision;
        Ok(options)
    }
}

/// The model with its eigenvalues laid out.
#[derive(Clone, Debug)]
pub struct Bowl {
    eigenvalues: Vec<f32>,
    noise: f32,
    tolerance: f32,
    /// Sum over a batch's samples of their noise; kept to save an allocation for each step.
    noise_sum: Vec<f32>,
}

/// Loss and gradient of a batch at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Mean over the batch.
    pub loss: f32,
    /// Share of coordinates within `tolerance` of 1.
    pub accuracy: f32,
}

impl Bowl {
    pub fn new(options: &Options) -> Bowl {
        let last = options.dimension.saturating_sub(1).max(1) as f32;
        let eigenvalues = (0..options.dimension).map(|i| 1.0 + (options.condition - 1.0) * (i as f32) / last).collect();
        let Options { noise, tolerance, dimension, .. } = *options;
        Bowl { eigenvalues, noise, tolerance, noise_sum: vec![0.0; dimension] }
    }

    /// Starting weights, uniform in [-1, 1).
    pub fn initial(&self, init_seed: u64) -> Vec<f32> {
        let philox = Philox::new(init_seed, Stream::Init);
        (0..self.eigenvalues.len()).map(|i| 2.0 * uniform(philox.word(0, i as u64)) - 1.0).collect()
    }

    /// Loss and accuracy of `weights` on samples of a split; leaves in `gradient` that of the loss.
    pub fn measure(
        &mut self,
        split: Split,
        samples: impl ExactSizeIterator<Item = u32>,
        weights: &[f32],
        gradient: &mut [f32],
    ) -> Measured {
        let count = samples.len() as f32;
        let mut loss = 0.0;
        self.noise_sum.fill(0.0);
        if self.noise == 0.0 {
            // All samples agree.
            for (&a, &w) in self.eigenvalues.iter().zip(weights) {
                loss += 0.5 * a * (w - 1.0) * (w - 1.0);
            }
        } else {
            let philox = Philox::new(split as u64, Stream::Noise);
            for sample in samples {
                let mut sample_loss = 0.0;
                let words = philox.words(u64::from(sample));
                for (((&a, &w), sum), word) in self.eigenvalues.iter().zip(weights).zip(&mut self.noise_sum).zip(words)
                {
                    let noise = self.noise * (2.0 * uniform(word) - 1.0);
                    *sum += noise;
                    let distance = w - (1.0 + noise);
                    sample_loss += 0.5 * a * distance * distance;
                }
                loss += sample_loss;
            }
            loss /= count;
        }
        let mut near = 0;
        for (((&a, &w), &sum), gradient) in self.eigenvalues.iter().zip(weights).zip(&self.noise_sum).zip(gradient) {
            *gradient = a * (w - (1.0 + sum / count));
            near += u32::from((w - 1.0).abs() <= self.tolerance);
        }
        Measured { loss, accuracy: near as f32 / weights.len() as f32 }
    }
}
