//! The same value at every step. (Caffe's `fixed`.)

use super::Formula;
use super::canonical::float;

/// A number is the schedule that never changes.
impl Formula for f64 {
    fn at(&self, _step: u64) -> f64 {
        *self
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(0);
        float(*self, out);
    }

    fn is_monotone(&self) -> bool {
        true
    }
}
