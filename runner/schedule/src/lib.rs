//! Schedules: pure functions from a step to a value.
//!
//! A schedule holds no state, so resuming at step 1000 needs no record of steps 0..1000, and plotting one is a loop.
//!
//! Step i is the value that update i + 1 uses, so a run of n updates reads steps 0 to n - 1. Values are f64. Whatever
//! its fields hold, a schedule has a value at every step: one of zero length is over at once, a step size of zero
//! counts as one, and past its end a finite schedule keeps its last value.
//!
//! # Where implementations disagree
//!
//! What the literature calls by one name is often two functions. Each row is a choice that the types here spell out.
//!
//! | question | Caffe and the papers | Keras (`bckenstler/CLR`) | PyTorch | fastai | here |
//! |---|---|---|---|---|---|
//! | what is counted | updates; Torch7 epochs, from 1 | batches | calls of `step()` | fraction of the run | updates; [`Schedule::PerEpoch`] |
//! | value at 0 | `base` | `base` | `base`, overwriting the group's | `max / div` | the first field; never read from elsewhere |
//! | way up and down | equal, whole | equal, real | `step_size_up`, `step_size_down` | `pct_start` | [`Cyclic::up`], [`Cyclic::down`], real |
//! | `triangular` | amplitude 1 (paper), 1/(c+1) (Smith's notes for Caffe) | 1 | 1 | - | [`Amplitude`] |
//! | `triangular2` | 1/2^c | 1/2^c | 1/2^c | - | [`Amplitude::HalfPerCycle`] |
//! | `exp_range` declines | both boundaries | the amplitude | the amplitude, momentum's too | - | [`Decline`] |
//! | momentum | constant; 1cycle cycles it | constant | cycled the other way by default | cycled | a schedule of its own, `base` above `max` |
//! | 1cycle: way down | to 0, not to `base`, floor `base / 1000` | - | to `last` at step `steps - 1` | to `last` at step `steps`, never reached | [`OneCycleForm`] |
//! | 1cycle: `last` | `initial / 1000` | - | `initial / 1e4` | `max / 1e5` | a value, [`OneCycle::last`] |
//! | past the end of 1cycle | constant | - | rises, then an error | - | `last` |
//! | peaks that change by any factor | - | - | `scale_fn`, over `base` | - | [`Amplitude::Factor`], over `base` |
//! | `sgdr`: is `min` reached | only between updates | - | no: a restart comes first | - | no |
//! | `sgdr`: cycles longer by | any factor | any (`t_mul`), by a logarithm | whole factors; timm any (`cycle_mul`), by a logarithm | any (`cycle_mult`) | any, counted exactly |
//! | `sgdr`: lower restarts | both bounds | `m_mul`: of the amplitude | none; timm's `cycle_decay`: of the peak | - | [`Peak`] |
//! | late start | `start_lr_policy` | `_reset()` | `SequentialLR` | `combine_scheds` | [`Schedule::Sequence`] |
//! | equal milestones | one drop per update | - | as many drops at once | - | as Caffe |
//! | parameters | f32 | f64 | f64 | f64 | f64 (f32's 0.99994 is 0.99993998: 0.15% lower after 70,000 updates) |
//!
//! Caffe's, Keras's and PyTorch's `triangular` and `triangular2` are one function, to rounding.

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
    Constant(f64),
    /// `base * gamma^floor(step / step_size)`. (Caffe's `step`.)
    Step {
        /// The first value.
        base: f64,
        /// What each drop multiplies by.
        gamma: f64,
        /// Steps from drop to drop.
        step_size: Ticks,
    },
    /// `base * gamma^k`, k counting the milestones reached, at most one more a step. (Caffe's `multistep`.)
    MultiStep {
        /// The first value.
        base: f64,
        /// What each drop multiplies by.
        gamma: f64,
        /// The first step of each new value.
        milestones: Vec<u64>,
    },
    /// `base * gamma^step`. (Caffe's `exp`.)
    Exp {
        /// The first value.
        base: f64,
        /// What each step multiplies by.
        gamma: f64,
    },
    /// `base * (1 + gamma * step)^-power`. (Caffe's `inv`.)
    Inv {
        /// The first value.
        base: f64,
        /// How fast the value falls.
        gamma: f64,
        /// The exponent.
        power: f64,
    },
    /// `base * (1 - step / steps)^power`, 0 from `steps` on. (Caffe's `poly`.)
    Poly {
        /// The first value.
        base: f64,
        /// The exponent; 1 is a line.
        power: f64,
        /// The first step at zero.
        steps: u64,
    },
    /// `base / (1 + exp(-gamma * (step - step_size)))`: rises if `gamma` is positive. (Caffe's `sigmoid`.)
    Sigmoid {
        /// The upper limit.
        base: f64,
        /// The steepness; negative to fall.
        gamma: f64,
        /// The step at `base / 2`.
        step_size: u64,
    },
    /// Falls linearly from `max` to `base` over `step_size` steps, then stays. (Smith 2017, section 4.1.1, `decay`.)
    Decay {
        /// The last value.
        base: f64,
        /// The first value.
        max: f64,
        /// Steps from `max` to `base`.
        step_size: u64,
    },
    /// Rises from `base` to `max` and falls back, again and again. (Smith 2017, section 3.)
    Cyclic(Cyclic),
    /// One cycle of learning rate, then annihilation. (Smith and Topin 2018, arXiv 1708.07120; variants in [`OneCycle`].)
    OneCycle(OneCycle),
    /// Half a cosine from `max` to `min` over `steps` steps, then `min`.
    Cosine {
        /// The first value.
        max: f64,
        /// The last value.
        min: f64,
        /// Steps from `max` to `min`.
        steps: u64,
    },
    /// Cosine with warm restarts: cycle i lasts `first_cycle * mult^i` steps. (Loshchilov and Hutter 2017.)
    Sgdr(Sgdr),
    /// A line from `from` to `to` over `steps` steps, then `to`.
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
    Table(std::sync::Arc<[f64]>),
    /// Values read from a file, each from its step on, in rising order; before the first it is the first, after the last
    /// the last. Without values, NaN.
    Points {
        /// Step, which may have a fraction, and value.
        points: std::sync::Arc<[(f64, f64)]>,
        /// Between two of them a line from one to the other, instead of the first.
        linear: bool,
    },
    /// Stages in a row, each a schedule that counts from its own start; the last one goes on for ever.
    /// Without stages, NaN.
    Sequence(Vec<Stage>),
    /// The inner schedule, read once an epoch and held within it, as Torch recipes do.
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
