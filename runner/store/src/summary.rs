//! What a run ended with, as data: its trials, best first, and means over seeds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use clr_host::Split;
use clr_plan::names::SEEDS;
use clr_plan::{AxisValue, Plan, Trial};

use super::files::FileEntry;
use super::manifest::Manifest;
use super::origins::{self, Mixed};
use super::result::{Status, TrialResult, choosing_split};

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub folder: PathBuf,
    pub plan: Plan,
    manifest: Manifest,
}

impl Summary {
    pub fn new(folder: PathBuf, plan: Plan, manifest: Manifest) -> Summary {
        Summary { folder, plan, manifest }
    }

    /// The results of every trial of the plan, in its order.
    pub fn results(&self) -> impl Iterator<Item = TrialResult<'_>> + Clone {
        self.manifest.results(&self.plan.trials, 0)
    }

    /// How many trials have this status.
    pub fn count(&self, status: Status) -> usize {
        self.results().filter(|result| result.status == status).count()
    }

    /// Rows of all trials.
    pub fn rows(&self) -> u64 {
        self.results().fold(0, |sum: u64, result| sum.saturating_add(result.numbers.rows))
    }

    /// Size of the tables.
    pub fn bytes(&self) -> u64 {
        let of_tables = |(name, _): &(&String, &FileEntry)| name.ends_with(".parquet") && !name.starts_with("parts/");
        self.manifest.files.iter().filter(of_tables).map(|(_, entry)| entry.bytes).sum()
    }

    /// Finished trials whose weights were not kept, best first.
    pub fn without_weights(&self) -> Vec<TrialResult<'_>> {
        let is_kept = |trial: usize| {
            let record = self.manifest.trials.get(&self.plan.trials[trial].id);
            record.is_some_and(|record| record.checkpoint.is_some())
        };
        let lacking = self.results().filter(|result| result.status == Status::Finished && !is_kept(result.trial));
        best_first(&self.plan, lacking)
    }
}

/// Trials that have numbers to show, best first.
///
/// Best is what is best on the validation split where a trial has one: what is chosen on test flatters there.
pub fn ranked<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>>) -> Vec<TrialResult<'m>> {
    // What failed has rows, and nothing that they amount to.
    let has_numbers =
        |result: &TrialResult<'_>| result.status.is_done() || (result.numbers.rows > 0 && !result.status.is_failure());
    best_first(plan, results.filter(has_numbers))
}

fn best_first<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>>) -> Vec<TrialResult<'m>> {
    let mut results: Vec<TrialResult<'_>> = results.collect();
    results.sort_by(|a, b| compare(plan, a, b));
    results
}

/// The origins of trials that are done, where there are several.
pub fn mixed<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>>) -> Mixed {
    let done = results.filter(|result| result.status.is_done());
    Mixed::of(done.map(|result| (&*plan.trials[result.trial].shape.plugin, origin(plan, &result))))
}

fn origin(plan: &Plan, result: &TrialResult<'_>) -> String {
    origins::origin(&plan.trials[result.trial].shape.plugin, result.numerics, result.build)
}

/// True if what is best of a trial is chosen on its validation split.
pub fn is_validated(trial: &Trial) -> bool {
    choosing_split(trial.shape.data.validation_count > 0) == Split::Validation
}

/// Trials with results first; among them the higher best, then final accuracy on the split that chooses, then the lower loss.
fn compare(plan: &Plan, a: &TrialResult<'_>, b: &TrialResult<'_>) -> Ordering {
    let key = |result: &TrialResult<'_>| {
        let numbers = result.numbers;
        let or_worst = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        let (best, last) = if is_validated(&plan.trials[result.trial]) {
            (numbers.best_validation_accuracy, numbers.final_validation_accuracy)
        } else {
            (numbers.best_test_accuracy, numbers.final_test_accuracy)
        };
        let values = [
            or_worst(best.map(f64::from)),
            or_worst(last.map(f64::from)),
            or_worst(numbers.final_train_loss.map(|loss| -loss)),
        ];
        (result.status.is_done(), values)
    };
    let (a, b) = (key(a), key(b));
    b.0.cmp(&a.0).then_with(|| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal))
}

/// Final accuracies of trials that differ in their seeds alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// Those that have something to average or diverged, the best first by the split that chooses.
    pub cells: Vec<Cell>,
    /// How many others there are: of an interrupted run most cells may have nothing to average yet.
    pub empty: usize,
    /// True if trials are of several origins, which are never averaged together.
    pub has_origins: bool,
}

