//! What there is to show: a pure state that events change and displays print.

use std::collections::BTreeMap;
use std::sync::Arc;

use clr_event::{Event, Outcome};
use clr_host::Split;
use clr_plan::{Names, Plan, Trial};
use clr_terminal::words::{self, thousands};

/// The state of a run.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    trials: Arc<[Trial]>,
    names: Names,
    /// Iterations to do in all; less when a trial ends early.
    pub total_iterations: u64,
    pub done_iterations: u64,
    pub total_trials: usize,
    pub ended_trials: usize,
    /// Trials in flight, by index.
    pub lanes: BTreeMap<usize, Lane>,
    pub best: Option<Best>,
}

/// A trial in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lane {
    /// The updates that earlier runs have done.
    first_iteration: u64,
    /// The number of updates done.
    pub iteration: u64,
    pub loss: Option<f32>,
    pub lr: Option<f64>,
    /// The accuracy of the last evaluation.
    pub accuracy: Option<f32>,
}

/// The highest accuracy so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Best {
    pub trial: usize,
    pub iteration: u64,
    pub accuracy: f32,
}

impl Board {
    pub(crate) fn new(plan: &Plan, unfinished: &[usize]) -> Board {
        let trials = Arc::clone(&plan.trials);
        let total_iterations = unfinished.iter().filter_map(|&trial| trials.get(trial)).map(|t| t.iterations).sum();
        Board {
            trials,
            names: Names::of(plan),
            total_iterations,
            done_iterations: 0,
            total_trials: unfinished.len(),
            ended_trials: 0,
            lanes: BTreeMap::new(),
            best: None,
        }
    }

    /// Takes note of an event. Events of trials that are not in flight change nothing.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { trial, step } => {
                let lane = Lane { first_iteration: *step, iteration: *step, ..Lane::default() };
                self.total_iterations -= (*step).min(self.total_iterations);
                if let Some(abandoned) = self.lanes.insert(*trial, lane) {
                    self.done_iterations -= abandoned.iteration - abandoned.first_iteration;
                }
            }
            Event::Rows(rows) => {
                let (Some(lane), Some(trial)) = (self.lanes.get_mut(&rows.trial), self.trials.get(rows.trial)) else {
                    return;
                };
                lane.iteration += rows.count as u64;
                self.done_iterations += rows.count as u64;
                lane.loss = trial.shape.metric("loss").and_then(|index| rows.metrics.get(index)?.last().copied());
                lane.lr = rows.hypers.get(trial.optimizer.hypers_before_lr).and_then(|values| values.last().copied());
            }
            Event::Evaluated(evaluation) => {
                let (Some(lane), Some(trial)) =
                    (self.lanes.get_mut(&evaluation.trial), self.trials.get(evaluation.trial))
                else {
                    return;
                };
                // The split on which trials are compared.
                let compared = if trial.shape.data.validation_count > 0 { Split::Validation } else { Split::Test };
                if evaluation.split != compared {
                    return;
                }
                lane.accuracy = Some(evaluation.accuracy);
                let beaten = self.best.is_none_or(|best| evaluation.accuracy > best.accuracy);
                if evaluation.accuracy.is_finite() && beaten {
                    let &clr_event::Evaluation { trial, iteration, accuracy, .. } = evaluation;
                    self.best = Some(Best { trial, iteration, accuracy });
                }
            }
            Event::Saved { .. } | Event::Retried { .. } => {}
            Event::Ended { trial, outcome, .. } => {
                let (Some(lane), Some(info)) = (self.lanes.remove(trial), self.trials.get(*trial)) else { return };
                self.total_iterations -= info.iterations.saturating_sub(lane.iteration).min(self.total_iterations);
                self.ended_trials += usize::from(!matches!(outcome, Outcome::Stopped | Outcome::Interrupted { .. }));
            }
        }
    }

    pub(crate) fn label(&self, trial: usize) -> &str {
        self.trials.get(trial).map_or("", |trial| &trial.label)
    }

    pub(crate) fn handle(&self, trial: usize) -> String {
        self.trials.get(trial).map_or(String::new(), |trial| self.names.handle(trial.id))
    }

    /// `4f2a   1200/25000  loss 1.2340  lr 0.00312  triangular nesterov seed=1`, in columns for trials of equal lengths.
    pub(crate) fn lane_text(&self, trial: usize, lane: &Lane) -> String {
        let Some(asked) = self.trials.get(trial) else { return String::new() };
        let total = asked.iterations.to_string();
        let mut text = format!("{}  {:>width$}/{total}", self.handle(trial), lane.iteration, width = total.len());
        if let Some(loss) = lane.loss {
            text += &if loss.abs() < 1e4 { format!("  loss {loss:<9.4}") } else { format!("  loss {loss:<9.3e}") };
        }
        if let Some(lr) = lane.lr {
            // Three significant digits, and no zeros behind them.
            text += &format!("  lr {:<8}", words::rounded(lr, 3));
        }
        text + "  " + &self.names.words(&asked.axes)
    }

    /// `3/9 trials, best 81.20% by 4f2a at iteration 5,000`
    pub(crate) fn status_text(&self) -> String {
        let mut text =
            format!("{}/{} trials", thousands(self.ended_trials as u128), thousands(self.total_trials as u128));
        if let Some(best) = self.best {
            let (percent, at) = (100.0 * best.accuracy, thousands(u128::from(best.iteration)));
            text += &format!(", best {percent:.2}% by {} at iteration {at}", self.handle(best.trial));
        }
        text
    }

    /// The words for the best trial.
    pub(crate) fn best_words(&self) -> Option<String> {
        let trial = self.trials.get(self.best?.trial)?;
        Some(self.names.words(&trial.axes))
    }
}
