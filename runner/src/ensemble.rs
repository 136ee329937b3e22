//! Snapshot ensembles: what the states at the ends of a trial's cycles say together, and what their averaged weights say.
//!
//! Members vote with their class probabilities, averaged. (Huang et al. 2017, "Snapshot ensembles: train 1, get M for free".)
//! Averaged weights are the plain mean of the members' weights, with normalisation's statistics computed anew over the
//! training images. (Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".)

use std::sync::atomic::AtomicBool;

use clr_dataset::order::Sampler;
use clr_event::checkpoint::Checkpoint;
use clr_host::{Completion, HostError, LocalSession, Role, Split};
use clr_plan::{Names, Plan, Trial, names};
use clr_store::{Snapshots, StoreError};
use clr_train::Feed;
use serde::Serialize;
use thiserror::Error;

use crate::ready::Ready;

/// Samples whose scores are asked for in one call, so that it ends soon enough when it is cancelled.
const SAMPLES_PER_CALL: u64 = 10_000;

/// The accuracies of one trial's states.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    pub trial: String,
    /// The first digits of its id, as many as tell the trials of the output apart.
    pub handle: String,
    pub id: String,
    /// The split that accuracies are of.
    pub split: &'static str,
    /// The states, in the order of training.
    pub members: Vec<Member>,
    /// The accuracy of the mean of all members' weights, with new statistics, in 0 to 1; only where it was asked for.
    pub averaged_weights: Option<f64>,
}

/// One state of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The number of updates before it.
    pub iteration: u64,
    /// Its own accuracy, in 0 to 1.
    pub alone: f64,
    /// The accuracy of this member and all later ones together, in 0 to 1.
    pub with_later: f64,
}

/// Why states could not be evaluated.
#[derive(Debug, Error)]
pub enum EnsembleError {
    /// They cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plugin cannot, or failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There is nothing to evaluate.
    #[error(
        "no states are kept of {label}: train it with `keep = \"cycles\"` in `[checkpoint]`, which keeps them at the end of \
         each cycle"
    )]
    Nothing { label: String },
    /// There is nothing to measure on.
    #[error("{label} was trained without {split} images, so there are none to measure on")]
    NoImages {
        label: String,
        /// The split that was asked for.
        split: &'static str,
    },
    /// The plugin was changed.
    #[error("the states of {label} have other tensors than the plugin has now")]
    Tensors { label: String },
    /// No such trial, or several.
    #[error(transparent)]
    Trial(#[from] names::NoTrial),
    #[error("stopped")]
    Stopped,
}

/// The choices of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Only the last so many states.
    pub last: usize,
    /// True to measure averaged weights too.
    pub average: bool,
    /// Of what accuracies are.
    pub split: Split,
}

/// The trials of `plan` that are `asked` for, by label, id or the first digits of an id; else all of which there are states.
///
/// # Errors
///
/// Where none or several trials are meant, or there is nothing to evaluate.
pub fn trials(snapshots: &Snapshots, plan: &Plan, asked: &[String]) -> Result<Vec<usize>, EnsembleError> {
    let named = |asked: &String| Ok(names::find(asked, plan.trials.iter().map(|trial| (trial.id, &*trial.label)))?);
    if !asked.is_empty() {
        return asked.iter().map(named).collect();
    }
    let trials: Vec<usize> = (0..plan.trials.len()).filter(|&trial| snapshots.has(plan.trials[trial].id)).collect();
    if trials.is_empty() {
        return Err(EnsembleError::Nothing { label: snapshots.folder().display().to_string() });
    }
    Ok(trials)
}

/// Evaluates the states that are kept of trial number `trial` of `plan`, in this process.
///
/// # Errors
///
/// Where there are none, they cannot be read, or the plugin has no `clr.ensemble/1`.
pub fn evaluate(
    snapshots: &Snapshots,
    ready: &Ready,
    trial: usize,
    wanted: Wanted,
    cancel: &AtomicBool,
) -> Result<Evaluated, EnsembleError> {
    let Ready { plan, resources, .. } = ready;
    let asked = &plan.trials[trial];
    let label = || asked.label.to_string();
    let states = snapshots.read(asked.id, wanted.last)?;
    let Some(last) = states.last() else { return Err(EnsembleError::Nothing { label: label() }) };
    let shape = &asked.shape;
    let config = resources.session_config(plan, &[trial], &ready.layout_of(&[trial])?, "cpu");
    let mut session = resources.plugin(shape).session(config)?;
    let votes = Votes { feed: resources.feed(shape), split: wanted.split, cancel };
    let split = if wanted.split == Split::Validation { "validation" } else { "test" };
    if votes.feed.data.splits[wanted.split as usize].count == 0 {
        return Err(EnsembleError::NoImages { label: label(), split });
    }

    let mut sum: Vec<f64> = Vec::new();
    let mut members = Vec::new();
    for state in states.iter().rev() {
        load(&mut session, state, &label)?;
        let of_state = votes.probabilities(&mut session)?;
        sum.resize(of_state.len(), 0.0);
        sum.iter_mut().zip(&of_state).for_each(|(sum, probability)| *sum += probability);
        let (alone, with_later) = (votes.accuracy(&of_state), votes.accuracy(&sum));
        members.push(Member { iteration: state.step, alone, with_later });
    }
    members.reverse();
    let averaged_weights = if wanted.average {
        load(&mut session, &mean_weights(&states, last), &label)?;
        // A model that remembers nothing has no statistics, and a pass over the training images changes nothing.
        if last.tensors.iter().any(|tensor| tensor.info.role == Role::Buffer) {
            session.average_statistics(0, &one_epoch(votes.feed, asked))?;
        }
        Some(votes.accuracy(&votes.probabilities(&mut session)?))
    } else {
        None
    };
    let handle = Names::of(plan).handle(asked.id);
    Ok(Evaluated { trial: label(), handle, id: asked.id.to_string(), split, members, averaged_weights })
}

