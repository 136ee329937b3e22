//! Values from certain steps on.

use std::sync::Arc;

use super::Formula;
use super::canonical::{floats, integer};
use super::extent::join;
use super::line::between;

/// Values read from a file, each from its step on, in rising order; before the first it is the first, after the last
/// the last. Without values, NaN.
///
/// ```
/// use clr_schedule::{Points, Schedule};
/// let schedule = Schedule::Points(Points { points: [(0.0, 1.0), (4.0, 3.0)].into(), linear: true });
/// assert_eq!([0, 1, 4, 9].map(|step| schedule.at(step)), [1.0, 1.5, 3.0, 3.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Step, which may have a fraction, and value.
    pub points: Arc<[(f64, f64)]>,
    /// Between two of them a line from one to the other, instead of the first.
    pub linear: bool,
}

impl Formula for Points {
    fn at(&self, step: u64) -> f64 {
        let step = step as f64;
        let after = self.points.partition_point(|(start, _)| *start <= step);
        match (after.checked_sub(1).map(|before| self.points[before]), self.points.get(after)) {
            (Some((start, from)), Some((end, to))) if self.linear => between(from, *to, (step - start) / (end - start)),
            (Some((_, value)), _) => value,
            (None, Some((_, value))) => *value,
            (None, None) => f64::NAN,
        }
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(17);
        integer(self.points.len() as u64, out);
        self.points.iter().for_each(|(step, value)| floats(&[*step, *value], out));
        out.push(u8::from(self.linear));
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        let points = &self.points;
        if points.windows(2).any(|pair| pair[0].0 >= pair[1].0 || !(pair[1].0 - pair[0].0).is_finite()) {
            return None;
        }
        let used = points.iter().take_while(|(start, _)| *start <= last as f64).map(|(_, value)| *value);
        let ends = [self.at(0), self.at(last)];
        ends.into_iter().chain(used).try_fold((f64::INFINITY, f64::NEG_INFINITY), join)
    }
}
