//! Checkpoints: all that a trial needs to go on with the same bits, here or on another machine.
//!
//! A lane's state is what the plugin names as such (`clr.state/1`). Everything else follows from the step: batches,
//! augmentation, dropout and schedules are functions of it.

mod export;
mod file;

pub use export::Format;
pub use file::CheckpointError;

use clr_host::TensorInfo;
use clr_plan::TrialId;

/// The state of one trial after `step` updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// [`clr_plan::Trial::id`].
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
