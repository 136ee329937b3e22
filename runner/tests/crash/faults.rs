//! Each fault of the plugin `faulty`, in one of nine trials: alone in its session, and among three healthy ones.
//!
//! What counts is what is on the disk in the end: the guilty trial is named with its reason, a second command trains
//! nothing but that one, and then all bytes are those of a run in which nothing ever went wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use clr_host::SearchPath;
use clr_plan::plan;
use clr_run::gather::{Data, Search, gather};
use clr_run::recipe;
use clr_spec::{SourceFile, parse};
use clr_store::{KeptSpec, RunInfo, Store};
use clr_train::{Isolation, Layout, Resources};
use clr_worker::Launch;
use serde_json::Value;

use crate::support::cargo_build_target;
use crate::world::{Ran, World};

/// The plugin on a little data.
pub const HEAD: &str = r#"
[experiment]
name = "faults"

[model]
plugin       = "faulty"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 30
eval_every = 10
"#;

/// Eight healthy trials and a guilty one, which is neither first nor last, all of one group.
const TRIALS: &str = r#"
[policies.triangular]
kind       = "triangular"
base_lr    = 0.01
max_lr     = [0.05, 0.1]
step_size  = 7
optimizers = ["sgd", "gd"]

[policies.bad]
kind       = "fixed"
base_lr    = 0.02
optimizers = ["guilty"]

[policies.fixed]
kind       = "fixed"
base_lr    = [0.02, 0.03]
optimizers = ["sgd", "gd"]

[optimizers.sgd]
kind = "sgd"

[optimizers.gd]
kind = "gd"

[optimizers.guilty]
kind       = "sgd"
fault_step = 12
FAULT

[checkpoint]
every = "EVERY"

[limits]
call   = "CALL"
memory = "64 MiB"
"#;

/// A tenth trial, in the guilty one's session, which ends that session once: then all trials in it are loaded.
const STUMBLE: &str = r#"
[policies.stumble]
kind       = "fixed"
base_lr    = 0.02
optimizers = ["stumbler"]

[optimizers.stumbler]
kind        = "sgd"
fault       = "killed"
fault_step  = 21
fault_times = 1

[policies.fixed]
"#;

/// A fault, and what is said of the trial that has it. No status: it ends as if there had been no fault.
struct Case {
    /// Lines of the optimizer's table.
    fault: &'static str,
    status: Option<&'static str>,
    reason: &'static str,
}

const fn case(fault: &'static str, status: &'static str, reason: &'static str) -> Case {
    Case { fault, status: Some(status), reason }
}

const fn passes(fault: &'static str) -> Case {
    Case { fault, status: None, reason: "" }
}

const CASES: [Case; 35] = [
    case("fault = \"segfault\"", "crashed", "SIGSEGV"),
    case("fault = \"abort\"", "crashed", "SIGABRT"),
    case("fault = \"exit\"", "crashed", "exited with code 3"),
    case("fault = \"exit\"\nexit_code = 0", "crashed", "exited with code 0"),
    case("fault = \"killed\"", "crashed", "SIGKILL"),
    case("fault = \"hang\"", "crashed", "did not return"),
    case("fault = \"leak\"\nleak_mib = 4096", "crashed", "64.0 MiB"),
    case("fault = \"scribble\"", "crashed", "no answer"),
    case("fault = \"out_of_memory\"", "failed", "CLR_OUT_OF_MEMORY"),
    case("fault = \"device\"", "failed", "CLR_DEVICE"),
    case("fault = \"error\"", "failed", "failed on demand (CLR_INTERNAL)"),
    case("fault = \"panic\"", "failed", "panicked on demand"),
    case("fault = \"break_rules\"", "failed", "unknown status 77"),
    case("fault = \"segfault\"\nfault_in = \"start\"", "crashed", "SIGSEGV"),
    case("fault = \"error\"\nfault_in = \"start\"", "failed", "failed on demand"),
    case("fault = \"segfault\"\nfault_in = \"evaluate\"", "crashed", "SIGSEGV"),
    case("fault = \"error\"\nfault_in = \"evaluate\"", "failed", "failed on demand"),
    case("fault = \"segfault\"\nfault_in = \"save\"", "crashed", "clr.state/1 save: the worker was killed by SIGSEGV"),
    case("fault = \"hang\"\nfault_in = \"save\"", "crashed", "clr.state/1 save: the call did not return"),
    case("fault = \"error\"\nfault_in = \"save\"", "failed", "clr.state/1 save: failed on demand"),
    case("fault = \"out_of_memory\"\nfault_in = \"save\"", "failed", "clr.state/1 save: out of memory on demand"),
    case("fault = \"break_rules\"\nfault_in = \"save\"", "failed", "unknown status 77"),
    case("fault = \"exit\"\nfault_in = \"tensors\"", "crashed", "clr.state/1 tensors: the worker exited with code 3"),
    case("fault = \"error\"\nfault_in = \"tensors\"", "failed", "clr.state/1 tensors: "),
    case(
        "fault = \"wrong_size\"\nfault_in = \"tensors\"",
        "failed",
        "with tensor `weights` of shape [1048576, 1048576]",
    ),
    passes("fault = \"abort\"\nfault_in = \"save\"\nfault_times = 1"),
    passes("fault = \"print\""),
    passes("fault = \"signal_group\""),
    passes("fault = \"slow\"\nslow_ms = 1"),
    passes("fault = \"segfault\"\nfault_times = 2"),
    passes("fault = \"killed\"\nfault_times = 1"),
    passes("fault = \"hang\"\nfault_times = 1"),
    passes("fault = \"scribble\"\nfault_times = 1"),
    passes("fault = \"segfault\"\nfault_in = \"evaluate\"\nfault_times = 2"),
    passes("fault = \"exit\"\nfault_in = \"start\"\nfault_times = 1"),
];

