//! Range tests of a spec, and bounds that they measure.

use clr_schedule::{Cyclic, RangeTest, Schedule};

use super::*;
use crate::example::planned_of;

const ADAM: &str = "[optimizers.adam]\nkind = \"adam\"\n";

/// The paper's figure 3.
const FIGURE_3: &str = "[range_test]\nspacing = \"linear\"\nmax_lr = 0.02\n";

const ONLY: &str = "[range_test]\nonly = true\n";

const AUTO: &str =
    "[policies.triangular2]\nkind = \"triangular2\"\nbase_lr = \"auto\"\nmax_lr = \"auto\"\nstep_size = 2000\n";

fn sweep(trial: &Trial) -> (f64, f64, u64, bool) {
    let Schedule::RangeTest(RangeTest { min, max, steps, geometric }) = trial.lr else {
        panic!("{} is no range test", trial.label)
    };
    assert_eq!(steps, trial.iterations);
    (min, max, steps, geometric)
}

fn labels(plan: &Plan) -> Vec<&str> {
    plan.trials.iter().map(|trial| &*trial.label).collect()
}

fn ids(plan: &Plan) -> Vec<TrialId> {
    plan.trials.iter().map(|trial| trial.id).collect()
}

fn parsed(body: &str) -> (clr_spec::Spec, SourceFile) {
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{body}") };
    let (spec, problems) = parse(&source, &[]);
    assert_eq!(render(&problems, &source), "");
    (spec, source)
}

/// The plan of a spec after its range tests, which show `bounds` with each optimizer in turn.
fn measured(body: &str, bounds: &[Result<Bounds, String>]) -> Result<Plan, String> {
    let (spec, source) = parsed(body);
    let mut facts = facts_for(&spec);
    let tests = plan(&spec.range_tests_alone(), &facts).expect("there are range tests");
    let optimizers: Vec<&str> = spec.optimizers.iter().map(|optimizer| &*optimizer.name.value).collect();
    for trial in tests.trials.iter() {
        let optimizer = optimizers.iter().position(|name| trial.label.contains(name)).expect("it has an optimizer");
        facts.range_tests.insert(trial.id, bounds[optimizer].clone());
    }
    plan(&spec, &facts).map_err(|problems| render(&problems, &source))
}

#[test]
fn the_range_tests_of_a_spec_are_one_sweep_for_each_optimizer_and_seed() {
    let seeds = HEAD.replace("name = \"test\"", "name = \"test\"\nseeds = [1, 2]");
    let policies = "[policies.tri]\nkind = \"triangular\"\nbase_lr = 0.001\nmax_lr = [0.005, 0.006]\nstep_size = 2000\n\
                    [policies.long]\nkind = \"fixed\"\nbase_lr = 0.001\ntrain.iterations = 70_000\n\
                    [grid]\nexclude = [{ policy = \"tri\", max_lr = 0.006, seed = 2 }]\n";
    let tests = planned(&format!("{seeds}{policies}{SGD}{ADAM}{ONLY}"));
    assert_eq!(tests.name, "test-range-test");
    assert_eq!(
        labels(&tests),
        ["range_test sgd seed=1", "range_test sgd seed=2", "range_test adam seed=1", "range_test adam seed=2"]
    );
    // 8 epochs of 50,000 images in batches of 100, and 40 evaluations.
    assert_eq!(sweep(&tests.trials[0]), (1e-5, 1.0, 4000, true));
    assert_eq!(sweep(&tests.trials[2]), (1e-6, 0.1, 4000, true));
    for trial in tests.trials.iter() {
        assert_eq!((trial.eval_every.iterations().whole(), trial.shape.data.test_count), (Some(100), Some(2000)));
    }
}

#[test]
fn a_range_test_is_the_trial_of_the_same_policy_written_by_hand() {
    let asked = planned_of(&format!("{FIXED}{SGD}{FIGURE_3}only = true\n"));
    let by_hand =
        HEAD.replace("25_000", "\"8 epochs\"\neval_every = 100").replace("batch_size", "test = 2000\nbatch_size");
    let by_hand = format!("{by_hand}[policies.mine]\nkind = \"range_test\"\nmin_lr = 0.0\nmax_lr = 0.02\n{SGD}");
    assert_eq!(ids(&asked), ids(&planned(&by_hand)));
    // Which is its own range test, unless the spec says how to sweep.
    assert_eq!(labels(&planned(&format!("{by_hand}{ONLY}"))), ["mine sgd seed=1"]);
    assert_eq!(ids(&planned(&format!("{by_hand}{ONLY}"))), ids(&asked));
    assert_eq!(sweep(&planned(&format!("{by_hand}{ONLY}max_lr = 0.5\n")).trials[0]).1, 0.5);
}

