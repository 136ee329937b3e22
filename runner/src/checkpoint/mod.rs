//! Checkpoints: all that a trial needs to go on with the same bits, here or on another machine.
//!
//! A lane's state is what the plugin names as such (`clr.state/1`). Everything else follows from the step: batches,
//! augmentation, dropout and schedules are functions of it.

mod export;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::time::Duration;

pub use export::Format;
pub use file::CheckpointError;

use crate::duration;
use crate::host::TensorInfo;
use crate::plan::TrialId;

/// The state of one trial after `step` updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// [`crate::plan::Trial::id`].
    pub trial_id: TrialId,
    /// Updates made.
    pub step: u64,
    /// All evaluations that are due up to this step were made; none: not even the first. One at `step` itself may be
    /// made or not.
    pub evaluated: Option<u64>,
    /// By name.
    pub tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// Where each of its tensors is among those of a lane, `infos`; `None` where the lane has others.
    pub fn places(&self, infos: &[TensorInfo]) -> Option<Vec<usize>> {
        let place = |tensor: &Tensor| infos.iter().position(|info| *info == tensor.info);
        let places: Option<Vec<usize>> = self.tensors.iter().map(place).collect();
        places.filter(|places| places.len() == infos.len())
    }
}

/// A named part of a trial's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name, role and shape.
    pub info: TensorInfo,
    /// Row major; as many as the shape says.
    pub values: Vec<f32>,
}

/// When trials are saved while they train, and what is kept of them. It decides no bit, and is no part of a trial's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// How often.
    pub every: Every,
    /// What is kept when a trial is over.
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

/// What is kept of a trial that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
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
