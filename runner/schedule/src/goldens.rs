//! Schedules against other implementations, by tables that `goldens/make_goldens.py` made from them.

use super::ratio::Ratio;
use super::*;

const GOLDENS: &str = include_str!("goldens/goldens.csv");

/// Compares every step of a case.
///
/// Peers compute the same real numbers in another order. Each does a few operations on numbers no larger than the
/// schedule's largest value, hence some units in that value's last place (the absolute part, which is what is left of
/// `1 + cos` near the end of an annealing); those that multiply from step to step, and powers of `gamma`, err in
/// proportion to the value (the relative part). Both are far below f32, in which values reach a plugin.
#[track_caller]
fn check(case: &str, schedule: Schedule) {
    check_up_to(case, 0.0, schedule);
}

/// As [`check`], of a schedule whose formula goes up to `peak` though no step is there.
#[track_caller]
fn check_up_to(case: &str, peak: f64, schedule: Schedule) {
    let line = GOLDENS.lines().find(|line| line.split(',').next() == Some(case));
    let values = line.expect("a case of goldens.csv").split(',').skip(1);
    let values: Vec<f64> = values.map(|value| value.parse().expect("a number")).collect();
    let largest = values.iter().fold(peak, |largest: f64, value| largest.max(value.abs()));
    for (step, &expected) in values.iter().enumerate() {
        let got = schedule.at(step as u64);
        let tolerance = 4.0 * f64::EPSILON * largest + 1e-13 * expected.abs();
        assert!((got - expected).abs() <= tolerance, "{case}, step {step}: got {got}, expected {expected}");
    }
}

fn cyclic(base: f64, max: f64, up: f64, down: f64) -> Cyclic {
    let (window, amplitude) = (Window::Linear, Amplitude::Constant);
    Cyclic { base, max, up, down, window, mult: 1.0, amplitude, decline: None, cycles: None }
}

