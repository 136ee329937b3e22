//! The beginning of a step on a GPU.

#![allow(unsafe_code)]

use super::{LaneStep, StepRow};
use crate::cuda::{Buffer, Gpu, GpuError, count};

const THREADS: usize = 256;

/// The tables of a session.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// `[row_count][lanes]`.
    pub rows: &'a Buffer<StepRow>,
    /// How many rows there are.
    pub row_count: usize,
    /// `[lanes]`: updates that each lane had behind it at row 0.
    pub first_steps: &'a Buffer<u64>,
    /// `[1]`: the row of the step at hand. The host sets it to 0 before the first step.
    pub row: &'a Buffer<u32>,
    /// `[lanes]`: what this row becomes.
    pub steps: &'a Buffer<LaneStep>,
}

/// Makes the row at hand what the other launches of this step read. If it is to `advance`, the next step takes the next row;
/// where a step consists of several graphs, for batches of several sizes, only the last one does. Beyond the last row no lane
/// takes part, and `steps` says row `row_count`.
///
/// # Errors
/// What the driver says.
pub fn begin(gpu: &Gpu, lanes: usize, tables: &Tables<'_>, advance: bool) -> Result<(), GpuError> {
    let &Tables { rows, row_count, first_steps, row, steps } = tables;
    let launch = gpu.launch("step_begin", lanes).threads(THREADS);
    let launch = launch.value("lanes", count(lanes)).value("row_count", count(row_count));
    let launch = launch.value("advance", u32::from(advance)).table("rows", rows, row_count * lanes);
    let launch = launch.table("first_steps", first_steps, lanes).table_mut("row", row, 1);
    // SAFETY: the arguments of `step_begin`.
    unsafe { launch.table_mut("steps", steps, lanes).run() }
}
