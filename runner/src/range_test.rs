//! What the range tests of an output say: the bounds of a cyclical policy by the paper's rule, and the suggestions of the tools
//! that find learning rates, for each cell of the grid over its seeds. Read from stored rows; nothing is trained.

mod constant;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clr_finder::smith::{self, End, Measure, NoPair, Pair};
use clr_finder::{NoSuggestion, Readings, Rule, Spacing, Sweep};
use clr_host::Split;
use clr_plan::{Axis, AxisValue, Names, Plan, TrialId, names};
use clr_schedule::{RangeTest, Schedule};
use clr_store::StoreError;
use clr_store::result::Status;
use clr_store::sweeps::{self, Sweeps, SweptTrial};
use clr_terminal::columns::Column;
use serde::{Serialize, Serializer};
use serde_json::json;
use thiserror::Error;

/// Points of a curve of losses, each the mean of many.
const LOSS_POINTS: u64 = 50;

/// The range tests of an output.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub folder: PathBuf,
    /// One for each cell of the grid, in its order.
    pub tests: Vec<Test>,
    /// The number of trials that are no range tests.
    pub others: usize,
    /// The files that could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
}

/// A range test over its seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Test {
    /// What tells it from other tests of the output, such as `sgd`; else the label of its trials.
    pub name: String,
    pub min_lr: f64,
    pub max_lr: f64,
    pub spacing: &'static str,
    /// Updates of each trial, as planned.
    pub iterations: u64,
    /// One for each seed.
    pub trials: Vec<TestTrial>,
    /// What bounds are read from: `accuracy` or `loss`.
    #[serde(serialize_with = "measure_name")]
    pub measure: Measure,
    /// Of what images the accuracy is; null for the loss of batches.
    pub split: Option<&'static str>,
    /// The number of test images that it is of, where that is not all.
    pub images: Option<u64>,
    /// The median over seeds that count at each learning rate.
    pub curve: Curve,
    /// What the pairs of the seeds that count say together.
    pub pair: Together,
    /// By rule, in the order of [`Rule::ALL`].
    pub rules: Vec<RuleFound>,
}

/// A trial of a range test.
#[derive(Clone, Debug, Serialize)]
pub struct TestTrial {
    /// One, or of constant rates all of a seed.
    #[serde(skip)]
    pub ids: Vec<TrialId>,
    pub trial: String,
    pub label: String,
    pub status: &'static str,
    /// Updates whose rows are stored.
    pub rows: u64,
    /// The learning rate of the update that broke the divergence rule, or of the first whose loss was not finite.
    pub diverged_at_lr: Option<f64>,
    /// False for one that is not over, while others are.
    pub counts: bool,
    /// The bounds of its own curve.
    pub pair: Found,
}

/// Measurements at rising learning rates.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curve {
    pub lr: Vec<f64>,
    /// What is not a number is null: the network had diverged.
    pub value: Vec<f64>,
}

/// A pair of bounds, or why there is none.
#[derive(Clone, Debug)]
pub struct Found(pub Result<Pair, NoPair>);

/// The bounds over seeds, or why there are none.
#[derive(Clone, Debug)]
pub struct Together(pub Result<Bounds, String>);

/// The bounds over seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    pub base: Readings,
    pub max: Readings,
    /// What ends the range of the seed whose upper bound is in the middle.
    pub end: End,
    /// As of [`Pair`], of most seeds.
    pub rises_at_once: bool,
}

/// The suggestions of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleFound {
    pub rule: &'static str,
    pub tool: &'static str,
    /// Over the seeds that count and have a suggestion.
    pub median: Option<f64>,
    /// One for each trial.
    pub suggestions: Vec<RuleSuggestion>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RuleSuggestion {
    pub trial: String,
    pub lr: Option<f64>,
    /// The learning rate at which the tool would have stopped the sweep.
    pub stops_at_lr: Option<f64>,
    /// Why there is no suggestion.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_words")]
    pub why_none: Option<NoSuggestion>,
}

