//! Tables of two outputs, read as one.

use std::process::Command;

use crate::results::{Cell, read};
use crate::world::{BOWL, World};

/// Whole numbers, and one value of each key, where the other has fractions, several and none.
const WHOLE: &str = r#"
[experiment]
name = "whole"
[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = [0, 1]
[data]
dataset    = "speckles"
batch_size = 7
scale      = [1, 2]
[train]
iterations = ["2 epochs", 20]
eval_every = [10, 9]
max_loss   = [1_000_000]
[policies.triangular]
kind      = "triangular"
base_lr   = [0]
max_lr    = [1]
step_size = ["1 epochs"]
cycles    = [1]
[optimizers.sgd]
kind         = "sgd"
momentum     = [0]
"#;

const BROKEN: &str = r#"
[experiment]
name = "broken"
[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = [0.5, 0.25]
[data]
dataset    = "speckles"
batch_size = 8
scale      = [0.5, 1.5]
[train]
iterations = [12, 13]
eval_every = ["1 epochs"]
max_loss   = [1e6, 2.5e6]
[policies.triangular]
kind      = "triangular"
base_lr   = [0.001]
max_lr    = [0.01, 0.02]
step_size = ["0.8 epochs", 3]
cycles    = [1.5]
optimizer.momentum = [0.5, 0.9]
optimizers = ["sgd"]
[policies.fixed]
kind      = "fixed"
base_lr   = 0.1
[optimizers.sgd]
kind     = "sgd"
[optimizers.cycled]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 7 }
"#;

#[test]
fn tables_of_two_outputs_are_read_as_one() {
    let world = World::new(WHOLE);
    world.train(&[]);
    std::fs::write(world.path("spec.toml"), BROKEN).unwrap();
    world.train(&[]);
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    let has_libraries = Command::new(&python).args(["-c", "import pandas, pyarrow, polars, duckdb"]).output();
    if !has_libraries.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python:?} lacks pandas, pyarrow, polars or duckdb; CLR_PYTHON names another Python");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/concat_outputs.py");
    let output = Command::new(&python)
        .args([script.as_ref(), world.path("outputs/whole").as_os_str(), world.path("outputs/broken").as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "metrics base_lr Float64",
        "metrics max_lr Float64",
        "metrics step_size Float64",
        "metrics cycles Float64",
        "metrics noise Float64",
        "metrics scale Float64",
        "metrics iterations Int64",
        "metrics optimizer.momentum Float64",
        "trials eval_every Float64",
        "evals max_loss Float64",
    ] {
        assert!(printed.lines().any(|line| line == expected), "no `{expected}` in\n{printed}");
    }
}

/// `policy.base_lr` and the like of each trial of an output.
fn settings(world: &World, output: &str, names: &[&str]) -> Vec<Vec<Cell>> {
    let value = |row: &[(String, Cell)], name: &str| {
        row.iter().find(|(column, _)| column == name).unwrap_or_else(|| panic!("no column `{name}`")).1.clone()
    };
    let rows = read(&world.path(output).join("trials.parquet"));
    rows.iter().map(|row| names.iter().map(|name| value(row, name)).collect()).collect()
}

#[test]
fn two_outputs_that_differ_in_a_constant_are_told_apart() {
    let world = World::new(BOWL);
    world.train(&["--set", "policies.triangular.base_lr=0.02", "--set", "experiment.name=a"]);
    world.train(&["--set", "policies.triangular.base_lr=0.03", "--set", "experiment.name=b"]);
    let float = |value: f64| Cell::F64(value.to_bits());
    let (text, whole) = (|text: &str| Cell::Text(text.to_owned()), float(5.0));
    let names = ["policy.kind", "policy.base_lr", "policy.step_size", "optimizer.momentum.step_size", "model.noise"];
    for (output, base_lr) in [("outputs/a", 0.02), ("outputs/b", 0.03)] {
        // The optimizer gd has no momentum to schedule.
        let triangular =
            |momentum: &Cell| vec![text("triangular"), float(base_lr), whole.clone(), momentum.clone(), float(0.5)];
        let fixed = vec![text("fixed"), float(1e6), Cell::Null, Cell::Null, float(0.5)];
        let expected = vec![triangular(&whole), triangular(&Cell::Null), fixed];
        assert_eq!(settings(&world, output, &names), expected);
    }
}

/// A spec whose policy is a table in another folder, and what was set on the command line.
#[test]
fn an_outputs_spec_gives_the_same_trials_by_itself() {
    let spec =
        BOWL.replace("[policies.hot]", "[policies.measured]\nkind = \"table\"\nfile = \"../lr.csv\"\n\n[policies.hot]");
    let world = World::new(&spec);
    std::fs::create_dir(world.path("specs")).unwrap();
    std::fs::rename(world.path("spec.toml"), world.path("specs/spec.toml")).unwrap();
    std::fs::write(world.path("lr.csv"), "0.01\n0.02\n").unwrap();
    let sets =
        ["--set", "train.iterations=12", "--set", "optimizers.sgd.momentum=0.5", "--set", "checkpoint.keep=last"];
    let ran = world.run(&[&["specs/spec.toml", "--data", "data"], &sets[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    std::fs::rename(world.path("outputs"), world.path("first")).unwrap();
    std::fs::remove_file(world.path("lr.csv")).unwrap();
    std::fs::remove_dir_all(world.path("specs")).unwrap();

    let ran = world.run(&["first/bowl/spec.toml", "--data", "data"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(world.tables("outputs/bowl"), world.tables("first/bowl"));
    // The copies are copied too, and a proof takes what it needs from the output, the folder of the datasets included.
    let ran = world.run(&["verify", "outputs/bowl"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
