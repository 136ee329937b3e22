//! The closed set of things that happen while a plan is carried out. An event is data: the progress display and the
//! store read the same stream, and nothing else comes back from training.

pub mod checkpoint;
#[doc(hidden)]
pub mod example;
pub mod work;

use std::sync::Arc;
use std::time::Duration;

use clr_host::Split;
use clr_spec::{Limits, OnError};

use crate::checkpoint::Checkpoint;

/// Something that happened. `trial` is an index into [`clr_plan::Plan::trials`].
#[derive(Clone, Debug)]
pub enum Event {
    /// A trial was given a lane.
    Started {
        /// Which trial.
        trial: usize,
        /// Updates that it has behind it already: those of the checkpoint that it goes on from.
        step: u64,
    },
    /// Rows of one trial, in order and without gaps.
    Rows(Rows),
    /// The model of a trial was measured on a whole split.
    Evaluated(Evaluation),
    /// The state of a trial was taken. All its rows and evaluations up to there were sent before.
    Saved {
        /// Which trial.
        trial: usize,
        /// Its state.
        checkpoint: Arc<Checkpoint>,
        /// Wall time that went into the trial so far.
        elapsed: Duration,
    },
    /// A session failed: its worker died, say. Its trials go on in others from where they were saved.
    Retried {
        /// Which trials.
        trials: Vec<usize>,
        /// What became of the session.
        message: String,
    },
    /// A trial is over; nothing more comes of it.
    Ended {
        /// Which trial.
        trial: usize,
        /// How.
        outcome: Outcome,
        /// Wall time that went into it, in all attempts.
        elapsed: Duration,
    },
}

/// A block of consecutive rows: what went in and what came out of `count` updates of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Which trial.
    pub trial: usize,
    /// Iteration of the first row; row i is update i + 1.
    pub first_iteration: u64,
    /// How many rows.
    pub count: usize,
    /// One column of `count` values for each of the trial's schedules, in the order of [`clr_plan::Trial::schedules`].
    pub hypers: Vec<Vec<f64>>,
    /// One column of `count` values for each metric of the model, in its order. May hold non-finite values.
    pub metrics: Vec<Vec<f32>>,
}

impl Rows {
    /// Drops the first `count` rows, or all.
    pub fn skip(&mut self, count: usize) {
        let count = count.min(self.count);
        self.count -= count;
        self.first_iteration += count as u64;
        self.hypers.iter_mut().for_each(|column| drop(column.drain(..count)));
        self.metrics.iter_mut().for_each(|column| drop(column.drain(..count)));
    }

    /// Keeps the first `count` rows.
    pub fn truncate(&mut self, count: usize) {
        self.count = count;
        self.hypers.iter_mut().for_each(|column| column.truncate(count));
        self.metrics.iter_mut().for_each(|column| column.truncate(count));
    }
}

/// Mean loss and accuracy over a split, after `iteration` updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Which trial.
    pub trial: usize,
    /// Updates made before it.
    pub iteration: u64,
    /// What it was measured on.
    pub split: Split,
    /// Mean over the split. May be non-finite.
    pub loss: f32,
    /// Fraction of the split that the model has right.
    pub accuracy: f32,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All iterations were done.
    Finished,
    /// The divergence rule stopped it; `iteration` is that of its last row. An outcome, not a failure.
    Diverged {
        /// Of the last row.
        iteration: u64,
    },
    /// The plugin reported an error.
    Failed {
        /// The plugin's own words.
        message: String,
    },
    /// It ended the process that trained it, again and again.
    Crashed {
        /// The signal or the exit code, the step, and what the process said last.
        message: String,
    },
    /// The machine did not let it be trained: its workers were killed from outside, say, or there was no memory, thread or
    /// process to be had. Nothing is held against the trial, and the same command goes on with it.
    Interrupted {
        /// What the machine did, or did not give.
        message: String,
    },
    /// The run was stopped before the trial was done. Its rows do not count.
    Stopped,
}

impl Outcome {
    /// Whether the run stops because a trial ended so.
    pub fn stops_the_run(&self, limits: &Limits) -> bool {
        limits.on_error == OnError::Stop && matches!(self, Outcome::Failed { .. } | Outcome::Crashed { .. })
    }
}
