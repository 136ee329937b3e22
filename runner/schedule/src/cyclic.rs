//! Cyclical learning rates: triangular, triangular2, exp_range and their windows. (Smith 2017, arXiv 1506.01186v6.)

use std::f64::consts::PI;

use super::Formula;
use super::canonical::{float, floats};
use super::cycle::{Cycle, cycle_at, cycle_start};
use super::extent::hull_of;
use super::line::between;

/// Cyclical learning rates and their family: rises from `base` to `max` and falls back, again and again. (Smith 2017, section 3.)
///
/// Momentum cycles the other way: `base`, the value at step 0, is then the higher bound, and `max`, the value at the
/// peak of the learning rate, the lower. So `base = 0.95, max = 0.85` goes with a learning rate of equal `up` and `down`.
///
/// ```
/// use clr_schedule::{Cyclic, Schedule};
/// let schedule = Schedule::Cyclic(Cyclic::new(0.1, 3.0, 100.0));
/// assert_eq!([0, 50, 100, 200].map(|step| schedule.at(step)), [0.1, 1.55, 3.0, 0.1]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cyclic {
    /// The value at the start and the end of each cycle; for a learning rate the lower bound.
    pub base: f64,
    /// The value `up` steps into each cycle of full amplitude; for a learning rate the upper bound.
    pub max: f64,
    /// Steps from `base` to `max`: the paper's `stepsize`. Real, since Torch recipes count 8.2 epochs.
    /// Whole numbers give exact cycles; with 0 each cycle starts at `max`.
    pub up: f64,
    /// Steps from `max` back to `base`; equal to `up` in the paper.
    pub down: f64,
    /// The shape of a cycle.
    pub window: Window,
    /// How many times as long each cycle is as the one before, on its way up and on its way down.
    pub mult: f64,
    /// What becomes of the amplitude from cycle to cycle.
    pub amplitude: Amplitude,
    /// `exp_range`: what declines by `gamma^step`.
    pub decline: Option<Decline>,
    /// After how many cycles the value stays where it is, if ever: whole numbers leave it at `base`, declined as it is.
    pub cycles: Option<f64>,
}

/// The shape of one cycle, as a function of u in [-1, 1], 0 at the peak. The paper tried all three and found them equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// `1 - |u|`
    Linear,
    /// `1 - u^2`
    Welch,
    /// `(1 + cos(pi u)) / 2`
    Hann,
}

/// The amplitude of cycle c, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amplitude {
    /// Always 1: `triangular`.
    Constant,
    /// `1 / 2^c`: `triangular2`.
    HalfPerCycle,
    /// `1 / (c + 1)`: the form in Smith's own notes on adding CLR to Caffe.
    OneOverCycle,
    /// `factor^c`, where the cycle rises to `base + (max - base) * factor^c`: PyTorch's `scale_fn`.
    Factor(f64),
}

/// The two readings of `exp_range`. Both count all steps, not those since the cycle began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decline {
    /// The paper: each boundary declines, `gamma^step * (base + (max - base) * window)`.
    Boundaries {
        /// What each step multiplies by.
        gamma: f64,
    },
    /// Keras and PyTorch: only the amplitude declines, `base + (max - base) * window * gamma^step`.
    Amplitude {
        /// What each step multiplies by.
        gamma: f64,
    },
}

impl Cyclic {
    /// The paper's `triangular`: up in `step_size` steps, down in as many, always between the same bounds.
    pub fn new(base: f64, max: f64, step_size: f64) -> Cyclic {
        Cyclic {
            base,
            max,
            up: step_size,
            down: step_size,
            window: Window::Linear,
            mult: 1.0,
            amplitude: Amplitude::Constant,
            decline: None,
            cycles: None,
        }
    }

    /// When the value begins to stay where it is, if a number of cycles says so.
    fn end(&self) -> Option<f64> {
        self.cycles
            .filter(|cycles| cycles.is_finite())
            .map(|cycles| cycle_start(self.up + self.down, self.mult, cycles))
    }

    /// The index of the cycle of a step, that of the last one after its end; infinite after all of ever shorter ones.
    pub fn index(&self, step: u64) -> f64 {
        let (period, step) = (self.up + self.down, step as f64);
        match self.cycles {
            Some(cycles) if self.end().is_some_and(|end| step >= end) => (cycles.max(0.0).ceil() - 1.0).max(0.0),
            _ => cycle_at(period, self.mult, step).map_or(f64::INFINITY, |cycle| cycle.index),
        }
    }