/// Of the guilty trial, in a session that is loaded.
const LOAD_CASES: [Case; 6] = [
    case("fault = \"segfault\"\nfault_in = \"load\"", "crashed", "clr.state/1 load: the worker was killed by SIGSEGV"),
    case("fault = \"hang\"\nfault_in = \"load\"", "crashed", "clr.state/1 load: the call did not return"),
    case("fault = \"error\"\nfault_in = \"load\"", "failed", "clr.state/1 load: failed on demand"),
    case("fault = \"break_rules\"\nfault_in = \"load\"", "failed", "unknown status 77"),
    passes("fault = \"error\"\nfault_in = \"load\"\nfault_times = 1"),
    passes("fault = \"scribble\"\nfault_in = \"load\"\nfault_times = 1"),
];

pub fn plugin() -> &'static PathBuf {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| cargo_build_target(&["-p", "clr-faulty"], "faulty"))
}

/// A spec of one trial, whose optimizer has these options. Other tables may follow.
pub fn lone(options: &str) -> String {
    HEAD.replace("faults", "lone")
        + "[policies.fixed]\nkind = \"fixed\"\nbase_lr = 0.02\n[optimizers.guilty]\nkind = \"sgd\"\n"
        + options
}

/// The program with this plugin, whose faults strike.
pub fn command(world: &World, arguments: &[&str]) -> Command {
    let plugin = plugin().to_str().unwrap();
    let mut command = world.command(&[arguments, &["--data", "data", "--plugin", plugin]].concat());
    command.env("CLR_FAULTS", world.path("strikes"));
    command
}

/// How the nine trials are trained.
trait Train {
    /// Trains what is unfinished in the folder `outputs`, with faults or without. Returns how many trials began.
    fn train(&self, world: &World, outputs: &str, faults: bool) -> usize;
}

/// By the command, which gives each trial a session of its own.
struct Alone;

impl Train for Alone {
    fn train(&self, world: &World, outputs: &str, faults: bool) -> usize {
        let mut command = command(world, &["spec.toml", "--outputs", outputs, "--jobs", "2"]);
        if !faults {
            command.env_remove("CLR_FAULTS").arg("--retry-failed");
        }
        let ran = Ran::from(command.output().unwrap());
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        let failed = trials(world, outputs).iter().any(|(_, status, _)| status != "finished");
        assert_eq!(ran.code, Some(i32::from(failed)), "{ran:?}");
        assert!(!ran.stderr.contains("garbage on demand") || failed, "a worker's words are for its obituary: {ran:?}");
        ran.labels("started").len()
    }
}

/// By the same stages as the command, with four lanes a session.
struct Fused;

impl Train for Fused {
    fn train(&self, world: &World, outputs: &str, faults: bool) -> usize {
        let text = fs::read_to_string(world.path("spec.toml")).unwrap();
        let (spec, problems) = parse(&SourceFile { name: "spec.toml".into(), text: text.clone() }, &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let (roots, cache) = (vec![world.path("data")], Some(world.path("cache")));
        let search = Search { plugins: SearchPath::new([plugin().clone()]), data: roots.clone(), cache: cache.clone() };
        let gathered = gather(&spec, world.folder().path(), &search, &Isolation::None, Data::Open);
        let plan = plan(&spec, &gathered.facts).unwrap();
        assert_eq!(plan.groups.len(), 1);
        let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets).unwrap();
        let program = if faults { with_faults(world) } else { env!("CARGO_BIN_EXE_clr-run").into() };
        let isolation =
            Isolation::Process(Launch { program, folder: PathBuf::new(), roots, cache, checked: Vec::new() });
        let layout = Layout { lanes: vec![4], isolation, ..Layout::cpu(1, 1) };
        let run = recipe::of_run(
            RunInfo { spec: KeptSpec { text: text.clone(), ..KeptSpec::default() }, ..RunInfo::default() },
            &plan,
            &resources,
            &layout,
        )
        .unwrap();
        let run = RunInfo { retry_failed: true, ..run };
        let mut store = Store::open(&world.path(outputs), &plan, run).unwrap();
        let unfinished = store.unfinished();
        let begun = unfinished.len();
        clr_train::run(&plan, unfinished, &resources, &layout, &AtomicBool::new(false), |event| store.record(&event))
            .unwrap();
        store.finish().unwrap();
        begun
    }
}

