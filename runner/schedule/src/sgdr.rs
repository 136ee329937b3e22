//! Cosine annealing with warm restarts.

use super::Formula;
use super::canonical::{both_parts, float, floats, integer, ratio};
use super::cosine::half_cosine;
use super::cycle::{Cycle, cycle_at};
use super::extent::hull_of;
use super::ratio::Ratio;

/// Cosine with warm restarts: cycle i lasts `first_cycle * mult^i` steps. (Loshchilov and Hutter 2017, equation 5.)
///
/// ```
/// use clr_schedule::{Schedule, Sgdr};
/// let schedule = Schedule::Sgdr(Sgdr::new(1.0, 0.0, 4, 2));
/// assert_eq!([0, 2, 4, 8, 12].map(|step| schedule.at(step)), [1.0, 0.5, 1.0, 0.5, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sgdr {
    /// The value at the start, and at each restart what [`Sgdr::peak`] makes of it.
    pub max: f64,
    /// What each cycle falls towards; the restart comes before it is reached.
    pub min: f64,
    /// Steps of the first cycle. Where it is a fraction, restarts are at the first steps at which cycles are over.
    pub first_cycle: Ratio,
    /// How many times as long each cycle is as the one before: the paper's T_mult, which may be a fraction.
    pub mult: Ratio,
    /// What becomes of the peak from restart to restart.
    pub peak: Peak,
}

/// The value at which cycle c of an [`Sgdr`] begins, c counted from zero. No peak lies beyond `min`, seen from `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peak {
    /// Always `max`.
    Constant,
    /// `max * factor^c`: timm's `cycle_decay`.
    Factor(f64),
    /// `min + (max - min) * factor^c`: Keras's `m_mul`.
    AmplitudeFactor(f64),
}

impl Sgdr {
    /// Whole cycles, and restarts that come back to `max`.
    pub fn new(max: f64, min: f64, first_cycle: u64, mult: u64) -> Sgdr {
        Sgdr { max, min, first_cycle: first_cycle.into(), mult: mult.into(), peak: Peak::Constant }
    }

    /// The index of the cycle of a step; infinite after all of ever shorter ones.
    pub fn index(&self, step: u64) -> f64 {
        self.cycle(step).map_or(f64::INFINITY, |cycle| cycle.index)
    }

    /// The cycle of a step, and how much of it is done.
    ///
    /// It is found in whole numbers, parts of a step: the logarithm that closed forms use is wrong by a cycle at some
    /// restarts. Where the parts become finer than 128 bits hold, no later restart falls on a whole step, and the
    /// logarithm finds it.
    fn position(&self, step: u64) -> Option<(Cycle, f64)> {
        let [longer, shorter] = [self.mult.numerator(), self.mult.denominator()].map(u128::from);
        let mut unit = u128::from(self.first_cycle.denominator());
        let mut length = u128::from(self.first_cycle.numerator().max(1));
        let mut since = u128::from(step) * unit;
        let mut index = 0.0;
        if longer == shorter {
            index = (since / length) as f64;
            since %= length;
        }
        // The unit or the length at least doubles, so this takes at most 128 turns.
        while since >= length {
            (since, index) = (since - length, index + 1.0);
            let finer = (since.checked_mul(shorter), length.checked_mul(longer), unit.checked_mul(shorter));
            let (Some(finer_since), Some(finer_length), Some(finer_unit)) = finer else {
                let [since, length] = [since, length].map(|parts| parts as f64 / unit as f64);
                let mult = self.mult.to_f64();
                let mut cycle = cycle_at(length * mult, mult, since)?;
                cycle.index += index;
                let left = (cycle.length - cycle.since).ceil().max(1.0);
                cycle.end = step.saturating_add(left as u64);
                return Some((cycle, cycle.since / cycle.length));
            };
            (since, length, unit) = (finer_since, finer_length, finer_unit);
            if length == 0 {
                return None;
            }
        }
        let left = u64::try_from((length - since).div_ceil(unit)).unwrap_or(u64::MAX);
        let [since, length, unit] = [since, length, unit].map(|parts| parts as f64);
        let cycle = Cycle { index, since: since / unit, length: length / unit, end: step.saturating_add(left) };
        Some((cycle, since / length))
    }

