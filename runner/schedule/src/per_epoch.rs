//! A schedule that changes once an epoch.

use super::canonical::{integer, ticks};
use super::extent::first_where;
use super::{Formula, Schedule, Ticks};

/// The inner schedule, read once an epoch and held within it, as Torch recipes do.
///
/// ```
/// use clr_schedule::{Exp, PerEpoch, Schedule};
/// let inner = Box::new(Schedule::Exp(Exp { base: 1.0, gamma: 0.5 }));
/// let schedule = Schedule::PerEpoch(PerEpoch { iterations_per_epoch: 100.into(), first_epoch: 0, inner });
/// assert_eq!([0, 99, 100, 200].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PerEpoch {
    /// The steps at which epochs begin.
    pub iterations_per_epoch: Ticks,
    /// What the first epoch is counted as: 1 in Torch7's code, where it therefore is not at `base`.
    pub first_epoch: u64,
    /// Counts epochs.
    pub inner: Box<Schedule>,
}

impl PerEpoch {
    /// The epoch of a step.
    fn epoch(&self, step: u64) -> u64 {
        self.first_epoch.saturating_add(self.iterations_per_epoch.count(step))
    }
}

impl Formula for PerEpoch {
    fn at(&self, step: u64) -> f64 {
        self.inner.at(self.epoch(step))
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(if self.iterations_per_epoch.whole().is_some() { 16 } else { 20 });
        ticks(self.iterations_per_epoch, out);
        integer(self.first_epoch, out);
        self.inner.canonical(out);
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        self.inner.hull(self.epoch(last))
    }

    fn piece_end(&self, step: u64) -> u64 {
        let end = self.inner.piece_end(self.epoch(step));
        first_where(step, u64::MAX, |step| self.epoch(step) > end).saturating_sub(1)
    }

    /// At the first iteration of that epoch.
    fn next_cycle_end(&self, after: u64) -> Option<u64> {
        let end = self.inner.next_cycle_end(self.epoch(after))?;
        Some(first_where(after.saturating_add(1), u64::MAX, |step| self.epoch(step) >= end))
    }
}
