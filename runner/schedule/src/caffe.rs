//! Caffe's learning-rate policies, as in its `SGDSolver::GetLearningRate`.

use super::line::fraction;

/// `base * gamma^k` after k drops.
pub(super) fn step(base: f64, gamma: f64, drops: u64) -> f64 {
    base * libm::pow(gamma, drops as f64)
}

/// `base * gamma^k`, k being Caffe's counter of milestones: at each update it advances by one if the next milestone in
/// the list is reached. So equal milestones, or ones out of order, take effect one update after another.
pub(super) fn multistep(base: f64, gamma: f64, milestones: &[u64], step: u64) -> f64 {
    let mut reached = 0.0;
    let mut not_before = 0;
    for &milestone in milestones {
        let drop_at = milestone.max(not_before);
        if step < drop_at {
            break;
        }
        reached += 1.0;
        not_before = drop_at.saturating_add(1);
    }
    base * libm::pow(gamma, reached)
}

/// `base * gamma^step`.
pub(super) fn exp(base: f64, gamma: f64, step: u64) -> f64 {
    base * libm::pow(gamma, step as f64)
}

/// `base * (1 + gamma * step)^-power`.
pub(super) fn inv(base: f64, gamma: f64, power: f64, step: u64) -> f64 {
    base * libm::pow(1.0 + gamma * step as f64, -power)
}

/// `base * (1 - step / steps)^power`; from `steps` on the value at `steps`, which is 0 for any positive power.
pub(super) fn poly(base: f64, power: f64, steps: u64, step: u64) -> f64 {
    base * libm::pow(1.0 - fraction(step, steps), power)
}

/// `base / (1 + exp(-gamma * (step - step_size)))`.
pub(super) fn sigmoid(base: f64, gamma: f64, step_size: u64, step: u64) -> f64 {
    base / (1.0 + libm::exp(-gamma * (step as f64 - step_size as f64)))
}

#[cfg(test)]
mod tests {
    use crate::Schedule;

    #[track_caller]
    fn check(schedule: Schedule, expected: &[(u64, f64)]) {
        for &(step, value) in expected {
            let got = schedule.at(step);
            assert!((got - value).abs() <= 1e-14 * value.abs(), "step {step}: got {got}, expected {value}");
        }
    }

    #[test]
    fn step_drops_at_multiples() {
        let alexnet = Schedule::Step { base: 0.01, gamma: 0.1, step_size: 100_000.into() };
        check(alexnet, &[(0, 0.01), (99_999, 0.01), (100_000, 0.001), (199_999, 0.001), (449_999, 1e-6)]);
    }

    /// Table 1, `fixed`: 0.001 until 60,000, 0.0001 until 65,000, 0.00001 until 70,000.
    #[test]
    fn multistep_drops_at_milestones() {
        let cifar = Schedule::MultiStep { base: 0.001, gamma: 0.1, milestones: vec![60_000, 65_000] };
        check(cifar, &[(0, 0.001), (59_999, 0.001), (60_000, 1e-4), (64_999, 1e-4), (65_000, 1e-5), (69_999, 1e-5)]);
    }

    #[test]
    fn multistep_drops_once_an_update() {
        let equal = Schedule::MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 10, 10] };
        check(equal, &[(9, 1.0), (10, 0.5), (11, 0.25), (12, 0.125), (13, 0.125)]);
        let unsorted = Schedule::MultiStep { base: 1.0, gamma: 0.5, milestones: vec![10, 4] };
        check(unsorted, &[(4, 1.0), (9, 1.0), (10, 0.5), (11, 0.25)]);
    }

    #[test]
    fn exp_inv_poly_and_sigmoid_follow_their_formulas() {
        check(Schedule::Exp { base: 2.0, gamma: 0.5 }, &[(0, 2.0), (1, 1.0), (10, 2.0 / 1024.0)]);
        check(Schedule::Inv { base: 0.01, gamma: 0.0001, power: 0.75 }, &[(0, 0.01), (10_000, 0.005946035575013605)]);
        check(
            Schedule::Poly { base: 1.0, power: 2.0, steps: 10 },
            &[(0, 1.0), (5, 0.25), (9, 0.01), (10, 0.0), (11, 0.0)],
        );
        check(
            Schedule::Poly { base: 0.01, power: 0.5, steps: 2_400_000 },
            &[(0, 0.01), (600_000, 0.008660254037844387)],
        );
        let falling = Schedule::Sigmoid { base: 1.0, gamma: -0.1, step_size: 50 };
        check(falling, &[(0, 0.9933071490757153), (50, 0.5), (100, 0.006692850924284856)]);
        let rising = Schedule::Sigmoid { base: 1.0, gamma: 0.1, step_size: 50 };
        check(rising, &[(0, 0.006692850924284856), (50, 0.5), (100, 0.9933071490757153)]);
    }

    /// The end of `exp` with gamma 0.99994 in Table 1, base taken as 0.001: 1.4994e-5 at 70,000.
    #[test]
    fn exp_reaches_the_value_of_the_paper_run() {
        let value = Schedule::Exp { base: 0.001, gamma: 0.99994 }.at(70_000);
        assert!((value - 1.4994e-5).abs() < 0.5e-9, "{value}");
    }
}
