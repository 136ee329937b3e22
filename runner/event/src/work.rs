//! Trials that are to be trained, and from where: what the store asks of training.

use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Checkpoint;

/// A trial that is to be trained, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Index into [`clr_plan::Plan::trials`].
    pub trial: usize,
    /// What to go on from; none: from the beginning.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// Whether [`crate::Event::Started`] was sent.
    pub started: bool,
    /// Rows that were sent. Those of earlier steps are made again with the same bits, and dropped.
    pub sent_rows: u64,
    /// The step of the last evaluation that was sent, on all its splits. Those up to there are dropped too.
    pub sent_evaluation: Option<u64>,
    /// Wall time of earlier attempts.
    pub elapsed: Duration,
    /// The step at which its last session ended, whatever was sent before.
    pub reached: u64,
    /// Calls of this run that brought it further, those of steps made again included.
    pub calls: u64,
}

impl Work {
    /// A trial from its beginning.
    pub fn new(trial: usize) -> Work {
        Work { trial, ..Work::default() }
    }

    /// Whether nothing is known of it yet.
    pub fn is_new(&self) -> bool {
        *self == Work::new(self.trial)
    }

    /// The step from which it goes on.
    pub fn step(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step)
    }
}