/// The three modes of Keras and PyTorch.
fn modes(cyclic: Cyclic) -> [(&'static str, Schedule); 3] {
    [
        ("triangular", Schedule::Cyclic(cyclic.clone())),
        ("triangular2", Schedule::Cyclic(Cyclic { amplitude: Amplitude::HalfPerCycle, ..cyclic.clone() })),
        ("exp_range", Schedule::Cyclic(Cyclic { decline: Some(Decline::Amplitude { gamma: 0.99 }), ..cyclic })),
    ]
}

#[test]
fn cyclic_is_pytorchs() {
    for (mode, schedule) in modes(cyclic(0.001, 0.006, 7.0, 7.0)) {
        check(&format!("torch_cyclic_{mode}_7_7"), schedule);
    }
    for (mode, schedule) in modes(cyclic(0.9, 0.8, 7.0, 7.0)) {
        check(&format!("torch_cyclic_{mode}_7_7_momentum"), schedule);
    }
    for (mode, schedule) in modes(cyclic(0.001, 0.006, 3.0, 11.0)) {
        check(&format!("torch_cyclic_{mode}_3_11"), schedule);
    }
    let real = Cyclic { amplitude: Amplitude::HalfPerCycle, ..cyclic(0.001, 0.006, 8.2, 8.2) };
    check("torch_cyclic_triangular2_8.2_8.2", Schedule::Cyclic(real));
}

#[test]
fn cyclic_is_kerass() {
    for (mode, schedule) in modes(cyclic(0.001, 0.006, 7.0, 7.0)) {
        check(&format!("keras_{mode}"), schedule);
    }
}

#[test]
fn cyclic_is_caffes() {
    let triangular = cyclic(0.01, 0.026, 9.0, 9.0);
    check("caffe_triangular", Schedule::Cyclic(triangular.clone()));
    let with = |amplitude| Schedule::Cyclic(Cyclic { amplitude, ..triangular.clone() });
    check("caffe_triangular2", with(Amplitude::HalfPerCycle));
    check("caffe_triangular_over_cycle", with(Amplitude::OneOverCycle));
    let decline = Some(Decline::Boundaries { gamma: 0.98 });
    check("caffe_exp_range", Schedule::Cyclic(Cyclic { decline, ..triangular.clone() }));
}

#[test]
fn cyclic_by_epoch_is_torch7s() {
    let inner = Box::new(Schedule::Cyclic(cyclic(0.1, 0.3, 8.2, 8.2)));
    let torch7 = Schedule::PerEpoch(PerEpoch { iterations_per_epoch: 3.into(), first_epoch: 1, inner });
    check("torch7_triangular_8.2_epochs", torch7);
}

#[test]
fn one_cycle_is_pytorchs() {
    for cosine in [true, false] {
        for pct_start in [0.3, 0.25, 0.45] {
            for (phases, form) in
                [(2, OneCycleForm::TwoPhase { pct_start }), (3, OneCycleForm::ThreePhase { pct_start })]
            {
                let anneal = if cosine { "cos" } else { "linear" };
                let case = format!("torch_one_cycle_{anneal}_{phases}_{pct_start}");
                let initial = 0.5 / 25.0;
                let one_cycle = OneCycle { initial, max: 0.5, last: initial / 1e4, steps: 37, form, cosine };
                check(&case, Schedule::OneCycle(one_cycle));
                let momentum = OneCycle { initial: 0.95, max: 0.85, last: 0.95, steps: 37, form, cosine };
                check(&format!("{case}_momentum"), Schedule::OneCycle(momentum));
            }
        }
    }
}

#[test]
fn one_cycle_is_smiths_and_fastais() {
    let form = OneCycleForm::Smith { step_size: 20.into() };
    let smith = OneCycle { initial: 0.1, max: 1.0, last: 0.1 / 1000.0, steps: 50, form, cosine: false };
    check("smith_one_cycle", Schedule::OneCycle(smith));

    let form = OneCycleForm::Fraction { pct_start: 0.25 };
    let fastai = OneCycle { initial: 0.02, max: 0.5, last: 0.5 / 1e5, steps: 40, form, cosine: true };
    let momentum = OneCycle { initial: 0.95, max: 0.85, last: 0.95, ..fastai };
    check("fastai_one_cycle", Schedule::OneCycle(fastai));
    check("fastai_one_cycle_momentum", Schedule::OneCycle(momentum));
}

#[test]
fn cosines_are_pytorchs() {
    for mult in 1..=3 {
        let sgdr = Schedule::Sgdr(Sgdr::new(1.0, 0.01, 5, mult));
        check(&format!("torch_warm_restarts_5_{mult}"), sgdr);
    }
    check("torch_cosine_40", Schedule::Cosine(Cosine { max: 0.1, min: 0.001, steps: 40 }));
}

/// Keras and timm subtract sums of powers from the step: what is left has errors in the step's last places.
#[test]
fn restarts_by_any_factor_are_kerass_and_timms() {
    let sgdr = |min, first: u64, mult, peak| {
        Schedule::Sgdr(Sgdr { mult: Ratio::of_float(mult).unwrap(), peak, ..Sgdr::new(0.5, min, first, 1) })
    };
    for (first, mult, factor, alpha) in [
        (8, 1.5, 1.0, 0.0),
        (8, 1.5, 0.7, 0.1),
        (10, 1.1, 0.9, 0.2),
        (5, 2.0, 0.5, 0.1),
        (7, 1.0, 1.2, 0.05),
        (40, 0.5, 0.8, 0.1),
        (30, 0.75, 1.0, 0.0),
    ] {
        let case = format!("keras_restarts_{first}_{mult}_{factor:?}_{alpha:?}");
        check_up_to(&case, 100.0, sgdr(0.5 * alpha, first, mult, Peak::AmplitudeFactor(factor)));
    }
    for (first, mult, factor, min) in [
        (8, 1.5, 1.0, 0.0),
        (8, 1.5, 0.7, 0.01),
        (10, 1.1, 0.9, 0.02),
        (5, 2.0, 0.5, 0.001),
        (7, 1.0, 1.2, 0.05),
        (40, 0.5, 0.8, 0.01),
    ] {
        let case = format!("timm_cosine_{first}_{mult}_{factor:?}_{min:?}");
        check_up_to(&case, 100.0, sgdr(min, first, mult, Peak::Factor(factor)));
    }
}

#[test]
fn peaks_by_any_factor_are_those_of_pytorchs_scale_fn() {
    for factor in [0.5, 0.7, 1.3] {
        let scaled = Cyclic { amplitude: Amplitude::Factor(factor), ..cyclic(0.001, 0.006, 3.0, 4.0) };
        check(&format!("torch_cyclic_scale_fn_{factor}"), Schedule::Cyclic(scaled));
    }
}

#[test]
fn decays_are_pytorchs() {
    check("torch_polynomial_30_2", Schedule::Poly(Poly { base: 0.01, power: 2.0, steps: 30 }));
    check("torch_multistep_10_25", Schedule::MultiStep(MultiStep { base: 0.01, gamma: 0.1, milestones: vec![10, 25] }));
    check("torch_step_8", Schedule::Step(Step { base: 0.01, gamma: 0.5, step_size: 8.into() }));
    check("torch_exponential", Schedule::Exp(Exp { base: 0.01, gamma: 0.97 }));
    check("torch_linear_20", Schedule::Linear(Linear { from: 0.1 * 0.3, to: 0.3, steps: 20 }));
}

#[test]
fn range_tests_are_those_of_the_finders() {
    let range = |steps, geometric, min, max| Schedule::RangeTest(RangeTest { min, max, steps, geometric });
    check("lr_finder_linear", range(29, false, 1e-4, 1.0));
    check("lr_finder_exponential", range(29, true, 1e-7, 10.0));
    check("fastai_lr_find", range(30, true, 1e-7, 10.0));
}

/// One to ten updates, fractions from 0 to 1. Where `pct_start * steps` is 1 PyTorch divides by zero, and here the peak
/// comes first. Its third phase with `pct_start` above one half ends in the middle of the fall: a spec may not ask for that.
#[test]
fn one_cycles_at_the_edges_are_pytorchs() {
    for (anneal, cosine) in [("linear", false), ("cos", true)] {
        for steps in [1, 2, 3, 4, 10_u64] {
            for pct_start in [0.0, 0.1, 0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.9, 1.0] {
                if (pct_start * steps as f64 - 1.0).abs() < 1e-15 {
                    continue;
                }
                let one_cycle = |form| OneCycle { initial: 0.04, max: 1.0, last: 0.04 / 1e4, steps, form, cosine };
                let two = one_cycle(OneCycleForm::TwoPhase { pct_start });
                check_up_to(&format!("edge_one_cycle_{anneal}_2_{steps}_{pct_start:?}"), 1.0, Schedule::OneCycle(two));
                if pct_start <= 0.5 {
                    let three = one_cycle(OneCycleForm::ThreePhase { pct_start });
                    check_up_to(
                        &format!("edge_one_cycle_{anneal}_3_{steps}_{pct_start:?}"),
                        1.0,
                        Schedule::OneCycle(three),
                    );
                }
            }
        }
    }
}

#[test]
fn cycles_of_a_step_or_two_and_equal_bounds_are_pytorchs_and_kerass() {
    for (name, up, down) in [("1_1", 1.0, 1.0), ("1_2", 1.0, 2.0), ("2_1", 2.0, 1.0), ("1.5_1.5", 1.5, 1.5)] {
        check(&format!("edge_cyclic_{name}"), Schedule::Cyclic(cyclic(0.001, 0.006, up, down)));
    }
    check("edge_cyclic_equal_bounds", Schedule::Cyclic(cyclic(0.5, 0.5, 2.0, 2.0)));
    for (name, max, step_size) in [("1", 0.006, 1.0), ("1.5", 0.006, 1.5), ("equal_bounds", 0.001, 7.0)] {
        for (mode, schedule) in modes(cyclic(0.001, max, step_size, step_size)) {
            check(&format!("edge_keras_{mode}_{name}"), schedule);
        }
    }
    for (first_cycle, mult) in [(1, 1), (1, 2), (1, 3), (2, 1_u64)] {
        let sgdr = Schedule::Sgdr(Sgdr::new(1.0, 0.1, first_cycle, mult));
        check(&format!("edge_warm_restarts_{first_cycle}_{mult}"), sgdr);
    }
}

#[test]
fn decays_of_one_to_three_steps_are_pytorchs() {
    for steps in 1..=3 {
        check(&format!("edge_cosine_{steps}"), Schedule::Cosine(Cosine { max: 1.0, min: 0.1, steps }));
        check(&format!("edge_polynomial_{steps}"), Schedule::Poly(Poly { base: 1.0, power: 2.0, steps }));
        check(&format!("edge_linear_{steps}"), Schedule::Linear(Linear { from: 0.5, to: 1.0, steps }));
        check(&format!("edge_step_{steps}"), Schedule::Step(Step { base: 1.0, gamma: 0.5, step_size: steps.into() }));
        let milestones = vec![steps, steps + 1];
        check(&format!("edge_multistep_{steps}"), Schedule::MultiStep(MultiStep { base: 1.0, gamma: 0.5, milestones }));
    }
}

/// As the words of other tools are answered: `staircase` is `step`, `decay_rate` the factor over all of `decay_steps`.
#[test]
fn kerass_own_decays_are_these_kinds() {
    for steps in [1, 2, 10_u64] {
        check(&format!("keras_cosine_decay_{steps}"), Schedule::Cosine(Cosine { max: 0.5, min: 0.05, steps }));
        check(&format!("keras_polynomial_decay_{steps}"), Schedule::Poly(Poly { base: 0.5, power: 2.0, steps }));
        check(&format!("keras_linear_decay_{steps}"), Schedule::Linear(Linear { from: 0.5, to: 0.1, steps }));
        let gamma = libm::pow(0.9, 1.0 / steps as f64);
        check(&format!("keras_exponential_decay_{steps}"), Schedule::Exp(Exp { base: 0.5, gamma }));
        check(
            &format!("keras_staircase_decay_{steps}"),
            Schedule::Step(Step { base: 0.5, gamma: 0.9, step_size: steps.into() }),
        );
        let inv = Schedule::Inv(Inv { base: 0.5, gamma: 0.9 / steps as f64, power: 1.0 });
        check(&format!("keras_inverse_time_decay_{steps}"), inv);
    }
    check("keras_piecewise_3_7", Schedule::MultiStep(MultiStep { base: 1.0, gamma: 0.5, milestones: vec![4, 8] }));
}
