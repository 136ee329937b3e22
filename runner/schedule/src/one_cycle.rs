//! The one-cycle policy: one rise, one fall, and a last stretch far below the start.

use super::canonical::{float, floats, integer, ratio};
use super::cosine::half_cosine;
use super::extent::hull_of;
use super::line::between;
use super::ratio::Ratio;
use super::{Cycle, Formula, Ticks};

/// The one-cycle policy. (Smith and Topin 2018, arXiv 1708.07120; Smith 2018, arXiv 1803.09820.)
///
/// Its momentum goes the other way: `initial = 0.95, max = 0.85, last = 0.95`, in PyTorch and fastai in the same form
/// as the learning rate. Smith's own code cycles momentum on a step size of its own: [`super::Cyclic`], with `base`
/// above `max` and [`super::Amplitude::HalfPerCycle`].
///
/// ```
/// use clr_schedule::{OneCycle, OneCycleForm, Schedule};
/// let form = OneCycleForm::TwoPhase { pct_start: 0.25 };
/// let schedule = Schedule::OneCycle(OneCycle { initial: 1.0, max: 5.0, last: 0.5, steps: 20, form, cosine: false });
/// assert_eq!([0, 2, 4, 19, 20].map(|step| schedule.at(step)), [1.0, 3.0, 5.0, 0.5, 0.5]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycle {
    /// The first value.
    pub initial: f64,
    /// The value at the peak.
    pub max: f64,
    /// The last value.
    pub last: f64,
    /// All phases together: the number of updates. Not used by [`OneCycleForm::Smith`].
    pub steps: u64,
    /// Which steps belong to which phase, and how they are joined.
    pub form: OneCycleForm,
    /// Cosine instead of linear annealing.
    pub cosine: bool,
}

/// Where the phases of a one-cycle policy lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OneCycleForm {
    /// PyTorch, two phases: up until `pct_start * steps - 1`, then down to `last` at `steps - 1`.
    TwoPhase {
        /// The fraction of the steps that rise.
        pct_start: f64,
    },
    /// PyTorch's `three_phase`, the wording of the paper: up until `pct_start * steps - 1`, down to `initial` until
    /// `2 * pct_start * steps - 2`, then down to `last` at `steps - 1`.
    ThreePhase {
        /// The fraction of the steps that rise, at most one half.
        pct_start: f64,
    },
    /// fastai's `fit_one_cycle`: up until `pct_start * steps`, then down to `last` at `steps`, which `steps` updates
    /// do not reach.
    Fraction {
        /// The fraction of the steps that rise.
        pct_start: f64,
    },
    /// Smith's Caffe code: up for `step_size` steps, down towards zero for as long, never below `last` (`initial / 1000`
    /// there), then `last`. Recovered from his logs; cosine annealing is not in them.
    Smith {
        /// Steps of the rise, and of the fall: about 0.45 of the run.
        step_size: Ratio,
    },
}

impl OneCycle {
    /// The steps that the cycle takes, the last stretch of Smith's form left out.
    fn length(&self) -> f64 {
        match self.form {
            OneCycleForm::Smith { step_size } => 2.0 * step_size.to_f64(),
            OneCycleForm::TwoPhase { .. } | OneCycleForm::ThreePhase { .. } | OneCycleForm::Fraction { .. } => {
                self.steps as f64
            }
        }
    }

    /// Where phases end.
    fn turns(&self) -> [f64; 3] {
        let steps = self.steps as f64;
        match self.form {
            OneCycleForm::TwoPhase { pct_start } => [pct_start * steps - 1.0, steps - 1.0, steps],
            OneCycleForm::ThreePhase { pct_start } => {
                [pct_start * steps - 1.0, 2.0 * pct_start * steps - 2.0, steps - 1.0]
            }
            OneCycleForm::Fraction { pct_start } => [pct_start * steps, steps, steps],
            OneCycleForm::Smith { step_size } => {
                let size = step_size.max(1.into()).to_f64();
                [size, 2.0 * size, 2.0 * size]
            }
        }
    }

    /// From `initial` at step 0 through the ends of the phases, each a (step, value); then the last of them. At its own end
    /// a phase has its own value, also where the next one is empty. A phase that is empty itself is skipped.
    fn through(&self, step: f64, ends: &[(f64, f64)]) -> f64 {
        let (mut start, mut from) = (0.0, self.initial);
        for &(end, to) in ends {
            if step <= end && start < end {
                let done = (step - start) / (end - start);
                return if self.cosine { half_cosine(from, to, done) } else { between(from, to, done) };
            }
            (start, from) = (end, to);
        }
        from
    }
}