#[test]
fn all_images_of_the_test_set_are_no_other_trial_than_unsaid() {
    let with = |test: &str| {
        ids(&planned(&format!("{}{FIXED}{SGD}", HEAD.replace("batch_size", &format!("{test}batch_size")))))
    };
    assert_eq!(with(""), with("test = 10_000\n"));
    assert_ne!(with(""), with("test = 9_999\n"));
}

#[test]
fn policies_that_change_what_is_trained_have_range_tests_of_their_own() {
    let tests = planned_of(&format!(
        "{FIXED}[policies.plain]\nkind = \"fixed\"\nbase_lr = 0.1\noptimizer.momentum = 0.0\n{SGD}{ONLY}"
    ));
    assert_eq!(labels(&tests), ["fixed sgd seed=1", "plain sgd seed=1"]);
}

#[test]
fn a_range_test_is_no_longer_than_the_training_unless_that_is_asked() {
    let short = HEAD.replace("25_000", "90");
    let test = planned(&format!("{short}{FIXED}{SGD}{ONLY}"));
    // 40 evaluations of 90 iterations come after every 2 and a quarter.
    assert_eq!((test.trials[0].iterations, test.trials[0].eval_every.iterations().to_string()), (90, "9/4".to_owned()));
    assert_eq!(planned(&format!("{short}{FIXED}{SGD}{ONLY}iterations = \"1 epoch\"\n")).trials[0].iterations, 500);
    let shortest = planned(&format!("{}{FIXED}{SGD}{ONLY}", HEAD.replace("25_000", "9")));
    assert_eq!(shortest.trials[0].eval_every.count(9), 9);
}

#[test]
fn constant_rates_are_short_trials_spaced_as_the_sweep_would_go() {
    let tests =
        planned_of(&format!("{FIXED}{SGD}[range_test]\nonly = true\nmin_lr = 1e-4\nmax_lr = 0.1\nconstant = 10\n"));
    assert_eq!(tests.trials.len(), 10);
    assert_eq!((&*tests.trials[3].label, tests.trials[3].iterations), ("range_test sgd base_lr=0.001 seed=1", 500));
    assert_eq!(tests.trials[3].lr, Schedule::Constant(0.001));
    let line = planned_of(&format!("{FIXED}{SGD}{FIGURE_3}constant = 9\nonly = true\n"));
    let rates: Vec<f64> = line.trials.iter().map(|trial| trial.lr.at(0)).collect();
    assert_eq!(rates, [0.0, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02]);
    // Bounds can be measured so too.
    let bounds = Bounds { base: 0.001, max: 0.006 };
    let found = measured(&format!("{AUTO}{SGD}{FIGURE_3}constant = 9\n"), &[Ok(bounds)]).unwrap();
    assert_eq!((found.trials[0].lr.at(0), found.trials[0].lr.at(2000)), (0.001, 0.006));
    assert_eq!(found.range_tests[0].trials.len(), 9);
}

#[test]
fn range_tests_have_seeds_of_their_own_if_they_are_given() {
    let tests = planned_of(&format!("{FIXED}{SGD}{ONLY}seeds = [7, 8, 9]\n"));
    assert_eq!(labels(&tests), ["range_test sgd seed=7", "range_test sgd seed=8", "range_test sgd seed=9"]);
}

#[test]
fn measured_bounds_give_the_trials_of_the_same_numbers_written_by_hand() {
    let bounds = [Bounds { base: 0.001, max: 0.006 }, Bounds { base: 2e-5, max: 3e-4 }];
    let others = "[policies.decay]\nkind = \"decay\"\nbase_lr = \"auto\"\nmax_lr = \"auto\"\nstep_size = 2000\n";
    let found = measured(&format!("{AUTO}{others}{SGD}{ADAM}"), &bounds.map(Ok)).unwrap();
    let by_hand = |optimizer: &str, base: f64, max: f64| {
        let body = format!("{AUTO}{others}{optimizer}");
        let body = body.replace("base_lr = \"auto\"", &format!("base_lr = {base:?}"));
        ids(&planned_of(&body.replace("max_lr = \"auto\"", &format!("max_lr = {max:?}"))))
    };
    let (sgd, adam) = (by_hand(SGD, 0.001, 0.006), by_hand(ADAM, 2e-5, 3e-4));
    assert_eq!(ids(&found), [sgd[0], adam[0], sgd[1], adam[1]]);

    assert!(found.is_measured());
    let policies: Vec<Vec<&str>> =
        found.range_tests.iter().map(|test| test.policies.iter().map(|name| &**name).collect()).collect();
    assert_eq!(policies, [["triangular2", "decay"], ["triangular2", "decay"]]);
    let mut json = Vec::new();
    json::write_json(&found, &json::Estimates::default(), &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["range_tests"][0]["base_lr"], &json["range_tests"][1]["max_lr"]), (&0.001.into(), &3e-4.into()));
    assert_eq!(json["range_tests"][0]["trials"].as_array().unwrap().len(), 1);
}

