//! Cosine annealing, once or with warm restarts.

use std::f64::consts::PI;

use super::cycle::{Cycle, cycle_at};
use super::line::between;
use crate::ratio::Ratio;

/// Cosine annealing with warm restarts, SGDR. (Loshchilov and Hutter 2017, equation 5.)
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

    /// The value at `step`; `min` after the last cycle, where they become shorter and shorter.
    pub fn at(&self, step: u64) -> f64 {
        match self.position(step) {
            Some((cycle, done)) => half_cosine(self.peak_of(cycle.index), self.min, done),
            None => self.min,
        }
    }

    /// The cycle of a step; none after the last one.
    pub(super) fn cycle(&self, step: u64) -> Option<Cycle> {
        self.position(step).map(|(cycle, _)| cycle)
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
    pub(super) fn peak_of(&self, index: f64) -> f64 {
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

/// Half a cosine: `to + (from - to) * (1 + cos(pi t)) / 2`, exactly `from` at t = 0 and `to` at t = 1.
pub(super) fn half_cosine(from: f64, to: f64, t: f64) -> f64 {
    between(to, from, (1.0 + libm::cos(PI * t)) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schedule;

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            assert!((got - value).abs() <= 1e-15, "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn cosine_falls_once() {
        let cosine = Schedule::Cosine { max: 1.0, min: 0.2, steps: 10 };
        check(cosine, &[(0, 1.0), (5, 0.6), (10, 0.2), (11, 0.2), (20, 0.2), (u64::MAX, 0.2)]);
        check(Schedule::Cosine { max: 1.0, min: 0.2, steps: 0 }, &[(0, 0.2)]);
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
