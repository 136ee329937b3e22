//! What the machine does to workers is held against no trial: the same command goes on.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::plugin;
use crate::kills::children;
use crate::world::{Ran, Running, World};

/// Two trials.
const SPEC: &str = r#"
[experiment]
name  = "machine"
seeds = [1, 2]

[model]
plugin       = "faulty"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 40
eval_every = 10

[policies.fixed]
kind    = "fixed"
base_lr = 0.02

[optimizers.sgd]
kind = "sgd"
FAULT
"#;

fn command(world: &World, outputs: &str) -> Command {
    let plugin = plugin().to_str().unwrap();
    world.command(&["spec.toml", "--data", "data", "--plugin", plugin, "--outputs", outputs, "--jobs", "1"])
}

/// As the out-of-memory killer would, whatever is started again at once.
#[test]
fn six_workers_killed_from_outside_within_a_second_and_a_half_cost_no_trial() {
    // Long enough to be hit: almost a second each, most of which is sleep.
    let world = World::new(&SPEC.replace("FAULT", "fault   = \"slow\"\nslow_ms = 20"));
    let whole = Ran::from(command(&world, "whole").output().unwrap());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut command = command(&world, "killed");
    command.env("CLR_FAULTS", world.path("strikes"));
    let mut running = Running::of(command);
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
    assert!(world.tables("killed/machine") == world.tables("whole/machine"), "other bytes");
}

/// A worker that is killed before it does anything, with nobody else to show that the machine is well, proves nothing.
#[test]
fn a_trial_whose_workers_are_always_killed_is_interrupted_and_the_same_command_goes_on() {
    let fault = "fault    = \"killed\"\nfault_in = \"start\"";
    let world = World::new(&SPEC.replace("FAULT", fault));
    let whole = Ran::from(command(&world, "whole").output().unwrap());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let ran = Ran::from(command(&world, "killed").env("CLR_FAULTS", world.path("strikes")).output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("error: the machine, not the spec, interrupted 1 trial"), "{ran:?}");
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("2 unfinished") && words.contains("after step 0: plugin `faulty`: "), "{ran:?}");
    assert!(words.contains("interrupted: ") && words.contains("SIGKILL"), "{ran:?}");
    let again = Ran::from(command(&world, "killed").output().unwrap());
    assert_eq!((again.code, again.labels("started").len()), (Some(0), 2), "{again:?}");
    assert!(world.tables("killed/machine") == world.tables("whole/machine"), "other bytes");
}