    /// The value at which the cycle of this index begins.
    fn peak_of(&self, index: f64) -> f64 {
        let Sgdr { max, min, .. } = *self;
        let peak = match self.peak {
            Peak::Constant => return max,
            _ if index == 0.0 => return max,
            Peak::Factor(factor) => max * libm::pow(factor, index),
            Peak::AmplitudeFactor(_) if max == min => return max,
            Peak::AmplitudeFactor(factor) => min + (max - min) * libm::pow(factor, index),
        };
        let is_beyond = if max >= min { peak < min } else { peak > min };
        if is_beyond { min } else { peak }
    }
}

impl Formula for Sgdr {
    /// The value at `step`; `min` after the last cycle, where they become shorter and shorter.
    fn at(&self, step: u64) -> f64 {
        match self.position(step) {
            Some((cycle, done)) => half_cosine(self.peak_of(cycle.index), self.min, done),
            None => self.min,
        }
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        let Sgdr { max, min, first_cycle, mult, peak } = *self;
        if let (Some(mult), Peak::Constant) = (mult.whole(), peak) {
            out.push(if first_cycle.whole().is_some() { 11 } else { 19 });
            floats(&[max, min], out);
            ratio(first_cycle, out);
            integer(mult, out);
            return;
        }
        out.push(22);
        floats(&[max, min], out);
        both_parts(first_cycle, out);
        both_parts(mult, out);
        match peak {
            Peak::Constant => out.push(0),
            Peak::Factor(factor) => {
                out.push(1);
                float(factor, out);
            }
            Peak::AmplitudeFactor(factor) => {
                out.push(2);
                float(factor, out);
            }
        }
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        let factor = match self.peak {
            Peak::Constant => 1.0,
            Peak::Factor(factor) | Peak::AmplitudeFactor(factor) => factor,
        };
        hull_of([self.max, self.min, self.peak_of(self.index(last))]).filter(|_| factor >= 0.0)
    }

    fn piece_end(&self, step: u64) -> u64 {
        self.cycle(step).map_or(u64::MAX, |cycle| cycle.end - 1)
    }

    fn cycle(&self, step: u64) -> Option<Cycle> {
        self.position(step).map(|(cycle, _)| cycle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            assert!((got - value).abs() <= 1e-15, "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn restarts_are_where_the_cycles_end() {
        // cos(pi / 4) / 2 + 1 / 2 and its mirror image.
        let (high, low) = (0.8535533905932737, 0.14644660940672627);
        let doubling = Schedule::Sgdr(Sgdr::new(1.0, 0.0, 4, 2));
        check(doubling, &[(0, 1.0), (1, high), (2, 0.5), (3, low), (4, 1.0), (6, high), (11, 0.03806023374435663)]);
        let equal = Schedule::Sgdr(Sgdr::new(1.0, 0.0, 4, 1));
        check(equal, &[(4, 1.0), (7, low), (8, 1.0), (4_000_000_000_000_000_000, 1.0)]);
    }

    /// Cycle i starts at `first * (mult^i - 1) / (mult - 1)`; a logarithm of it in f64 is off at some of these.
    #[test]
    fn every_restart_is_exact() {
        for (first, mult) in [(1, 2), (3, 3), (10, 2), (7, 10)] {
            let sgdr = Schedule::Sgdr(Sgdr::new(1.0, 0.0, first, mult));
            let (mut start, mut length) = (0_u64, first);
            while length < 1 << 50 {
                assert_eq!(sgdr.at(start), 1.0, "first {first}, mult {mult}, restart at {start}");
                if length > 1 {
                    let before_end = sgdr.at(start + length - 1);
                    assert!(before_end < 0.51, "first {first}, mult {mult}, cycle at {start}: ends at {before_end}");
                }
                start += length;
                length *= mult;
            }
        }
    }
}