    /// The value at the peak of the cycle of this index, but for what [`Amplitude::of_cycle`] takes of its height.
    fn peak_of(&self, index: f64) -> f64 {
        match self.amplitude {
            Amplitude::Factor(factor) if index > 0.0 && self.max != self.base => {
                self.base + (self.max - self.base) * libm::pow(factor, index)
            }
            _ => self.max,
        }
    }

    /// How far up a triangle of height 1 is, so many steps into the cycle.
    fn rise(&self, position: f64, period: f64) -> f64 {
        if position < self.up {
            position / self.up
        } else if self.down > 0.0 {
            (period - position) / self.down
        } else {
            1.0
        }
    }
}

impl Formula for Cyclic {
    /// The value at `step`, between `base` and `max` (or what has become of them), `base` if a cycle has no length.
    fn at(&self, step: u64) -> f64 {
        let period = self.up + self.down;
        if period <= 0.0 {
            return self.base;
        }
        let index = self.index(step);
        let mut step = step as f64;
        let rise = match (self.cycles, self.end()) {
            (Some(cycles), Some(end)) if step >= end => {
                let cycles = cycles.max(0.0);
                step = end.max(0.0);
                self.rise((cycles - index) * period, period)
            }
            _ => match cycle_at(period, self.mult, step) {
                Some(Cycle { since, .. }) if self.mult == 1.0 => self.rise(since, period),
                Some(Cycle { since, length, .. }) => self.rise(since / length * period, period),
                None => 0.0,
            },
        };

        let height = self.window.height(rise) * self.amplitude.of_cycle(index);
        let max = self.peak_of(index);
        match self.decline {
            None => between(self.base, max, height),
            Some(Decline::Boundaries { gamma }) => libm::pow(gamma, step) * between(self.base, max, height),
            Some(Decline::Amplitude { gamma }) => between(self.base, max, height * libm::pow(gamma, step)),
        }
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(if self.mult == 1.0 { 8 } else { 21 });
        let Cyclic { base, max, up, down, window, mult, amplitude, decline, cycles } = self;
        floats(&[*base, *max, *up, *down], out);
        out.push(match window {
            Window::Linear => 0,
            Window::Welch => 1,
            Window::Hann => 2,
        });
        match amplitude {
            Amplitude::Constant => out.push(0),
            Amplitude::HalfPerCycle => out.push(1),
            Amplitude::OneOverCycle => out.push(2),
            Amplitude::Factor(factor) => {
                out.push(3);
                float(*factor, out);
            }
        }
        match decline {
            None => out.push(0),
            Some(Decline::Boundaries { gamma }) => {
                out.extend([1, 0]);
                float(*gamma, out);
            }
            Some(Decline::Amplitude { gamma }) => {
                out.extend([1, 1]);
                float(*gamma, out);
            }
        }
        match cycles {
            None => out.push(0),
            Some(cycles) => {
                out.push(1);
                float(*cycles, out);
            }
        }
        if *mult != 1.0 {
            float(*mult, out);
        }
    }

    fn hull(&self, last: u64) -> Option<(f64, f64)> {
        if !(self.up + self.down).is_finite() {
            return None;
        }
        let factor = if let Amplitude::Factor(factor) = self.amplitude { factor } else { 1.0 };
        let peaks = hull_of([self.base, self.max, self.peak_of(self.index(last))]);
        let (low, high) = peaks.filter(|_| factor >= 0.0)?;
        match self.decline {
            None => Some((low, high)),
            Some(Decline::Amplitude { gamma }) => {
                // Times a height of 0, infinity is no number.
                libm::pow(gamma, last as f64).is_finite().then_some((low, high))
            }
            Some(Decline::Boundaries { gamma }) => {
                let power = libm::pow(gamma, last as f64);
                hull_of([low, high, low * power, high * power]).filter(|_| gamma >= 0.0)
            }
        }
    }

