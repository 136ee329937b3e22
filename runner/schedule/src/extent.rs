//! Whether a schedule stays within a range, over however many steps, without looking at each of them.
//!
//! Two facts about a kind are enough. Its **hull**: bounds that hold for all of its first so many steps, exact for most kinds.
//! Where the hull is inside the range there is nothing to find. And its **monotone pieces**: between two turning points a
//! value does not leave the range if it is inside at both ends, and where it does leave it, halving finds the step.

use super::Schedule;

/// Where a schedule leaves a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outside {
    /// The first step at which it is outside. `None` where it comes so near to a bound outside of the range, without
    /// being there in the first 65,536 monotone pieces, that no more are looked at.
    pub step: Option<u64>,
    /// The value there.
    pub value: f64,
}

/// Longer searches would be felt.
const MOST_PIECES: u32 = 1 << 16;

impl Schedule {
    /// The first of the steps before `steps` whose value is not `inside`, which must hold for an interval of numbers, and
    /// for nothing that is not a number.
    pub fn first_outside(&self, steps: u64, inside: impl Fn(f64) -> bool) -> Option<Outside> {
        let within = |hull: Option<(f64, f64)>| hull.is_some_and(|(low, high)| inside(low) && inside(high));
        if steps == 0 || within(self.hull(steps - 1)) {
            return None;
        }
        // The hull only grows: up to here nothing can be outside.
        let mut step = first_where(0, steps, |step| !within(self.hull(step)));
        let at = |step| Some(Outside { step: Some(step), value: self.at(step) });
        for _ in 0..MOST_PIECES {
            if step >= steps {
                return None;
            }
            let end = self.piece_end(step).clamp(step, steps - 1);
            if !inside(self.at(step)) {
                return at(step);
            }
            if !inside(self.at(end)) {
                return at(first_where(step, end, |step| !inside(self.at(step))));
            }
            step = end + 1;
        }
        let (low, high) = self.hull(steps - 1).unwrap_or((f64::NAN, f64::NAN));
        Some(Outside { step: None, value: if inside(low) { high } else { low } })
    }
}

/// The least and the largest; `None` where one is not a number.
pub(super) fn hull_of<const N: usize>(values: [f64; N]) -> Option<(f64, f64)> {
    values.into_iter().try_fold((f64::INFINITY, f64::NEG_INFINITY), join)
}

pub(super) fn join((low, high): (f64, f64), value: f64) -> Option<(f64, f64)> {
    (!value.is_nan()).then(|| (low.min(value), high.max(value)))
}

