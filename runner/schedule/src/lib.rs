#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod canonical;
mod constant;
mod cosine;
mod cycle;
mod cyclic;
mod decay;
mod ends;
mod exp;
mod extent;
mod formula;
mod inv;
mod line;
mod linear;
mod multistep;
mod one_cycle;
mod per_epoch;
mod points;
mod poly;
mod range_test;
pub mod ratio;
mod sequence;
mod sgdr;
mod sigmoid;
mod step;
mod table;
mod ticks;

use std::sync::Arc;

pub use cosine::Cosine;
pub use cycle::{Cycle, cycle_start};
pub use cyclic::{Amplitude, Cyclic, Decline, Window};
pub use decay::Decay;
pub use exp::Exp;
pub use extent::Outside;
pub use formula::Formula;
pub use inv::Inv;
pub use linear::Linear;
pub use multistep::MultiStep;
pub use one_cycle::{OneCycle, OneCycleForm};
pub use per_epoch::PerEpoch;
pub use points::Points;
pub use poly::Poly;
pub use range_test::RangeTest;
pub use sequence::Stage;
pub use sgdr::{Peak, Sgdr};
pub use sigmoid::Sigmoid;
pub use step::Step;
pub use ticks::Ticks;

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod properties;

/// Makes the enum of all kinds, of a line each.
macro_rules! kinds {
    ($(#[$of_enum:meta])* pub enum Schedule { $($(#[$doc:meta])* $kind:ident($formula:ty),)* }) => {
        $(#[$of_enum])*
        pub enum Schedule {
            $($(#[$doc])* $kind($formula),)*
        }

        impl Schedule {
            fn formula(&self) -> &dyn Formula {
                match self {
                    $(Schedule::$kind(formula) => formula,)*
                }
            }
        }
    };
}

kinds! {
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
        Step(Step),
        /// `base * gamma^k`, k counting the milestones reached, at most one more a step. (Caffe's `multistep`.)
        MultiStep(MultiStep),
        /// `base * gamma^step`. (Caffe's `exp`.)
        Exp(Exp),
        /// `base * (1 + gamma * step)^-power`. (Caffe's `inv`.)
        Inv(Inv),
        /// `base * (1 - step / steps)^power`, 0 from `steps` on. (Caffe's `poly`.)
        Poly(Poly),
        /// `base / (1 + exp(-gamma * (step - step_size)))`: rises if `gamma` is positive. (Caffe's `sigmoid`.)
        Sigmoid(Sigmoid),
        /// Falls linearly from `max` to `base` over `step_size` steps, then stays. (Smith 2017, section 4.1.1, `decay`.)
        Decay(Decay),
        /// Rises from `base` to `max` and falls back, again and again. (Smith 2017, section 3.)
        Cyclic(Cyclic),
        /// One cycle of learning rate, then annihilation. (Smith and Topin 2018, arXiv 1708.07120; variants in [`OneCycle`].)
        OneCycle(OneCycle),
        /// Half a cosine from `max` to `min` over `steps` steps, then `min`.
        Cosine(Cosine),
        /// Cosine with warm restarts: cycle i lasts `first_cycle * mult^i` steps. (Loshchilov and Hutter 2017.)
        Sgdr(Sgdr),
        /// A line from `from` to `to` over `steps` steps, then `to`.
        Linear(Linear),
        /// The learning-rate range test: `min + (max - min) * step / steps`, or geometric. (Smith 2017, section 3.3.)
        RangeTest(RangeTest),
        /// Values read from a file, one a step; the last one stays. Without values, NaN.
        ///
        /// ```
        /// use clr_schedule::Schedule;
        /// let schedule = Schedule::Table([3.0, 1.0, 2.0].into());
        /// assert_eq!([0, 1, 2, 9].map(|step| schedule.at(step)), [3.0, 1.0, 2.0, 2.0]);
        /// ```
        Table(Arc<[f64]>),
        /// Values read from a file, each from its step on.
        Points(Points),
        /// Stages in a row, each a schedule that counts from its own start; the last one goes on for ever.
        /// Without stages, NaN.
        ///
        /// ```
        /// use clr_schedule::{Exp, Linear, Schedule, Stage};
        /// let warmup = Stage { steps: 4, schedule: Schedule::Linear(Linear { from: 0.0, to: 8.0, steps: 4 }) };
        /// let schedule = Schedule::Sequence(vec![warmup, Stage { steps: 10, schedule: Schedule::Exp(Exp { base: 8.0, gamma: 0.5 }) }]);
        /// assert_eq!([0, 2, 4, 5, 6].map(|step| schedule.at(step)), [0.0, 4.0, 8.0, 4.0, 2.0]);
        /// ```
        Sequence(Vec<Stage>),
        /// The inner schedule, read once an epoch and held within it, as Torch recipes do.
        PerEpoch(PerEpoch),
    }
}

impl Schedule {
    /// The value at `step`, counted from zero. Never panics; NaN only where a field is not a number or the formula has
    /// no value.
    ///
    /// ```
    /// use clr_schedule::{Decay, Schedule};
    /// let decay = Schedule::Decay(Decay { base: 1.0, max: 7.0, step_size: 4 });
    /// assert_eq!([0, 2, 4, 100].map(|step| decay.at(step)), [7.0, 4.0, 1.0, 1.0]);
    /// ```
    pub fn at(&self, step: u64) -> f64 {
        self.formula().at(step)
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        self.formula().hull(last)
    }

    fn piece_end(&self, step: u64) -> u64 {
        self.formula().piece_end(step)
    }
}
