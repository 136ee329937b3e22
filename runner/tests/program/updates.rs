//! How an update is made: of several batches, and by groups of parameters.

use crate::world::{BOWL, World};

/// Two trials that see the same eight images at each update, at once and in four parts. The last update of an epoch has five of
/// the 63 less 10: two parts of two, and one of one.
const PARTS: &str = r#"
[experiment]
name = "parts"

[model]
plugin       = "cifar"
architecture = "cifar10_quick"

[data]
dataset    = "speckles"
batch_size = [8, 2]
validation = 10
last_batch = "keep"

[train]
iterations = 16
eval_every = "1 epoch"
accumulate = [1, 4]

[grid]
zip = [["data.batch_size", "train.accumulate"]]

[policies.triangular]
kind      = "triangular"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 3

[optimizers.nesterov]
kind = "nesterov"
"#;

/// A trial's rows, by the names of columns.
fn rows(world: &World, label: &str, columns: &[&str]) -> Vec<Vec<f64>> {
    let ran = world.run(&["export", "outputs/parts", "--trial", label, "--format", "csv", "--out", "rows.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(world.path("rows.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at =
        |name: &str| header.iter().position(|column| *column == name).unwrap_or_else(|| panic!("no {name}: {text}"));
    let places: Vec<usize> = columns.iter().map(|name| at(name)).collect();
    lines.map(|line| places.iter().map(|&place| line[place].parse().unwrap()).collect()).collect()
}

#[test]
fn four_batches_of_two_train_as_one_of_eight() {
    let world = World::new(PARTS);
    world.train(&[]);
    let columns = ["iteration", "epoch", "lr", "loss", "accuracy", "grad_norm"];
    let [whole, parts] = ["batch_size=8 accumulate=1", "batch_size=2 accumulate=4"]
        .map(|cell| rows(&world, &format!("triangular nesterov {cell} seed=1"), &columns));
    assert_eq!((whole.len(), parts.len()), (16, 16));
    for (whole, parts) in whole.iter().zip(&parts) {
        // Which update, how far, and at which rate are the same; so is how many of its images are right.
        assert_eq!(whole[..3], parts[..3]);
        assert_eq!(whole[4], parts[4], "accuracy: {whole:?} {parts:?}");
        for column in [3, 5] {
            let close = (whole[column] - parts[column]).abs() <= 1e-5 * whole[column];
            assert!(close, "{}: {whole:?} {parts:?}", columns[column]);
        }
    }
    let trials = world.run(&["verify", "outputs/parts", "--data", "data"]);
    assert_eq!(trials.code, Some(0), "{trials:?}");
}

#[test]
fn a_plugin_that_accumulates_nothing_is_never_asked_to() {
    let world = World::new(BOWL);
    for command in ["check", "plan"] {
        let ran = world.run(&[command, "spec.toml", "--data", "data", "--set", "train.accumulate=2"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("`quadratic` cannot accumulate gradients"), "{ran:?}");
    }
}

#[test]
fn plan_counts_what_groups_match_and_check_names_what_there_is() {
    let world = World::new(&format!(
        "{}[[optimizers.nesterov.groups]]\nparameters = \"*.bias\"\ndecay_mult = 0\n",
        PARTS
            .replace("[8, 2]", "8")
            .replace("[1, 4]", "1")
            .replace("zip = [[\"data.batch_size\", \"train.accumulate\"]]", "")
    ));
    let plan = world.run(&["plan", "spec.toml", "--data", "data", "--no-probe"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    // 32, 32 and 64 filters, 64 and 10 outputs.
    let line = "  *.bias: 5 tensors of 202 values, weight decay times 0\n";
    assert!(plan.stdout.contains(&format!("parameters of nesterov, cifar10_quick:\n{line}")), "{plan:?}");
    world.train(&[]);
    for isolation in ["process", "none"] {
        let wrong = "optimizers.nesterov.groups=[{parameters=\"conv9.*\",lr_mult=0}]";
        let ran = world.run(&["check", "spec.toml", "--data", "data", "--isolation", isolation, "--set", wrong]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("no parameter matches `conv9.*`"), "{ran:?}");
        assert!(ran.stderr.contains("`conv1.weight`, `conv1.bias`"), "{ran:?}");
    }
}
