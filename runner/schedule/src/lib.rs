#![doc = include_str!("../README.md")]

mod caffe;
mod canonical;
mod cosine;
mod cycle;
mod cyclic;
mod ends;
mod extent;
mod line;
mod one_cycle;
pub mod ratio;
mod sequence;
mod ticks;

pub use cosine::{Peak, Sgdr};
pub use cycle::{Cycle, cycle_start};
pub use cyclic::{Amplitude, Cyclic, Decline, Window};
pub use extent::Outside;
pub use one_cycle::{OneCycle, OneCycleForm};
pub use sequence::Stage;
pub use ticks::Ticks;

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod properties;

/// A value that changes during training, such as a learning rate. All durations are in steps: iterations, or epochs
/// within [`Schedule::PerEpoch`].
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// The same value at every step. (Caffe's `fixed`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Constant(0.1);
    /// assert_eq!([0, 1000].map(|step| schedule.at(step)), [0.1, 0.1]);
    /// ```
    Constant(f64),
    /// `base * gamma^floor(step / step_size)`. (Caffe's `step`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Step { base: 1.0, gamma: 0.5, step_size: 100.into() };
    /// assert_eq!([0, 99, 100, 250].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.25]);
    /// ```
    Step {
        /// The first value.
        base: f64,
        /// What each drop multiplies by.
        gamma: f64,
        /// Steps from drop to drop.
        step_size: Ticks,
    },
    /// `base * gamma^k`, k counting the milestones reached, at most one more a step. (Caffe's `multistep`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 30] };
    /// assert_eq!([9, 10, 29, 30].map(|step| schedule.at(step)), [1.0, 0.5, 0.5, 0.25]);
    /// ```
    MultiStep {
        /// The first value.
        base: f64,
        /// What each drop multiplies by.
        gamma: f64,
        /// The first step of each new value.
        milestones: Vec<u64>,
    },
    /// `base * gamma^step`. (Caffe's `exp`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Exp { base: 2.0, gamma: 0.5 };
    /// assert_eq!([0, 1, 2, 3].map(|step| schedule.at(step)), [2.0, 1.0, 0.5, 0.25]);
    /// ```
    Exp {
        /// The first value.
        base: f64,
        /// What each step multiplies by.
        gamma: f64,
    },
    /// `base * (1 + gamma * step)^-power`. (Caffe's `inv`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Inv { base: 1.0, gamma: 1.0, power: 1.0 };
    /// assert_eq!([0, 1, 3].map(|step| schedule.at(step)), [1.0, 0.5, 0.25]);
    /// ```
    Inv {
        /// The first value.
        base: f64,
        /// How fast the value falls.
        gamma: f64,
        /// The exponent.
        power: f64,
    },
    /// `base * (1 - step / steps)^power`, 0 from `steps` on. (Caffe's `poly`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Poly { base: 1.0, power: 2.0, steps: 10 };
    /// assert_eq!([0, 5, 10, 20].map(|step| schedule.at(step)), [1.0, 0.25, 0.0, 0.0]);
    /// ```
    Poly {
        /// The first value.
        base: f64,
        /// The exponent; 1 is a line.
        power: f64,
        /// The first step at zero.
        steps: u64,
    },
    /// `base / (1 + exp(-gamma * (step - step_size)))`: rises if `gamma` is positive. (Caffe's `sigmoid`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Sigmoid { base: 2.0, gamma: -1000.0, step_size: 10 };
    /// assert_eq!([0, 9, 10, 11].map(|step| schedule.at(step)), [2.0, 2.0, 1.0, 0.0]);
    /// ```
    Sigmoid {
        /// The upper limit.
        base: f64,
        /// The steepness; negative to fall.
        gamma: f64,
        /// The step at `base / 2`.
        step_size: u64,
    },
    /// Falls linearly from `max` to `base` over `step_size` steps, then stays. (Smith 2017, section 4.1.1, `decay`.)
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Decay { base: 1.0, max: 7.0, step_size: 4 };
    /// assert_eq!([0, 2, 4, 100].map(|step| schedule.at(step)), [7.0, 4.0, 1.0, 1.0]);
    /// ```
    Decay {
        /// The last value.
        base: f64,
        /// The first value.
        max: f64,
        /// Steps from `max` to `base`.
        step_size: u64,
    },
    /// Rises from `base` to `max` and falls back, again and again. (Smith 2017, section 3.)
    ///
    /// ```
    /// use clr_schedule::{Cyclic, Schedule};
    /// let schedule = Schedule::Cyclic(Cyclic::new(0.1, 3.0, 100.0));
    /// assert_eq!([0, 50, 100, 200].map(|step| schedule.at(step)), [0.1, 1.55, 3.0, 0.1]);
    /// ```
    Cyclic(Cyclic),
    /// One cycle of learning rate, then annihilation. (Smith and Topin 2018, arXiv 1708.07120; variants in [`OneCycle`].)
    ///
    /// ```
    /// use clr_schedule::{OneCycle, OneCycleForm, Schedule};
    /// let form = OneCycleForm::TwoPhase { pct_start: 0.25 };
    /// let schedule = Schedule::OneCycle(OneCycle { initial: 1.0, max: 5.0, last: 0.5, steps: 20, form, cosine: false });
    /// assert_eq!([0, 2, 4, 19, 20].map(|step| schedule.at(step)), [1.0, 3.0, 5.0, 0.5, 0.5]);
    /// ```
    OneCycle(OneCycle),
    /// Half a cosine from `max` to `min` over `steps` steps, then `min`.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Cosine { max: 1.0, min: 0.0, steps: 10 };
    /// assert_eq!([0, 5, 10, 11].map(|step| schedule.at(step)), [1.0, 0.5, 0.0, 0.0]);
    /// ```
    Cosine {
        /// The first value.
        max: f64,
        /// The last value.
        min: f64,
        /// Steps from `max` to `min`.
        steps: u64,
    },
    /// Cosine with warm restarts: cycle i lasts `first_cycle * mult^i` steps. (Loshchilov and Hutter 2017.)
    ///
    /// ```
    /// use clr_schedule::{Schedule, Sgdr};
    /// let schedule = Schedule::Sgdr(Sgdr::new(1.0, 0.0, 4, 2));
    /// assert_eq!([0, 2, 4, 8, 12].map(|step| schedule.at(step)), [1.0, 0.5, 1.0, 0.5, 1.0]);
    /// ```
    Sgdr(Sgdr),
    /// A line from `from` to `to` over `steps` steps, then `to`.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Linear { from: 0.0, to: 8.0, steps: 4 };
    /// assert_eq!([0, 1, 4, 9].map(|step| schedule.at(step)), [0.0, 2.0, 8.0, 8.0]);
    /// ```
    Linear {
        /// The first value.
        from: f64,
        /// The last value.
        to: f64,
        /// Steps from `from` to `to`.
        steps: u64,
    },
    /// The learning-rate range test: `min + (max - min) * step / steps`, or geometric. (Smith 2017, section 3.3.)
    ///
    /// A test of n updates stops just short of `max` when `steps` is n (the paper, fastai), and on it when `steps` is
    /// n - 1 (`pytorch-lr-finder`).
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::RangeTest { min: 1.0, max: 16.0, steps: 4, geometric: true };
    /// assert_eq!([0, 1, 2, 4].map(|step| schedule.at(step)), [1.0, 2.0, 4.0, 16.0]);
    /// ```
    RangeTest {
        /// The first value.
        min: f64,
        /// The last value.
        max: f64,
        /// Steps from `min` to `max`.
        steps: u64,
        /// `min * (max / min)^(step / steps)` instead.
        geometric: bool,
    },
    /// Values read from a file, one a step; the last one stays. Without values, NaN.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Table([3.0, 1.0, 2.0].into());
    /// assert_eq!([0, 1, 2, 9].map(|step| schedule.at(step)), [3.0, 1.0, 2.0, 2.0]);
    /// ```
    Table(std::sync::Arc<[f64]>),
    /// Values read from a file, each from its step on, in rising order; before the first it is the first, after the last
    /// the last. Without values, NaN.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let schedule = Schedule::Points { points: [(0.0, 1.0), (4.0, 3.0)].into(), linear: true };
    /// assert_eq!([0, 1, 4, 9].map(|step| schedule.at(step)), [1.0, 1.5, 3.0, 3.0]);
    /// ```
    Points {
        /// Step, which may have a fraction, and value.
        points: std::sync::Arc<[(f64, f64)]>,
        /// Between two of them a line from one to the other, instead of the first.
        linear: bool,
    },
    /// Stages in a row, each a schedule that counts from its own start; the last one goes on for ever.
    /// Without stages, NaN.
    ///
    /// ```
    /// use clr_schedule::{Schedule, Stage};
    /// let warmup = Stage { steps: 4, schedule: Schedule::Linear { from: 0.0, to: 8.0, steps: 4 } };
    /// let schedule = Schedule::Sequence(vec![warmup, Stage { steps: 10, schedule: Schedule::Exp { base: 8.0, gamma: 0.5 } }]);
    /// assert_eq!([0, 2, 4, 5, 6].map(|step| schedule.at(step)), [0.0, 4.0, 8.0, 4.0, 2.0]);
    /// ```
    Sequence(Vec<Stage>),
    /// The inner schedule, read once an epoch and held within it, as Torch recipes do.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let inner = Box::new(Schedule::Exp { base: 1.0, gamma: 0.5 });
    /// let schedule = Schedule::PerEpoch { iterations_per_epoch: 100.into(), first_epoch: 0, inner };
    /// assert_eq!([0, 99, 100, 200].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.25]);
    /// ```
    PerEpoch {
        /// The steps at which epochs begin.
        iterations_per_epoch: Ticks,
        /// What the first epoch is counted as: 1 in Torch7's code, where it therefore is not at `base`.
        first_epoch: u64,
        /// Counts epochs.
        inner: Box<Schedule>,
    },
}