/// The first from `start` to before `end` for which `holds`, given that it does for all after the first; else `end`.
pub(super) fn first_where(start: u64, end: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (start, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::properties::{any_cyclic, any_schedule, any_sgdr};
    use crate::*;

    fn fraction(value: f64) -> bool {
        (0.0..1.0).contains(&value)
    }

    fn finite(value: f64) -> bool {
        (0.0..=f64::from(f32::MAX)).contains(&value)
    }

    #[track_caller]
    fn check(schedule: Schedule, steps: u64, inside: fn(f64) -> bool, expected: Option<u64>) {
        let found = schedule.first_outside(steps, inside);
        assert_eq!(found.map(|outside| outside.step), expected.map(Some), "{schedule:?}: {found:?}");
    }

    /// Steps by hand, at trainings of a thousand million iterations: 2^128 is the first power of 2 above float32.
    #[test]
    fn the_step_at_which_a_schedule_leaves_its_range() {
        const LONG: u64 = 1_000_000_000;
        check(Schedule::Constant(0.9), LONG, fraction, None);
        check(Schedule::Constant(1.0), LONG, fraction, Some(0));
        check(Schedule::Exp(Exp { base: 1.0, gamma: 2.0 }), LONG, finite, Some(128));
        check(Schedule::Exp(Exp { base: 1.0, gamma: 2.0 }), 128, finite, None);
        check(Schedule::Poly(Poly { base: 0.1, power: -1.0, steps: 1000 }), LONG, finite, Some(1000));
        check(Schedule::Poly(Poly { base: 0.1, power: -1.0, steps: 1000 }), 1000, finite, None);
        check(Schedule::Linear(Linear { from: 0.0, to: 2.0, steps: 1000 }), LONG, fraction, Some(500));
        check(Schedule::Step(Step { base: 0.25, gamma: 2.0, step_size: 100.into() }), LONG, fraction, Some(200));
        check(Schedule::Inv(Inv { base: 1.0, gamma: 1.0, power: -2.0 }), LONG, |value| value <= 100.0, Some(10));
        let momentum = Cyclic { base: 0.95, max: 1.1, ..Cyclic::new(0.0, 0.0, 300.0) };
        check(Schedule::Cyclic(momentum.clone()), LONG, fraction, Some(100));
        check(Schedule::Cyclic(Cyclic { max: 0.85, ..momentum.clone() }), LONG, fraction, None);
        // Steps of 8.2 meet the peak first at 41, in float32 exactly.
        check(Schedule::Cyclic(Cyclic::new(0.5, 1.0, 8.2)), LONG, |value| (value as f32) < 1.0, Some(41));
        let halving = Cyclic { amplitude: Amplitude::HalfPerCycle, base: 1.0, max: 0.5, ..Cyclic::new(0.0, 0.0, 10.0) };
        check(Schedule::Cyclic(halving), LONG, |value| value < 0.99, Some(0));
        let growing = Cyclic { decline: Some(Decline::Boundaries { gamma: 1.001 }), ..Cyclic::new(0.5, 1.0, 1.0) };
        let first = (0..200_000).find(|step| !finite(growing.at(*step)));
        check(Schedule::Cyclic(growing), LONG, finite, first);
        let amplitude = Cyclic { decline: Some(Decline::Amplitude { gamma: 2.0 }), ..Cyclic::new(0.5, 0.75, 7.0) };
        // 2^1024 is infinite, and 1036 = 74 x 14 starts a cycle, where the height is 0.
        check(Schedule::Cyclic(amplitude), LONG, finite, Some(1036));
        let stages = vec![
            Stage { steps: 100, schedule: Schedule::Constant(0.5) },
            Stage { steps: 1, schedule: Schedule::Exp(Exp { base: 0.4, gamma: 3.0 }) },
        ];
        check(Schedule::Sequence(stages.clone()), LONG, fraction, Some(101));
        check(Schedule::Sequence(stages.clone()), 101, fraction, None);
        let inner = Box::new(Schedule::Linear(Linear { from: 0.0, to: 1.0, steps: 10 }));
        check(
            Schedule::PerEpoch(PerEpoch { iterations_per_epoch: 391.into(), first_epoch: 1, inner }),
            LONG,
            fraction,
            Some(9 * 391),
        );
        let sgdr = Schedule::Sgdr(Sgdr::new(1.0, 0.5, 10, 2));
        check(sgdr.clone(), LONG, fraction, Some(0));
        check(Schedule::Table([0.1, 0.2, 1.5, 0.1].into()), LONG, fraction, Some(2));
        check(Schedule::Table([0.1, 0.2, 1.5, 0.1].into()), 2, fraction, None);
    }

    #[test]
    fn what_is_never_met_is_said_to_be_near() {
        // The step size is no fraction of a step that comes back: the peak lies between two steps for ever.
        let cyclic = Cyclic { window: Window::Hann, ..Cyclic::new(0.5, 1.0, std::f64::consts::PI * 100.0) };
        let found = Schedule::Cyclic(cyclic).first_outside(1_000_000_000, |value| value < 1.0);
        assert!(found.is_none_or(|outside| outside.value == 1.0), "{found:?}");
    }

    proptest! {
        /// Of cycles whose lengths and peaks change by any factors; a rounding of the power apart.
        #[test]
        fn no_value_is_outside_of_the_hull(schedule in prop_oneof![any_cyclic(), any_sgdr()], last in 0..300_u64) {
            let Some((low, high)) = schedule.hull(last) else { return Ok(()) };
            for step in 0..=last {
                let value = schedule.at(step);
                let slack = 4.0 * f64::EPSILON * value.abs();
                prop_assert!(!(value < low - slack || value > high + slack), "{:?} at {}: {}", schedule, step, value);
            }
        }

        /// Against looking at each step, for schedules of all kinds whose fields make sense or not.
        #[test]
        fn the_search_finds_what_looking_at_each_step_finds(schedule in any_schedule(), steps in 1..300_u64) {
            let inside = |value: f64| (0.0..50.0).contains(&value);
            let slow = (0..steps).find(|step| !inside(schedule.at(*step)));
            let fast = schedule.first_outside(steps, inside);
            prop_assert_eq!(fast.map(|outside| outside.step), slow.map(Some), "{:?}", schedule);
        }
    }
}