/// Puts a state into the session's lane.
fn load(session: &mut LocalSession, state: &Checkpoint, label: &impl Fn() -> String) -> Result<(), EnsembleError> {
    match clr_train::state::load(session, 0, state)? {
        true => Ok(()),
        false => Err(EnsembleError::Tensors { label: label() }),
    }
}

/// The last state, with the mean of all states' weights, which have the same tensors.
fn mean_weights(states: &[Checkpoint], last: &Checkpoint) -> Checkpoint {
    let mut mean = last.clone();
    for tensor in mean.tensors.iter_mut().filter(|tensor| tensor.info.role == Role::Weight) {
        let of_state = |state: &'_ Checkpoint| state.tensors.iter().position(|other| other.info == tensor.info);
        let places: Vec<Option<usize>> = states.iter().map(of_state).collect();
        let all = || states.iter().zip(&places).filter_map(|(state, place)| Some(&state.tensors[(*place)?].values));
        for (index, value) in tensor.values.iter_mut().enumerate() {
            let sum: f64 = all().map(|values| f64::from(values[index])).sum();
            *value = (sum / states.len() as f64) as f32;
        }
    }
    mean
}

/// The training images in the order of the trial's first epoch.
fn one_epoch(feed: &Feed, trial: &Trial) -> Vec<u32> {
    let mut sampler: Sampler = feed.sampler(trial.data_seed);
    let batch = trial.shape.data.update_size() as usize;
    let (mut samples, mut epochs) = (vec![0; batch], vec![0; batch]);
    let mut order = Vec::new();
    for step in 0..sampler.batches_per_epoch() {
        let count = sampler.fill(step, &mut samples, &mut epochs) as usize;
        order.extend(samples[..count].iter().zip(&epochs).filter(|(_, epoch)| **epoch == 0).map(|(sample, _)| *sample));
    }
    order
}

/// The samples of a split, and how their classes are voted for.
struct Votes<'a> {
    feed: &'a Feed,
    split: Split,
    cancel: &'a AtomicBool,
}

impl Votes<'_> {
    /// `[samples][classes]`: what the session's lane says of each sample.
    fn probabilities(&self, session: &mut LocalSession) -> Result<Vec<f64>, EnsembleError> {
        let classes = self.feed.data.class_count as usize;
        let total = self.feed.data.splits[self.split as usize].count;
        let mut probabilities = Vec::with_capacity(total as usize * classes);
        let mut first = 0;
        while first < total {
            let count = SAMPLES_PER_CALL.min(total - first);
            let mut logits = vec![0.0; count as usize * classes];
            if session.scores(0, self.split, first, count, &mut logits, self.cancel)? == Completion::Cancelled {
                return Err(EnsembleError::Stopped);
            }
            logits.chunks_exact(classes).for_each(|row| softmax(row, &mut probabilities));
            first += count;
        }
        Ok(probabilities)
    }

    /// The share of samples whose label has the highest vote; of equal votes the first counts.
    fn accuracy(&self, votes: &[f64]) -> f64 {
        let labels = self.feed.data.splits[self.split as usize].labels.as_deref().unwrap_or_default();
        let correct = labels
            .iter()
            .zip(votes.chunks_exact(self.feed.data.class_count as usize))
            .filter(|(label, row)| argmax(row) == Some(**label as usize));
        correct.count() as f64 / labels.len().max(1) as f64
    }
}

/// Appends `exp(x) / sum(exp(x))`, computed so that it does not overflow.
fn softmax(logits: &[f32], probabilities: &mut Vec<f64>) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(highest))).collect();
    let sum: f64 = exps.iter().sum();
    probabilities.extend(exps.iter().map(|exp| exp / sum));
}

/// The place of the highest value, the first of equal ones. None where nothing is a number.
fn argmax(row: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &value) in row.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, highest)| value > highest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_probabilities_and_the_first_of_equal_ones_counts() {
        let mut votes = Vec::new();
        softmax(&[0.0, 0.0, f32::NEG_INFINITY], &mut votes);
        // 1 / (1 + e) and e / (1 + e), of logits that would overflow.
        softmax(&[1e4, 1e4 + 1.0, -1e4], &mut votes);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-15;
        assert!(votes[..3] == [0.5, 0.5, 0.0] && close(votes[3], 0.268_941_421_369_995_1), "{votes:?}");
        assert_eq!([argmax(&votes[..3]), argmax(&votes[3..]), argmax(&[f64::NAN; 2])], [Some(0), Some(1), None]);
    }
}
