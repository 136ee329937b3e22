//! The rules by name, each with all that its tool does to losses before it.

use std::fmt;

use crate::{fastai, lightning, torch_lr_finder};

/// The raw curve of a range test: for each update its learning rate, and the loss of its batch before it.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// Rising.
    pub lrs: &'a [f64],
    /// As many. What is not finite is data: the network diverged.
    pub losses: &'a [f64],
    /// The number of updates that were planned. There are fewer where training goes on, or ended since the network diverged.
    pub planned: usize,
    pub spacing: Spacing,
}

/// How learning rates follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Each step adds the same.
    Linear,
    /// Each step multiplies by the same.
    Geometric,
}

/// A rule of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// fastai's default: halfway down the longest descent.
    Valley,
    /// fastai's: where the slope still differs from that before the loss explodes.
    Slide,
    /// fastai's: where the loss falls fastest, by the logarithm of the rate.
    Steep,
    /// fastai's: a tenth of the rate of the lowest loss.
    Minimum,
    /// torch-lr-finder's: where the loss falls fastest from one update to the next.
    TorchLrFinder,
    /// Lightning's: where the loss falls fastest by the rate itself, which favours tiny rates.
    Lightning,
}

/// The answer of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    pub lr: f64,
    /// The rate at which the tool would have stopped the sweep, since the loss had grown too much.
    pub stops_at: Option<f64>,
}

/// Why a rule suggests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSuggestion {
    /// The rule's original raises an error, or suggests nothing, on so few losses.
    TooShort,
    /// The rule counts in steps of a geometric sweep, and this one is linear.
    NeedsGeometric,
}

impl fmt::Display for NoSuggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoSuggestion::TooShort => "too few losses that are finite",
            NoSuggestion::NeedsGeometric => "needs a geometric sweep",
        })
    }
}

impl Rule {
    pub const ALL: [Rule; 6] =
        [Rule::Valley, Rule::Slide, Rule::Steep, Rule::Minimum, Rule::TorchLrFinder, Rule::Lightning];

    pub fn name(self) -> &'static str {
        match self {
            Rule::Valley => "valley",
            Rule::Slide => "slide",
            Rule::Steep => "steep",
            Rule::Minimum => "minimum",
            Rule::TorchLrFinder => "torch-lr-finder",
            Rule::Lightning => "lightning",
        }
    }

    /// The tool that the rule is from.
    pub fn tool(self) -> &'static str {
        match self {
            Rule::Valley | Rule::Slide | Rule::Steep | Rule::Minimum => "fastai",
            Rule::TorchLrFinder => "torch-lr-finder",
            Rule::Lightning => "Lightning",
        }
    }

    /// What the rule's tool would have suggested on these losses.
    ///
    /// Of fastai's rules, which know geometric sweeps alone, three measure by steps of the sweep or by the logarithm of the
    /// rate: on a linear sweep they would answer another question, and answer nothing. The other tools sweep linearly too.
    ///
    /// # Errors
    ///
    /// Where the tool would fail, or its rule has no meaning.
    pub fn suggest(self, sweep: &Sweep<'_>) -> Result<Suggestion, NoSuggestion> {
        let steps_matter = matches!(self, Rule::Valley | Rule::Slide | Rule::Steep);
        if steps_matter && sweep.spacing == Spacing::Linear {
            return Err(NoSuggestion::NeedsGeometric);
        }
        let recorded = match self {
            Rule::Valley | Rule::Slide | Rule::Steep | Rule::Minimum => fastai::recorded(sweep.losses, sweep.planned),
            Rule::TorchLrFinder => torch_lr_finder::recorded(sweep.losses),
            Rule::Lightning => lightning::recorded(sweep.losses),
        };
        let kept = match self {
            Rule::Valley | Rule::Slide | Rule::Steep | Rule::Minimum => fastai::kept(&recorded, sweep.planned),
            Rule::TorchLrFinder => torch_lr_finder::kept(&recorded, sweep.planned),
            Rule::Lightning => lightning::kept(&recorded, sweep.planned),
        };
        let lrs = &sweep.lrs[..recorded.losses.len().min(sweep.lrs.len())];
        let (Some(kept_lrs), Some(losses)) = (lrs.get(kept.clone()), recorded.losses.get(kept)) else {
            return Err(NoSuggestion::TooShort);
        };
        let rule = match self {
            Rule::Valley => fastai::valley,
            Rule::Slide => fastai::slide,
            Rule::Steep => fastai::steep,
            Rule::Minimum => fastai::minimum,
            Rule::TorchLrFinder => torch_lr_finder::steepest,
            Rule::Lightning => lightning::steepest,
        };
        let lr = rule(kept_lrs, losses).ok_or(NoSuggestion::TooShort)?;
        let stops_at = lrs.last().copied().filter(|_| recorded.stopped);
        Ok(Suggestion { lr, stops_at })
    }
}
