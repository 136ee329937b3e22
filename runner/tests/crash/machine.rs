//! What the machine does to workers is held against no trial: the same command goes on.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::{command, lone};
use crate::kills::children;
use crate::world::{Ran, Running, World};

/// Trains two trials, whose faults strike or do not.
fn train(world: &World, outputs: &str, faults: bool) -> Command {
    let seeds = ["--set", "experiment.seeds=[1, 2]"];
    let mut command = command(world, &[&["spec.toml", "--outputs", outputs, "--jobs", "1"], &seeds[..]].concat());
    if !faults {
        command.env_remove("CLR_FAULTS");
    }
    command
}

/// As the out-of-memory killer would, whatever is started again at once.
#[test]
fn six_workers_killed_from_outside_within_a_second_and_a_half_cost_no_trial() {
    // Long enough to be hit: almost a second each, most of which is sleep.
    let world = World::new(&lone("fault = \"slow\"\nslow_ms = 30\n"));
    let whole = Ran::from(train(&world, "whole", false).output().unwrap());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut running = Running::of(train(&world, "killed", true));
    let id = running.id();
    running.wait_for("started");
    let over = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            let mut kills = 0;
            while !over.load(Ordering::Relaxed) && kills < 6 && begun.elapsed() < Duration::from_millis(1500) {
                for worker in children(id) {
                    kills += 1;
                    let _ = Command::new("kill").args(["-s", "KILL", &worker.to_string()]).output();
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let ran = running.finish();
        over.store(true, Ordering::Relaxed);
        ran
    });
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.labels("retried").len() >= 2, "it was disturbed: {ran:?}");
    assert!(world.tables("killed/lone") == world.tables("whole/lone"), "other bytes");
}

/// A worker that is killed before it does anything, with nobody else to show that the machine is well, proves nothing.
#[test]
fn a_trial_whose_workers_are_always_killed_is_interrupted_and_the_same_command_goes_on() {
    let world = World::new(&lone("fault = \"killed\"\nfault_in = \"start\"\n"));
    let whole = Ran::from(train(&world, "whole", false).output().unwrap());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let ran = Ran::from(train(&world, "killed", true).output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("error: the machine, not the spec, interrupted 1 trial"), "{ran:?}");
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("2 unfinished") && words.contains("after step 0: plugin `faulty`: "), "{ran:?}");
    assert!(words.contains("interrupted: ") && words.contains("SIGKILL"), "{ran:?}");
    let again = Ran::from(train(&world, "killed", false).output().unwrap());
    assert_eq!((again.code, again.labels("started").len()), (Some(0), 2), "{again:?}");
    assert!(world.tables("killed/lone") == world.tables("whole/lone"), "other bytes");
}
