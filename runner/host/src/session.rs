//! A session: K trials that train together in a plugin, in this process ([`LocalSession`](super::LocalSession)) or in another.

use std::fmt::Debug;
use std::sync::atomic::AtomicBool;

use super::HostError;
use super::call::{CallSizes, Completion, StepCall};
use super::config::Lane;
use super::info::TensorInfo;
use crate::Split;

/// The calls of K trials that train together, wherever their plugin computes. All that answers them gives the same bits.
pub trait Session: Debug {
    /// The sizes of its calls' tables.
    fn sizes(&self) -> CallSizes;

    /// K.
    fn lane_count(&self) -> usize {
        self.sizes().lane_count
    }

    /// Trains. `steps_done` (`[K]`) says how many steps each lane made: all that it was asked, unless `cancel` was
    /// raised. `metrics` is `[S][K][metrics of the model]`; rows of steps that were not made are NaN.
    fn step(
        &mut self,
        call: &StepCall<'_>,
        steps_done: &mut [u32],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError>;

    /// Measures the active lanes on `count` samples of a split. `metrics` is `[K][metrics of the model]`; rows of other
    /// lanes are NaN, and all are when it was cancelled.
    fn evaluate(
        &mut self,
        split: Split,
        first: u64,
        count: u64,
        active: &[bool],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError>;

    /// Starts another trial in a lane, at step 0.
    fn reset_lane(&mut self, lane: usize, trial: &Lane) -> Result<(), HostError>;

    /// The tensors that are a lane's state. An error where the plugin has no `clr.state/1`.
    fn tensors(&mut self, lane: usize) -> Result<&[TensorInfo], HostError>;

    /// Copies a tensor out of a lane; `values` has its number of elements.
    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), HostError>;

    /// Copies a tensor into a lane; `values` has its number of elements.
    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), HostError>;
}
