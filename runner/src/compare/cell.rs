//! Trials that differ in their seeds alone: their final accuracies, and when they reached a target.

use std::collections::BTreeMap;

use clr_host::Split;
use clr_plan::AxisValue;
use clr_store::Status;
use serde::Serialize;
use serde_json::Value as Json;

use super::statistics::Mean;
use super::trials::Trials;

/// Accuracies are f32: what is between two that are nearer than this is rounding.
pub const RESOLUTION: f64 = 1.0 / (1 << 22) as f64;

/// Trials that differ in their seeds alone.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Its value of the axis that is compared.
    #[serde(skip)]
    pub level: String,
    /// Its value of every axis that it has, but the seeds.
    pub axes: BTreeMap<String, Json>,
    /// One for each axis, none for the seeds.
    #[serde(skip)]
    pub values: Vec<Option<AxisValue>>,
    pub trials: usize,
    pub finished: usize,
    pub diverged: usize,
    pub failed: usize,
    pub crashed: usize,
    pub unfinished: usize,
    /// Final accuracies, of trials that finished with one.
    pub accuracy: Mean,
    pub iterations: Iterations,
    /// The trials, by seed.
    #[serde(rename = "seeds")]
    pub members: Vec<Member>,
}

/// How soon trials reached the target: at the first evaluation that has at least that accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Iterations {
    /// Trials that reached it.
    pub reached: usize,
    /// Trials that are over and did not.
    pub not_reached: usize,
    /// Trials of which that is not known yet, or not any more.
    pub unknown: usize,
    /// Of those that reached it.
    #[serde(flatten)]
    pub mean: Mean,
    pub least: Option<u64>,
    pub most: Option<u64>,
}

/// A trial of a cell.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub trial: String,
    pub init_seed: u64,
    pub data_seed: u64,
    pub status: Status,
    /// At its end; null where it did not finish, or with none that is finite.
    pub accuracy: Option<f64>,
    /// The iteration at which it reached the target.
    pub reached: Option<u64>,
    /// Its place among all trials.
    #[serde(skip)]
    pub index: usize,
    /// Evaluations in the order of training: iteration and accuracy.
    #[serde(skip)]
    evaluations: Option<Vec<(u64, f64)>>,
}

impl Cell {
    /// The cell of these trials, measured on `split`.
    pub fn of(trials: &Trials, members: &[usize], by: usize, split: Split) -> Cell {
        let mut of_seeds: BTreeMap<(u64, u64), Member> = BTreeMap::new();
        for &index in members {
            let member = member(trials, index, split);
            // Of two trials of one seed, of which one output cannot have, the first counts.
            of_seeds.entry(trials.trials[index].seeds()).or_insert(member);
        }
        let members: Vec<Member> = of_seeds.into_values().collect();
        let mut values = members.first().map(|member| trials.trials[member.index].values.clone()).unwrap_or_default();
        (0..values.len()).filter(|&axis| trials.is_seed(axis)).for_each(|axis| values[axis] = None);
        let json = |value: &AxisValue| match value {
            AxisValue::Text(text) => Json::from(&**text),
            AxisValue::Integer(integer) => Json::from(*integer),
            AxisValue::Float(float) => Json::from(*float),
            AxisValue::Boolean(boolean) => Json::from(*boolean),
        };
        let named = trials.axes.iter().zip(&values);
        let axes = named.filter_map(|(axis, value)| Some((axis.name.clone(), json(value.as_ref()?)))).collect();
        let count = |status: Status| members.iter().filter(|member| member.status == status).count();
        Cell {
            level: values.get(by).and_then(Option::as_ref).map_or_else(|| "none".to_owned(), ToString::to_string),
            axes,
            trials: members.len(),
            finished: count(Status::Finished),
            diverged: count(Status::Diverged),
            failed: count(Status::Failed),
            crashed: count(Status::Crashed),
            unfinished: count(Status::Unfinished),
            accuracy: Mean::of(members.iter().filter_map(|member| member.accuracy), RESOLUTION),
            iterations: Iterations::default(),
            values,
            members,
        }
    }

    /// Looks for the first evaluations that have the target; without one, for none.
    pub fn reach(&mut self, target: Option<f64>) {
        let Some(target) = target else { return };
        // A mean of equal accuracies may be a rounding above them.
        let has = |&&(_, accuracy): &&(u64, f64)| accuracy >= target - RESOLUTION;
        let mut found = Iterations::default();
        for member in &mut self.members {
            let evaluations = member.evaluations.as_ref();
            member.reached = evaluations.and_then(|all| all.iter().find(has)).map(|&(iteration, _)| iteration);
            match (member.reached, evaluations) {
                (Some(_), _) => found.reached += 1,
                (None, Some(_)) if member.status.is_done() => found.not_reached += 1,
                (None, _) => found.unknown += 1,
            }
        }
        let reached = || self.members.iter().filter_map(|member| member.reached);
        found.mean = Mean::of(reached().map(|iteration| iteration as f64), 0.0);
        (found.least, found.most) = (reached().min(), reached().max());
        self.iterations = found;
    }

    /// Its trials with those of equal seeds of another.
    pub fn pairs<'a>(&'a self, other: &'a Cell) -> impl Iterator<Item = (&'a Member, &'a Member)> {
        let seeds = |member: &Member| (member.init_seed, member.data_seed);
        let of: BTreeMap<(u64, u64), &Member> = other.members.iter().map(|member| (seeds(member), member)).collect();
        self.members.iter().filter_map(move |member| Some((member, *of.get(&seeds(member))?)))
    }

    /// Why trials have no final accuracy, each reason with their number.
    pub fn without_accuracy(&self) -> Vec<String> {
        let counts = [
            (self.diverged, "diverged"),
            (self.failed, "failed"),
            (self.crashed, "crashed"),
            (self.unfinished, "unfinished"),
            (self.finished - self.accuracy.n, "finished without an accuracy that is a number"),
        ];
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

fn member(trials: &Trials, index: usize, split: Split) -> Member {
    let trial = &trials.trials[index].trial;
    let last = match split {
        Split::Validation => trial.numbers.final_validation_accuracy,
        _ => trial.numbers.final_test_accuracy,
    };
    let accuracy = last.map(f64::from).filter(|accuracy| trial.status == Status::Finished && accuracy.is_finite());
    let evaluations = trial.evaluations.as_ref().map(|all| {
        let of_split = all.iter().filter(|evaluation| evaluation.split == split && evaluation.accuracy.is_finite());
        let mut found: Vec<(u64, f64)> = of_split.map(|it| (it.iteration, f64::from(it.accuracy))).collect();
        found.sort_by_key(|&(iteration, _)| iteration);
        found
    });
    Member {
        trial: trial.id.to_string(),
        init_seed: trial.init_seed,
        data_seed: trial.data_seed,
        status: trial.status,
        accuracy,
        reached: None,
        index,
        evaluations,
    }
}
