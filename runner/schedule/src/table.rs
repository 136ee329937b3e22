//! A value for each step.

use std::sync::Arc;

use super::Formula;
use super::canonical::{floats, integer};
use super::extent::join;

/// The last value stays. NaN without values.
impl Formula for Arc<[f64]> {
    fn at(&self, step: u64) -> f64 {
        let row = usize::try_from(step).unwrap_or(usize::MAX);
        self.get(row).or(self.last()).copied().unwrap_or(f64::NAN)
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(14);
        integer(self.len() as u64, out);
        floats(self, out);
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        let used = self.iter().take(usize::try_from(last).unwrap_or(usize::MAX).saturating_add(1));
        used.copied().try_fold((f64::INFINITY, f64::NEG_INFINITY), join)
    }

    fn piece_end(&self, step: u64) -> u64 {
        if step >= self.len() as u64 { u64::MAX } else { step }
    }
}
