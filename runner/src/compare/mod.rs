//! Which of an output's policies is better, and is that beyond noise? Pure: the same trials give the same answer.
//!
//! Trials of one seed start from the same weights and see the same batches, so what a seed does to all of them alike cancels in
//! their difference. A *cell* is the trials that differ in their seeds alone. Cells are compared `by` one axis, such as
//! `policy`: each with a reference, within a *block* of cells that are equal in all other axes, but for those that belong to
//! the axis itself, such as `max_lr` to the policies that have one. Of several cells that may be the reference, it is the
//! best: so nobody wins against a badly tuned one.

mod cell;
mod notes;
pub mod statistics;
pub mod trials;

use std::collections::{BTreeMap, BTreeSet};

use clr_host::Split;
use clr_plan::Names;
use clr_store::origins::origin;
use clr_store::result::choosing_split;
use clr_terminal::suggest;
use serde::Serialize;

pub use self::cell::{Cell, Iterations, RESOLUTION};
use self::notes::{Notes, answer};
use self::statistics::{CONFIDENCE, Mean, holm};
use self::trials::{OUTPUT, Trials};

/// A difference is taken for one where chance alone gives one so large in fewer than 5 of 100 comparisons.
const SIGNIFICANT: f64 = 1.0 - CONFIDENCE;

/// What is asked for. What is not, is chosen.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The axis whose values are compared.
    pub by: Option<String>,
    /// Its value that others are compared with.
    pub reference: Option<String>,
    /// True for comparing with the best of each block where no reference is asked for, even where there is a policy `fixed`.
    pub beside_best: bool,
    pub split: Option<Split>,
    /// An accuracy, as a fraction.
    pub target: Option<f64>,
}

/// Why there is no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    #[error("there are no trials to compare")]
    NoTrials,
    #[error("the trials differ in their seeds alone: there is nothing to compare")]
    NoAxis,
    #[error("there is no axis `{asked}` to compare by; {help}")]
    UnknownAxis { asked: String, help: String },
    #[error("all trials have the same {by}; {help}")]
    OneLevel { by: String, help: String },
    #[error("no trial has {by} `{asked}`; {help}")]
    UnknownReference { by: String, asked: String, help: String },
    #[error("no trial has a validation split; `--split test` compares on the test split")]
    NoValidation,
    #[error("no cell has {by}={reference} beside another that is else set alike; --by and --reference choose others")]
    NoPartner { by: String, reference: String },
    #[error("no two cells differ in {by} alone; --by chooses another axis")]
    NoPair { by: String },
}

/// All comparisons, for people and as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The axis whose values are compared.
    pub by: String,
    /// Its value that others are compared with; null where that is the best cell of each block.
    pub reference: Option<String>,
    /// On which all numbers are measured and the best is chosen.
    #[serde(serialize_with = "split_name")]
    pub split: Split,
    pub confidence: f64,
    /// Of the probabilities `p_corrected`.
    pub correction: &'static str,
    /// The number of tests that it is for.
    pub tests: usize,
    pub counts: Counts,
    pub blocks: Vec<Block>,
    /// What is to be known besides the numbers, in sentences.
    pub notes: Vec<String>,
    /// What people call the cells.
    #[serde(skip)]
    pub names: Names,
}

/// Trials by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub trials: usize,
    pub finished: usize,
    pub diverged: usize,
    pub failed: usize,
    pub crashed: usize,
    pub unfinished: usize,
}

/// Cells that are equal in all axes but the compared one and its own.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// In a sentence.
    pub answer: String,
    /// The accuracy to reach: what was asked for, or the reference's mean; null where it has none.
    pub target: Option<f64>,
    pub reference: Cell,
    /// The best first.
    pub candidates: Vec<Candidate>,
}

/// A cell beside its reference.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    #[serde(flatten)]
    pub cell: Cell,
    /// Of accuracies, over the seeds of which both cells have one: this one's minus the reference's.
    pub difference: Mean,
    pub t: Option<f64>,
    /// Two-sided.
    pub p: Option<f64>,
    /// Corrected for all tests.
    pub p_corrected: Option<f64>,
    pub verdict: Verdict,
    /// Seeds in which this one's accuracy is higher, lower, and equal.
    pub wins: usize,
    pub losses: usize,
    pub ties: usize,
    /// Pairs of trials that were not computed alike: by other builds of a plugin, or other instruction sets.
    pub pairs_of_different_origins: usize,
    /// Settings other than the compared ones that differ from the reference's: key, and the value here and there.
    pub also_differs_in: BTreeMap<String, [Option<String>; 2]>,
    /// Of iterations to the target, over the seeds in which both reach it: this one's minus the reference's.
    pub iterations_difference: Mean,
    /// The sum of this one's over that of the reference's, over the same seeds.
    pub iterations_ratio: Option<f64>,
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No seed has an accuracy in both cells.
    NoPair,
    /// One seed tells nothing of noise.
    OneSeed,
    Better,
    Worse,
    /// Noise may be all that there is.
    Undecided,
    /// Equal in every seed.
    Equal,
    /// The same difference in every seed, so that there is no noise to measure it by.
    NoSpread,
}