/// Why there is nothing to read.
#[derive(Debug, Error)]
pub enum RangeTestError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{} has no range test among its trials; a policy such as this is one:\n\n\
         [policies.range_test]\nkind   = \"range_test\"\nmin_lr = 0.0\nmax_lr = 0.02       # where the network surely diverges, or no longer learns\n\n\
         with `eval_every` in `[train]` so that there are some 40 evaluations: they show where accuracy starts to rise, and where \
         it slows, becomes ragged or falls",
        folder.display()
    )]
    None { folder: PathBuf },
}

/// Reads the range tests of the output `folder`.
///
/// # Errors
///
/// Where the output cannot be read, or none of its trials is a range test.
pub fn read(folder: &Path) -> Result<Report, RangeTestError> {
    let sweeps = sweeps::read(folder)?;
    let tests = tests(&sweeps);
    if tests.is_empty() {
        return Err(RangeTestError::None { folder: folder.to_owned() });
    }
    let of_constant = tests.iter().filter(|test| test.spacing == constant::SPACING);
    let used: usize = of_constant.flat_map(|test| &test.trials).map(|trial| trial.ids.len()).sum();
    let others = sweeps.others + sweeps.constant.len() - used;
    Ok(Report { folder: folder.to_owned(), tests, others, unreadable: sweeps.unreadable })
}

/// What the range tests `planned` show, whose output is `folder`, by the ids of their trials. Nothing, unless all of them are over.
///
/// # Errors
///
/// Where there is an output that cannot be read.
pub fn bounds(
    folder: &Path,
    planned: &Plan,
) -> Result<BTreeMap<TrialId, Result<clr_plan::Bounds, String>>, StoreError> {
    let mut sweeps = match sweeps::read(folder) {
        Err(StoreError::NoOutput { .. }) => return Ok(BTreeMap::new()),
        sweeps => sweeps?,
    };
    let ids: BTreeSet<TrialId> = planned.trials.iter().map(|trial| trial.id).collect();
    sweeps.trials.retain(|trial| ids.contains(&trial.id));
    sweeps.constant.retain(|trial| ids.contains(&trial.id));
    let swept = sweeps.trials.iter().map(|trial| trial.status);
    let states: Vec<Status> = swept.chain(sweeps.constant.iter().map(|trial| trial.status)).collect();
    if states.len() < ids.len() || states.contains(&Status::Unfinished) {
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    for test in tests(&sweeps) {
        let bounds = match test.pair.0 {
            Ok(bounds) => Ok(clr_plan::Bounds { base: bounds.base.median, max: bounds.max.median }),
            Err(why) => Err(why),
        };
        let ids = test.trials.iter().flat_map(|trial| &trial.ids);
        found.extend(ids.map(|id| (*id, bounds.clone())));
    }
    Ok(found)
}

/// The tests of trials that differ in nothing but seeds, and of those that differ in a constant rate besides.
fn tests(sweeps: &Sweeps) -> Vec<Test> {
    let cells = cells(&sweeps.axes, sweeps.trials.iter().map(|trial| (trial, &trial.axes[..])), &names::SEEDS);
    let handles = Names::new(&sweeps.axes, sweeps.trials.iter().map(|trial| (trial.id, &trial.axes[..])));
    let names = names_of(&handles, cells.iter().map(|trials| &trials[0].axes[..]), &names::SEEDS);
    let swept = cells.iter().zip(names).map(|(trials, name)| test(&sweeps.axes, name, &handles, trials));
    swept.chain(constant::tests(sweeps)).collect()
}

/// The trials put together that differ in nothing but the axes `besides`.
fn cells<'t, T>(
    axes: &[Axis],
    trials: impl Iterator<Item = (&'t T, &'t [Option<AxisValue>])>,
    besides: &[&str],
) -> Vec<Vec<&'t T>> {
    let mut cells: Vec<(String, Vec<&T>)> = Vec::new();
    for (trial, values) in trials {
        let values = axes.iter().zip(values).filter(|(axis, _)| !besides.contains(&axis.name.as_str()));
        let key = format!("{:?}", values.map(|(_, value)| value).collect::<Vec<_>>());
        match cells.iter_mut().find(|(known, _)| *known == key) {
            Some((_, trials)) => trials.push(trial),
            None => cells.push((key, vec![trial])),
        }
    }
    cells.into_iter().map(|(_, trials)| trials).collect()
}

