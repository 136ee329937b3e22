//! Short trials at constant rates, read as a range test. They ask the same without the confound of time: each rate is met by an
//! untrained network, and none by one that lower rates have prepared.

use clr_finder::smith::{self, Measure};
use clr_host::Split;
use clr_plan::{Names, names};
use clr_store::result::{Numbers, Status};
use clr_store::sweeps::{ConstantTrial, Sweeps};

use super::{Curve, Test, TestTrial, Together, cells, common_label, names_of};

/// What [`Test::spacing`] says of them.
pub const SPACING: &str = "constant";

/// The names under which the rate may be an axis.
const RATES: [&str; 2] = ["base_lr", "policy.base_lr"];

/// The tests of trials that differ in nothing but seeds and a constant rate, of enough rates for a curve.
pub fn tests(sweeps: &Sweeps) -> Vec<Test> {
    let of_all = || sweeps.constant.iter().map(|trial| (trial, &trial.axes[..]));
    let besides: Vec<&str> = names::SEEDS.into_iter().chain(RATES).collect();
    let mut cells = cells(&sweeps.axes, of_all(), &besides);
    cells.retain(|trials| rates(trials).len() >= smith::FEWEST);
    let handles = Names::new(&sweeps.axes, of_all().map(|(trial, axes)| (trial.id, axes)));
    let names = names_of(&handles, cells.iter().map(|trials| &trials[0].axes[..]), &besides);
    let named = cells.iter().zip(names).map(|(trials, name)| match name.is_empty() {
        true => (trials, common_label(&sweeps.axes, &trials[0].label, &besides)),
        false => (trials, name),
    });
    named.map(|(trials, name)| test(sweeps, name, trials)).collect()
}

/// The rates of trials, each once, rising.
fn rates(trials: &[&ConstantTrial]) -> Vec<f64> {
    let mut rates: Vec<f64> = trials.iter().map(|trial| trial.lr).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    rates
}

fn test(sweeps: &Sweeps, name: String, trials: &[&ConstantTrial]) -> Test {
    let rates = rates(trials);
    let accuracy = |split: Split| {
        move |numbers: &Numbers| match split {
            Split::Validation => numbers.final_validation_accuracy,
            _ => numbers.final_test_accuracy,
        }
    };
    let has = |split: &Split| trials.iter().any(|trial| accuracy(*split)(&trial.numbers).is_some());
    let split = [Split::Validation, Split::Test].into_iter().find(has);
    let measure = if split.is_some() { Measure::Accuracy } else { Measure::Loss };
    let value = |trial: &ConstantTrial| match split {
        _ if trial.status != Status::Finished => f64::NAN,
        Some(split) => accuracy(split)(&trial.numbers).map_or(f64::NAN, f64::from),
        None => trial.numbers.final_train_loss.unwrap_or(f64::NAN),
    };

    let of_all = trials.iter().map(|trial| (*trial, &trial.axes[..]));
    let seeds = cells(&sweeps.axes, of_all, &RATES);
    let mut curves: Vec<Curve> = Vec::new();
    let mut of_seeds: Vec<TestTrial> = Vec::new();
    for mut seed in seeds {
        seed.sort_by(|a, b| a.lr.total_cmp(&b.lr));
        let curve = Curve {
            lr: seed.iter().map(|trial| trial.lr).collect(),
            value: seed.iter().map(|trial| value(trial)).collect(),
        };
        let is_over = seed.iter().all(|trial| trial.status.is_done());
        let label = common_label(&sweeps.axes, &seed[0].label, &RATES);
        of_seeds.push(TestTrial {
            ids: seed.iter().map(|trial| trial.id).collect(),
            trial: label.clone(),
            label,
            status: if is_over { Status::Finished.name() } else { Status::Unfinished.name() },
            rows: seed.iter().map(|trial| trial.numbers.rows).sum(),
            diverged_at_lr: seed.iter().find(|trial| trial.status == Status::Diverged).map(|trial| trial.lr),
            counts: is_over,
            pair: curve.pair(measure),
        });
        curves.push(curve);
    }
    let counting = || curves.iter().zip(&of_seeds).filter(|(_, seed)| seed.counts);
    let values: Vec<&[f64]> = counting().map(|(curve, _)| &curve.value[..]).collect();
    let lr = counting().map(|(curve, _)| curve.lr.clone()).next().unwrap_or_default();
    let value = smith::median_curve(measure, &values);
    let first = trials[0];
    Test {
        name,
        min_lr: rates[0],
        max_lr: rates[rates.len() - 1],
        spacing: SPACING,
        iterations: first.iterations,
        measure,
        split: split.map(Split::name),
        images: first.test_count.filter(|_| split == Some(Split::Test)),
        pair: Together::of(of_seeds.iter().filter(|seed| seed.counts).map(|seed| seed.pair.0).collect()),
        trials: of_seeds,
        curve: Curve { lr, value },
        rules: Vec::new(),
    }
}
