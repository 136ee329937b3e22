//! Processes that a plugin starts and leaves behind.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use crate::faults::plugin;
use crate::world::{Ran, Running, World};

/// One trial, whose plugin starts a process when it makes the lane.
const SPEC: &str = r#"
[experiment]
name = "left"

[model]
plugin       = "faulty"
architecture = "quadratic"

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 30

[policies.fixed]
kind    = "fixed"
base_lr = 0.02

[optimizers.guilty]
kind     = "sgd"
fault    = "FAULT"
fault_in = "start"
"#;

fn world(fault: &str) -> (World, std::process::Command) {
    let world = World::new(&SPEC.replace("FAULT", fault));
    let mut command = world.command(&["spec.toml", "--data", "data", "--plugin", plugin().to_str().unwrap()]);
    command.env("CLR_FAULTS", world.path("strikes"));
    (world, command)
}

/// The processes that the plugin says it has started.
fn started(world: &World) -> Vec<Pid> {
    let text = fs::read_to_string(world.path("strikes.started")).expect("the fault struck");
    let processes: Vec<Pid> = text.lines().map(|line| Pid::from_raw(line.parse().unwrap()).unwrap()).collect();
    assert!(!processes.is_empty());
    processes
}

#[test]
fn what_a_plugin_starts_ends_with_the_run() {
    for fault in ["fork", "daemon"] {
        let (world, mut command) = world(fault);
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for process in started(&world) {
            assert!(test_kill_process(process).is_err(), "{fault}: {process:?} is still there: {ran:?}");
        }
    }
}

#[test]
fn what_a_plugin_starts_ends_with_a_run_that_is_killed() {
    let (world, mut command) = world("fork");
    command.args(["--set", "train.iterations=2_000_000_000", "--set", "train.eval_every=0", "--jobs", "1"]);
    let mut running = Running::of(command);
    running.wait_for("started");
    running.signal("KILL");
    running.finish();
    let begun = Instant::now();
    for process in started(&world) {
        while is_alive(process) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{process:?} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether it is there and no zombie, which waits for whoever is its parent now.
fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_ok() && !stat.is_ok_and(|stat| stat.contains(") Z "))
}
