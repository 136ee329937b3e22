//! What a run will take: memory from the plugins' footprints, time from training each group for a moment.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_host::HostError;
use clr_plan::json::Estimates;
use clr_plan::{Group, Plan, Trial};
use clr_schedule::Schedule;
use clr_spec::duration::Period;
use clr_spec::{Checkpointing, Every, Keep};
use clr_train::{Layout, Resources};

use crate::ready::Ready;

/// Bytes of a stored row, compressed: of each metric, of each hyper-parameter that changes, and of all else. Measured on
/// 25,000 iterations of cifar10_full, whose metrics take 2.2 to 3.2 bytes a value and whose learning rate takes 2.3.
const BYTES_PER_METRIC: f64 = 3.0;
const BYTES_PER_SCHEDULE: f64 = 2.5;
const BYTES_PER_ROW: f64 = 0.5;

/// How long a group is trained to see how fast it is.
const PROBE: Duration = Duration::from_secs(1);

/// No estimate could be made.
#[derive(Debug, thiserror::Error)]
pub enum EstimateError {
    /// The plugin's objection to the configuration of a group.
    #[error(transparent)]
    Footprint(#[from] HostError),
    /// A trial that was to show how fast its group is shows that it cannot be trained.
    #[error("training `{label}` for a moment, to estimate the time: {message} (--no-probe leaves that out)")]
    Probe { label: String, message: String },
}

/// Memory and size of a run; with `probe`, time too.
///
/// # Errors
///
/// What a plugin has against the configuration of a group, or how it failed.
pub fn of_run(Ready { plan, resources, layout, .. }: &Ready, probe: bool) -> Result<Estimates, EstimateError> {
    let mut estimates = Estimates { bytes_written: Some(bytes_written(plan)), ..Estimates::default() };
    for footprint in resources.footprints(plan, layout)? {
        estimates.bytes_per_trial = estimates.bytes_per_trial.max(Some(footprint.bytes_per_lane));
        estimates.bytes_shared = estimates.bytes_shared.max(Some(footprint.bytes_shared));
    }
    if probe {
        let seconds = plan.groups.iter().map(|group| seconds_of_group(plan, group, resources, layout));
        estimates.seconds = Some(seconds.sum::<Result<f64, EstimateError>>()? / layout.slots() as f64);
    }
    Ok(estimates)
}

fn bytes_written(plan: &Plan) -> u64 {
    let of_trial = |trial: &Trial| {
        let changing = trial.schedules().filter(|(_, schedule)| !matches!(schedule, Schedule::Constant(_))).count();
        let metrics = trial.shape.metrics.len() as f64 * BYTES_PER_METRIC;
        trial.iterations as f64 * (BYTES_PER_ROW + metrics + changing as f64 * BYTES_PER_SCHEDULE)
    };
    plan.trials.iter().map(of_trial).sum::<f64>() as u64
}

/// Seconds that the group takes on one slot: its first trial is trained for a moment, its evaluations are timed.
fn seconds_of_group(plan: &Plan, group: &Group, resources: &Resources, layout: &Layout) -> Result<f64, EstimateError> {
    let trial = &plan.trials[group.trials[0]];
    let probed = Plan {
        trials: [Trial { eval_every: Period::NEVER, ..trial.clone() }].into(),
        groups: vec![Group { shape: group.shape.clone(), trials: vec![0] }],
        name: plan.name.clone(),
        axes: plan.axes.clone(),
        settings: plan.settings.clone(),
        range_tests: Vec::new(),
        limits: plan.limits,
        checkpointing: Checkpointing { every: Every::Never, keep: Keep::Nothing },
        warnings: Vec::new(),
    };
    let layout = layout.with_one_slot();
    let cancel = AtomicBool::new(false);
    let started = Instant::now();
    let (mut evaluated, mut steps, mut last, mut failed) = (None, 0, started, None);
    let result: Result<(), std::convert::Infallible> =
        clr_train::run(&probed, vec![Work::new(0)], resources, &layout, &cancel, |event| {
            match event {
                Event::Evaluated(_) => evaluated = Some(Instant::now()),
                Event::Rows(rows) => (steps, last) = (steps + rows.count, Instant::now()),
                // Nobody waits for a plan to try again what may have hung for minutes.
                Event::Retried { message, .. }
                | Event::Ended {
                    outcome:
                        Outcome::Failed { message } | Outcome::Crashed { message } | Outcome::Interrupted { message },
                    ..
                } => {
                    failed.get_or_insert(message);
                }
                Event::Started { .. } | Event::Saved { .. } | Event::Ended { .. } => {}
            }
            if failed.is_some() || evaluated.is_some_and(|at| at.elapsed() > PROBE) {
                cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        });
    let Ok(()) = result;
    if let Some(message) = failed {
        return Err(EstimateError::Probe { label: trial.label.to_string(), message });
    }
    let evaluated = evaluated.unwrap_or(started);
    let per_evaluation = (evaluated - started).as_secs_f64();
    let per_step = last.saturating_duration_since(evaluated).as_secs_f64() / steps.max(1) as f64;
    let trials = group.trials.iter().map(|&trial| &plan.trials[trial]);
    Ok(trials.map(|trial| trial.iterations as f64 * per_step + evaluations(trial) as f64 * per_evaluation).sum())
}

/// How often a trial is evaluated: at the start, at the end and on schedule.
fn evaluations(trial: &Trial) -> u64 {
    2 + trial.eval_every.count(trial.iterations.saturating_sub(1))
}
