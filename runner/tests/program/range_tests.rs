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

/// A bowl in which one policy is given and two have their bounds measured.
const AUTO: &str = r#"
[experiment]
name  = "auto"
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
eval_every = 50

[range_test]
spacing    = "linear"
max_lr     = 0.4
iterations = 200

[policies.measured]
kind      = "triangular2"
base_lr   = "auto"
max_lr    = "auto"
step_size = "auto"

[policies.decay]
kind      = "decay"
base_lr   = "auto"
max_lr    = "auto"
step_size = 150

[policies.by_hand]
kind    = "fixed"
base_lr = 0.05

[optimizers.gd]
kind = "gd"

[optimizers.sgd]
kind     = "sgd"
momentum = 0.5
"#;

fn plan_json(world: &World, output: &str) -> Value {
    let text = std::fs::read_to_string(world.path(output).join("plan.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(plan: &Value) -> Vec<String> {
    plan["trials"].as_array().unwrap().iter().map(|trial| trial["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_spec_is_range_tested_by_one_command() {
    let world = World::new(BOWL);
    let sweep =
        ["range-test", "spec.toml", "--data", "data", "--mode", "linear", "--max-lr", "0.4", "--iterations", "120"];
    let first = world.run(&[&sweep[..], &["--json"]].concat());
    assert_eq!(first.code, Some(0), "{first:?}");
    let report: Value = serde_json::from_str(&first.stdout).unwrap();
    let names: Vec<&str> =
        report["tests"].as_array().unwrap().iter().map(|test| test["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sgd", "gd"]);
    for test in report["tests"].as_array().unwrap() {
        assert_eq!(
            [&test["min_lr"], &test["max_lr"], &test["spacing"]],
            [&Value::from(0.0), &0.4.into(), &"linear".into()]
        );
        assert_eq!((&test["iterations"], &test["split"], &test["images"]), (&120.into(), &"test".into(), &Value::Null));
        assert_eq!(test["curve"]["lr"].as_array().unwrap().len(), 41, "one before the first update, and 40");
    }
    // The policies of the spec were not trained.
    assert!(!world.path("outputs/bowl").exists());

    let again = world.run(&[&sweep[..], &["--json"]].concat());
    assert_eq!((again.code, again.labels("started").len(), &again.stdout), (Some(0), 0, &first.stdout));
    let read = world.run(&["range-test", "--from", "outputs/bowl-range-test", "--json"]);
    assert_eq!(read.stdout, first.stdout);
    let proved = world.run(&["verify", "outputs/bowl-range-test", "--data", "data"]);
    assert_eq!(proved.code, Some(0), "{proved:?}");

    let wrong = world.run(&["range-test", "spec.toml", "--data", "data", "--mode", "linear"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("`max_lr` is missing"), "{wrong:?}");
}

#[test]
fn accuracy_on_held_out_images_comes_before_that_on_some_of_the_test_set() {
    let world = World::new(BOWL);
    let sweep = ["range-test", "spec.toml", "--data", "data", "--iterations", "60", "--json"];
    let set = |set: &'static str| {
        let ran = world.run(&[&sweep[..], &["--set", set]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        (report["tests"][0]["split"].clone(), report["tests"][0]["images"].clone())
    };
    assert_eq!(set("data.validation=10"), ("validation".into(), Value::Null));
    assert_eq!(set("data.test=40"), ("test".into(), 40.into()));
}

#[test]
fn trials_at_constant_rates_are_read_as_a_range_test() {
    let world = World::new(&BOWL.replace("name = \"bowl\"", "name = \"bowl\"\nseeds = 2"));
    let sweep = ["range-test", "spec.toml", "--data", "data", "--constant=12", "--mode", "linear", "--max-lr", "0.4"];
    let ran = world.run(&[&sweep[..], &["--iterations", "40", "--json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((report["tests"].as_array().unwrap().len(), &report["others"]), (2, &0.into()));
    let test = report["tests"].as_array().unwrap().iter().find(|test| test["name"] == "gd").unwrap();
    assert_eq!(
        (&test["spacing"], &test["measure"], &test["iterations"]),
        (&"constant".into(), &"accuracy".into(), &40.into())
    );
    assert_eq!((test["trials"].as_array().unwrap().len(), test["rules"].as_array().unwrap().len()), (2, 0));
    // The accuracies at the ends of the trials, as the table of trials has them.
    let csv =
        world.run(&["export", "outputs/bowl-range-test", "--format", "csv", "--rows", "evals", "--out", "evals.csv"]);
    assert_eq!(csv.code, Some(0), "{csv:?}");
    let text = std::fs::read_to_string(world.path("evals.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |wanted: &str| header.iter().position(|name| *name == wanted).expect("a column");
    let [optimizer, rate, iteration, accuracy] = ["optimizer", "base_lr", "iteration", "accuracy"].map(column);
    let last: Vec<Vec<&str>> = lines.filter(|row| row[optimizer] == "gd" && row[iteration] == "40").collect();
    for (lr, value) in test["curve"]["lr"].as_array().unwrap().iter().zip(test["curve"]["value"].as_array().unwrap()) {
        let of_seeds: Vec<f64> = last
            .iter()
            .filter(|row| row[rate].parse::<f64>().unwrap() == lr.as_f64().unwrap())
            .map(|row| f64::from(row[accuracy].parse::<f32>().unwrap()))
            .collect();
        match value.as_f64() {
            Some(value) => assert!((value - of_seeds.iter().sum::<f64>() / 2.0).abs() < 1e-9, "{lr}: {of_seeds:?}"),
            None => assert!(of_seeds.len() < 2, "{lr}: one of two diverged"),
        }
    }
    let text = world.run(&[&sweep[..], &["--iterations", "40"]].concat()).stdout;
    assert!(text.contains("12 constant learning rates from 0 to 0.4, 40 iterations each, 24 trials"), "{text}");
}

#[test]
fn bounds_that_are_auto_are_measured_first_and_are_the_trials_of_these_numbers() {
    let world = World::new(AUTO);
    let before = world.run(&["plan", "spec.toml", "--data", "data", "--no-probe"]);
    assert!(before.stdout.contains("to be measured for measured and decay with gd"), "{before:?}");
    assert!(before.stdout.contains("before that, 6 range tests for the bounds"), "{before:?}");
    let checked = world.run(&["check", "spec.toml"]);
    assert!(checked.stdout.contains("to be measured"), "{checked:?}");

    let ran = world.train(&[]);
    assert_eq!(ran.labels("started").len(), 6 + 18, "{ran:?}");
    let plan = plan_json(&world, "outputs/auto");
    let tests = plan["range_tests"].as_array().unwrap();
    let report: Value = {
        let read = world.run(&["range-test", "--from", "outputs/auto-range-test", "--json"]);
        serde_json::from_str(&read.stdout).unwrap()
    };
    for (test, reported) in tests.iter().zip(report["tests"].as_array().unwrap()) {
        let [base, max] = ["base_lr", "max_lr"].map(|key| test[key].as_f64().unwrap());
        assert_eq!([&reported["pair"]["base_lr"], &reported["pair"]["max_lr"]], [&test["base_lr"], &test["max_lr"]]);
        let shown = format!("with {}: base_lr = ", test["optimizer"].as_str().unwrap());
        assert!(ran.stderr.contains(&shown), "{ran:?}");
        // The same by hand, for this optimizer.
        let optimizer = test["optimizer"].as_str().unwrap();
        let numbers = AUTO.replace("name  = \"auto\"", &format!("name = \"{optimizer}\""));
        let numbers =
            numbers.replace("base_lr   = \"auto\"", &format!("base_lr = {base:?}\noptimizers = [\"{optimizer}\"]"));
        let numbers = numbers.replace("max_lr    = \"auto\"", &format!("max_lr = {max:?}"));
        std::fs::write(world.path("numbers.toml"), &numbers).unwrap();
        let by_hand = world.run(&["numbers.toml", "--data", "data"]);
        assert_eq!(by_hand.code, Some(0), "{by_hand:?}");
        let (by_hand, all) = (ids(&plan_json(&world, &format!("outputs/{optimizer}"))), ids(&plan));
        assert!(by_hand.iter().all(|id| all.contains(id)), "{by_hand:?} {all:?}");
    }
    assert_eq!(tests.len(), 2);

    let again = world.train(&[]);
    assert_eq!(again.labels("started").len(), 0, "{again:?}");
    // The output knows its bounds without the range tests.
    std::fs::remove_dir_all(world.path("outputs/auto-range-test")).unwrap();
    let proved = world.run(&["verify", "outputs/auto", "--data", "data"]);
    assert_eq!(proved.code, Some(0), "{proved:?}");
}

#[test]
fn a_run_with_measured_bounds_that_was_killed_in_either_stage_gives_equal_bytes() {
    let world = World::new(&AUTO.replace("iterations = 200", "iterations = 3000"));
    world.train(&["--outputs", "whole"]);
    let arguments = ["--outputs", "killed", "--jobs", "1"];
    let kill_when = |word: &str| {
        let mut run = world.start(&arguments);
        run.wait_for(word);
        run.signal("KILL");
        assert_eq!(run.finish().code, None);
    };
    kill_when("started");
    let tests = world.run(&["range-test", "spec.toml", "--data", "data", "--outputs", "killed"]);
    assert_eq!(tests.code, Some(0), "{tests:?}");
    kill_when("finished");
    world.train(&arguments);
    assert!(world.tables("killed/auto-range-test") == world.tables("whole/auto-range-test"));
    assert!(world.tables("killed/auto") == world.tables("whole/auto"));
}

#[test]
fn a_range_test_that_shows_no_bounds_is_told_before_anything_else_is_trained() {
    let world = World::new(&AUTO.replace("max_lr     = 0.4", "max_lr     = 1e-9"));
    let ran = world.run(&["spec.toml", "--data", "data"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("error[spec::range_test]: the range test shows no bounds"), "{ran:?}");
    assert!(ran.stderr.contains("it never improves by more than noise"), "{ran:?}");
    assert!(!world.path("outputs/auto").exists());
}