    fn piece_end(&self, step: u64) -> u64 {
        let period = self.up + self.down;
        if period <= 0.0 {
            return u64::MAX;
        }
        if self.decline.is_some() {
            return step;
        }
        let here = step as f64;
        if self.end().is_some_and(|end| here >= end) {
            return u64::MAX;
        }
        let Some(Cycle { since, length, .. }) = cycle_at(period, self.mult, here) else { return u64::MAX };
        let up = if self.mult == 1.0 { self.up } else { self.up / period * length };
        let turn = here + if since < up { up - since } else { length - since };
        let turn = self.end().map_or(turn, |end| turn.min(end));
        // Short of it, whatever the rounding; the steps around it are pieces of their own.
        (turn.floor() - 1.0).max(here) as u64
    }

    /// The cycle of a step, its length rounded as a spec's is: what is whole but for that is whole. None after the last.
    fn cycle(&self, step: u64) -> Option<Cycle> {
        let (period, here) = (self.up + self.down, step as f64);
        let is_over = |index: f64| self.cycles.is_some_and(|cycles| index + 1.0 > cycles);
        let end_of = |index: f64| {
            let end = cycle_start(period, self.mult, index + 1.0);
            if (end - end.round()).abs() <= 1e-9 * end { end.round() } else { end.ceil() }
        };
        let mut cycle = cycle_at(period, self.mult, here).filter(|_| period >= 1.0)?;
        if end_of(cycle.index) <= here {
            cycle = Cycle { index: cycle.index + 1.0, since: 0.0, length: cycle.length * self.mult, end: 0 };
        }
        let end = end_of(cycle.index);
        cycle.end = end as u64;
        (!is_over(cycle.index) && end > here && end < u64::MAX as f64).then_some(cycle)
    }
}

impl Window {
    /// The window over a triangle's height, `rise = 1 - |u|`: 0 at 0, 1 at 1.
    fn height(self, rise: f64) -> f64 {
        match self {
            Window::Linear => rise,
            Window::Welch => rise * (2.0 - rise),
            Window::Hann => (1.0 - libm::cos(PI * rise)) / 2.0,
        }
    }
}

