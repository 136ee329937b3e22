//! Trials and what they share: what a spec was resolved to.

use std::ops::Deref;
use std::sync::Arc;

use clr_schedule::Schedule;
use clr_schedule::ratio::Ratio;
use clr_spec::duration::{Duration, Period};
use clr_spec::{Checkpointing, DatasetQuery, Diagnostic, LastBatch, Limits, Normalize, Order};

use super::id::TrialId;
use super::range_tests::Measurement;

/// Every trial of a run with all values resolved, and the groups that train together.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `[experiment] name`: the folder that the run writes.
    pub name: String,
    /// The grid's axes in the spec's order; each is a column of every table. Trials lacking one have null there.
    pub axes: Vec<Axis>,
    /// Every resolved setting of policies, optimizers and models, by its path: a column of the table of trials.
    pub settings: Vec<Axis>,
    /// In the spec's order of cells.
    pub trials: Arc<[Trial]>,
    /// A partition of the trials' indices: equal shape, so that they can share a session.
    pub groups: Vec<Group>,
    /// The range tests that bounds of its learning rates are taken from.
    pub range_tests: Vec<Measurement>,
    /// The resources that trials may take. No part of their ids.
    pub limits: Limits,
    /// When trials are saved, and what is kept of them.
    pub checkpointing: Checkpointing,
    /// Warnings in the order of the spec's text, each once.
    pub warnings: Vec<Diagnostic>,
}

impl Plan {
    /// True if no range test is left to be made, so that the trials are those that are asked for.
    pub fn is_measured(&self) -> bool {
        self.range_tests.iter().all(|test| test.bounds.is_some())
    }
}

/// A column that tells trials apart, such as `policy`, `optimizer`, `seed` or `max_lr`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The key, `max_lr`, or with its section where that is the name of another column, `optimizer.momentum`.
    pub name: String,
    /// The type of its values.
    pub kind: AxisKind,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisKind {
    /// Strings; lists too, as they are written.
    Text,
    /// An int64.
    Integer,
    /// A float64.
    Float,
    Boolean,
}

/// A value in a column of its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisValue {
    Text(SharedText),
    /// An integer, such as a number of iterations.
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// A text that many trials have, in one allocation and with one pointer: with it, a value of an axis has 16 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedText(Arc<Box<str>>);

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> SharedText {
        SharedText(Arc::new(text.into()))
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> SharedText {
        SharedText(Arc::new(text.into()))
    }
}

/// One fully resolved cell of the grid.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Of all that was asked.
    pub id: TrialId,
    /// For people: `triangular2 nesterov max_lr=0.006 seed=1`.
    pub label: Arc<str>,
    /// One value (or none) for each of [`Plan::axes`].
    pub axes: Vec<Option<AxisValue>>,
    /// The properties that all trials of a group share.
    pub shape: Arc<Shape>,
    /// The optimizer. Trials with equal ones share it.
    pub optimizer: Arc<TrialOptimizer>,
    /// Decides the initial weights and dropout.
    pub init_seed: u64,
    /// Decides the batches and their augmentation.
    pub data_seed: u64,
    /// The number of updates to make.
    pub iterations: u64,
    /// When there is an evaluation, besides the first and the last.
    pub eval_every: Period,
    /// When to stop before the end.
    pub divergence: Divergence,
    /// The learning rate by step.
    pub lr: Schedule,
}

impl Trial {
    /// True if a cycle of the learning rate, or the training, is over after `step` updates.
    pub fn is_cycle_end(&self, step: u64) -> bool {
        step > 0 && (step == self.iterations || self.lr.next_cycle_end(step - 1) == Some(step))
    }

    /// The hyper-parameters that the optimizer reads, each with its schedule, in the model's order.
    pub fn schedules(&self) -> impl Iterator<Item = (&str, &Schedule)> + Clone {
        let hypers = self.optimizer.hypers.iter().map(|(name, schedule)| (&**name, schedule));
        let before = self.optimizer.hypers_before_lr;
        hypers.clone().take(before).chain([("lr", &self.lr)]).chain(hypers.skip(before))
    }

