//! Plugins that go wrong before anything is trained: when they are asked what they are, what a session takes, or how fast
//! a trial is. The command says which plugin it was and what became of it, and exits with 2.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::faults::{command, lone, plugin};
use crate::kills::children;
use crate::world::{Ran, Running, World};

/// One trial, whose optimizer has these options, and how long a call may take.
fn world(options: &str, call: &str) -> World {
    World::new(&lone(&format!("{options}\n[limits]\ncall = \"{call}\"\n")))
}

/// Runs a command on the spec with a fault among its options, or with one in the description. It must end with 2 and
/// these words, and leave no output.
#[track_caller]
fn check(arguments: &[&str], options: &str, in_describe: Option<&str>, words: &[&str]) {
    // Long enough for a busy machine, but where the wait is the point.
    let hangs = options.contains("hang") || in_describe == Some("hang");
    let world = world(options, if hangs { "1 s" } else { "10 min" });
    let mut command = command(&world, arguments);
    command.envs(in_describe.map(|fault| ("CLR_FAULT_IN_DESCRIBE", fault)));
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}`: {ran:?}");
    }
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(fs::read_dir(world.path("outputs")).is_err(), "something was written: {ran:?}");
}

#[test]
fn a_plugin_that_does_not_survive_being_described_is_named() {
    let describe = |command: &[&str], fault, death| check(command, "", Some(fault), &["faulty", "describe", death]);
    for (fault, death) in [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("exit", "exited with code 3"),
        ("hang", "did not return within 1.0s"),
    ] {
        describe(&["check", "spec.toml"], fault, death);
    }
    describe(&["spec.toml"], "segfault", "SIGSEGV");
    describe(&["plan", "spec.toml"], "segfault", "SIGSEGV");
    describe(&["schedule", "spec.toml"], "segfault", "SIGSEGV");
}

#[test]
fn a_plugin_that_does_not_survive_being_asked_for_a_footprint_is_named() {
    let footprint = |command: &[&str], fault: &str, death| {
        let options = format!("fault = \"{fault}\"\nfault_in = \"footprint\"");
        check(command, &options, None, &["plugin `faulty`: footprint: ", death]);
    };
    for (fault, death) in [
        ("segfault", "SIGSEGV"),
        ("exit", "exited with code 3"),
        ("hang", "did not return within 1.0s"),
        ("error", "failed on demand"),
    ] {
        footprint(&["spec.toml"], fault, death);
    }
    footprint(&["plan", "spec.toml"], "segfault", "SIGSEGV");
}

#[test]
fn a_signal_before_anything_is_trained_ends_the_command_at_once_and_is_said() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let world = world("", "10 min");
        let mut command = command(&world, &["spec.toml"]);
        command.env("CLR_FAULT_IN_DESCRIBE", "hang");
        let running = Running::of(command);
        // Its first worker is there, and will say nothing for a minute.
        while children(running.id()).is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        running.signal(signal);
        let ran = running.finish();
        let words = format!("stopped by SIG{signal}, before anything was trained\n");
        assert_eq!((ran.code, ran.stderr), (Some(code), words));
    }
}

#[test]
fn a_worker_that_is_killed_while_it_is_asked_is_replaced() {
    let killed = |times: u32| format!("fault = \"killed\"\nfault_in = \"footprint\"\nfault_times = {times}");
    check(&["spec.toml"], &killed(5), None, &["plugin `faulty`: footprint: ", "SIGKILL", "out-of-memory killer"]);

    let world = world(&killed(2), "10 min");
    let ran = Ran::from(command(&world, &["spec.toml"]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Each question adds to the fault's counter, also the third, which it answers.
    let questions = fs::read_dir(world.path("strikes")).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert_eq!(questions.sum::<u64>(), 3);
}

#[test]
fn a_plugin_that_does_not_survive_a_moment_of_training_is_named() {
    let estimate = |options: &str, function, death| {
        let words = ["training `fixed guilty", "for a moment", "plugin `faulty`: ", function, death, "--no-probe"];
        check(&["plan", "spec.toml"], options, None, &words);
    };
    estimate("fault = \"segfault\"", "session_step", "SIGSEGV");
    estimate("fault = \"hang\"", "session_step", "did not return within 1.0s");
    estimate("fault = \"error\"", "session_step", "failed on demand");
    estimate("fault = \"abort\"\nfault_in = \"start\"", "session_create", "SIGABRT");
}

#[test]
fn a_plugin_that_does_not_survive_being_listed_is_named_among_the_others() {
    let world = world("", "10 min");
    // Only a file that has a plugin's name is listed.
    let file = format!("{}clr_faulty{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    fs::create_dir(world.path("plugins")).unwrap();
    fs::copy(plugin(), world.path("plugins").join(file)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = world.command(&[arguments, &["--plugin", "plugins"]].concat());
        Ran::from(command.env("CLR_FAULT_IN_DESCRIBE", "segfault").output().unwrap())
    };
    let info = run(&["plugin", "info", "faulty"]);
    assert_eq!(info.code, Some(2), "{info:?}");
    assert!(info.stderr.contains("faulty") && info.stderr.contains("SIGSEGV"), "{info:?}");
    let list = run(&["plugin", "list"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.stdout.contains("SIGSEGV") && list.stdout.contains("quadratic "), "{list:?}");
}