impl Verdict {
    fn of(difference: &Mean, p_corrected: Option<f64>) -> Verdict {
        let Some(mean) = difference.mean else { return Verdict::NoPair };
        match p_corrected {
            Some(p) if p < SIGNIFICANT && mean > 0.0 => Verdict::Better,
            Some(p) if p < SIGNIFICANT => Verdict::Worse,
            Some(_) => Verdict::Undecided,
            None if difference.n == 1 => Verdict::OneSeed,
            None if mean.abs() <= RESOLUTION => Verdict::Equal,
            None => Verdict::NoSpread,
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::NoPair => "no pair",
            Verdict::OneSeed => "one seed",
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Undecided => "undecided",
            Verdict::Equal => "equal",
            Verdict::NoSpread => "no spread",
        }
    }
}

fn split_name<S: serde::Serializer>(split: &Split, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(split.name())
}

/// Compares trials.
///
/// # Errors
///
/// Where there is nothing to compare, or not as it was asked for.
pub fn compare(trials: &Trials, asked: &Asked) -> Result<Comparison, Nothing> {
    if trials.trials.is_empty() {
        return Err(Nothing::NoTrials);
    }
    let by = axis(trials, asked.by.as_deref())?;
    let by_name = trials.axes[by].name.clone();
    let reference = match asked {
        Asked { reference: None, beside_best: true, .. } => None,
        asked => reference(trials, by, asked.reference.as_deref())?,
    };
    let split = split(trials, asked.split)?;
    let cells: Vec<Cell> = trials.cells().iter().map(|members| Cell::of(trials, members, by, split)).collect();
    let values = cells.iter().map(|cell| &cell.values[..]);
    let names = Names::new(&trials.axes, (0..).zip(values));

    let own: Vec<bool> = (0..trials.axes.len()).map(|axis| axis == by || belongs(trials, axis, by)).collect();
    let mut keys: Vec<String> = Vec::new();
    let mut groups: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for cell in cells {
        let key = trials.key(&cell.values, |axis| !own[axis]);
        let group = groups.entry(key.clone()).or_default();
        if group.is_empty() {
            keys.push(key);
        }
        group.push(cell);
    }
    let mut notes = Notes::default();
    let mut blocks = Vec::new();
    for key in keys {
        let cells = groups.remove(&key).unwrap_or_default();
        if let Some(block) = block(trials, cells, by, reference.as_deref(), asked.target, &names, &mut notes) {
            blocks.push(block);
        }
    }
    if blocks.is_empty() {
        return Err(match reference {
            Some(reference) => Nothing::NoPartner { by: by_name, reference },
            None => Nothing::NoPair { by: by_name },
        });
    }
    let tests = correct(&mut blocks);
    for block in &mut blocks {
        block.answer = answer(block, &own, reference.is_some(), &names);
    }
    notes.add_results(trials, &blocks, &by_name, reference.as_deref(), tests, &names);
    Ok(Comparison {
        by: by_name,
        reference,
        split,
        confidence: CONFIDENCE,
        correction: "holm",
        tests,
        counts: counts(trials),
        blocks,
        notes: notes.said(),
        names,
    })
}

/// The axis to compare by: the one that is asked for, by its name or without its section, or the first that differs.
fn axis(trials: &Trials, asked: Option<&str>) -> Result<usize, Nothing> {
    let differs = |&axis: &usize| !trials.is_seed(axis) && levels(trials, axis).len() > 1;
    let name = |axis: usize| trials.axes[axis].name.as_str();
    let mut differing: Vec<usize> = (0..trials.axes.len()).filter(differs).collect();
    differing.sort_by_key(|&axis| {
        ["policy", "optimizer", OUTPUT].iter().position(|first| *first == name(axis)).unwrap_or(3)
    });
    let Some(asked) = asked else { return differing.first().copied().ok_or(Nothing::NoAxis) };
    let others: Vec<&str> = differing.iter().map(|&axis| name(axis)).collect();
    let short = |axis: usize| name(axis).rsplit('.').next() == Some(asked);
    let axes = || 0..trials.axes.len();
    let found = axes().find(|&axis| name(axis) == asked).or_else(|| axes().find(|&axis| short(axis)));
    match found.filter(|&axis| !trials.is_seed(axis)) {
        Some(axis) if differs(&axis) => Ok(axis),
        Some(axis) => Err(Nothing::OneLevel { by: name(axis).to_owned(), help: choose(&others) }),
        None => Err(Nothing::UnknownAxis { asked: asked.to_owned(), help: suggest::help(asked, others) }),
    }
}