/// What tells cells from each other, given the values of each: nothing where there is one.
fn names_of<'t>(
    handles: &Names,
    cells: impl Iterator<Item = &'t [Option<AxisValue>]> + Clone,
    besides: &[&str],
) -> Vec<String> {
    let count = cells.clone().count();
    let telling = handles.columns(cells, besides);
    let name = |place: usize| -> String {
        let word = |column: &Column| match (column.header.as_str(), column.cells[place].as_str()) {
            (_, "") => None,
            ("policy" | "optimizer", cell) => Some(cell.to_owned()),
            (header, cell) => Some(format!("{header}={cell}")),
        };
        telling.iter().filter_map(word).collect::<Vec<_>>().join(" ")
    };
    (0..count).map(name).collect()
}

fn test(axes: &[Axis], name: String, handles: &Names, trials: &[&SweptTrial]) -> Test {
    let first = trials[0];
    let name = if name.is_empty() { common_label(axes, &first.label, &names::SEEDS) } else { name };

    // Accuracy where enough evaluations are due for a curve: of images held out, else of the test set.
    let has = |trial: &SweptTrial, split: Split| trial.evaluations.iter().any(|evaluation| evaluation.split == split);
    let is_measured = first.evaluations_due >= smith::FEWEST as u64;
    let split = [Split::Validation, Split::Test]
        .into_iter()
        .find(|split| is_measured && trials.iter().any(|trial| has(trial, *split)));
    let (measure, curves): (Measure, Vec<Curve>) = match split {
        Some(split) => (Measure::Accuracy, trials.iter().map(|trial| accuracies(trial, split)).collect()),
        None => (Measure::Loss, trials.iter().map(|trial| losses(trial)).collect()),
    };
    let any_is_done = trials.iter().any(|trial| trial.status.is_done());
    let counts: Vec<bool> = trials.iter().map(|trial| trial.status.is_done() || !any_is_done).collect();
    let counting = || {
        let counting = curves.iter().zip(&counts).filter(|(curve, counts)| **counts && curve.lr.len() > 1);
        counting.map(|(curve, _)| curve)
    };
    // Of trials that go on, the part that all have. One that diverged is short since there is no more.
    let shortest = match any_is_done {
        true => usize::MAX,
        false => counting().map(|curve| curve.lr.len()).min().unwrap_or(0),
    };
    let values: Vec<&[f64]> = counting().map(|curve| &curve.value[..curve.value.len().min(shortest)]).collect();
    let value = smith::median_curve(measure, &values);
    let longest = counting().map(|curve| &curve.lr).max_by_key(|lr| lr.len());
    let lr: Vec<f64> = longest.map_or(Vec::new(), |lr| lr[..value.len().min(lr.len())].to_vec());
    let median = Curve { lr, value };

    let of_trials = trials.iter().zip(&curves).zip(&counts).map(|((trial, curve), &counts)| TestTrial {
        ids: vec![trial.id],
        trial: handles.handle(trial.id),
        label: trial.label.clone(),
        status: trial.status.name(),
        rows: trial.losses.len() as u64,
        diverged_at_lr: diverged_at(trial).map(|iteration| lr_at(&trial.lr, iteration)),
        counts,
        pair: curve.pair(measure),
    });
    let of_trials: Vec<TestTrial> = of_trials.collect();
    let pair = Together::of(of_trials.iter().filter(|trial| trial.counts).map(|trial| trial.pair.0).collect());
    let RangeTest { min, max, geometric, .. } = first.lr;
    Test {
        name,
        min_lr: min,
        max_lr: max,
        spacing: if geometric { "geometric" } else { "linear" },
        iterations: first.iterations,
        trials: of_trials,
        measure,
        split: split.map(Split::name),
        images: first.test_count.filter(|_| split == Some(Split::Test)),
        pair,
        curve: median,
        rules: rules(handles, trials, &counts),
    }
}

