//! What a tool keeps of the losses of its sweep.

use std::ops::Range;

/// The losses that a tool keeps: smoothed, up to where it stops.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub losses: Vec<f64>,
    /// True if it stopped since the last loss was too large.
    pub stopped: bool,
}

impl Recorded {
    /// The number of losses that the tool would have recorded. A loss that is not a number stops no tool: where training ended
    /// with one, the tool would have gone on to the end and recorded more of them.
    pub fn full_length(&self, planned: usize) -> usize {
        let ended_by_nan = self.losses.last().is_some_and(|loss| loss.is_nan());
        if ended_by_nan { planned.max(self.losses.len()) } else { self.losses.len() }
    }

    /// Python's `[first:-last]` of what the tool would have recorded, as far as it was.
    pub fn slice(&self, first: usize, last: usize, planned: usize) -> Range<usize> {
        let end = self.full_length(planned).saturating_sub(last).min(self.losses.len());
        first.min(end)..end
    }
}
