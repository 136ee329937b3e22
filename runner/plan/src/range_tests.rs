//! Range tests: the trials by which bounds of a learning rate are found, and what a spec takes from them.
//!
//! A range test of a cell of the grid is the same cell with a sweep in place of its policy. So it depends on the model, the data,
//! the optimizer and what policies override, and cells that differ in their policies alone have one test in common.

use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_spec::duration::{Duration, Unit};
use clr_spec::{Policy, Seeds, Setting, Span, Spanned, Spec, Value, kinds, spacing};

use super::TrialId;
use super::cell::Cell;
use super::grid::Pair;
use super::seeding::{self, Seeding};

/// The bounds of a learning rate that a range test shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Where accuracy starts to rise.
    pub base: f64,
    /// Where it slows, becomes ragged or falls.
    pub max: f64,
}

/// A range test that a plan takes bounds from.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// One for each seed, or for each constant rate and seed.
    pub trials: Vec<TrialId>,
    pub iterations: u64,
    /// Those that take its bounds.
    pub policies: Vec<Arc<str>>,
    pub optimizer: Arc<str>,
    /// None until it was made. The plan then has the ends of the sweep in their place.
    pub bounds: Option<Bounds>,
}

/// The name of the policies of range tests.
const NAME: &str = "range_test";

/// What the plan of the range tests of an experiment is called.
pub fn name_of(experiment: &str) -> String {
    format!("{experiment}-range-test")
}

/// The path of the rates of trials at constant ones.
const RATE: &str = "policy.base_lr";

/// The path of a length that a range test has at most.
pub(super) const LONGEST: &str = "range_test.longest";

/// The length of the paper's test, in epochs, and of a trial at a constant rate.
const EPOCHS: u64 = 8;
const EPOCHS_OF_CONSTANT: u64 = 1;

/// More images tell no more of a curve than its noise from batch to batch.
const IMAGES: i64 = 2000;

/// The rates between which a geometric sweep of an optimizer goes: from where nothing is learned to where nothing is any more,
/// whatever the scale of the pixels.
fn default_range(optimizer: &str) -> (f64, f64) {
    match optimizer {
        // Steps of about the size of the rate, whatever the gradient.
        "adam" | "adamw" | "amsgrad" | "rmsprop" => (1e-6, 0.1),
        // It finds a rate of its own, of which this is a factor.
        "adadelta" => (1e-3, 100.0),
        _ => (1e-5, 1.0),
    }
}

/// True if the range tests of a spec have one of this policy: all, or those that take bounds from it.
pub fn has_test(spec: &Spec, policy: &Policy) -> bool {
    policy.needs_range_test() || !spec.needs_range_tests()
}

/// The spec with the seeds of its range tests.
pub fn with_seeds(spec: &Spec) -> Spec {
    let seeds = spec.range_test.seeds.clone().map(|both| Seeds { both, init: None, data: None });
    Spec { seeds: seeds.unwrap_or_else(|| spec.seeds.clone()), ..spec.clone() }
}

