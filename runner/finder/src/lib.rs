//! Learning-rate finders: what they suggest, given the curve of a range test.
//!
//! A range test trains once while the learning rate rises, and looks at which rates the network learns. (Smith 2017, section
//! 3.3.) Each tool has a rule of its own to read the curve. Here each rule is a pure function of learning rates and losses,
//! with the smoothing and the stop of its original, so that it suggests on raw losses what the original would have suggested
//! on them: faults included, which the documentation of each names. [`smith`] reads from the curve what cyclical policies need
//! and no tool gives: the pair of bounds.
//!
//! ```
//! use clr_finder::{Rule, Spacing, Sweep};
//!
//! // A loss that falls, and rises from a rate of 0.1 on.
//! let lrs: Vec<f64> = (0..100).map(|step| 1e-6 * libm::pow(1e6, f64::from(step) / 100.0)).collect();
//! let losses: Vec<f64> = lrs.iter().map(|lr| 2.3 - lr.min(0.1) * 10.0 + 40.0 * (lr - 0.1).max(0.0)).collect();
//! let sweep = Sweep { lrs: &lrs, losses: &losses, planned: 100, spacing: Spacing::Geometric };
//! let suggestion = Rule::Minimum.suggest(&sweep).unwrap();
//! assert!(suggestion.lr > 0.01 && suggestion.lr < 0.1);
//! ```

pub mod fastai;
#[cfg(test)]
mod goldens;
mod gradient;
pub mod lightning;
mod recorded;
mod rule;
mod seeds;
pub mod smith;
pub mod torch_lr_finder;

pub use recorded::Recorded;
pub use rule::{NoSuggestion, Rule, Spacing, Suggestion, Sweep};
pub use seeds::Readings;
