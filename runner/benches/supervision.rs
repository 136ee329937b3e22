//! What supervision costs: one spec with workers and checkpoints, as by default, and with neither, both at once.
//!
//! ```sh
//! cargo bench -p clr-run --bench supervision -- [--rounds N] [SPEC.toml ARGUMENTS..]
//! ```
//!
//! Each side has one core to itself, and all its processes share it, so that whatever the supervisor does is time that the
//! training lacks. What slows the machine down for a while slows both, and they swap cores after each round. Without a spec
//! two trials of `cifar10_full` are trained on built-in images of CIFAR-10's size. Both outputs must have equal bytes.
//! Prints seconds, and the ratio of each round. Needs Linux, two cores and `taskset`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

const SPEC: &str = r#"
[experiment]
name  = "supervision"
seeds = [1, 2]

[model]
plugin       = "cifar"
architecture = "cifar10_full"

[data]
dataset    = "shapes"
batch_size = 100
normalize  = "pixel_mean"

[train]
iterations = 500
eval_every = 250

[policies.fixed]
kind    = "fixed"
base_lr = 0.001

[optimizers.sgd]
kind     = "sgd"
momentum = 0.9
"#;

/// The two sides, by name and by their arguments.
const SIDES: [(&str, &[&str]); 2] =
    [("without", &["--isolation", "none", "--set", "checkpoint.every=\"never\""]), ("default", &[])];

fn main() {
    // `cargo bench` adds `--bench`.
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut rounds = 6;
    if arguments.first().is_some_and(|argument| argument == "--rounds") {
        rounds = arguments.get(1).and_then(|count| count.parse().ok()).expect("--rounds takes a number");
        arguments.drain(..2);
    }
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    if arguments.is_empty() {
        let spec = folder.path().join("supervision.toml");
        fs::write(&spec, SPEC).expect("a temporary folder can be written to");
        arguments.push(spec.display().to_string());
    }
    let mut seconds: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        let (arguments, folder) = (&arguments, folder.path());
        let run = |side: usize| {
            let (name, options) = SIDES[side];
            move || seconds_of(arguments, options, &folder.join(name), (round + side) % 2)
        };
        let taken = thread::scope(|scope| {
            [0, 1].map(|side| scope.spawn(run(side))).map(|running| running.join().expect("the run succeeds"))
        });
        println!(
            "round {}: without {:7.2} s, default {:7.2} s, {:+.2} %",
            round + 1,
            taken[0],
            taken[1],
            100.0 * (taken[1] / taken[0] - 1.0)
        );
        taken.into_iter().zip(&mut seconds).for_each(|(taken, side)| side.push(taken));
        let [without, default] = SIDES.map(|(name, _)| tables(&folder.join(name)));
        assert!(without == default, "the two sides leave different bytes");
        SIDES.iter().for_each(|(name, _)| fs::remove_dir_all(folder.join(name)).expect("it is ours"));
    }
    report(&seconds);
}

/// Of a run on one core, by the clock.
fn seconds_of(arguments: &[String], options: &[&str], outputs: &Path, core: usize) -> f64 {
    let started = Instant::now();
    let output = Command::new("taskset")
        .args(["--cpu-list", &core.to_string(), env!("CARGO_BIN_EXE_clr-run")])
        .args(arguments)
        .args(options)
        .args(["--jobs", "1", "--device", "cpu", "--outputs"])
        .arg(outputs)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("taskset starts");
    let taken = started.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clr-run {}: {}\n{errors}", arguments.join(" "), output.status);
    taken
}

/// The bytes of every table that may not differ.
fn tables(outputs: &Path) -> Vec<(String, Vec<u8>)> {
    let mut tables = Vec::new();
    let mut folders = vec![outputs.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("an output folder").map(|file| file.expect("a file").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "parquet") && !path.ends_with("timings.parquet") {
                let name = path.strip_prefix(outputs).expect("it is below").display().to_string();
                tables.push((name, fs::read(&path).expect("a table")));
            }
        }
    }
    tables.sort();
    tables
}

fn report(seconds: &[Vec<f64>; 2]) {
    let [without, default] = seconds;
    let mut costs: Vec<f64> = default.iter().zip(without).map(|(default, without)| default / without - 1.0).collect();
    costs.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (costs.first(), costs.last()) else { return };
    let count = costs.len();
    let mean = costs.iter().sum::<f64>() / count as f64;
    let median = (costs[count / 2] + costs[(count - 1) / 2]) / 2.0;
    println!(
        "workers and checkpoints cost {:+.2} % (median), {:+.2} % (mean), from {:+.2} to {:+.2} %, n = {count}",
        100.0 * median,
        100.0 * mean,
        100.0 * least,
        100.0 * most
    );
}