impl Formula for OneCycle {
    /// The value at `step`. From the end on it stays, where PyTorch's goes up again.
    fn at(&self, step: u64) -> f64 {
        let steps = self.steps as f64;
        let last_step = self.steps.saturating_sub(1);
        match self.form {
            OneCycleForm::TwoPhase { pct_start } => self.through(
                step.min(last_step) as f64,
                &[(pct_start * steps - 1.0, self.max), (last_step as f64, self.last)],
            ),
            OneCycleForm::ThreePhase { pct_start } => self.through(
                step.min(last_step) as f64,
                &[
                    (pct_start * steps - 1.0, self.max),
                    (2.0 * pct_start * steps - 2.0, self.initial),
                    (last_step as f64, self.last),
                ],
            ),
            OneCycleForm::Fraction { pct_start } => {
                self.through(step as f64, &[(pct_start * steps, self.max), (steps, self.last)])
            }
            OneCycleForm::Smith { step_size } => {
                let step_size = step_size.max(Ratio::from(1));
                let size = step_size.to_f64();
                if Ticks::from(step_size).count(step) >= 2 {
                    return self.last;
                }
                let value = self.through(step as f64, &[(size, self.max), (2.0 * size, 0.0)]);
                if step as f64 > size { value.max(self.last) } else { value }
            }
        }
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(9);
        let OneCycle { initial, max, last, steps, form, cosine } = self;
        floats(&[*initial, *max, *last], out);
        integer(*steps, out);
        match form {
            OneCycleForm::TwoPhase { pct_start } => {
                // Without a way down the last value was once that of the end of it: those trials were others.
                out.push(if *pct_start >= 1.0 { 5 } else { 0 });
                float(*pct_start, out);
            }
            OneCycleForm::ThreePhase { pct_start } => {
                out.push(1);
                float(*pct_start, out);
            }
            OneCycleForm::Smith { step_size } => {
                out.push(if step_size.whole().is_some() { 2 } else { 4 });
                ratio(*step_size, out);
            }
            OneCycleForm::Fraction { pct_start } => {
                out.push(3);
                float(*pct_start, out);
            }
        }
        out.push(u8::from(*cosine));
    }

    fn hull(&self, _last: u64) -> Option<(f64, f64)> {
        let ordinary = self.turns().iter().all(|turn| turn.is_finite());
        hull_of([self.initial, self.max, self.last]).filter(|_| ordinary)
    }

    fn piece_end(&self, step: u64) -> u64 {
        let here = step as f64;
        match self.turns().into_iter().filter(|turn| *turn >= here).reduce(f64::min) {
            Some(turn) => (turn.floor() - 1.0).max(here) as u64,
            None => u64::MAX,
        }
    }

    fn cycle(&self, step: u64) -> Option<Cycle> {
        Cycle::only(self.length(), step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;

    #[track_caller]
    fn check(schedule: &OneCycle, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            // Near the end of a long fall little is left of the difference that was subtracted.
            assert!((got - value).abs() <= 1e-12 * value.abs(), "step {step}: got {got}, expected {value}");
        }
    }

    /// ResNet-56 of arXiv 1708.07120, section 5: 0.1 to 3 with step size 5000; the logs have `base / 1000` after it.
    #[test]
    fn smith_falls_towards_zero_and_not_to_the_first_value() {
        let form = OneCycleForm::Smith { step_size: 5000.into() };
        let smith = OneCycle { initial: 0.1, max: 3.0, last: 0.0001, steps: 11_000, form, cosine: false };
        check(&smith, &[(0, 0.1), (2500, 1.55), (5000, 3.0), (7500, 1.5), (9900, 0.06), (9999, 0.0006)]);
        check(&smith, &[(10_000, 0.0001), (10_999, 0.0001), (u64::MAX, 0.0001)]);
        let higher_floor = OneCycle { last: 0.01, ..smith };
        check(&higher_floor, &[(9980, 0.012), (9990, 0.01), (10_000, 0.01)]);
    }

    #[test]
    fn two_phases_end_on_their_steps() {
        let form = OneCycleForm::TwoPhase { pct_start: 0.3 };
        let pytorch = OneCycle { initial: 0.04, max: 1.0, last: 4e-6, steps: 10, form, cosine: true };
        check(&pytorch, &[(0, 0.04), (1, 0.52), (2, 1.0), (9, 4e-6)]);
        // PyTorch gives 0.0495 at step 10 and an error at 11.
        check(&pytorch, &[(10, 4e-6), (11, 4e-6), (u64::MAX, 4e-6)]);
    }

    #[test]
    fn three_phases_come_back_to_the_first_value() {
        let form = OneCycleForm::ThreePhase { pct_start: 0.25 };
        let pytorch = OneCycle { initial: 1.0, max: 5.0, last: 0.5, steps: 20, form, cosine: false };
        check(&pytorch, &[(0, 1.0), (2, 3.0), (4, 5.0), (6, 3.0), (8, 1.0), (19, 0.5), (20, 0.5)]);
    }

    #[test]
    fn fraction_ends_one_step_after_the_run() {
        let form = OneCycleForm::Fraction { pct_start: 0.25 };
        let fastai = OneCycle { initial: 1.0, max: 5.0, last: 0.5, steps: 20, form, cosine: false };
        check(&fastai, &[(0, 1.0), (5, 5.0), (19, 0.8), (20, 0.5), (21, 0.5)]);
    }

    /// All of it on the way up: PyTorch's last step is the peak.
    #[test]
    fn without_a_way_down_the_last_step_is_the_peak() {
        let form = OneCycleForm::TwoPhase { pct_start: 1.0 };
        let up = OneCycle { initial: 0.04, max: 1.0, last: 4e-6, steps: 10, form, cosine: false };
        check(&up, &[(0, 0.04), (3, 0.36), (8, 0.8933333333333333), (9, 1.0), (10, 1.0), (u64::MAX, 1.0)]);
        check(&OneCycle { steps: 2, ..up }, &[(0, 0.04), (1, 1.0)]);
    }

    /// `pct_start * steps = 1` makes PyTorch's first phase empty, which it answers with a division by zero.
    #[test]
    fn an_empty_phase_is_skipped() {
        let form = OneCycleForm::TwoPhase { pct_start: 0.1 };
        let peak_first = OneCycle { initial: 1.0, max: 5.0, last: 0.5, steps: 10, form, cosine: false };
        check(&peak_first, &[(0, 5.0), (9, 0.5)]);
        check(&OneCycle { steps: 1, ..peak_first.clone() }, &[(0, 0.5)]);
        check(&OneCycle { steps: 0, ..peak_first }, &[(0, 0.5)]);
    }
}
