//! A sweep of many short trials of which one in a hundred fails: cut off twice, in the middle of a call that does not
//! return, it is finished by the same command, with the bytes of a sweep that was never cut off.
//!
//! `benches/many_trials.rs` has what ten thousand of them cost.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::{self, HEAD};
use crate::world::{Ran, Running, World};

/// 300 trials in the order in which one job trains them. Each of the two that hang does so once.
const TRIALS: &str = r#"
[policies]
a = { kind = "fixed", base_lr = { linspace = [0.01, 0.02, 99] }, optimizers = ["sgd"] }
b = { kind = "fixed", base_lr = 0.01, optimizers = ["error", "hang_a"] }
c = { kind = "fixed", base_lr = { linspace = [0.03, 0.04, 97] }, optimizers = ["sgd"] }
d = { kind = "fixed", base_lr = 0.01, optimizers = ["segfault", "hang_d"] }
e = { kind = "fixed", base_lr = { linspace = [0.05, 0.06, 99] }, optimizers = ["sgd"] }
f = { kind = "fixed", base_lr = 0.01, optimizers = ["exit"] }

[optimizers]
sgd      = { kind = "sgd" }
error    = { kind = "sgd", fault = "error", fault_step = 4 }
segfault = { kind = "sgd", fault = "segfault", fault_step = 4 }
exit     = { kind = "sgd", fault = "exit", fault_in = "start" }
hang_a   = { kind = "sgd", fault = "hang", fault_step = 5, fault_times = 1 }
hang_d   = { kind = "sgd", fault = "hang", fault_step = 6, fault_times = 1 }
"#;

/// Trials that are over by the time that the first and the second hang.
const OVER: [usize; 2] = [100, 199];

fn command(world: &World, outputs: &str, faults: bool, more: &[&str]) -> Command {
    let arguments = [&["spec.toml", "--jobs", "1", "--outputs", outputs], more].concat();
    let mut command = faults::command(world, &arguments);
    if !faults {
        command.env_remove("CLR_FAULTS");
    }
    command
}

fn run(world: &World, outputs: &str, faults: bool, more: &[&str]) -> Ran {
    Ran::from(command(world, outputs, faults, more).output().unwrap())
}

/// Labels of the trials that the manifest says are over, in whatever way.
fn over(world: &World, outputs: &str) -> BTreeSet<String> {
    let Ok(text) = fs::read(world.path(&format!("{outputs}/sweep/manifest.json"))) else { return BTreeSet::new() };
    let manifest: Value = serde_json::from_slice(&text).expect("the manifest is replaced as a whole");
    let trials = manifest["trials"].as_object().into_iter().flatten();
    let over = trials.filter(|(_, trial)| trial["status"] != "unfinished");
    over.map(|(_, trial)| trial["label"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the run hangs and all trials before are on the disk, although nothing more happens. Then kills it.
#[track_caller]
fn cut_off(world: &World, hanging: &str, expected: usize) {
    let mut running = Running::of(command(world, "cut", true, &[]));
    running.wait_for(&format!("started   {hanging}"));
    let until = Instant::now() + Duration::from_secs(60);
    while over(world, "cut").len() < expected {
        assert!(Instant::now() < until, "{} of {expected} trials are on the disk", over(world, "cut").len());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(over(world, "cut").len(), expected);
    running.signal("KILL");
    assert_eq!(running.finish().code, None);
}

#[test]
fn a_sweep_of_which_one_percent_fails_is_finished_by_the_same_command() {
    let world = World::new(&(HEAD.replace("faults", "sweep").replace("30", "10") + TRIALS));
    cut_off(&world, "b hang_a", OVER[0]);
    cut_off(&world, "d hang_d", OVER[1]);
    let before = over(&world, "cut");
    let last = run(&world, "cut", true, &[]);
    assert_eq!(last.code, Some(1), "{last:?}");
    let started: BTreeSet<String> = last.labels("started").into_iter().map(str::to_owned).collect();
    assert_eq!(started.len(), 300 - OVER[1], "what is over is not trained again");
    assert!(started.is_disjoint(&before), "{:?}", started.intersection(&before));

    // In this folder nothing hangs any more, but what always fails still does.
    let whole = run(&world, "whole", true, &[]);
    assert_eq!((whole.code, whole.labels("started").len()), (Some(1), 300), "{whole:?}");
    assert!(world.tables("cut/sweep") == world.tables("whole/sweep"), "other bytes");

    let nothing = run(&world, "cut", true, &[]);
    assert_eq!((nothing.code, nothing.labels("started").len()), (Some(1), 0), "{nothing:?}");
    let expected = "nothing to run: of 300 trials, 297 finished and 3 failed before; --retry-failed runs them again, from the \
                    last checkpoint\n";
    assert!(nothing.stderr.ends_with(expected), "{nothing:?}");

    let retried = run(&world, "cut", false, &["--retry-failed"]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let started: BTreeSet<&str> = retried.labels("started").into_iter().collect();
    assert_eq!(started, BTreeSet::from(["b error seed=1", "d segfault seed=1", "f exit seed=1"]));
    let healthy = run(&world, "healthy", false, &[]);
    assert_eq!((healthy.code, healthy.labels("started").len()), (Some(0), 300), "{healthy:?}");
    assert!(world.tables("cut/sweep") == world.tables("healthy/sweep"), "other bytes");
}
