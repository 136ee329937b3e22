//! What supervision costs: one spec with workers and checkpoints, as by default, and with neither, in turns.
//!
//! ```sh
//! cargo bench -p clr-run --bench supervision -- [--rounds N] [SPEC.toml ARGUMENTS..]
//! ```
//!
//! Without a spec it trains `cifar10_full` on built-in images of CIFAR-10's size for about a minute a run. Both outputs
//! must have equal bytes. Prints seconds by the clock and of the processor, medians and spread, and the ratio.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const SPEC: &str = r#"
[experiment]
name  = "supervision"
seeds = [1, 2, 3, 4]

[model]
plugin       = "cifar"
architecture = "cifar10_full"

[data]
dataset    = "shapes"
batch_size = 100
normalize  = "pixel_mean"

[train]
iterations = 200
eval_every = 100

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

/// Seconds of one run.
#[derive(Clone, Copy, Debug)]
struct Seconds {
    clock: f64,
    processor: f64,
}

fn main() {
    // `cargo bench` adds `--bench`.
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut rounds = 5;
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
    let mut seconds: [Vec<Seconds>; 2] = Default::default();
    for round in 0..rounds {
        // In turns, and each first as often as the other: a machine that warms up or slows down favours neither.
        for side in [[0, 1], [1, 0]][round % 2] {
            let outputs = folder.path().join(SIDES[side].0);
            let taken = run(&arguments, SIDES[side].1, &outputs);
            eprintln!(
                "round {}: {:8} {:7.2} s, processor {:7.2} s",
                round + 1,
                SIDES[side].0,
                taken.clock,
                taken.processor
            );
            seconds[side].push(taken);
        }
        let [without, default] = SIDES.map(|(name, _)| tables(&folder.path().join(name)));
        assert!(without == default, "the two sides leave different bytes");
        SIDES.iter().for_each(|(name, _)| fs::remove_dir_all(folder.path().join(name)).expect("it is ours"));
    }
    report("clock", seconds.each_ref().map(|side| side.iter().map(|seconds| seconds.clock).collect()));
    report("processor", seconds.each_ref().map(|side| side.iter().map(|seconds| seconds.processor).collect()));
}

fn run(arguments: &[String], side: &[&str], outputs: &Path) -> Seconds {
    let before = children_processor_seconds();
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_clr-run"))
        .args(arguments)
        .args(side)
        .arg("--outputs")
        .arg(outputs)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("clr-run starts");
    let clock = started.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clr-run {}: {}\n{errors}", arguments.join(" "), output.status);
    Seconds { clock, processor: children_processor_seconds() - before }
}

/// Of all that were waited for, and theirs; 0 where there is no /proc.
fn children_processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // cutime and cstime, in ticks of 10 ms.
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
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

fn report(what: &str, mut seconds: [Vec<f64>; 2]) {
    seconds.iter_mut().for_each(|side| side.sort_by(f64::total_cmp));
    let median = |side: &[f64]| (side[side.len() / 2] + side[(side.len() - 1) / 2]) / 2.0;
    for ((name, _), side) in SIDES.iter().zip(&seconds) {
        let (least, most) = (side[0], side[side.len() - 1]);
        println!("{what:9} {name:8} median {:7.2} s, from {least:.2} to {most:.2} s, n = {}", median(side), side.len());
    }
    let [without, default] = seconds.each_ref().map(|side| median(side));
    println!(
        "{what:9} default / without = {:.4}, that is {:+.2}%",
        default / without,
        100.0 * (default / without - 1.0)
    );
}
