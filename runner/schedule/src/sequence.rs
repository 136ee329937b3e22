//! Schedules one after another.

use super::canonical::integer;
use super::extent::join;
use super::{Formula, Schedule};

/// One stage of a [`Schedule::Sequence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// How many steps the stage lasts. The last stage goes on regardless.
    pub steps: u64,
    /// Counts from the stage's start.
    pub schedule: Schedule,
}

/// NaN without stages.
impl Formula for Vec<Stage> {
    fn at(&self, step: u64) -> f64 {
        let Some((last, others)) = self.split_last() else { return f64::NAN };
        let mut since_start = step;
        for stage in others {
            if since_start < stage.steps {
                return stage.schedule.at(since_start);
            }
            since_start -= stage.steps;
        }
        last.schedule.at(since_start)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(15);
        integer(self.len() as u64, out);
        for Stage { steps, schedule } in self {
            integer(*steps, out);
            schedule.canonical(out);
        }
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        let mut hull = (f64::INFINITY, f64::NEG_INFINITY);
        let mut last = last;
        for (index, Stage { steps, schedule }) in self.iter().enumerate() {
            let ends_here = index + 1 == self.len() || last < *steps;
            if ends_here || *steps > 0 {
                let (low, high) = schedule.hull(if ends_here { last } else { steps - 1 })?;
                hull = join(join(hull, low)?, high)?;
            }
            if ends_here {
                break;
            }
            last -= steps;
        }
        Some(hull)
    }

    fn piece_end(&self, step: u64) -> u64 {
        let mut start = 0_u64;
        for (index, Stage { steps, schedule }) in self.iter().enumerate() {
            let end = start.saturating_add(*steps);
            if index + 1 == self.len() {
                return schedule.piece_end(step - start).saturating_add(start);
            }
            if step < end {
                return schedule.piece_end(step - start).saturating_add(start).min(end - 1);
            }
            start = end;
        }
        u64::MAX
    }

    fn next_cycle_end(&self, after: u64) -> Option<u64> {
        let mut begun: u64 = 0;
        for (index, stage) in self.iter().enumerate() {
            let end = if index + 1 == self.len() { u64::MAX } else { begun.saturating_add(stage.steps) };
            if after < end {
                let inner = stage.schedule.next_cycle_end(after.saturating_sub(begun));
                let inner = inner.map(|inner| inner.saturating_add(begun)).filter(|inner| *inner <= end);
                if inner.is_some() {
                    return inner;
                }
            }
            begun = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;

    #[track_caller]
    fn check(schedule: &Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            assert_eq!(schedule.at(step), value, "step {step}");
        }
    }

    #[test]
    fn stages_count_from_their_own_start() {
        let warm_up = Stage { steps: 4, schedule: Schedule::Linear(Linear { from: 0.0, to: 8.0, steps: 4 }) };
        let skipped = Stage { steps: 0, schedule: Schedule::Constant(99.0) };
        let halving = Stage { steps: 2, schedule: Schedule::Step(Step { base: 8.0, gamma: 0.5, step_size: 1.into() }) };
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
        let points = |linear| {
            Schedule::Points(Points { points: [(0.0, 1.0), (4.0, 3.0), (4.5, 2.0), (10.5, 8.0)].into(), linear })
        };
        check(&points(false), &[(0, 1.0), (3, 1.0), (4, 3.0), (5, 2.0), (10, 2.0), (11, 8.0), (u64::MAX, 8.0)]);
        check(&points(true), &[(0, 1.0), (1, 1.5), (4, 3.0), (5, 2.5), (10, 7.5), (11, 8.0), (u64::MAX, 8.0)]);
    }

    /// Torch7 counts epochs from 1 and holds the value within one: the first epoch is not at `base`.
    #[test]
    fn an_epoch_has_one_value() {
        let inner = Box::new(Schedule::Linear(Linear { from: 0.0, to: 10.0, steps: 10 }));
        let torch7 = Schedule::PerEpoch(PerEpoch { iterations_per_epoch: 391.into(), first_epoch: 1, inner });
        check(&torch7, &[(0, 1.0), (390, 1.0), (391, 2.0), (781, 2.0), (782, 3.0), (u64::MAX, 10.0)]);
    }

    #[test]
    fn nothing_has_no_value() {
        assert!(Schedule::Table([].into()).at(0).is_nan());
        assert!(Schedule::Sequence(Vec::new()).at(0).is_nan());
    }
}