fn choose(axes: &[&str]) -> String {
    match axes {
        [] => "they differ in their seeds alone".to_owned(),
        axes => format!("they differ in {}", suggest::all_of(axes)),
    }
}

/// The values of an axis, in the order of the trials.
fn levels(trials: &Trials, axis: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let level = |index: usize| level(trials, index, axis);
    (0..trials.trials.len()).map(level).filter(|level| seen.insert(level.clone())).collect()
}

fn level(trials: &Trials, trial: usize, axis: usize) -> String {
    trials.trials[trial].values[axis].as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// The value that others are compared with; none for the best.
fn reference(trials: &Trials, by: usize, asked: Option<&str>) -> Result<Option<String>, Nothing> {
    let levels = levels(trials, by);
    let by = &trials.axes[by].name;
    match asked {
        Some(asked) if levels.iter().any(|level| level == asked) => Ok(Some(asked.to_owned())),
        Some(asked) => {
            let help = suggest::help(asked, levels.iter().map(String::as_str));
            Err(Nothing::UnknownReference { by: by.clone(), asked: asked.to_owned(), help })
        }
        None => Ok(levels.into_iter().find(|level| by == "policy" && level == "fixed")),
    }
}

/// Validation, where all trials have it: what is chosen on test flatters there.
fn split(trials: &Trials, asked: Option<Split>) -> Result<Split, Nothing> {
    let is_validated = |trial: &trials::Trial| trial.trial.is_validated;
    if asked == Some(Split::Validation) && !trials.trials.iter().any(is_validated) {
        return Err(Nothing::NoValidation);
    }
    Ok(asked.unwrap_or_else(|| choosing_split(trials.trials.iter().all(is_validated))))
}

/// True if an axis belongs to the compared one, as `max_lr` does to policies: its values are others for other values of that
/// one. `policy` and `optimizer` belong to none, and an axis is looked at for each policy, or each optimizer, by itself.
fn belongs(trials: &Trials, axis: usize, by: usize) -> bool {
    let is_named = |axis: usize| ["policy", "optimizer"].contains(&trials.axes[axis].name.as_str());
    if is_named(axis) || trials.is_seed(axis) {
        return false;
    }
    let mut values: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (index, trial) in trials.trials.iter().enumerate() {
        let others = trials.key(&trial.values, |other| is_named(other) && other != by);
        let levels = values.entry(others).or_default();
        levels.entry(level(trials, index, by)).or_default().insert(level(trials, index, axis));
    }
    values.into_values().any(|levels| {
        let mut sets = levels.into_values();
        let first = sets.next();
        sets.any(|set| Some(&set) != first.as_ref())
    })
}

/// The cells of one block, each beside the reference. None where there is none, or nothing beside it.
fn block(
    trials: &Trials,
    mut cells: Vec<Cell>,
    by: usize,
    reference: Option<&str>,
    target: Option<f64>,
    names: &Names,
    notes: &mut Notes,
) -> Option<Block> {
    let is_reference = |cell: &Cell| reference.is_none_or(|reference| cell.level == reference);
    let possible: Vec<usize> = (0..cells.len()).filter(|&place| is_reference(&cells[place])).collect();
    // A cell of which little is finished yet is not the best by one lucky seed.
    let most = possible.iter().map(|&place| cells[place].accuracy.n).max().unwrap_or(0);
    let rank = |&place: &usize| {
        let accuracy = &cells[place].accuracy;
        (2 * accuracy.n >= most && most > 0).then_some(accuracy.mean).flatten().unwrap_or(f64::NEG_INFINITY)
    };
    // The first of equals.
    let best = possible.iter().copied().rev().max_by(|a, b| rank(a).total_cmp(&rank(b)));
    let Some(best) = best else {
        cells.iter().for_each(|cell| notes.add_alone(cell, names));
        return None;
    };
    let mut reference_cell = cells.remove(best);
    if reference.is_some() {
        if possible.len() > 1 {
            notes.add_best_of(possible.len(), &reference_cell, &trials.axes[by].name, names);
        }
        cells.retain(|cell| !is_reference(cell));
    }
    if cells.is_empty() {
        notes.add_alone(&reference_cell, names);
        return None;
    }
    let target = target.or(reference_cell.accuracy.mean);
    reference_cell.reach(target);
    let mut candidates: Vec<Candidate> = cells
        .into_iter()
        .map(|mut cell| {
            cell.reach(target);
            candidate(trials, cell, &reference_cell, by)
        })
        .collect();
    let mean = |candidate: &Candidate| candidate.difference.mean.unwrap_or(f64::NEG_INFINITY);
    candidates.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    Some(Block { answer: String::new(), target, reference: reference_cell, candidates })
}

/// One cell beside its reference; its verdict comes with the correction.
fn candidate(trials: &Trials, cell: Cell, reference: &Cell, by: usize) -> Candidate {
    let pairs: Vec<(&cell::Member, &cell::Member)> = cell.pairs(reference).collect();
    let differences: Vec<f64> = pairs.iter().filter_map(|(a, b)| Some(a.accuracy? - b.accuracy?)).collect();
    let count = |is_counted: &dyn Fn(f64) -> bool| differences.iter().filter(|&&it| is_counted(it)).count();
    let (wins, losses) = (count(&|it| it > RESOLUTION), count(&|it| it < -RESOLUTION));
    let difference = Mean::of(differences.iter().copied(), RESOLUTION);
    let origin = |member: &cell::Member| trial_origin(trials, member.index);
    let different =
        pairs.iter().filter(|(a, b)| a.accuracy.and(b.accuracy).is_some() && origin(a) != origin(b)).count();
    let both: Vec<[f64; 2]> = pairs.iter().filter_map(|(a, b)| Some([a.reached? as f64, b.reached? as f64])).collect();
    let [here, there] = [0, 1].map(|side| both.iter().map(|pair| pair[side]).sum::<f64>());
    Candidate {
        t: difference.t(),
        p: difference.p(),
        p_corrected: None,
        verdict: Verdict::NoPair,
        wins,
        losses,
        ties: difference.n - wins - losses,
        pairs_of_different_origins: different,
        also_differs_in: others(trials, &cell, reference, by),
        iterations_difference: Mean::of(both.iter().map(|[here, there]| here - there), 0.0),
        iterations_ratio: (there > 0.0).then_some(here / there),
        difference,
        cell,
    }
}

/// Settings that are not those that are compared, and differ all the same.
fn others(trials: &Trials, cell: &Cell, reference: &Cell, by: usize) -> BTreeMap<String, [Option<String>; 2]> {
    let by = trials.axes[by].name.as_str();
    // A policy is its schedules, an optimizer its options and the schedules of its hyper-parameters.
    let is_compared = |key: &str| {
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        match by {
            OUTPUT => true,
            "policy" => key.starts_with("schedule."),
            "optimizer" => {
                ["schedule.", "optimizer."].iter().any(|section| key.starts_with(section)) || key == "parameter_groups"
            }
            _ => key.starts_with("schedule.") || last(key) == last(by),
        }
    };
    let of = |cell: &Cell| cell.members.first().map(|member| &trials.trials[member.index].settings);
    let (Some(here), Some(there)) = (of(cell), of(reference)) else { return BTreeMap::new() };
    let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let differs = |key: &&String| here.get(*key) != there.get(*key) && !is_compared(key);
    keys.into_iter()
        .filter(differs)
        .map(|key| (key.clone(), [here.get(key).cloned(), there.get(key).cloned()]))
        .collect()
}

/// Gives every candidate its verdict. Returns the number of tests.
fn correct(blocks: &mut [Block]) -> usize {
    let candidates = || blocks.iter().flat_map(|block| &block.candidates);
    let tests: Vec<f64> = candidates().filter_map(|candidate| candidate.p).collect();
    let mut corrected = holm(&tests).into_iter();
    for candidate in blocks.iter_mut().flat_map(|block| &mut block.candidates) {
        candidate.p_corrected = candidate.p.and_then(|_| corrected.next());
        candidate.verdict = Verdict::of(&candidate.difference, candidate.p_corrected);
    }
    tests.len()
}

fn counts(trials: &Trials) -> Counts {
    use clr_store::Status;
    let mut counts = Counts { trials: trials.trials.len(), ..Counts::default() };
    for trial in &trials.trials {
        *match trial.trial.status {
            Status::Finished => &mut counts.finished,
            Status::Diverged => &mut counts.diverged,
            Status::Failed => &mut counts.failed,
            Status::Crashed => &mut counts.crashed,
            Status::Unfinished => &mut counts.unfinished,
        } += 1;
    }
    counts
}

fn trial_origin(trials: &Trials, index: usize) -> String {
    let trial = &trials.trials[index].trial;
    origin(&trial.plugin, trial.numerics.as_deref(), trial.build.as_deref())
}

#[cfg(test)]
mod tests;
