//! Processes that a plugin starts and leaves behind.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use crate::faults::{command, lone};
use crate::world::{Ran, Running, World};

/// One trial, whose plugin starts a process when it makes the lane.
fn world(fault: &str) -> (World, Command) {
    let world = World::new(&lone(&format!("fault = \"{fault}\"\nfault_in = \"start\"\n")));
    let command = command(&world, &["spec.toml"]);
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
