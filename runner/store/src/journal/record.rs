//! The records of the journal's files.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::holder::Holder;

/// The journal's file in an output folder.
pub const EVENTS: &str = "events.jsonl";

/// The heartbeat's file in an output folder.
pub const HEARTBEAT: &str = "heartbeat.json";

/// A line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<'a> {
    /// RFC 3339, UTC, to the millisecond.
    pub time: Cow<'a, str>,
    #[serde(flatten)]
    pub record: Record<'a>,
}

/// An event, under `event` in the line. `trial` is its id, `label` its name for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record<'a> {
    /// A command began to write the output.
    RunStarted {
        #[serde(flatten)]
        holder: Holder,
        version: Cow<'a, str>,
        command: Vec<Cow<'a, str>>,
        /// Trials of the spec.
        trials: usize,
        /// Those that it has to run.
        unfinished: usize,
    },
    /// A trial was given a lane.
    Started {
        trial: Cow<'a, str>,
        label: Cow<'a, str>,
        /// Counts from 1, over all commands.
        attempt: u32,
        /// Updates that it has behind it: those of the checkpoint that it goes on from.
        step: u64,
    },
    /// A trial's last evaluation, or one that is the best of this command so far on its split.
    Evaluated {
        trial: Cow<'a, str>,
        label: Cow<'a, str>,
        /// Updates made before it.
        step: u64,
        /// `validation` or `test`.
        split: Cow<'a, str>,
        /// Mean over the split; null where not finite.
        loss: Option<f32>,
        /// Fraction of the split that is right; null where not finite.
        accuracy: Option<f32>,
    },
    /// The state of a trial was taken.
    Saved {
        trial: Cow<'a, str>,
        label: Cow<'a, str>,
        /// Updates made before it.
        step: u64,
    },
    /// A session failed, and its trials go on in others.
    Retried {
        trials: Vec<Cow<'a, str>>,
        labels: Vec<Cow<'a, str>>,
        /// The failure of the session.
        message: Cow<'a, str>,
    },
    /// A trial is over, for this command.
    Ended {
        trial: Cow<'a, str>,
        label: Cow<'a, str>,
        step: u64,
        outcome: Ending,
        /// Why, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Cow<'a, str>>,
        /// Wall time that went into it.
        seconds: f64,
    },
    /// A command is done with the output.
    RunEnded {
        /// The way it ended: all done, stopped by a signal, or unable to write.
        outcome: Ending,
        /// Why, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Cow<'a, str>>,
    },
    /// Something that a later version of the program wrote.
    #[serde(other)]
    Unknown,
}

/// How a trial or a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Finished,
    /// The divergence rule stopped the trial.
    Diverged,
    /// The plugin reported an error; or, of a command, results could not be written.
    Failed,
    /// The trial ended the process that trained it, again and again.
    Crashed,
    /// The machine did not let the trial be trained; the same command goes on.
    Interrupted,
    /// The user stopped it.
    Stopped,
}

impl Ending {
    /// As in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Finished => "finished",
            Ending::Diverged => "diverged",
            Ending::Failed => "failed",
            Ending::Crashed => "crashed",
            Ending::Interrupted => "interrupted",
            Ending::Stopped => "stopped",
        }
    }
}

/// The content of `heartbeat.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// RFC 3339, UTC: when it was written.
    pub time: String,
    #[serde(flatten)]
    pub holder: Holder,
    /// Memory of the command and its workers that is theirs alone, so without the datasets, which are mapped. Linux only.
    pub memory_bytes: Option<u64>,
    /// Iterations that this command has done.
    pub iterations: u64,
    /// Iterations a second, over all of this command's time.
    pub per_second: f64,
    /// The trials in flight.
    pub trials: Vec<InFlight>,
}

/// A trial in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    pub trial: String,
    pub label: String,
    pub step: u64,
    pub iterations: u64,
    /// Updates a second, since it was given a lane.
    pub per_second: f64,
}
