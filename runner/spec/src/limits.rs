//! What a trial may take, and what becomes of the run when one fails: `[limits]` of a spec.
//!
//! None of it changes a trial's numbers.

use std::time::Duration;

/// The resources that a trial may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of a trial, earlier attempts included.
    pub time: Option<Duration>,
    /// Bytes of memory of its own that a worker may have for each of its lanes. Only Linux tells.
    pub memory: Option<u64>,
    /// No call of a plugin in a worker may take longer.
    pub call: Duration,
    /// When a trial fails or crashes.
    pub on_error: OnError,
}

/// The consequence of a failed or crashed trial for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The others are trained.
    #[default]
    Continue,
    /// It stops, as it would by Ctrl-C.
    Stop,
}

impl Default for Limits {
    /// Ten minutes a call: evaluations of slow models on slow machines take minutes.
    fn default() -> Limits {
        Limits { time: None, memory: None, call: Duration::from_secs(600), on_error: OnError::Continue }
    }
}