/// Trials that differ in their seeds alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    order: usize,
    /// The first of its trials: an index into [`Plan::trials`].
    pub first: usize,
    /// Their [`origins::origin`], where that is not the same for all trials.
    pub origin: String,
    trials: usize,
    pub diverged: usize,
    pub is_validated: bool,
    pub validation: Sample,
    pub test: Sample,
}

/// Final accuracies of the trials that have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

/// Means over seeds; none if no trials differ in their seeds alone, or none of these has an accuracy.
pub fn means<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>> + Clone) -> Option<Means> {
    let seeds: Vec<bool> = plan.axes.iter().map(|axis| SEEDS.contains(&axis.name.as_str())).collect();
    let has_seeds_of = |a: &Trial, b: &Trial| (0..seeds.len()).all(|axis| !seeds[axis] || a.axes[axis] == b.axes[axis]);
    if plan.trials.iter().all(|trial| has_seeds_of(trial, &plan.trials[0])) {
        return None;
    }
    let mixed = mixed(plan, results.clone());
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for (order, result) in results.enumerate() {
        let origin = Some(origin(plan, &result)).filter(|origin| mixed.has(origin)).unwrap_or_default();
        let key = format!("{}\n{origin}", cell_label(plan, result.trial, &seeds));
        let cell = cells.entry(key).or_insert_with(|| Cell::new(order, result.trial, origin));
        cell.trials += 1;
        cell.diverged += usize::from(result.status == Status::Diverged);
        cell.is_validated = is_validated(&plan.trials[result.trial]);
        cell.validation.0.extend(result.numbers.final_validation_accuracy.map(f64::from));
        cell.test.0.extend(result.numbers.final_test_accuracy.map(f64::from));
    }
    let nothing_to_tell = cells.values().all(|cell| cell.trials < 2 || cell.count() == 0);
    if nothing_to_tell {
        return None;
    }
    let all = cells.len();
    let mut cells: Vec<Cell> = cells.into_values().filter(|cell| cell.diverged > 0 || cell.count() > 0).collect();
    cells.sort_by(|a, b| {
        let by_mean = b.chosen_on().mean().partial_cmp(&a.chosen_on().mean()).unwrap_or(Ordering::Equal);
        by_mean.then(a.order.cmp(&b.order))
    });
    Some(Means { empty: all - cells.len(), cells, has_origins: !mixed.is_empty() })
}

impl Cell {
    fn new(order: usize, first: usize, origin: String) -> Cell {
        let (validation, test) = (Sample::default(), Sample::default());
        Cell { order, first, origin, trials: 0, diverged: 0, is_validated: false, validation, test }
    }

    /// By which cells are put in order.
    fn chosen_on(&self) -> &Sample {
        if self.is_validated { &self.validation } else { &self.test }
    }

    /// How many of its trials have an accuracy on the split that chooses.
    pub fn count(&self) -> usize {
        self.chosen_on().0.len()
    }
}

impl Sample {
    pub fn mean(&self) -> Option<f64> {
        let count = self.0.len();
        (count > 0).then(|| self.0.iter().sum::<f64>() / count as f64)
    }

    /// The sample's standard deviation, with n - 1.
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.0.len() > 1)?;
        let squares: f64 = self.0.iter().map(|accuracy| (accuracy - mean) * (accuracy - mean)).sum();
        Some((squares / (self.0.len() - 1) as f64).sqrt())
    }
}

/// `triangular2 nesterov max_lr=0.006`: the axes but the seeds; text speaks for itself.
fn cell_label(plan: &Plan, trial: usize, seeds: &[bool]) -> String {
    let axes = plan.axes.iter().zip(&plan.trials[trial].axes).zip(seeds);
    let words: Vec<String> = axes
        .filter(|&(_, &is_seed)| !is_seed)
        .filter_map(|((axis, value), _)| {
            Some(match value.as_ref()? {
                AxisValue::Text(text) => text.to_string(),
                AxisValue::Integer(integer) => format!("{}={integer}", axis.name),
                AxisValue::Float(float) => format!("{}={float}", axis.name),
                AxisValue::Boolean(boolean) => format!("{}={boolean}", axis.name),
            })
        })
        .collect();
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}
