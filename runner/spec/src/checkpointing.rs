//! `[checkpoint]` of a spec: when trials are saved while they train, and what is kept of them.
//!
//! It decides no bit, and is no part of a trial's id.

use std::time::Duration;

use super::duration;

/// When trials are saved while they train, and what is kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    pub every: Every,
    pub keep: Keep,
}

/// How often a trial is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// At least so often, once a run is long enough, unless saving would take more than 0.5% of the time.
    Time(Duration),
    /// After every so many updates or epochs, whatever it costs.
    Training(duration::Duration),
    /// Not at all: a trial that is interrupted starts over.
    Never,
}

/// The states of a finished trial that are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Nothing,
    /// Its state after the last iteration, unless it diverged.
    Last,
    /// Its state at the evaluation with the highest accuracy: on validation where there is such a split, else on test.
    Best,
    /// Its states at the end of each cycle of the learning rate, and after the last iteration: a snapshot ensemble. (Huang et
    /// al. 2017.)
    Cycles,
}

impl Default for Checkpointing {
    fn default() -> Checkpointing {
        Checkpointing { every: Every::Time(Duration::from_secs(30)), keep: Keep::Nothing }
    }
}