/// The label without the words of the axes `besides`.
fn common_label(axes: &[Axis], label: &str, besides: &[&str]) -> String {
    let is_left_out = |word: &&str| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| besides.contains(&name) && axes.iter().any(|axis| axis.name == name))
    };
    label.split(' ').filter(|word| !is_left_out(word)).collect::<Vec<_>>().join(" ")
}

fn rules(handles: &Names, trials: &[&SweptTrial], counts: &[bool]) -> Vec<RuleFound> {
    let curves: Vec<Curve> = trials.iter().map(|trial| raw_losses(trial)).collect();
    let found = |rule: Rule| {
        let suggestion = |(trial, curve): (&&SweptTrial, &Curve)| {
            let spacing = if trial.lr.geometric { Spacing::Geometric } else { Spacing::Linear };
            let planned = usize::try_from(updates(trial)).unwrap_or(usize::MAX);
            let suggested = rule.suggest(&Sweep { lrs: &curve.lr, losses: &curve.value, planned, spacing });
            RuleSuggestion {
                trial: handles.handle(trial.id),
                lr: suggested.ok().map(|suggestion| suggestion.lr),
                stops_at_lr: suggested.ok().and_then(|suggestion| suggestion.stops_at),
                why_none: suggested.err(),
            }
        };
        let suggestions: Vec<RuleSuggestion> = trials.iter().zip(&curves).map(suggestion).collect();
        let counting = suggestions.iter().zip(counts).filter(|(_, counts)| **counts);
        let mut lrs: Vec<f64> = counting.filter_map(|(suggestion, _)| suggestion.lr).collect();
        let median = (!lrs.is_empty()).then(|| smith::median(&mut lrs));
        RuleFound { rule: rule.name(), tool: rule.tool(), median, suggestions }
    };
    Rule::ALL.into_iter().map(found).collect()
}

fn lr_at(range_test: &RangeTest, iteration: u64) -> f64 {
    Schedule::RangeTest(*range_test).at(iteration)
}

/// Updates of the sweep: at the end of a schedule of fewer steps the rate stays.
fn updates(trial: &SweptTrial) -> u64 {
    trial.iterations.min(trial.lr.steps.saturating_add(1))
}

fn diverged_at(trial: &SweptTrial) -> Option<u64> {
    let first = || trial.losses.iter().position(|loss| !loss.is_finite()).map(|place| place as u64);
    trial.diverged_at.or_else(first)
}

/// The loss of every update.
fn raw_losses(trial: &SweptTrial) -> Curve {
    let value = trial.losses.iter().zip(0..updates(trial)).map(|(loss, _)| f64::from(*loss));
    let value: Vec<f64> = value.collect();
    Curve { lr: (0..value.len() as u64).map(|iteration| lr_at(&trial.lr, iteration)).collect(), value }
}

/// The accuracy on a split, each at the learning rate that the sweep has reached, which is that of the next update; the first is of
/// the untrained network.
fn accuracies(trial: &SweptTrial, split: Split) -> Curve {
    let mut of_split: Vec<_> =
        trial.evaluations.iter().filter(|it| it.split == split && it.iteration <= updates(trial)).collect();
    of_split.sort_by_key(|evaluation| evaluation.iteration);
    let point = |evaluation: &&clr_event::Evaluation| {
        let lr = lr_at(&trial.lr, evaluation.iteration);
        let is_sound = evaluation.loss.is_finite() && evaluation.accuracy.is_finite();
        (lr, if is_sound { f64::from(evaluation.accuracy) } else { f64::NAN })
    };
    let (mut lr, mut value): (Vec<f64>, Vec<f64>) = of_split.iter().map(point).unzip();
    // One that diverged was not evaluated at its end.
    if trial.status == Status::Diverged && !lr.is_empty() {
        lr.push(trial.diverged_at.map_or(f64::NAN, |iteration| lr_at(&trial.lr, iteration)));
        value.push(f64::NAN);
    }
    Curve { lr, value }
}

