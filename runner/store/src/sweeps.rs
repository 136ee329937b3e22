//! The range tests of an output, for a reader: the trials whose learning rate follows one, with their losses and evaluations.
//! No lock is taken and nothing is written; a run may be going on.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_schema::{DataType, Field};
use clr_event::Evaluation;
use clr_plan::{Axis, AxisValue, Bounds, TrialId};
use clr_schedule::RangeTest;
use clr_schedule::ratio::Ratio;
use clr_terminal::words;

use super::StoreError;
use super::kept::load;
use super::looks::look_again;
use super::manifest::Segment;
use super::plan_file::{PlannedAxis, PlannedRate};
use super::reader::{evaluations_of, plan, segments, single_at};
use super::result::{Numbers, Status};
use super::schema::Table;
use super::source::Sources;

/// The range tests of an output.
#[derive(Clone, Debug)]
pub struct Sweeps {
    pub axes: Vec<Axis>,
    /// In the plan's order.
    pub trials: Vec<SweptTrial>,
    /// Trials at one constant rate, in the plan's order.
    pub constant: Vec<ConstantTrial>,
    /// The number of all others.
    pub others: usize,
    /// The files that could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
}

/// A trial that is a range test.
#[derive(Clone, Debug)]
pub struct SweptTrial {
    pub id: TrialId,
    pub label: String,
    /// One for each axis of the output.
    pub axes: Vec<Option<AxisValue>>,
    pub status: Status,
    /// As of [`super::result::Numbers`].
    pub diverged_at: Option<u64>,
    /// The number of updates that were planned.
    pub iterations: u64,
    /// The number of evaluations on a split that were planned, that before the first update among them.
    pub evaluations_due: u64,
    pub lr: RangeTest,
    /// Test images that are evaluated on; none for all.
    pub test_count: Option<u64>,
    /// By iteration, as many as are stored. What was not finite is not a number.
    pub losses: Vec<f32>,
    pub evaluations: Vec<Evaluation>,
}

/// A trial at one constant rate: with others at other rates it shows what a range test does.
#[derive(Clone, Debug)]
pub struct ConstantTrial {
    pub id: TrialId,
    pub label: String,
    /// One for each axis of the output.
    pub axes: Vec<Option<AxisValue>>,
    pub status: Status,
    pub iterations: u64,
    pub lr: f64,
    /// As of [`SweptTrial`].
    pub test_count: Option<u64>,
    pub numbers: Numbers,
}

/// Reads the range tests of the output `folder`. Where a file of rows cannot be read, the rest still is.
///
/// # Errors
///
/// Where there is no output, or its plan or manifest cannot be read.
pub fn read(folder: &Path) -> Result<Sweeps, StoreError> {
    Ok(look_again(folder, || look(folder), |sweeps: &Sweeps| sweeps.unreadable.is_empty())?.found)
}

/// The bounds that the plan of the output `folder` was made with, by the ids of the range tests' trials.
///
/// # Errors
///
/// Where its plan cannot be read.
pub fn bounds(folder: &Path) -> Result<BTreeMap<TrialId, Result<Bounds, String>>, StoreError> {
    Ok(plan(folder)?.bounds())
}

fn look(folder: &Path) -> Result<Sweeps, StoreError> {
    let manifest = load(folder)?;
    let plan = plan(folder)?;
    let axes: Vec<Axis> = plan.axes.iter().map(PlannedAxis::axis).collect();
    let mut sources = Sources::new(folder, &manifest);
    let mut unreadable = BTreeMap::new();
    let (mut trials, mut constant, mut others) = (Vec::new(), Vec::new(), 0);
    for planned in plan.trials {
        let record = manifest.trials.get(&planned.id);
        let status = record.map_or(Status::Unfinished, |record| record.status);
        let test_count = planned.group.and_then(|group| plan.groups.get(group)?.shape.data.test_count);
        let axes: Vec<Option<AxisValue>> = axes.iter().map(|axis| planned.value(axis)).collect();
        let lr = match planned.schedules.lr {
            PlannedRate::RangeTest(lr) => lr,
            PlannedRate::Constant(lr) => {
                constant.push(ConstantTrial {
                    id: planned.id,
                    label: planned.label,
                    axes,
                    status,
                    iterations: planned.iterations,
                    lr,
                    test_count,
                    numbers: record.map(|record| record.numbers).unwrap_or_default(),
                });
                continue;
            }
            PlannedRate::Other => {
                others += 1;
                continue;
            }
        };
        let mut trial = SweptTrial {
            id: planned.id,
            axes,
            label: planned.label,
            status,
            diverged_at: record.and_then(|record| record.numbers.diverged_at),
            iterations: planned.iterations,
            evaluations_due: evaluations_due(planned.iterations, planned.eval_every),
            lr,
            test_count,
            losses: Vec::new(),
            evaluations: Vec::new(),
        };
        let index = trials.len();
        // Rows behind others that cannot be read would stand at the wrong iteration.
        for segment in segments(&manifest, trial.id, Table::Metrics) {
            if let Err(error) = read_losses(segment, &mut sources, &mut trial.losses) {
                unreadable.insert(segment.0.to_string(), words::chain(&error));
                break;
            }
        }
        let stored = segments(&manifest, trial.id, Table::Evals);
        (trial.evaluations, _) = evaluations_of(index, stored, &mut sources, &mut unreadable);
        trials.push(trial);
    }
    Ok(Sweeps { axes, trials, constant, others, unreadable })
}

/// Before the first update, every so many iterations, and at the end.
fn evaluations_due(iterations: u64, every: Ratio) -> u64 {
    let before_end = match every.numerator() {
        0 => 1,
        _ => (iterations as f64 / every.to_f64()).ceil().max(1.0) as u64,
    };
    before_end.saturating_add(1)
}

fn read_losses<'a>(segment: &'a Segment, sources: &mut Sources<'a>, losses: &mut Vec<f32>) -> Result<(), StoreError> {
    let field = [Field::new("loss", DataType::Float32, true)];
    let before = losses.len();
    let read = sources.read(segment, &field, |columns| {
        losses.extend((0..columns[0].len()).map(|row| single_at(columns[0].as_ref(), row)));
        Ok(())
    });
    if read.is_err() {
        losses.truncate(before);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_counted_with_the_first_and_the_last() {
        let due = |iterations: u64, every: &str| evaluations_due(iterations, every.parse().unwrap());
        assert_eq!([due(400, "10"), due(405, "10"), due(100, "0"), due(3, "10"), due(4, "4/3")], [41, 42, 2, 2, 4]);
        assert!(due(u64::MAX, "1") > 1);
    }
}