impl Schedule {
    /// The value at `step`, counted from zero. Never panics; NaN only where a field is not a number or the formula has
    /// no value.
    ///
    /// ```
    /// use clr_schedule::Schedule;
    /// let decay = Schedule::Decay { base: 1.0, max: 7.0, step_size: 4 };
    /// assert_eq!([0, 2, 4, 100].map(|step| decay.at(step)), [7.0, 4.0, 1.0, 1.0]);
    /// ```
    pub fn at(&self, step: u64) -> f64 {
        match *self {
            Schedule::Constant(value) => value,
            Schedule::Step { base, gamma, step_size } => caffe::step(base, gamma, step_size.count(step)),
            Schedule::MultiStep { base, gamma, ref milestones } => caffe::multistep(base, gamma, milestones, step),
            Schedule::Exp { base, gamma } => caffe::exp(base, gamma, step),
            Schedule::Inv { base, gamma, power } => caffe::inv(base, gamma, power, step),
            Schedule::Poly { base, power, steps } => caffe::poly(base, power, steps, step),
            Schedule::Sigmoid { base, gamma, step_size } => caffe::sigmoid(base, gamma, step_size, step),
            Schedule::Decay { base, max, step_size } => line::linear(max, base, step_size, step),
            Schedule::Cyclic(ref cyclic) => cyclic.at(step),
            Schedule::OneCycle(ref one_cycle) => one_cycle.at(step),
            Schedule::Cosine { max, min, steps } => cosine::half_cosine(max, min, line::fraction(step, steps)),
            Schedule::Sgdr(ref sgdr) => sgdr.at(step),
            Schedule::Linear { from, to, steps } => line::linear(from, to, steps, step),
            Schedule::RangeTest { min, max, steps, geometric: false } => line::linear(min, max, steps, step),
            Schedule::RangeTest { min, max, steps, geometric: true } => line::geometric(min, max, steps, step),
            Schedule::Table(ref values) => sequence::table(values, step),
            Schedule::Points { ref points, linear } => sequence::points(points, linear, step),
            Schedule::Sequence(ref stages) => sequence::sequence(stages, step),
            Schedule::PerEpoch { iterations_per_epoch, first_epoch, ref inner } => {
                inner.at(first_epoch.saturating_add(iterations_per_epoch.count(step)))
            }
        }
    }
}