#[test]
fn one_bound_may_be_measured_and_a_list_may_have_it_beside_numbers() {
    let body = AUTO
        .replace("base_lr = \"auto\"", "base_lr = 0.0002")
        .replace("max_lr = \"auto\"", "max_lr = [\"auto\", 0.01]");
    let found = measured(&format!("{body}{SGD}"), &[Ok(Bounds { base: 0.001, max: 0.006 })]).unwrap();
    assert_eq!(labels(&found), ["triangular2 sgd max_lr=0.006 seed=1", "triangular2 sgd max_lr=0.01 seed=1"]);
    let bounds: Vec<(f64, f64)> = found.trials.iter().map(|trial| (trial.lr.at(0), trial.lr.at(2000))).collect();
    assert_eq!(bounds, [(0.0002, 0.006), (0.0002, 0.01)]);
}

#[test]
fn a_plan_before_its_range_tests_says_so() {
    let before = planned_of(&format!("{}{SGD}", AUTO.replace("max_lr = \"auto\"", "max_lr = [\"auto\", 2.0]")));
    assert!(!before.is_measured());
    assert_eq!((before.range_tests.len(), before.range_tests[0].iterations), (1, 4000));
    // What is not known is no value of an axis.
    let column = before.axes.iter().position(|axis| axis.name == "max_lr").unwrap();
    let values: Vec<Option<AxisValue>> = before.trials.iter().map(|trial| trial.axes[column].clone()).collect();
    assert_eq!(values, [None, Some(AxisValue::Float(2.0))]);
}

#[test]
fn a_range_test_without_bounds_is_reported_where_they_are_asked_for() {
    let found = measured(&format!("{AUTO}{SGD}"), &[Err("it never improves by more than noise".to_owned())]);
    expect![[r#"
        error[spec::range_test]: the range test shows no bounds
          --> a.toml:13:11
           |
        13 | base_lr = "auto"
           |           ^^^^^^ it never improves by more than noise
        ...
        16 | [optimizers.sgd]
           | ---------------- with this optimizer
           |
           = help: change `[range_test]`, which says how the test is made, or write a number here
    "#]]
    .assert_eq(&found.unwrap_err());
}

/// Half a cycle by the number of epochs, worked out by hand: as near to 4 epochs as whole cycles allow, and 3 cycles at least
/// where they have 2 epochs.
#[test]
fn steps_that_fit_make_whole_cycles_that_end_with_the_training() {
    for (iterations, cycles) in [
        ("25_000", 6),        // 50 epochs
        ("70_000", 18),       // 140
        ("\"8 epochs\"", 2),  // of 2 epochs
        ("\"11 epochs\"", 2), // of 2.75
        ("\"12 epochs\"", 3), // of 2
        ("\"28 epochs\"", 4), // of 3.5
        ("\"3 epochs\"", 1),
        ("\"4.5 epochs\"", 1), // of 2.25
        ("999", 1),
    ] {
        let text = HEAD.replace("25_000", iterations);
        let auto = "[policies.tri]\nkind = \"triangular\"\nbase_lr = 0.1\nmax_lr = 0.2\nstep_size = \"auto\"\n";
        let found = planned(&format!("{text}{auto}{SGD}"));
        let trial = &found.trials[0];
        let Schedule::Cyclic(Cyclic { up, down, .. }) = trial.lr else { panic!("{:?}", trial.lr) };
        assert_eq!((up, down), (trial.iterations as f64 / f64::from(2 * cycles), up), "{iterations}");
        assert!(
            trial.lr.next_cycle_end(trial.iterations - 1).is_some_and(|end| end == trial.iterations),
            "{iterations}"
        );
        assert_eq!(found.warnings, [], "{iterations}");
    }
}

#[test]
fn auto_is_refused_where_nothing_measures_it() {
    check_problems(
        r#"[range_test]
spacing = "linear"
[policies.tri]
kind      = "triangular"
base_lr   = "atuo"
max_lr    = 0.1
step_size = "auto"
mult      = 2
[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = "auto", max = 0.9, step_size = 100 }
"#,
        expect![[r#"
            error[spec::missing]: `max_lr` is missing
              --> a.toml:12:11
               |
            12 | spacing = "linear"
               |           ^^^^^^^^ a line has no default end
               |
               = help: add one at which training surely gets worse: the paper's is 0.02, for pixels from 0 to 255

            error[spec::type]: `base_lr` has the wrong type
              --> a.toml:15:13
               |
            15 | base_lr   = "atuo"
               |             ^^^^^^ expected a number, or "auto", found "atuo"

            error[spec::type]: `base` has the wrong type
              --> a.toml:21:42
               |
            21 | momentum = { kind = "triangular", base = "auto", max = 0.9, step_size = 100 }
               |                                          ^^^^^^ expected a number, found "auto"

            error[spec::unused]: `mult` has no effect here
              --> a.toml:18:13
               |
            18 | mult      = 2
               |             ^ `step_size` is "auto": all cycles are alike, and fill the training
               |
               = help: remove it
        "#]],
    );
}
