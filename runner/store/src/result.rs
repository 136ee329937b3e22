//! A trial's result: its status and the few numbers that stand for its rows.

use clr_event::Evaluation;
use clr_host::Split;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One trial's outcome, for tables and summaries, as the manifest has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialResult<'m> {
    /// Index into [`clr_plan::Plan::trials`].
    pub trial: usize,
    /// How far it got.
    pub status: Status,
    pub error: Option<&'m str>,
    /// The revision, device and instruction set that it ran on, as far as they decide bits.
    pub numerics: Option<&'m str>,
    /// The digest of its plugin's file, where that is known; of several, where it went on under another build.
    pub build: Option<&'m str>,
    /// Wall time of all attempts.
    pub seconds: Option<f64>,
    /// How often it was started.
    pub attempts: u32,
    /// When its first attempt began.
    pub started: Option<Timestamp>,
    /// Final and best numbers.
    pub numbers: &'m Numbers,
}

impl TrialResult<'_> {
    /// True if the machine did not let it be trained to its end: [`clr_event::Outcome::Interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.status == Status::Unfinished && self.error.is_some()
    }
}

/// How far a trial got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not run yet, or stopped before its end. Its rows do not count.
    #[default]
    Unfinished,
    /// All iterations were done.
    Finished,
    /// The divergence rule stopped it. An outcome, not a failure.
    Diverged,
    /// The plugin reported an error. The rows before are kept apart.
    Failed,
    /// It ended the process that trained it. The rows before are kept apart.
    Crashed,
}

impl Status {
    /// As in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Unfinished => "unfinished",
            Status::Finished => "finished",
            Status::Diverged => "diverged",
            Status::Failed => "failed",
            Status::Crashed => "crashed",
        }
    }

    /// True if something went wrong that may go wrong again.
    pub fn is_failure(self) -> bool {
        matches!(self, Status::Failed | Status::Crashed)
    }

    /// True if the rows that the manifest gives to the trial are all that it has.
    pub fn has_rows(self) -> bool {
        self.is_done() || self.is_failure()
    }

    /// True if the trial has rows in the tables and need not be run again.
    pub fn is_done(self) -> bool {
        matches!(self, Status::Finished | Status::Diverged)
    }
}

/// Final and best numbers of a trial. None where there is no such number or it is not finite.
///
/// Losses and accuracies are f32, as they were measured, and widened in JSON, which carries them exactly so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Numbers {
    /// Rows in `metrics`, or of a trial that failed in `failed`.
    pub rows: u64,
    /// Iteration of the row that broke the divergence rule.
    pub diverged_at: Option<u64>,
    /// Rows whose loss was not finite. None for a model without loss, and for trials of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_finite_losses: Option<u64>,
    /// The iteration of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_non_finite_loss: Option<u64>,
    /// Mean training loss over the last epoch's rows (all rows, if fewer).
    pub final_train_loss: Option<f64>,
    /// On the validation split, after the last iteration.
    #[serde(with = "widened")]
    pub final_validation_loss: Option<f32>,
    /// On the validation split, after the last iteration.
    #[serde(with = "widened")]
    pub final_validation_accuracy: Option<f32>,
    /// On the test split, after the last iteration.
    #[serde(with = "widened")]
    pub final_test_loss: Option<f32>,
    /// On the test split, after the last iteration.
    #[serde(with = "widened")]
    pub final_test_accuracy: Option<f32>,
    /// The iteration at which accuracy was highest, on the validation split if there is one, else on test.
    pub best_iteration: Option<u64>,
    /// On the validation split at `best_iteration`.
    #[serde(with = "widened")]
    pub best_validation_accuracy: Option<f32>,
    /// On the test split at `best_iteration`.
    #[serde(with = "widened")]
    pub best_test_accuracy: Option<f32>,
}

/// Losses that were not finite, as the rows come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonFinite {
    pub count: u64,
    /// The iteration of the first.
    pub first: Option<u64>,
}

impl NonFinite {
    /// Takes losses of consecutive rows.
    pub fn add(&mut self, first_iteration: u64, losses: impl Iterator<Item = f32>) {
        for (iteration, _) in (first_iteration..).zip(losses).filter(|(_, loss)| !loss.is_finite()) {
            self.count += 1;
            self.first.get_or_insert(iteration);
        }
    }
}

/// Between f32 and JSON's f64.
mod widened {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(f64::from).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.map(|value| value as f32))
    }
}

impl Numbers {
    /// Takes the losses of all rows that were not finite.
    pub fn set_non_finite(&mut self, losses: NonFinite) {
        (self.non_finite_losses, self.first_non_finite_loss) = (Some(losses.count), losses.first);
    }