/// The losses of batches, averaged in some fifty pieces.
fn losses(trial: &SweptTrial) -> Curve {
    let mut raw = raw_losses(trial);
    if let (Status::Diverged, Some(last)) = (trial.status, raw.value.last_mut()) {
        *last = f64::NAN;
    }
    let size = usize::try_from(updates(trial).div_ceil(LOSS_POINTS)).unwrap_or(usize::MAX);
    let (lr, value) = smith::in_pieces(&raw.lr, &raw.value, size);
    Curve { lr, value }
}

impl Test {
    /// True if each rate has trials of its own.
    pub fn is_constant(&self) -> bool {
        self.spacing == constant::SPACING
    }
}

impl Curve {
    fn pair(&self, measure: Measure) -> Found {
        Found(smith::pair(measure, &self.lr, &self.value))
    }
}

impl Together {
    /// Of the seeds that count: most of them have bounds, or there are none.
    fn of(found: Vec<Result<Pair, NoPair>>) -> Together {
        let mut pairs: Vec<Pair> = found.iter().filter_map(|found| found.ok()).collect();
        let why = found.iter().find_map(|found| found.err());
        let (has, count) = (pairs.len(), found.len());
        if let Some(why) = why.filter(|_| 2 * has <= count) {
            let many = match has {
                _ if count == 1 => String::new(),
                0 => format!("none of {count} trials has any: "),
                _ => format!("only {has} of {count} trials have any: "),
            };
            return Together(Err(format!("{many}{why}")));
        }
        pairs.sort_by(|a, b| a.max.total_cmp(&b.max));
        let at_once = pairs.iter().filter(|pair| pair.rises_at_once).count();
        let readings = |rate: fn(&Pair) -> f64| Readings::of(pairs.iter().map(rate).collect());
        let bounds = readings(|pair| pair.base).zip(readings(|pair| pair.max)).map(|(base, max)| Bounds {
            base,
            max,
            end: pairs[(has - 1) / 2].end,
            rises_at_once: 2 * at_once > has,
        });
        Together(bounds.ok_or_else(|| "no trial has rows yet".to_owned()))
    }
}

impl Serialize for Together {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = match &self.0 {
            Ok(Bounds { base, max, end, rises_at_once }) => json!({
                "base_lr": base.median, "max_lr": max.median,
                "max_lr_third": max.median / 3.0, "max_lr_quarter": max.median / 4.0,
                "base_lr_interval": base.interval, "max_lr_interval": max.interval, "certainty": base.certainty,
                "base_lr_range": [base.lowest, base.highest], "max_lr_range": [max.lowest, max.highest],
                "trials": base.count, "end": end.name(), "rises_at_once": rises_at_once,
            }),
            Err(why) => json!({ "why_none": why }),
        };
        json.serialize(serializer)
    }
}

impl Found {
    pub fn pair(&self) -> Option<Pair> {
        self.0.ok()
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bounds {
            base_lr: f64,
            max_lr: f64,
            max_lr_third: f64,
            max_lr_quarter: f64,
            /// What ends the range: `slows`, `becomes ragged`, `falls`, `diverges`, `rises to the end`.
            end: &'static str,
            rises_at_once: bool,
        }
        #[derive(Serialize)]
        struct None {
            why_none: String,
        }
        match self.0 {
            Ok(pair) => {
                let Pair { base, max, end, rises_at_once } = pair;
                let [max_lr_third, max_lr_quarter] = pair.rule_of_thumb();
                let bounds =
                    Bounds { base_lr: base, max_lr: max, max_lr_third, max_lr_quarter, end: end.name(), rises_at_once };
                bounds.serialize(serializer)
            }
            Err(why) => None { why_none: why.to_string() }.serialize(serializer),
        }
    }
}

