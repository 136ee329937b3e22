//! Schedules made of others or of listed values.

use super::Schedule;
use super::line::between;

/// One stage of a [`Schedule::Sequence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// How many steps the stage lasts. The last stage goes on regardless.
    pub steps: u64,
    /// Counts from the stage's start.
    pub schedule: Schedule,
}

/// The value of the stage that `step` falls into; NaN if there is none.
pub(super) fn sequence(stages: &[Stage], step: u64) -> f64 {
    let Some((last, others)) = stages.split_last() else { return f64::NAN };
    let mut since_start = step;
    for stage in others {
        if since_start < stage.steps {
            return stage.schedule.at(since_start);
        }
        since_start -= stage.steps;
    }
    last.schedule.at(since_start)
}

/// The value in row `step`, or the last one; NaN if there is none.
pub(super) fn table(values: &[f64], step: u64) -> f64 {
    let row = usize::try_from(step).unwrap_or(usize::MAX);
    values.get(row).or(values.last()).copied().unwrap_or(f64::NAN)
}

/// The value at `step` of rows of a step and a value; NaN if there is none.
pub(super) fn points(points: &[(f64, f64)], linear: bool, step: u64) -> f64 {
    let step = step as f64;
    let after = points.partition_point(|(start, _)| *start <= step);
    match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
        (Some((start, from)), Some((end, to))) if linear => between(from, *to, (step - start) / (end - start)),
        (Some((_, value)), _) => value,
        (None, Some((_, value))) => *value,
        (None, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            assert_eq!(schedule.at(step), value, "step {step}");
        }
    }

    #[test]
    fn stages_count_from_their_own_start() {
        let warm_up = Stage { steps: 4, schedule: Schedule::Linear { from: 0.0, to: 8.0, steps: 4 } };
        let skipped = Stage { steps: 0, schedule: Schedule::Constant(99.0) };
        let halving = Stage { steps: 2, schedule: Schedule::Step { base: 8.0, gamma: 0.5, step_size: 1.into() } };
        let sequence = Schedule::Sequence(vec![warm_up, skipped, halving]);
        check(&sequence, &[(0, 0.0), (3, 6.0), (4, 8.0), (5, 4.0), (6, 2.0), (7, 1.0)]);
    }

    #[test]
    fn the_last_row_of_a_table_stays() {
        let table = Schedule::Table([3.0, 1.0, 2.0].into());
        check(&table, &[(0, 3.0), (1, 1.0), (2, 2.0), (3, 2.0), (u64::MAX, 2.0)]);
    }

    #[test]
    fn between_two_points_a_value_is_held_or_on_a_line() {
        let points =
            |linear| Schedule::Points { points: [(0.0, 1.0), (4.0, 3.0), (4.5, 2.0), (10.5, 8.0)].into(), linear };
        check(&points(false), &[(0, 1.0), (3, 1.0), (4, 3.0), (5, 2.0), (10, 2.0), (11, 8.0), (u64::MAX, 8.0)]);
        check(&points(true), &[(0, 1.0), (1, 1.5), (4, 3.0), (5, 2.5), (10, 7.5), (11, 8.0), (u64::MAX, 8.0)]);
    }

    /// Torch7 counts epochs from 1 and holds the value within one: the first epoch is not at `base`.
    #[test]
    fn an_epoch_has_one_value() {
        let inner = Box::new(Schedule::Linear { from: 0.0, to: 10.0, steps: 10 });
        let torch7 = Schedule::PerEpoch { iterations_per_epoch: 391.into(), first_epoch: 1, inner };
        check(&torch7, &[(0, 1.0), (390, 1.0), (391, 2.0), (781, 2.0), (782, 3.0), (u64::MAX, 10.0)]);
    }

    #[test]
    fn nothing_has_no_value() {
        assert!(Schedule::Table([].into()).at(0).is_nan());
        assert!(Schedule::Sequence(Vec::new()).at(0).is_nan());
    }
}
