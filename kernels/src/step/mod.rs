//! Tables on the GPU of all that differs from step to step of a captured graph.
//!
//! A graph replays launches with the arguments that they were captured with. So its first launch, [`cuda::begin`], takes the
//! next row of a table of hyper-parameters, and the others read what it wrote; what a step measures goes to a table too. The
//! host fills the one before the first of many steps, and reads the other after the last.
//!
//! A lane takes part in a step if its batch has as many samples as the graph was captured for: a smaller batch is another
//! graph. The state of the others stays as it is, whatever is computed for them.

pub mod cuda;

use crate::cuda::mirror;

mirror! {
    /// The hyper-parameters of a step: the columns of the step table.
    #[derive(Default)]
    pub struct Hypers = "Hypers" {
        /// The learning rate of the step.
        pub lr: f32,
        /// The share of the velocity that is kept.
        pub momentum: f32,
        /// Factor of the L2 penalty, or of what weights lose at each step.
        pub weight_decay: f32,
        /// The share of the mean gradient that is kept.
        pub beta1: f32,
        /// The share of the mean square that is kept.
        pub beta2: f32,
    }
}

impl Hypers {
    /// Their names in specs, in the order of the fields.
    pub const NAMES: [&str; 5] = ["lr", "momentum", "weight_decay", "beta1", "beta2"];
}

impl From<[f32; 5]> for Hypers {
    fn from([lr, momentum, weight_decay, beta1, beta2]: [f32; 5]) -> Hypers {
        Hypers { lr, momentum, weight_decay, beta1, beta2 }
    }
}

mirror! {
    /// One step of one lane, as the host writes it: `Row` of `step.cu`.
    #[derive(Default)]
    pub struct StepRow = "step::Row" {
        /// Samples of its batch. 0: the lane makes no step.
        pub samples: u32,
        /// The hyper-parameters of the step.
        pub hypers: Hypers,
    }
}

mirror! {
    /// The step at hand of one lane, as kernels read it: `LaneStep` of `device.cuh`.
    #[derive(Default)]
    pub struct LaneStep = "LaneStep" {
        /// Updates before this one.
        pub step: u64,
        /// Place in the table of rows.
        pub row: u32,
        /// As in [`StepRow`]; 0 beyond the last row.
        pub samples: u32,
        /// The hyper-parameters of the step.
        pub hypers: Hypers,
        /// `1 / sqrt(1 - beta2^t)`, with t = step + 1.
        pub second_correction: f32,
        /// `1 / (1 - beta1^t)`.
        pub first_correction: f64,
        /// `sqrt(1 - beta2^t) / (1 - beta1^t)`.
        pub both_corrections: f64,
    }
}

/// The place of a batch in its update: all of it, or a part, where the gradients of several are accumulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Samples of the update before these.
    pub first: usize,
    /// Samples of the update.
    pub of: usize,
}

impl Part {
    /// An update of one batch.
    pub fn whole(batch: usize) -> Part {
        Part { first: 0, of: batch }
    }
}

/// The metrics of steps: `[rows][lanes][columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a> {
    /// The table that kernels write.
    pub values: &'a crate::cuda::Buffer<f32>,
    /// As many as the table of [`StepRow`] has.
    pub rows: usize,
    /// Values of a lane and step.
    pub columns: usize,
}

impl Metrics<'_> {
    pub(crate) fn len(&self, lanes: usize) -> usize {
        self.rows * lanes * self.columns
    }
}