/// A program that is `clr-run` with faults, which it has from its environment.
fn with_faults(world: &World) -> PathBuf {
    let script = world.path("with-faults");
    let (strikes, program) = (world.path("strikes"), env!("CARGO_BIN_EXE_clr-run"));
    fs::write(&script, format!("#!/bin/sh\nCLR_FAULTS='{}' exec '{program}' \"$@\"\n", strikes.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Optimizer, status and error of each trial, as the manifest has them.
fn trials(world: &World, outputs: &str) -> Vec<(String, String, String)> {
    let read = |file: &str| -> Value {
        serde_json::from_slice(&fs::read(world.path(&format!("{outputs}/faults/{file}"))).unwrap()).unwrap()
    };
    let (plan, manifest) = (read("plan.json"), read("manifest.json"));
    let trial = |trial: &Value| {
        let record = &manifest["trials"][trial["id"].as_str().unwrap()];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&trial["label"]), text(&record["status"]), text(&record["error"]))
    };
    plan["trials"].as_array().unwrap().iter().map(trial).collect()
}

#[track_caller]
fn check(how: &(dyn Train + Sync), case: &Case) {
    check_in(&[HEAD, TRIALS].concat(), 9, 1, how, case);
}

/// Trains the trials of `spec` with the fault, in so many of them.
#[track_caller]
fn check_in(spec: &str, trial_count: usize, fault_count: usize, how: &(dyn Train + Sync), case: &Case) {
    let Case { fault, status, reason } = case;
    // Long enough for a busy machine, but where the wait is the point.
    let call = if fault.contains("hang") { "2 s" } else { "10 min" };
    // A trial as short as these is saved only where it is to be.
    let calls_state = ["\"tensors\"", "\"save\"", "\"load\""].iter().any(|place| fault.contains(place));
    let every = if calls_state { "5 iterations" } else { "30 s" };
    let world = World::new(&spec.replace("FAULT", fault).replace("CALL", call).replace("EVERY", every));
    assert_eq!(how.train(&world, "whole", false), trial_count);
    assert_eq!(how.train(&world, "struck", true), trial_count);
    let strikes = fs::read_dir(world.path("strikes")).map_or(0, Iterator::count);
    assert_eq!(strikes, fault_count, "{fault}: it struck");
    let guilty = usize::from(status.is_some());
    for (label, found, error) in trials(&world, "struck") {
        let expected = if label.contains("guilty") { status.unwrap_or("finished") } else { "finished" };
        assert_eq!(found, expected, "{fault}: {label}: {error}");
        assert_eq!(error.is_empty(), expected == "finished", "{fault}: {label}: {error}");
        assert!(error.contains(reason) || expected == "finished", "{fault}: {label}: {error}");
    }
    assert_eq!(how.train(&world, "struck", false), guilty, "{fault}: what is finished is not trained again");
    assert!(world.tables("struck/faults") == world.tables("whole/faults"), "{fault}: other bytes");
}

/// Several cases at once: most of their time is waiting, for the disk and for calls that hang.
fn check_all(how: &(dyn Train + Sync)) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(how, case);
                }
            });
        }
    });
}

#[test]
fn a_fault_costs_nothing_but_its_trial_alone() {
    check_all(&Alone);
}

#[test]
fn a_fault_costs_nothing_but_its_trial_in_the_middle_of_a_group() {
    check_all(&Fused);
}

#[test]
fn a_trial_that_cannot_be_loaded_costs_nothing_but_itself() {
    let spec = HEAD.to_owned() + &TRIALS.replace("\n[policies.fixed]\n", STUMBLE);
    LOAD_CASES.iter().for_each(|case| check_in(&spec, 10, 2, &Fused, case));
}

/// The rows of the guilty trial that are kept, and the files that have them.
fn kept(world: &World, outputs: &str) -> (Value, Vec<(String, Vec<u8>)>) {
    let folder = world.path(&format!("{outputs}/faults"));
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let records = manifest["trials"].as_object().unwrap().values();
    let guilty = records.into_iter().find(|record| record["status"] != "finished").unwrap();
    let files = fs::read_dir(folder.join("failed")).unwrap().map(Result::unwrap);
    let mut files: Vec<(String, Vec<u8>)> =
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect();
    files.sort();
    (guilty["numbers"]["rows"].clone(), files)
}

#[test]
fn rows_up_to_a_fault_are_kept_and_the_same_alone_and_in_a_group() {
    for fault in ["fault = \"segfault\"", "fault = \"error\"", "fault = \"error\"\nfault_in = \"evaluate\""] {
        let spec = [HEAD, TRIALS].concat().replace("FAULT", fault).replace("CALL", "10 min").replace("EVERY", "30 s");
        let found = [&Alone as &dyn Train, &Fused].map(|how| {
            let world = World::new(&spec);
            how.train(&world, "struck", true);
            kept(&world, "struck")
        });
        // The fault is in the step after 12 updates, or in the evaluation after 20.
        let rows = if fault.contains("evaluate") { 20 } else { 12 };
        assert_eq!((&found[0].0, found[0].1.len()), (&Value::from(rows), 2), "{fault}");
        assert!(found[0] == found[1], "{fault}: {} and {} rows", found[0].0, found[1].0);
    }
}