/// The sweep in place of a pair's policy. A policy that is a range test itself is its own, unless `[range_test]` says how to sweep.
pub fn policy(spec: &Spec, pair: &Pair<'_>) -> Policy {
    let text = |path: &str| pair.settings[pair.position(path)?].values[0].0.text();
    if text("policy.kind") == Some(kinds::RANGE_TEST.name) && !spec.range_test.is_asked() {
        return pair.policy.clone();
    }
    let asked = &spec.range_test;
    let (default_min, default_max) = default_range(text("optimizer.kind").unwrap_or_default());
    let max = asked.rate("max_lr").unwrap_or(default_max);
    let min = if asked.is_geometric() { default_min.min(max / 1000.0) } else { 0.0 };
    let place = |key: &str| -> Option<Span> { asked.get(key)?.values.first()?.1.clone() };

    let mut settings: Vec<Setting> = overrides(pair.policy).cloned().collect();
    let mut set = |path: &str, value: Value, span: Option<Span>| {
        settings.retain(|setting| &*setting.path != path);
        settings.push(Setting { path: path.into(), key_span: None, values: vec![(value, span)], axis: false });
    };
    let min = asked.rate("min_lr").unwrap_or(min);
    let share = match asked.constant() {
        Some(count) => {
            let spaced = if asked.is_geometric() { spacing::logarithmic } else { spacing::linear };
            let rates = spaced(min, max, count).into_iter().map(|rate| (Value::Number(rate), place("constant")));
            set("policy.kind", Value::Text(kinds::FIXED.name.into()), None);
            settings.push(Setting { path: RATE.into(), key_span: None, values: rates.collect(), axis: true });
            Ratio::ZERO
        }
        None => {
            set("policy.kind", Value::Text(kinds::RANGE_TEST.name.into()), None);
            set("policy.min_lr", Value::Number(min), place("min_lr"));
            set("policy.max_lr", Value::Number(max), place("max_lr"));
            set("policy.spacing", Value::Text(if asked.is_geometric() { "geometric" } else { "linear" }.into()), None);
            Ratio::new(1, asked.evaluations().into()).unwrap_or(1.into())
        }
    };
    let mut set = |path: &str, value: Value, span: Option<Span>| {
        settings.retain(|setting| &*setting.path != path);
        settings.push(Setting { path: path.into(), key_span: None, values: vec![(value, span)], axis: false });
    };
    set("train.eval_every", Value::Duration(Duration { count: share, unit: Unit::Training }), None);
    set("train.stop_on_divergence", Value::Boolean(true), None);
    if pair.position("data.test").is_none() {
        set("data.test", Value::Integer(IMAGES), None);
    }
    match asked.get("iterations").and_then(|setting| setting.values.first()) {
        Some((length, span)) => set("train.iterations", length.clone(), span.clone()),
        None => {
            let epochs = if asked.constant().is_some() { EPOCHS_OF_CONSTANT } else { EPOCHS };
            set(LONGEST, Value::Duration(Duration { count: epochs.into(), unit: Unit::Epochs }), None);
        }
    }

    let with_test = || spec.policies.iter().filter(|policy| has_test(spec, policy));
    let values = |policy: &Policy| -> Vec<(Arc<str>, Vec<Value>)> {
        let values = |setting: &Setting| setting.values.iter().map(|(value, _)| value.clone()).collect();
        overrides(policy).map(|setting| (Arc::clone(&setting.path), values(setting))).collect()
    };
    let is_one = with_test().all(|policy| values(policy) == values(pair.policy));
    let name = if is_one { NAME.into() } else { Arc::clone(&pair.policy.name.value) };
    let name = Spanned { value: name, span: pair.policy.name.span.clone() };
    Policy { name, optimizers: pair.policy.optimizers.clone(), settings }
}

/// What a policy overrides and its range test does not: all but its schedule, and the length and the evaluations of the training.
fn overrides(policy: &Policy) -> impl Iterator<Item = &Setting> {
    let is_own = |path: &str| path.starts_with("policy.") || matches!(path, "train.iterations" | "train.eval_every");
    policy.settings.iter().filter(move |setting| !is_own(&setting.path))
}

/// The choices by which the pair of a range test, `test`, is in the same cell of the grid: one, or one for each constant rate.
pub fn choices(test: &Pair<'_>, cell: &Cell<'_, '_>) -> Vec<Vec<usize>> {
    let of_dimension = |setting: usize| {
        let position = cell.pair.position(&test.settings[setting].path)?;
        Some(cell.choice[cell.pair.dimension_of[position]?])
    };
    let mut choices = vec![Vec::new()];
    for dimension in &test.dimensions {
        let is_rate = |setting: &usize| &*test.settings[*setting].path == RATE;
        let of_cell = dimension.settings.iter().find_map(|setting| of_dimension(*setting));
        let values = match of_cell {
            None if dimension.settings.iter().any(is_rate) => 0..dimension.length,
            of_cell => of_cell.unwrap_or(0)..of_cell.unwrap_or(0) + 1,
        };
        let extended = |choice: &Vec<usize>| -> Vec<Vec<usize>> {
            values.clone().map(|value| choice.iter().copied().chain([value]).collect()).collect()
        };
        choices = choices.iter().flat_map(extended).collect();
    }
    choices
}

/// What is taken for the bounds that a cell leaves to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub bounds: Bounds,
    /// False for the ends of a sweep that is still to be made.
    pub is_measured: bool,
}

/// The seeds of range tests.
pub fn seedings(spec: &Spec) -> Vec<Seeding> {
    seeding::seedings(&with_seeds(spec))
}
