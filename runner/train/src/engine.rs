//! A session in this process, or one in a worker. Both give the same bits.

use std::sync::atomic::AtomicBool;

use clr_host::{Completion, HostError, Lane, Split, StepCall, TensorInfo};

/// A session, wherever it is; the functions are those of [`clr_host::Session`].
#[derive(Debug)]
pub enum Engine<'w> {
    /// In this process. What the plugin does to its process, it does to the run.
    InProcess(clr_host::Session),
    Worker(clr_worker::Session<'w>),
}

impl Engine<'_> {
    /// The number of lanes, K.
    pub fn lane_count(&self) -> usize {
        match self {
            Engine::InProcess(session) => session.lane_count(),
            Engine::Worker(session) => session.lane_count(),
        }
    }

    pub fn step(
        &mut self,
        call: &StepCall<'_>,
        steps_done: &mut [u32],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        match self {
            Engine::InProcess(session) => session.step(call, steps_done, metrics, cancel),
            Engine::Worker(session) => session.step(call, steps_done, metrics, cancel),
        }
    }

    /// Measures the active lanes on `count` samples of a split.
    pub fn evaluate(
        &mut self,
        split: Split,
        first: u64,
        count: u64,
        active: &[bool],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        match self {
            Engine::InProcess(session) => session.evaluate(split, first, count, active, metrics, cancel),
            Engine::Worker(session) => session.evaluate(split, first, count, active, metrics, cancel),
        }
    }

    /// Starts another trial in a lane, at step 0.
    pub fn reset_lane(&mut self, lane: usize, trial: &Lane) -> Result<(), HostError> {
        match self {
            Engine::InProcess(session) => session.reset_lane(lane, trial),
            Engine::Worker(session) => session.reset_lane(lane, trial),
        }
    }

    /// The tensors that are a lane's state.
    pub fn tensors(&mut self, lane: usize) -> Result<&[TensorInfo], HostError> {
        match self {
            Engine::InProcess(session) => session.tensors(lane),
            Engine::Worker(session) => session.tensors(lane),
        }
    }

    /// Copies a tensor out of a lane.
    pub fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), HostError> {
        match self {
            Engine::InProcess(session) => session.save(lane, tensor, values),
            Engine::Worker(session) => session.save(lane, tensor, values),
        }
    }

    /// Copies a tensor into a lane.
    pub fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), HostError> {
        match self {
            Engine::InProcess(session) => session.load(lane, tensor, values),
            Engine::Worker(session) => session.load(lane, tensor, values),
        }
    }
}
