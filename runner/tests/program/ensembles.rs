//! States at the ends of cycles: which are kept, and what `clr-run evaluate` makes of them.

use serde_json::Value;

use crate::world::World;

/// Two trials of two cycles, with batch normalisation, whose statistics averaged weights need anew.
const SNAPSHOTS: &str = r#"
[experiment]
name  = "snapshots"
seeds = [1, 2]

[model]
plugin       = "cifar"
architecture = "cifar10_full_sigmoid_bn"

[data]
dataset    = "speckles"
batch_size = 9

[train]
iterations = 12
eval_every = 0

[policies.triangular]
kind      = "triangular"
base_lr   = 0.001
max_lr    = 0.05
step_size = 3

[optimizers.sgd]
kind     = "sgd"
momentum = 0.9

[checkpoint]
keep = "cycles"
"#;

fn kept(world: &World) -> Vec<String> {
    let folder = world.path("outputs/snapshots/checkpoints");
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn evaluate(world: &World, arguments: &[&str]) -> Value {
    let ran = world.run(&[&["evaluate", "outputs/snapshots", "--json", "--data", "data"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The accuracy on test images after the last iteration, as it was measured while the trial was trained.
fn final_accuracy(world: &World, trial: &str) -> f64 {
    let file = world.path("evals.csv");
    let out = file.to_str().unwrap();
    let ran = world.run(&["export", "outputs/snapshots", "--format", "csv", "--rows", "evals", "--out", out]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let [id, accuracy] =
        ["trial", "accuracy"].map(|wanted| header.iter().position(|name| *name == wanted).expect("a column"));
    lines.rfind(|line| line[id] == trial).unwrap()[accuracy].parse().unwrap()
}

#[test]
fn states_at_the_ends_of_cycles_are_kept_and_evaluated_together() {
    let world = World::new(SNAPSHOTS);
    world.train(&[]);
    let names = kept(&world);
    let steps: Vec<&str> = names.iter().map(|name| name.split('-').nth(1).unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(steps.iter().filter(|step| **step == "6").count(), 2, "{names:?}");
    assert_eq!(steps.iter().filter(|step| **step == "12").count(), 2, "{names:?}");

    let found = evaluate(&world, &["--ensemble"]);
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    for trial in found.as_array().unwrap() {
        let members = trial["members"].as_array().unwrap();
        let iterations: Vec<u64> = members.iter().map(|member| member["iteration"].as_u64().unwrap()).collect();
        assert_eq!(iterations, [6, 12]);
        // One state votes as it does alone, which is what training measured at its end.
        assert_eq!(members[1]["alone"], members[1]["with_later"]);
        let measured = final_accuracy(&world, trial["id"].as_str().unwrap());
        let alone = members[1]["alone"].as_f64().unwrap();
        assert!((alone - measured).abs() < 1e-6, "{alone} alone, {measured} while it was trained");
        assert!(trial["averaged_weights"].as_f64().unwrap() > 0.0, "{trial}");
    }
    // Of one state, the mean of the weights is that state's; only the statistics are others.
    let last = evaluate(&world, &["--ensemble", "--last", "1"]);
    assert_eq!(last[0]["members"].as_array().unwrap().len(), 1);
    assert_eq!(last[0]["members"][0], found[0]["members"][1]);

    let arguments = ["evaluate", "outputs/snapshots", "--data", "data", "--split", "validation"];
    let none = world.run(&arguments);
    assert_eq!((none.code, none.stdout.as_str()), (Some(2), ""), "{none:?}");
    assert!(none.stderr.contains("trained without validation images"), "{none:?}");

    let text = world.run(&["evaluate", "outputs/snapshots", "--data", "data", "--ensemble"]);
    assert!(
        text.stdout.contains("with all later") && text.stdout.contains("averaged weights of the 2 states"),
        "{text:?}"
    );
}

#[test]
fn a_resumed_run_keeps_the_same_states() {
    let whole = World::new(SNAPSHOTS);
    whole.train(&[]);
    let cut = World::new(SNAPSHOTS);
    let every = ["--set", "checkpoint.every=\"1 iterations\""];
    let mut running = cut.start(&every);
    running.wait_for("started");
    running.signal("INT");
    running.finish();
    cut.train(&every);
    assert_eq!(kept(&cut), kept(&whole));
}

#[test]
fn an_output_without_states_says_how_to_keep_them() {
    let world = World::new(SNAPSHOTS);
    world.train(&["--set", "checkpoint.keep=nothing"]);
    let ran = world.run(&["evaluate", "outputs/snapshots", "--data", "data", "--ensemble"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("keep = \"cycles\""), "{ran:?}");
}
