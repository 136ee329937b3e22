//! `clr-run compare`, against numbers that are computed here from the tables alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::results::{Cell, read};
use crate::world::World;

/// Two policies and three seeds, whose noise makes accuracies differ.
pub const SEEDS: &str = r#"
[experiment]
name  = "seeds"
seeds = [1, 2, 3]

[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 30
eval_every = 5

[policies.fixed]
kind    = "fixed"
base_lr = 0.01

[policies.triangular]
kind      = "triangular"
base_lr   = 0.01
max_lr    = 0.2
step_size = 5

[policies.hot]
kind    = "fixed"
base_lr = 1e6

[optimizers.gd]
kind = "gd"
"#;

/// Test accuracy by policy, seed and iteration, from `evals`.
fn accuracies(world: &World) -> BTreeMap<(String, i64), BTreeMap<i64, f64>> {
    let mut found: BTreeMap<(String, i64), BTreeMap<i64, f64>> = BTreeMap::new();
    for row in read(&world.path("outputs/seeds/evals")) {
        let row: BTreeMap<String, Cell> = row.into_iter().collect();
        let (Cell::Text(policy), Cell::Integer(seed)) = (&row["policy"], &row["seed"]) else { panic!("{row:?}") };
        let (Cell::Integer(iteration), Cell::F32(bits)) = (&row["iteration"], &row["accuracy"]) else { continue };
        let accuracy = f64::from(f32::from_bits(*bits));
        found.entry((policy.clone(), *seed)).or_default().insert(*iteration, accuracy);
    }
    found
}

#[track_caller]
fn check_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
}

/// Of three seeds there are two degrees of freedom, for which Student's distribution and its quantile have closed forms.
#[test]
fn a_comparison_has_the_paired_differences_that_the_tables_give() {
    let world = World::new(SEEDS);
    world.train(&[]);
    let ran = world.run(&["compare", "outputs/seeds", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["by"], &json["reference"], &json["split"]), (&"policy".into(), &"fixed".into(), &"test".into()));

    let accuracies = accuracies(&world);
    let last = |policy: &str, seed: i64| accuracies[&(policy.to_owned(), seed)][&30];
    let differences = [1, 2, 3].map(|seed| last("triangular", seed) - last("fixed", seed));
    let mean = differences.iter().sum::<f64>() / 3.0;
    let deviation = (differences.iter().map(|it| (it - mean) * (it - mean)).sum::<f64>() / 2.0).sqrt();
    assert!(deviation > 0.01, "the seeds of this spec should differ: {differences:?}");
    let error = deviation / 3.0_f64.sqrt();
    let (t, half) = (mean / error, 0.95 * (2.0_f64 / (1.0 - 0.95 * 0.95)).sqrt() * error);

    let block = &json["blocks"][0];
    let candidates = block["candidates"].as_array().unwrap();
    assert_eq!((json["blocks"].as_array().unwrap().len(), candidates.len()), (1, 2));
    let (found, hot) = (&candidates[0], &candidates[1]);
    assert_eq!((&found["axes"]["policy"], &found["difference"]["n"]), (&"triangular".into(), &3.into()));
    check_near(&found["difference"]["mean"], mean);
    check_near(&found["difference"]["deviation"], deviation);
    check_near(&found["difference"]["interval"][0], mean - half);
    check_near(&found["difference"]["interval"][1], mean + half);
    check_near(&found["t"], t);
    check_near(&found["p"], 1.0 - t.abs() / (2.0 + t * t).sqrt());
    // What diverged is no test, so there is one alone to correct for.
    assert_eq!((&found["p_corrected"], &json["tests"]), (&found["p"], &1.into()));
    assert_eq!((&hot["verdict"], &hot["diverged"]), (&"no_pair".into(), &3.into()));

    let target = [1, 2, 3].map(|seed| last("fixed", seed)).iter().sum::<f64>() / 3.0;
    check_near(&block["target"], target);
    for (cell, policy) in [(&block["reference"], "fixed"), (found, "triangular")] {
        let first = |seed: i64| {
            let mut all = accuracies[&(policy.to_owned(), seed)].iter();
            all.find(|(_, accuracy)| **accuracy >= target).map(|(iteration, _)| *iteration)
        };
        let reached: Vec<Option<i64>> = [1, 2, 3].map(first).to_vec();
        let seeds = cell["seeds"].as_array().unwrap();
        assert_eq!(seeds.iter().map(|seed| seed["reached"].as_i64()).collect::<Vec<_>>(), reached, "{policy}");
        assert_eq!(cell["iterations"]["reached"], reached.iter().flatten().count());
    }

    let mut command = world.command(&["compare", "seeds"]);
    let text = String::from_utf8(command.env("COLUMNS", "80").output().unwrap().stdout).unwrap();
    assert!(
        text.contains("9 trials: 6 finished, 3 diverged") && text.contains("hot: 3 of 3 trials are in no pair"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn an_output_with_damaged_evaluations_is_compared_by_its_final_accuracies() {
    let world = World::new(SEEDS);
    world.train(&[]);
    let evals = std::fs::read_dir(world.path("outputs/seeds/evals")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&evals).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&evals, bytes).unwrap();
    let ran = world.run(&["compare", "outputs/seeds", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("damaged") && ran.stderr.contains("is not known"), "{ran:?}");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let found = &json["blocks"][0]["candidates"][0];
    assert_eq!((&found["difference"]["n"], &found["iterations"]["unknown"]), (&3.into(), &3.into()));

    let ran = world.run(&["compare", "nowhere"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("nowhere is no output of a run"), "{ran:?}");
}
