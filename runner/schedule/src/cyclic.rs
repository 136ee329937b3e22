//! Cyclical learning rates: triangular, triangular2, exp_range and their windows. (Smith 2017, arXiv 1506.01186v6.)

use std::f64::consts::PI;

use super::line::between;

/// Cyclical learning rates and their family.
///
/// Momentum cycles the other way: `base`, the value at step 0, is then the higher bound, and `max`, the value at the
/// peak of the learning rate, the lower. So `base = 0.95, max = 0.85` goes with a learning rate of equal `up` and `down`.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amplitude {
    /// Always 1: `triangular`.
    Constant,
    /// `1 / 2^c`: `triangular2`.
    HalfPerCycle,
    /// `1 / (c + 1)`: the form in Smith's own notes on adding CLR to Caffe.
    OneOverCycle,
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
    /// The value at `step`, between `base` and `max` (or what has become of them), `base` if a cycle has no length.
    pub fn at(&self, step: u64) -> f64 {
        let period = self.up + self.down;
        if period <= 0.0 {
            return self.base;
        }
        let mut step = step as f64;
        let (cycle, position) = match self.cycles {
            Some(cycles) if step >= cycles * period => {
                let cycles = cycles.max(0.0);
                step = cycles * period;
                let before_last = (cycles.ceil() - 1.0).max(0.0);
                (before_last, (cycles - before_last) * period)
            }
            _ => {
                // `fmod` is exact, unlike `step - floor(step / period) * period`.
                let position = libm::fmod(step, period);
                (((step - position) / period).round(), position)
            }
        };

        let height = self.window.height(self.rise(position, period)) * self.amplitude.of_cycle(cycle);
        match self.decline {
            None => between(self.base, self.max, height),
            Some(Decline::Boundaries { gamma }) => libm::pow(gamma, step) * between(self.base, self.max, height),
            Some(Decline::Amplitude { gamma }) => between(self.base, self.max, height * libm::pow(gamma, step)),
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
            Amplitude::Constant => 1.0,
            // 2^-1075 is 0 in f64.
            Amplitude::HalfPerCycle => libm::ldexp(1.0, -(cycle.min(1075.0) as i32)),
            Amplitude::OneOverCycle => 1.0 / (cycle + 1.0),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{Schedule, Stage};

    /// The paper's `triangular`.
    pub(crate) fn triangular(base: f64, max: f64, step_size: f64) -> Cyclic {
        Cyclic {
            base,
            max,
            up: step_size,
            down: step_size,
            window: Window::Linear,
            amplitude: Amplitude::Constant,
            decline: None,
            cycles: None,
        }
    }

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
        let cyclic = triangular(0.01, 0.026, 30_000.0);
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
                ..triangular(base, max, step_size)
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
        let exp_range = |decline| Cyclic { decline: Some(decline), ..triangular(0.001, 0.006, 2000.0) };
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
        assert_eq!(triangular(0.001, 0.006, 2000.0).at(42_000), 0.006);
        assert_eq!(triangular(0.001, 0.006, 3000.0).at(42_000), 0.001);
        assert_eq!(triangular(0.001, 0.006, 3500.0).at(42_000), 0.001);
    }

    #[test]
    fn amplitude_shrinks_from_cycle_to_cycle() {
        let halved = Cyclic { amplitude: Amplitude::HalfPerCycle, ..triangular(1.0, 3.0, 10.0) };
        check(|step| halved.at(step), &[(10, 3.0), (30, 2.0), (50, 1.5), (70, 1.25), (20, 1.0), (40_000_010, 1.0)]);
        let harmonic = Cyclic { amplitude: Amplitude::OneOverCycle, ..triangular(1.0, 4.0, 10.0) };
        check(|step| harmonic.at(step), &[(10, 4.0), (30, 2.5), (50, 2.0), (70, 1.75), (20, 1.0)]);
    }

    /// Smith's 1cycle logs: momentum from 0.95 down to 0.85 and back on its own step size, half as deep in cycle 2.
    #[test]
    fn momentum_starts_high_and_dips() {
        let momentum = Cyclic { amplitude: Amplitude::HalfPerCycle, ..triangular(0.95, 0.85, 5000.0) };
        check(|step| momentum.at(step), &[(0, 0.95), (2500, 0.9), (5000, 0.85), (10_000, 0.95), (15_000, 0.9)]);
    }

    #[test]
    fn windows_agree_at_base_and_peak_and_differ_between() {
        let window = |window| Cyclic { window, ..triangular(0.0, 1.0, 4.0) };
        check(|step| window(Window::Linear).at(step), &[(0, 0.0), (1, 0.25), (2, 0.5), (4, 1.0), (6, 0.5), (8, 0.0)]);
        check(|step| window(Window::Welch).at(step), &[(0, 0.0), (1, 0.4375), (2, 0.75), (4, 1.0), (6, 0.75)]);
        let quarter = 0.14644660940672624;
        check(|step| window(Window::Hann).at(step), &[(0, 0.0), (1, quarter), (4, 1.0), (7, quarter)]);
    }

    #[test]
    fn up_and_down_may_differ() {
        let slanted = Cyclic { down: 6.0, ..triangular(0.0, 1.0, 2.0) };
        check(|step| slanted.at(step), &[(0, 0.0), (1, 0.5), (2, 1.0), (5, 0.5), (8, 0.0), (9, 0.5), (10, 1.0)]);
        let falling = Cyclic { up: 0.0, ..triangular(0.0, 1.0, 4.0) };
        check(|step| falling.at(step), &[(0, 1.0), (1, 0.75), (3, 0.25), (4, 1.0)]);
        let rising = Cyclic { down: 0.0, ..triangular(0.0, 1.0, 4.0) };
        check(|step| rising.at(step), &[(0, 0.0), (3, 0.75), (4, 0.0)]);
    }

    /// ResNet in Table 4: cycles of 16.4 epochs, counted from 1.
    #[test]
    fn real_step_sizes_keep_their_cycles() {
        let resnet = triangular(0.1, 0.3, 8.2);
        check(|epoch| resnet.at(epoch), &[(1, 0.1 + 0.2 / 8.2), (41, 0.3), (82, 0.1), (123, 0.3), (164, 0.1)]);
        check(|epoch| resnet.at(epoch), &[(8, 0.1 + 0.2 * 8.0 / 8.2), (9, 0.1 + 0.2 * 7.4 / 8.2)]);
    }

    #[test]
    fn a_limited_number_of_cycles_holds_its_last_value() {
        let once = Cyclic { cycles: Some(1.0), ..triangular(1.0, 3.0, 10.0) };
        check(|step| once.at(step), &[(10, 3.0), (19, 1.2), (20, 1.0), (30, 1.0), (u64::MAX, 1.0)]);
        let half = Cyclic { cycles: Some(2.5), ..triangular(1.0, 3.0, 10.0) };
        check(|step| half.at(step), &[(40, 1.0), (45, 2.0), (50, 3.0), (51, 3.0)]);
        let real = Cyclic { cycles: Some(3.0), ..triangular(0.1, 0.3, 8.2) };
        assert_eq!(real.at(50), 0.1);
        let falling = Cyclic { up: 0.0, cycles: Some(2.0), ..triangular(0.0, 1.0, 4.0) };
        check(|step| falling.at(step), &[(4, 1.0), (7, 0.25), (8, 0.0), (9, 0.0)]);
        let declining = Cyclic { decline: Some(Decline::Boundaries { gamma: 0.5 }), ..once };
        check(|step| declining.at(step), &[(20, 1.0 / 1_048_576.0), (21, 1.0 / 1_048_576.0)]);
    }
}