impl Amplitude {
    fn of_cycle(self, cycle: f64) -> f64 {
        match self {
            Amplitude::Constant | Amplitude::Factor(_) => 1.0,
            // 2^-1075 is 0 in f64.
            Amplitude::HalfPerCycle => libm::ldexp(1.0, -(cycle.min(1075.0) as i32)),
            Amplitude::OneOverCycle => 1.0 / (cycle + 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;

    #[track_caller]
    fn check(schedule: impl Fn(u64) -> f64, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule(step);
            assert!((got - value).abs() <= 1e-14 * value.abs(), "step {step}: got {got}, expected {value}");
        }
    }

    /// As `check`, for values known to so many digits.
    #[track_caller]
    fn check_digits(schedule: impl Fn(u64) -> f64, tolerance: f64, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule(step);
            assert!((got - value).abs() <= tolerance, "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn triangular_is_exact_at_base_and_peak() {
        let cyclic = Cyclic::new(0.01, 0.026, 30_000.0);
        for cycle in 0..7 {
            assert_eq!(cyclic.at(cycle * 60_000), 0.01);
            assert_eq!(cyclic.at(cycle * 60_000 + 30_000), 0.026);
        }
        check(|step| cyclic.at(step), &[(15_000, 0.018), (45_000, 0.018), (75_000, 0.018)]);
    }

    /// Table 2 of the paper: three stages, each a triangular2 that counts from its own start.
    #[test]
    fn triangular2_in_three_stages_is_table_2() {
        let stage = |steps, base, max, step_size| Stage {
            steps,
            schedule: Schedule::Cyclic(Cyclic {
                amplitude: Amplitude::HalfPerCycle,
                ..Cyclic::new(base, max, step_size)
            }),
        };
        let table_2 = Schedule::Sequence(vec![
            stage(16_000, 0.001, 0.005, 2000.0),
            stage(6000, 0.0001, 0.0005, 1000.0),
            stage(3000, 0.00001, 0.00005, 500.0),
        ]);
        let at = |step| table_2.at(step);
        check(at, &[(0, 0.001), (1, 0.001002), (1000, 0.003), (2000, 0.005), (4000, 0.001), (6000, 0.003)]);
        check(at, &[(8000, 0.001), (10_000, 0.002), (12_000, 0.001), (14_000, 0.0015), (15_999, 0.00100025)]);
        check(at, &[(16_000, 1e-4), (17_000, 5e-4), (18_000, 1e-4), (19_000, 3e-4), (20_000, 1e-4), (21_000, 2e-4)]);
        check(at, &[(21_999, 1.001e-4), (22_000, 1e-5), (22_500, 5e-5), (23_500, 3e-5), (24_500, 2e-5)]);
        check(at, &[(24_999, 1.002e-5)]);
    }

    /// Both readings, with the bounds of section 3.1 and the gamma of Table 1.
    #[test]
    fn exp_range_declines_by_boundaries_or_by_amplitude() {
        let exp_range = |decline| Cyclic { decline: Some(decline), ..Cyclic::new(0.001, 0.006, 2000.0) };
        let paper = exp_range(Decline::Boundaries { gamma: 0.99994 });
        check_digits(|step| paper.at(step), 5e-8, &[(2000, 0.0053215)]);
        check_digits(|step| paper.at(step), 5e-9, &[(4000, 0.00078662), (42_000, 0.00048272)]);
        let keras = exp_range(Decline::Amplitude { gamma: 0.99994 });
        check_digits(|step| keras.at(step), 5e-8, &[(2000, 0.0054346), (42_000, 0.0014023)]);
        check(|step| keras.at(step), &[(0, 0.001), (4000, 0.001), (40_000, 0.001)]);
    }

    /// 42,000 is where the paper stops `exp_range`: a peak for step size 2000, a cycle's end for 3000 and 3500.
    #[test]
    fn iteration_42_000_is_a_peak_for_step_size_2000() {
        assert_eq!(Cyclic::new(0.001, 0.006, 2000.0).at(42_000), 0.006);
        assert_eq!(Cyclic::new(0.001, 0.006, 3000.0).at(42_000), 0.001);
        assert_eq!(Cyclic::new(0.001, 0.006, 3500.0).at(42_000), 0.001);
    }

    #[test]
    fn amplitude_shrinks_from_cycle_to_cycle() {
        let halved = Cyclic { amplitude: Amplitude::HalfPerCycle, ..Cyclic::new(1.0, 3.0, 10.0) };
        check(|step| halved.at(step), &[(10, 3.0), (30, 2.0), (50, 1.5), (70, 1.25), (20, 1.0), (40_000_010, 1.0)]);
        let harmonic = Cyclic { amplitude: Amplitude::OneOverCycle, ..Cyclic::new(1.0, 4.0, 10.0) };
        check(|step| harmonic.at(step), &[(10, 4.0), (30, 2.5), (50, 2.0), (70, 1.75), (20, 1.0)]);
    }

    /// Smith's 1cycle logs: momentum from 0.95 down to 0.85 and back on its own step size, half as deep in cycle 2.
    #[test]
    fn momentum_starts_high_and_dips() {
        let momentum = Cyclic { amplitude: Amplitude::HalfPerCycle, ..Cyclic::new(0.95, 0.85, 5000.0) };
        check(|step| momentum.at(step), &[(0, 0.95), (2500, 0.9), (5000, 0.85), (10_000, 0.95), (15_000, 0.9)]);
    }

    #[test]
    fn windows_agree_at_base_and_peak_and_differ_between() {
        let window = |window| Cyclic { window, ..Cyclic::new(0.0, 1.0, 4.0) };
        check(|step| window(Window::Linear).at(step), &[(0, 0.0), (1, 0.25), (2, 0.5), (4, 1.0), (6, 0.5), (8, 0.0)]);
        check(|step| window(Window::Welch).at(step), &[(0, 0.0), (1, 0.4375), (2, 0.75), (4, 1.0), (6, 0.75)]);
        let quarter = 0.14644660940672624;
        check(|step| window(Window::Hann).at(step), &[(0, 0.0), (1, quarter), (4, 1.0), (7, quarter)]);
    }

    #[test]
    fn up_and_down_may_differ() {
        let slanted = Cyclic { down: 6.0, ..Cyclic::new(0.0, 1.0, 2.0) };
        check(|step| slanted.at(step), &[(0, 0.0), (1, 0.5), (2, 1.0), (5, 0.5), (8, 0.0), (9, 0.5), (10, 1.0)]);
        let falling = Cyclic { up: 0.0, ..Cyclic::new(0.0, 1.0, 4.0) };
        check(|step| falling.at(step), &[(0, 1.0), (1, 0.75), (3, 0.25), (4, 1.0)]);
        let rising = Cyclic { down: 0.0, ..Cyclic::new(0.0, 1.0, 4.0) };
        check(|step| rising.at(step), &[(0, 0.0), (3, 0.75), (4, 0.0)]);
    }

    /// ResNet in Table 4: cycles of 16.4 epochs, counted from 1.
    #[test]
    fn real_step_sizes_keep_their_cycles() {
        let resnet = Cyclic::new(0.1, 0.3, 8.2);
        check(|epoch| resnet.at(epoch), &[(1, 0.1 + 0.2 / 8.2), (41, 0.3), (82, 0.1), (123, 0.3), (164, 0.1)]);
        check(|epoch| resnet.at(epoch), &[(8, 0.1 + 0.2 * 8.0 / 8.2), (9, 0.1 + 0.2 * 7.4 / 8.2)]);
    }

    #[test]
    fn a_limited_number_of_cycles_holds_its_last_value() {
        let once = Cyclic { cycles: Some(1.0), ..Cyclic::new(1.0, 3.0, 10.0) };
        check(|step| once.at(step), &[(10, 3.0), (19, 1.2), (20, 1.0), (30, 1.0), (u64::MAX, 1.0)]);
        let half = Cyclic { cycles: Some(2.5), ..Cyclic::new(1.0, 3.0, 10.0) };
        check(|step| half.at(step), &[(40, 1.0), (45, 2.0), (50, 3.0), (51, 3.0)]);
        let real = Cyclic { cycles: Some(3.0), ..Cyclic::new(0.1, 0.3, 8.2) };
        assert_eq!(real.at(50), 0.1);
        let falling = Cyclic { up: 0.0, cycles: Some(2.0), ..Cyclic::new(0.0, 1.0, 4.0) };
        check(|step| falling.at(step), &[(4, 1.0), (7, 0.25), (8, 0.0), (9, 0.0)]);
        let declining = Cyclic { decline: Some(Decline::Boundaries { gamma: 0.5 }), ..once };
        check(|step| declining.at(step), &[(20, 1.0 / 1_048_576.0), (21, 1.0 / 1_048_576.0)]);
    }

    /// By hand: cycles of 4, 6 and 9 steps, then of 8, 4 and 2, which are over at 16.
    #[test]
    fn cycles_may_become_longer_or_shorter() {
        let longer = Cyclic { mult: 1.5, ..Cyclic::new(0.0, 1.0, 2.0) };
        check(|step| longer.at(step), &[(0, 0.0), (2, 1.0), (4, 0.0), (7, 1.0), (10, 0.0), (19, 0.0)]);
        check(|step| longer.at(step), &[(5, 1.0 / 3.0), (9, 1.0 / 3.0), (14, 8.0 / 9.0), (15, 8.0 / 9.0)]);
        let shorter = Cyclic { mult: 0.5, ..Cyclic::new(1.0, 3.0, 4.0) };
        check(|step| shorter.at(step), &[(4, 3.0), (8, 1.0), (10, 3.0), (12, 1.0), (13, 3.0), (14, 1.0), (16, 1.0)]);
        assert_eq!(shorter.at(u64::MAX), 1.0, "no cycle is left");
        let slanted = Cyclic { down: 6.0, mult: 2.0, cycles: Some(1.5), ..Cyclic::new(0.0, 1.0, 2.0) };
        check(|step| slanted.at(step), &[(2, 1.0), (8, 0.0), (12, 1.0), (15, 0.75), (16, 2.0 / 3.0), (99, 2.0 / 3.0)]);
    }

    #[test]
    fn a_factor_of_one_half_is_triangular2_and_any_other_scales_the_amplitude() {
        let factor = |factor| Cyclic { amplitude: Amplitude::Factor(factor), ..Cyclic::new(0.001, 0.006, 20.0) };
        let halved = Cyclic { amplitude: Amplitude::HalfPerCycle, ..Cyclic::new(0.001, 0.006, 20.0) };
        for step in 0..2000 {
            let (one, other) = (factor(0.5).at(step), halved.at(step));
            assert!((one - other).abs() <= 2.0 * f64::EPSILON * other, "step {step}: {one}, {other}");
        }
        let growing = Cyclic { amplitude: Amplitude::Factor(1.5), ..Cyclic::new(1.0, 3.0, 10.0) };
        check(|step| growing.at(step), &[(10, 3.0), (20, 1.0), (30, 4.0), (35, 2.5), (50, 5.5), (70, 7.75)]);
    }
}
