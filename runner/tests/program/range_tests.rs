//! `clr-run range-test`: what it reads from an output, in progress or not.

use serde_json::Value;

use crate::world::{BOWL, World};

/// Gradient descent in a bowl whose largest curvature is 10: rates above 0.2 lead out of it. The other policy is no range test.
const SWEEP: &str = r#"
[experiment]
name  = "sweep"
seeds = [1, 2, 3]

[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = 0.2

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 200
eval_every = 5

[policies.linear]
kind   = "range_test"
min_lr = 0.0
max_lr = 0.4

[policies.geometric]
kind    = "range_test"
min_lr  = 1e-5
max_lr  = 10.0
spacing = "geometric"

[policies.fixed]
kind    = "fixed"
base_lr = 0.1

[optimizers.gd]
kind = "gd"
"#;

fn json(world: &World) -> Value {
    let ran = world.run(&["range-test", "--from", "outputs/sweep", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The learning rates and losses of a trial, as another command writes them.
fn rows(world: &World, trial: &str) -> (Vec<f64>, Vec<f64>) {
    let file = world.path("rows.csv");
    let out = file.to_str().unwrap();
    let ran = world.run(&["export", "outputs/sweep", "--trial", trial, "--format", "csv", "--out", out]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let [lr, loss] = ["lr", "loss"].map(|wanted| header.iter().position(|name| *name == wanted).expect("a column"));
    lines.map(|line| (line[lr].parse::<f64>().unwrap(), line[loss].parse().unwrap_or(f64::NAN))).unzip()
}

/// fastai's `minimum` in so many words: of losses smoothed and debiased, without the first tenth and the last five.
fn minimum(lrs: &[f64], losses: &[f64], planned: usize) -> f64 {
    let (mut mean, mut best, mut smooth) = (0.0, f64::INFINITY, Vec::new());
    for (count, loss) in losses.iter().enumerate() {
        mean = 0.98 * mean + 0.02 * loss;
        let debiased = mean / (1.0 - libm::pow(0.98, count as f64 + 1.0));
        smooth.push(debiased);
        best = f64::min(best, debiased);
        if debiased > 4.0 * best {
            break;
        }
    }
    let kept = planned / 10..smooth.len() - 5;
    let place = kept.min_by(|a, b| smooth[*a].total_cmp(&smooth[*b])).unwrap();
    lrs[place] / 10.0
}

#[test]
fn range_tests_of_an_output_are_read_without_training() {
    let world = World::new(SWEEP);
    world.train(&[]);
    let report = json(&world);
    assert_eq!(report["others"], 3, "{report}");
    let tests = report["tests"].as_array().unwrap();
    assert_eq!(tests.iter().map(|test| test["name"].as_str().unwrap()).collect::<Vec<_>>(), ["linear", "geometric"]);
    for test in tests {
        assert_eq!((&test["measure"], &test["split"]), (&"accuracy".into(), &"test".into()));
        for found in [&test["pair"], &test["trials"][0]["pair"], &test["trials"][1]["pair"], &test["trials"][2]["pair"]]
        {
            let [base, max] = ["base_lr", "max_lr"].map(|key| found[key].as_f64().unwrap());
            // It takes time to leave the bowl, so the upper bound is somewhat above the rate at which that begins.
            assert!(base < max && max < 0.4, "{found}");
        }
        let of_minimum = test["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == "minimum").unwrap();
        for suggestion in of_minimum["suggestions"].as_array().unwrap() {
            let (lrs, losses) = rows(&world, suggestion["trial"].as_str().unwrap());
            assert_eq!(suggestion["lr"].as_f64(), Some(minimum(&lrs, &losses, 200)), "{suggestion}");
        }
    }
    let why = &tests[0]["rules"][0]["suggestions"][0]["why_none"];
    assert_eq!(why, "needs a geometric sweep");
    assert!(tests[1]["rules"][0]["median"].as_f64().unwrap() > 1e-5, "{}", tests[1]["rules"]);

    let mut command = world.command(&["range-test", "--from", "outputs/sweep"]);
    let text = String::from_utf8(command.env("COLUMNS", "80").output().unwrap().stdout).unwrap();
    for part in
        ["base_lr = ", "max_lr  = ", "torch-lr-finder", "3 trials of this output are no range tests and are left out"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // Without the rows, evaluations still show the bounds.
    for file in std::fs::read_dir(world.path("outputs/sweep/metrics")).unwrap() {
        std::fs::write(file.unwrap().path(), "no Parquet").unwrap();
    }
    let damaged = json(&world);
    assert_eq!(damaged["unreadable"].as_object().unwrap().len(), 1, "{}", damaged["unreadable"]);
    for (damaged, test) in damaged["tests"].as_array().unwrap().iter().zip(tests) {
        assert_eq!(damaged["pair"], test["pair"]);
        assert_eq!(damaged["rules"][3]["suggestions"][0]["why_none"], "too few losses that are finite");
    }
}

#[test]
fn an_output_without_range_tests_is_told_what_to_write() {
    let world = World::new(BOWL);
    world.train(&[]);
    let ran = world.run(&["range-test", "--from", "outputs/bowl"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("has no range test among its trials"), "{ran:?}");
    assert!(ran.stderr.contains("kind   = \"range_test\""), "{ran:?}");
}