    /// The event that recurs after every such time, an iteration at the least.
    pub fn period(&self, every: Duration) -> Period {
        let exact = every.in_iterations(self.shape.data.iterations_per_epoch(), self.iterations.into());
        // Further than 64 bits count is further than any training lasts.
        exact.map_or(Period::NEVER, Period::new)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct TrialOptimizer {
    /// The name of its kind, such as "nesterov".
    pub kind: Arc<str>,
    /// JSON for the plugin: `{"optimizer": "sgd", ...constants}`.
    pub json: Arc<str>,
    /// The hyper-parameters that it reads besides the learning rate, each with its schedule, in the model's order.
    pub hypers: Vec<(Arc<str>, Schedule)>,
    /// How many of them come before the learning rate.
    pub hypers_before_lr: usize,
    /// Groups of parameters, as they were asked. What came of them is in the JSON.
    pub groups: Arc<[ParameterGroup]>,
}

/// A group of a trial's optimizer, as it was asked, and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGroup {
    /// Patterns, as in `*.bias, bn*`.
    pub parameters: Arc<str>,
    /// In place of the architecture's own.
    pub lr_mult: Option<f64>,
    /// In place of the architecture's own.
    pub decay_mult: Option<f64>,
    /// The number of parameters that match.
    pub tensors: u64,
    /// The number of their values.
    pub values: u64,
}

/// When a trial counts as diverged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// Stop when the loss is not finite.
    pub non_finite: bool,
    /// Stop when the loss exceeds this.
    pub loss_above: Option<f64>,
}

/// The properties that the trials of a group have in common, and that a session is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub plugin: String,
    /// One of its models.
    pub architecture: String,
    /// JSON for the plugin: `[model]` options with defaults filled in, and `precision`.
    pub model_json: String,
    /// The data to train on.
    pub data: DataPlan,
    /// Names of the model's hyper-parameter columns, all of them.
    pub hypers: Vec<String>,
    /// Names of the model's metric columns.
    pub metrics: Vec<String>,
}

impl Shape {
    /// The column of the metric `name`, such as "loss".
    pub fn metric(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|metric| metric == name)
    }
}

/// How a dataset is fed to the trials of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPlan {
    /// The dataset as the spec asks for it.
    pub dataset: DatasetQuery,
    /// `None` until the data was read, where only its built-in size is known (`check`).
    pub digest: Option<String>,
    /// Images that are computed at once.
    pub batch_size: u32,
    /// Batches whose gradients make one update.
    pub accumulate: u32,
    /// Training images used, after the validation split was taken off.
    pub train_count: u64,
    /// Training images held out: the last so many in canonical order.
    pub validation_count: u64,
    /// Test images that are evaluated on: the first so many in canonical order. `None` for all.
    pub test_count: Option<u64>,
    /// The order of images within an epoch.
    pub order: Order,
    /// The rule for the end of an epoch.
    pub last_batch: LastBatch,
    /// The normalisation of pixels.
    pub normalize: Normalize,
    /// Multiplies after the mean was subtracted; 1 is Caffe's CIFAR-10, 1/255 and the like elsewhere.
    pub scale: f64,
    pub flip: bool,
    /// Zero padding before a random crop back to size; 0 is no crop.
    pub pad: u32,
    /// Height and width of what the model sees; 0: those of the stored images.
    pub input_size: u32,
    /// The least share of a stored image that a training image is an area of; 0: training images are plain crops.
    pub min_area: f64,
    /// The deviation of random light; 0: there is none.
    pub lighting: f64,
}

impl DataPlan {
    /// Images of an update, and so of an iteration.
    pub fn update_size(&self) -> u32 {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// How many iterations an epoch is, exactly.
    pub fn iterations_per_epoch(&self) -> Ratio {
        self.last_batch.iterations_per_epoch(self.train_count, self.update_size())
    }
}

/// Trials that may share a session: indices into [`Plan::trials`].
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Shared properties; one allocation for the group and all its trials.
    pub shape: Arc<Shape>,
    /// Those of one data seed side by side.
    pub trials: Vec<usize>,
}