fn measure_name<S: Serializer>(measure: &Measure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(measure.name())
}

fn in_words<S: Serializer>(why: &Option<NoSuggestion>, serializer: S) -> Result<S::Ok, S::Error> {
    why.map(|why| why.to_string()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use clr_finder::smith::End;
    use clr_plan::AxisKind;

    use super::*;

    /// A linear test of 400 updates from 0 to 0.02, evaluated every 10.
    fn swept(seed: i64, status: Status, accuracy: impl Fn(f64) -> f64) -> SweptTrial {
        let lr = RangeTest { min: 0.0, max: 0.02, steps: 400, geometric: false };
        let evaluation = |split: Split, iteration: u64| {
            let accuracy = accuracy(lr_at(&lr, iteration)) as f32;
            clr_event::Evaluation { trial: 0, iteration, split, loss: 1.0 - accuracy, accuracy }
        };
        SweptTrial {
            id: format!("{seed:032x}").parse().unwrap(),
            label: format!("range sgd seed={seed}"),
            axes: vec![
                Some(AxisValue::Text("range".into())),
                Some(AxisValue::Text("sgd".into())),
                Some(AxisValue::Integer(seed)),
            ],
            status,
            diverged_at: None,
            iterations: 400,
            evaluations_due: 41,
            lr,
            test_count: None,
            losses: (0..400).map(|iteration| 2.0 - accuracy(lr_at(&lr, iteration)) as f32).collect(),
            evaluations: (0..=40).map(|place| evaluation(Split::Test, 10 * place)).collect(),
        }
    }

    fn sweeps(trials: Vec<SweptTrial>) -> Sweeps {
        let axis = |name: &str, kind: AxisKind| Axis { name: name.into(), kind };
        let axes =
            vec![axis("policy", AxisKind::Text), axis("optimizer", AxisKind::Text), axis("seed", AxisKind::Integer)];
        Sweeps { axes, trials, constant: Vec::new(), others: 0, unreadable: BTreeMap::new() }
    }

    /// From 0.1, up to 0.6 between `start` and 0.006.
    fn climbing(start: f64) -> impl Fn(f64) -> f64 {
        move |lr| 0.1 + 0.5 * ((lr - start) / (0.006 - start)).clamp(0.0, 1.0)
    }

    #[track_caller]
    fn check(found: &Found, base: f64, max: f64, end: End) {
        let pair = found.pair().unwrap();
        assert!((pair.base - base).abs() < 1e-9 && (pair.max - max).abs() < 1e-9, "{pair:?}");
        assert_eq!(pair.end, end);
    }

    #[track_caller]
    fn check_together(found: &Together, base: f64, max: f64, end: End) {
        let bounds = found.0.as_ref().unwrap();
        assert!((bounds.base.median - base).abs() < 1e-9 && (bounds.max.median - max).abs() < 1e-9, "{bounds:?}");
        assert_eq!(bounds.end, end);
    }

    #[test]
    fn seeds_are_one_test_with_bounds_of_each_and_their_median() {
        let starts = [0.0005, 0.001, 0.002];
        let trials = starts.iter().zip(1..).map(|(start, seed)| swept(seed, Status::Finished, climbing(*start)));
        let tests = tests(&sweeps(trials.collect()));
        assert_eq!(tests.len(), 1);
        let test = &tests[0];
        assert_eq!((test.name.as_str(), test.split, test.measure), ("range sgd", Some("test"), Measure::Accuracy));
        // A tenth of each climb is done at 0.00105, 0.0015 and 0.0024; measured are multiples of 0.0005.
        check(&test.trials[0].pair, 0.0015, 0.006, End::Slows);
        check(&test.trials[1].pair, 0.0015, 0.006, End::Slows);
        check(&test.trials[2].pair, 0.0025, 0.006, End::Slows);
        let bounds = test.pair.0.as_ref().unwrap();
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert!(near(bounds.base.median, 0.0015) && near(bounds.base.lowest, 0.0015), "{bounds:?}");
        assert!(near(bounds.base.highest, 0.0025) && near(bounds.max.median, 0.006), "{bounds:?}");
        assert_eq!((bounds.base.count, bounds.base.certainty, bounds.end), (3, 0.75, End::Slows));
        assert_eq!(test.curve.value.len(), 41);
    }

    #[test]
    fn the_split_held_out_comes_before_the_test_split() {
        let mut trial = swept(1, Status::Finished, climbing(0.001));
        let held_out = trial.evaluations.iter().map(|it| clr_event::Evaluation { split: Split::Validation, ..*it });
        trial.evaluations.extend(held_out.collect::<Vec<_>>());
        assert_eq!(tests(&sweeps(vec![trial]))[0].split, Some("validation"));
    }

    #[test]
    fn without_enough_evaluations_bounds_come_from_losses() {
        let mut trial = swept(1, Status::Finished, climbing(0.0005));
        trial.evaluations.drain(1..40);
        trial.evaluations_due = 2;
        let test = &tests(&sweeps(vec![trial]))[0];
        assert_eq!((test.measure, test.split, test.curve.lr.len()), (Measure::Loss, None, 50));
        let bounds = test.pair.0.as_ref().unwrap();
        let (base, max) = (bounds.base.median, bounds.max.median);
        assert!((0.001..0.0015).contains(&base) && (0.0055..0.0062).contains(&max), "{bounds:?}");
    }

    #[test]
    fn divergence_is_part_of_the_answer() {
        let diverging = |seed: i64| {
            let mut trial = swept(seed, Status::Diverged, climbing(0.0005));
            trial.diverged_at = Some(95);
            trial.losses.truncate(96);
            trial.evaluations.truncate(10);
            trial
        };
        let test = &tests(&sweeps(vec![diverging(1), diverging(2), swept(3, Status::Finished, climbing(0.0005))]))[0];
        check_together(&test.pair, 0.001, 0.0045, End::Diverges);
        check(&test.trials[2].pair, 0.0015, 0.006, End::Slows);
        assert_eq!(test.trials[0].diverged_at_lr, Some(0.00475));
    }

    #[test]
    fn seeds_that_go_on_count_only_while_none_is_done() {
        let part = |seed: i64, rows: usize| {
            let mut trial = swept(seed, Status::Unfinished, climbing(0.0005));
            trial.losses.truncate(rows);
            trial.evaluations.truncate(rows / 10 + 1);
            trial
        };
        let going_on = &tests(&sweeps(vec![part(1, 200), part(2, 300), part(3, 0)]))[0];
        // The third has but its evaluation before the first update.
        assert_eq!(going_on.curve.value.len(), 21);
        check_together(&going_on.pair, 0.0015, 0.006, End::Slows);
        let one_done = &tests(&sweeps(vec![part(1, 200), swept(2, Status::Finished, climbing(0.002))]))[0];
        check_together(&one_done.pair, 0.0025, 0.006, End::Slows);
        assert_eq!(one_done.trials.iter().map(|trial| trial.counts).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn cells_of_a_grid_are_tests_named_by_what_differs() {
        let mut other = swept(2, Status::Finished, climbing(0.001));
        other.axes[1] = Some(AxisValue::Text("adam".into()));
        let sweeps = sweeps(vec![swept(1, Status::Finished, |_| 0.1), other]);
        let tests = tests(&sweeps);
        assert_eq!(tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>(), ["sgd", "adam"]);
        assert!(matches!(tests[0].trials[0].pair.0, Err(NoPair::NeverRises { .. })));
        let json = serde_json::to_value(&tests[0]).unwrap();
        assert!(json["pair"]["why_none"].as_str().unwrap().starts_with("it never improves"), "{json}");
    }
}