    /// Takes the final and best numbers from all evaluations of a trial.
    ///
    /// `last_iteration` is the number of updates after which an evaluation is final; None for a trial that diverged,
    /// which has no final evaluation.
    pub fn set_evaluations(&mut self, evaluations: &[Evaluation], last_iteration: Option<u64>) {
        let at = |split: Split, iteration: Option<u64>| {
            evaluations.iter().rev().find(|e| e.split == split && Some(e.iteration) == iteration)
        };
        let last = |split| at(split, last_iteration);
        self.final_validation_loss = last(Split::Validation).and_then(|e| finite(e.loss));
        self.final_validation_accuracy = last(Split::Validation).and_then(|e| finite(e.accuracy));
        self.final_test_loss = last(Split::Test).and_then(|e| finite(e.loss));
        self.final_test_accuracy = last(Split::Test).and_then(|e| finite(e.accuracy));

        self.best_iteration = best_iteration(evaluations);
        let best_at = |split| self.best_iteration.and_then(|iteration| at(split, Some(iteration)));
        self.best_validation_accuracy = best_at(Split::Validation).and_then(|e| finite(e.accuracy));
        self.best_test_accuracy = best_at(Split::Test).and_then(|e| finite(e.accuracy));
    }
}

/// The iteration of the best evaluation.
pub fn best_iteration(evaluations: &[Evaluation]) -> Option<u64> {
    let validated = evaluations.iter().any(|e| e.split == Split::Validation);
    best(evaluations, choosing_split(validated)).map(|e| e.iteration)
}

/// The split on which "best" is chosen: choosing on test what one reports on test flatters.
pub fn choosing_split(validated: bool) -> Split {
    if validated { Split::Validation } else { Split::Test }
}

/// The evaluation with the highest accuracy, then the lowest loss, then the earliest.
fn best(evaluations: &[Evaluation], split: Split) -> Option<&Evaluation> {
    let mut best: Option<&Evaluation> = None;
    for candidate in evaluations.iter().filter(|e| e.split == split) {
        if rank(candidate) > best.map_or((f32::NEG_INFINITY, f32::NEG_INFINITY), rank) {
            best = Some(candidate);
        }
    }
    best
}

/// Compares evaluations: higher is better, and what is not finite is below everything.
pub fn rank(evaluation: &Evaluation) -> (f32, f32) {
    let or_worst = |value: f32| if value.is_finite() { value } else { f32::NEG_INFINITY };
    (or_worst(evaluation.accuracy), or_worst(-evaluation.loss))
}

/// The value, if it is one.
fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(evaluations: &[(u64, Split, f32, f32)], last: Option<u64>, expected: Numbers) {
        let evaluations: Vec<Evaluation> = evaluations
            .iter()
            .map(|&(iteration, split, loss, accuracy)| Evaluation { trial: 0, iteration, split, loss, accuracy })
            .collect();
        let mut numbers = Numbers::default();
        numbers.set_evaluations(&evaluations, last);
        assert_eq!(numbers, expected);
    }

    #[test]
    fn best_is_chosen_on_test_without_a_validation_split() {
        let evaluations = [(0, Split::Test, 2.0, 0.125), (5, Split::Test, 1.0, 0.75), (10, Split::Test, 0.5, 0.5)];
        let expected = Numbers {
            final_test_loss: Some(0.5),
            final_test_accuracy: Some(0.5),
            best_iteration: Some(5),
            best_test_accuracy: Some(0.75),
            ..Numbers::default()
        };
        check(&evaluations, Some(10), expected);
    }

    #[test]
    fn best_is_chosen_on_validation_where_there_is_one() {
        let evaluations = [
            (0, Split::Validation, 2.0, 0.25),
            (0, Split::Test, 2.0, 0.875),
            (10, Split::Validation, 1.0, 0.5),
            (10, Split::Test, 1.0, 0.375),
        ];
        let expected = Numbers {
            final_validation_loss: Some(1.0),
            final_validation_accuracy: Some(0.5),
            final_test_loss: Some(1.0),
            final_test_accuracy: Some(0.375),
            best_iteration: Some(10),
            best_validation_accuracy: Some(0.5),
            best_test_accuracy: Some(0.375),
            ..Numbers::default()
        };
        check(&evaluations, Some(10), expected);
    }

    #[test]
    fn ties_go_to_the_lower_loss_then_to_the_earlier() {
        let evaluations = [
            (0, Split::Test, 2.0, 0.5),
            (1, Split::Test, 1.0, 0.5),
            (2, Split::Test, 1.0, 0.5),
            (3, Split::Test, f32::NAN, 0.5),
        ];
        let expected = Numbers { best_iteration: Some(1), best_test_accuracy: Some(0.5), ..Numbers::default() };
        check(&evaluations, None, expected);
    }

    #[test]
    fn without_any_accuracy_the_lowest_loss_is_best() {
        let evaluations = [(0, Split::Test, 2.0, f32::NAN), (1, Split::Test, 1.0, f32::NAN)];
        check(&evaluations, None, Numbers { best_iteration: Some(1), ..Numbers::default() });
    }

    #[test]
    fn what_is_not_finite_is_never_best() {
        check(&[(0, Split::Test, f32::INFINITY, f32::NAN)], Some(0), Numbers::default());
    }
}
