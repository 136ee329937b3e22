//! A report of outputs, as one HTML page that opens from disk and needs nothing else: data in, bytes out.
//!
//! [`Report`] is all that the page shows. What it computes for itself is of the moment: what is sorted, filtered, grouped and
//! drawn. Curves come reduced ([`reduce`]), and the page says what was left out.

pub mod page;
pub mod reduce;
pub mod tables;

use serde::Serialize;
use serde_json::Value as Json;

pub use page::html;
use reduce::{Band, Points};

/// All that a report shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub title: String,
    /// The program that wrote it, with its version.
    pub program: String,
    pub outputs: Vec<Output>,
    /// The split on which the best is chosen: `validation` or `test`.
    pub split: String,
    /// What trials are ranked by: a key of [`Trial::numbers`].
    pub measure: String,
    /// The axes that tell trials apart, seeds last.
    pub axes: Vec<Axis>,
    /// What all trials have in common, in a sentence.
    pub common: Option<String>,
    pub trials: Vec<Trial>,
    /// Trials that differ in their seeds alone.
    pub cells: Vec<Cell>,
    /// Cells of one policy and optimizer.
    pub groups: Vec<Cell>,
    /// The messages of trials that failed.
    pub errors: Vec<String>,
    pub settings: Vec<Setting>,
    /// Which is better: beside the best, and beside a reference. Each a comparison, or a text that says why there is none.
    pub comparisons: Vec<Json>,
    pub curves: Curves,
    /// What happened to trials, by their place, oldest first.
    pub events: Vec<(usize, Event)>,
    /// What range tests say, as `clr-run range-test --json` prints it: one for each output that has such.
    pub range_tests: Vec<Json>,
    /// What was left out of this page, in sentences.
    pub left_out: Vec<String>,
}

/// An output that the report is of.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Output {
    pub folder: String,
    pub name: String,
    /// `running`, `damaged`, `done`, `stopped` or `killed`.
    pub state: String,
    /// When it was read, where a command was writing it.
    pub as_of: Option<String>,
    /// What is missing, torn or cannot be read, in sentences.
    pub missing: Vec<String>,
    /// The spec that was asked for.
    pub spec: Option<String>,
    pub runs: Vec<Run>,
    /// The places in [`Report::axes`] of the axes of its own grid.
    pub axes: Vec<usize>,
}

/// A command that wrote an output.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub started: String,
    /// None if it was cut off, or is not over.
    pub ended: Option<String>,
    pub command: String,
    pub folder: String,
    pub devices: Vec<String>,
    pub threads: usize,
    pub versions: Vec<(String, String)>,
    pub numerics: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Axis {
    /// As a spec has it.
    pub name: String,
    /// For people.
    pub label: String,
    pub is_number: bool,
    pub is_seed: bool,
    /// True if trials differ in it, and that does not follow from their policy or their optimizer.
    pub is_shown: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Trial {
    pub handle: String,
    pub id: String,
    pub label: String,
    /// The place of its output.
    pub output: usize,
    pub cell: usize,
    pub group: usize,
    /// Its value on each axis.
    pub axes: Vec<Json>,
    /// `finished`, `diverged`, `failed`, `crashed`, `running` or `unfinished`.
    pub status: String,
    /// Updates that were planned, and those whose rows are stored.
    pub iterations: u64,
    pub rows: u64,
    /// By name of the column in `trials.parquet`; what is not known is not there.
    pub numbers: serde_json::Map<String, Json>,
    pub seconds: Option<f64>,
    pub attempts: u32,
    pub started: Option<String>,
    /// The place of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<usize>,
    pub origin: String,
    /// Its value of each of [`Report::settings`]: a place in the values, one more than it, or 0 for none.
    pub settings: Vec<usize>,
}

/// Trials that are taken together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    pub name: String,
    /// What its colour and its dashes stand for.
    pub policy: String,
    pub optimizer: String,
}

/// A setting, with all values that some trial has.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setting {
    pub key: String,
    pub values: Vec<String>,
}

/// What happened to a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Event {
    pub time: String,
    pub what: String,
}

/// Curves, each with the place of what it is of, the best first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curves {
    pub cells: Vec<(usize, CellCurves)>,
    pub groups: Vec<(usize, CellCurves)>,
    pub trials: Vec<(usize, TrialCurves)>,
    /// The names of what models measure in each iteration, and of what is scheduled.
    pub metrics: Vec<String>,
    pub hypers: Vec<String>,
}

/// Curves of trials that are taken together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CellCurves {
    /// By split: accuracy and loss of evaluations.
    pub evaluations: Vec<(String, Band, Band)>,
    /// The loss of batches, averaged in bins of so many iterations.
    pub training: Option<Band>,
    pub bin: u64,
    /// The learning rate: of one trial where all trials have the same, else in bins of all.
    pub lr: Option<Points>,
    pub lr_band: Option<Band>,
}

/// Curves of one trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrialCurves {
    /// By split: iterations, accuracies and losses of evaluations.
    pub evaluations: Vec<(String, Points, Points)>,
    /// By name.
    pub metrics: Vec<(String, Points)>,
    pub hypers: Vec<(String, Points)>,
    /// Rows in a bin, of which the two with the least and the greatest value are kept; 1 where all rows are here.
    pub bin: u64,
}
