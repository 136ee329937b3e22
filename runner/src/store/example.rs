//! Hand-made plans and the events that a run of them would give, for tests.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Evaluation, Event, Outcome, Rows};
use crate::host::Split;
use crate::plan::{
    self, Axis, AxisKind, AxisValue, DataPlan, Divergence, Group, Plan, Shape, Trial, TrialId, TrialOptimizer,
};
use crate::schedule::Schedule;
use crate::spec::{Checkpointing, LastBatch, Limits, Normalize, Order};

/// A grid of policies, optimizers and seeds. `sgd` has a momentum, `adam` a beta1; the policy `explode` diverges.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub policies: &'a [&'a str],
    pub optimizers: &'a [&'a str],
    pub seeds: &'a [i64],
    /// An axis, if not empty. Without it `max_lr` is 0.1.
    pub max_lrs: &'a [f64],
    pub iterations: u64,
}

/// Row at which `explode` diverges.
pub(crate) const DIVERGED_AT: u64 = 6;

impl Grid<'_> {
    pub(crate) fn plan(&self) -> Plan {
        let axis = |name: &str, kind| Axis { name: name.to_owned(), kind };
        let mut axes = vec![axis("policy", AxisKind::Text)];
        if !self.max_lrs.is_empty() {
            axes.push(axis("max_lr", AxisKind::Float));
        }
        axes.push(axis("optimizer", AxisKind::Text));
        axes.push(axis("seed", AxisKind::Integer));
        let max_lrs = if self.max_lrs.is_empty() { &[0.1] } else { self.max_lrs };
        let shape = Arc::new(shape());
        let mut trials = Vec::new();
        for &policy in self.policies {
            for &max_lr in max_lrs {
                for &optimizer in self.optimizers {
                    for &seed in self.seeds {
                        let mut trial = self.trial(&shape, policy, optimizer, max_lr, seed);
                        if self.max_lrs.is_empty() {
                            trial.axes.remove(1);
                        } else {
                            trial.label = format!("{} max_lr={max_lr}", trial.label).into();
                        }
                        trials.push(trial);
                    }
                }
            }
        }
        let groups = vec![Group { shape, trials: (0..trials.len()).collect() }];
        let (limits, checkpointing) = (Limits::default(), Checkpointing::default());
        let settings = plan::settings::columns(&trials, &plan::example::facts());
        Plan {
            name: "example".to_owned(),
            axes,
            settings,
            trials: trials.into(),
            groups,
            limits,
            checkpointing,
            warnings: Vec::new(),
        }
    }

    fn trial(&self, shape: &Arc<Shape>, policy: &str, optimizer: &str, max_lr: f64, seed: i64) -> Trial {
        let asked = format!("{policy} {optimizer} {max_lr} {seed} {}", self.iterations);
        let second = if optimizer == "adam" { "beta1" } else { "momentum" };
        Trial {
            id: TrialId::of(asked.as_bytes()),
            label: format!("{policy} {optimizer} seed={seed}").into(),
            axes: vec![
                Some(AxisValue::Text(policy.into())),
                Some(AxisValue::Float(max_lr)),
                Some(AxisValue::Text(optimizer.into())),
                Some(AxisValue::Integer(seed)),
            ],
            shape: shape.clone(),
            optimizer: TrialOptimizer {
                kind: optimizer.into(),
                json: format!("{{\"optimizer\":\"{optimizer}\"}}").into(),
                hypers: vec![(second.into(), Schedule::Constant(0.9))],
                hypers_before_lr: 0,
                groups: [].into(),
            }
            .into(),
            init_seed: seed as u64,
            data_seed: seed as u64,
            iterations: self.iterations,
            eval_every: 4.into(),
            divergence: Divergence { non_finite: true, loss_above: None },
            lr: Schedule::Linear { from: max_lr, to: 0.0, steps: self.iterations },
        }
    }
}

fn shape() -> Shape {
    Shape {
        plugin: "example".to_owned(),
        architecture: "line".to_owned(),
        model_json: r#"{"precision":"f32"}"#.to_owned(),
        data: DataPlan {
            dataset: "shapes".to_owned(),
            digest: Some("0".repeat(64)),
            batch_size: 10,
            accumulate: 1,
            train_count: 40,
            validation_count: 0,
            order: Order::Shuffled,
            last_batch: LastBatch::Wrap,
            normalize: Normalize::PixelMean,
            scale: 1.0,
            flip: false,
            pad: 0,
        },
        hypers: ["lr", "momentum", "beta1"].map(str::to_owned).to_vec(),
        metrics: ["loss", "accuracy"].map(str::to_owned).to_vec(),
    }
}

/// All events of one trial, its rows in blocks of `block`.
pub(crate) fn events(plan: &Plan, trial: usize, block: u64) -> Vec<Event> {
    let asked = &plan.trials[trial];
    let diverges = asked.label.starts_with("explode");
    let row_count = if diverges { DIVERGED_AT + 1 } else { asked.iterations };
    let number = u64::from_str_radix(&asked.id.to_string()[..8], 16).unwrap();
    let evaluation = |iteration: u64| {
        let accuracy = ((number + iteration) % 101) as f32 / 101.0;
        Event::Evaluated(Evaluation { trial, iteration, split: Split::Test, loss: 1.0 - accuracy, accuracy })
    };
    let mut events = vec![Event::Started { trial, step: 0 }, evaluation(0)];
    let mut first = 0;
    while first < row_count {
        let next_evaluation = asked.eval_every.next(first);
        let end = (first + block).min(row_count).min(next_evaluation);
        let loss = |iteration: u64| match diverges && iteration == DIVERGED_AT {
            true => f32::NAN,
            false => ((number ^ iteration) % 1009) as f32 / 1009.0,
        };
        events.push(Event::Rows(Rows {
            trial,
            first_iteration: first,
            count: (end - first) as usize,
            hypers: vec![(first..end).map(|i| 0.1 / (i + 1) as f64).collect(), vec![0.9; (end - first) as usize]],
            metrics: vec![(first..end).map(loss).collect(), (first..end).map(|i| (i % 11) as f32 / 10.0).collect()],
        }));
        let is_last = end == row_count;
        if (end == next_evaluation && !is_last) || (is_last && !diverges) {
            events.push(evaluation(end));
        }
        first = end;
    }
    let outcome = if diverges { Outcome::Diverged { iteration: DIVERGED_AT } } else { Outcome::Finished };
    events.push(Event::Ended { trial, outcome, elapsed: Duration::from_millis(1234) });
    events
}
