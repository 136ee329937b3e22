//! A pipe that nobody writes to, or a device without end, where a file is expected: every command says so, and ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{BOWL, Ran, World, plugins};

/// Far more than any of these commands takes. One that waits for a pipe would wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command, which must come to an end.
#[track_caller]
fn run(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.command(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("clr-run {arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ran::from(child.wait_with_output().unwrap())
}

/// Puts a named pipe, or a link to a device, in the place of whatever has that name.
fn replace(path: &Path, by: &str) {
    let _ = fs::remove_file(path);
    if by == "pipe" {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    } else {
        symlink(by, path).unwrap();
    }
}

/// Both kinds of what is no file, and what is said of them.
const NO_FILES: [(&str, &str); 2] =
    [("pipe", "it is a named pipe, and not a file"), ("/dev/zero", "it is a device, and not a file")];

const RUN: &[&str] = &["spec.toml", "--data", "data"];
const QUICK: &[&str] = &["verify", "outputs/bowl", "--quick"];
const STATUS: &[&str] = &["status", "outputs/bowl"];

#[test]
fn a_pipe_or_device_for_an_input_is_named_and_nothing_hangs() {
    for (by, said) in NO_FILES {
        #[track_caller]
        fn check(world: &World, arguments: &[&str], said: &str) {
            let ran = run(world, arguments);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
            assert!(ran.stderr.contains(said), "{said:?} is not in {ran:?}");
        }
        let policy = "kind      = \"triangular\"\nbase_lr   = 0.01\nmax_lr    = 0.1\nstep_size = 5\n";
        assert!(BOWL.contains(policy));
        let world = World::new(&BOWL.replace(policy, "kind = \"table\"\nfile = \"rates.csv\"\n"));
        replace(&world.path("rates.csv"), by);
        for command in [RUN, &["check", "spec.toml", "--data", "data"]] {
            check(&world, command, &format!("rates.csv: {said}"));
        }
        replace(&world.path("spec.toml"), by);
        for command in [RUN, &["check", "spec.toml"], &["plan", "spec.toml"], &["schedule", "spec.toml"]] {
            check(&world, command, &format!("spec.toml: {said}"));
        }
        let world = World::new(BOWL);
        replace(&world.path("data/speckles/test.parquet"), by);
        check(&world, RUN, &format!("test.parquet: {said}"));
        check(&world, &["data", "info", "speckles", "--data", "data"], &format!("test.parquet: {said}"));

        replace(&world.path("data/cifar-10-binary.tar.gz"), by);
        check(&world, &["data", "info", "cifar10", "--data", "data"], &format!("cifar-10-binary.tar.gz: {said}"));
        let library = world.path("libclr_quadratic.so");
        replace(&library, by);
        let named = ["plugin", "check", library.to_str().unwrap()];
        check(&world, &named, said);
    }
}

#[test]
fn a_pipe_or_device_in_an_output_is_named_and_nothing_hangs() {
    let world = World::new(BOWL);
    world.train(&["--set", "checkpoint.keep=last"]);
    let sound = world.path("sound");
    fs::rename(world.path("outputs"), &sound).unwrap();
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(sound.join("bowl").join(folder)).unwrap();
        entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
    };
    let single = [
        "spec.toml",
        "plan.json",
        "manifest.json",
        "trials.parquet",
        "timings.parquet",
        "events.jsonl",
        ".lock",
        "heartbeat.json",
        ".heartbeat.tmp",
    ];
    let inside: Vec<String> = ["metrics", "evals", "checkpoints"].map(|folder| names(folder).swap_remove(0)).into();
    for (number, name) in single.into_iter().chain(inside.iter().map(String::as_str)).enumerate() {
        // Either of them everywhere would take long, and it is the same that opens all.
        for (by, _) in &NO_FILES[number % 2..=number % 2] {
            let _ = fs::remove_dir_all(world.path("outputs"));
            assert!(Command::new("cp").arg("-r").arg(&sound).arg(world.path("outputs")).status().unwrap().success());
            replace(&world.path("outputs/bowl").join(name), by);
            for command in [STATUS, QUICK, RUN] {
                let ran = run(&world, command);
                assert!(ran.code.is_some(), "{name}, {by}: {command:?}: {ran:?}");
                assert!(!ran.stderr.contains("panicked"), "{name}, {by}: {command:?}: {ran:?}");
            }
        }
    }
}

/// What reports of a run are written to is of no consequence for the run.
#[test]
fn a_run_goes_on_where_its_journal_is_a_pipe() {
    let world = World::new(BOWL);
    world.train(&[]);
    for name in ["events.jsonl", ".heartbeat.tmp"] {
        replace(&world.path("outputs/bowl").join(name), "pipe");
    }
    let ran = run(&world, &["spec.toml", "--data", "data", "--set", "experiment.seeds=[1, 2]"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // What a spec is verified by is read, too.
    replace(&world.path("outputs/bowl/spec.toml"), "pipe");
    let ran = run(&world, &["verify", "outputs/bowl", "--data", "data"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("spec.toml: it is a named pipe, and not a file"), "{ran:?}");
}

#[test]
fn a_pipe_nobody_reads_is_no_place_for_a_log_and_dev_null_is() {
    let world = World::new(BOWL);
    replace(&world.path("log"), "pipe");
    let ran = run(&world, &["check", "spec.toml", "--data", "data", "--log", "info", "--log-file", "log"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("log: it is a named pipe, and not a file"), "{ran:?}");
    let ran = run(&world, &["check", "spec.toml", "--data", "data", "--log", "info", "--log-file", "/dev/null"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// `clr-run check <(make-spec)`, `make-spec | clr-run check /dev/stdin`.
#[test]
fn a_spec_may_come_through_a_pipe_that_is_open() {
    let world = World::new(BOWL);
    let mut command = world.command(&["check", "/dev/stdin", "--data", "data"]);
    command.stdin(fs::File::open(world.path("spec.toml")).unwrap());
    assert_eq!(Ran::from(command.output().unwrap()).code, Some(0));
    let script = "cat spec.toml | \"$0\" check /dev/stdin --data data";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_clr-run")]).current_dir(world.folder().path());
    shell.env("HOME", world.folder().path()).env("CLR_CACHE", world.path("cache")).env("CLR_PLUGIN_PATH", plugins());
    let ran = Ran::from(shell.output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn what_a_spec_from_a_pipe_names_is_looked_for_in_the_current_folder() {
    let (from, to) = ("kind      = \"triangular\"\nbase_lr   = 0.01", "kind = \"table\"\nfile = \"lr.csv\"");
    assert!(BOWL.contains(from));
    let spec = BOWL.replace(from, to).replacen("max_lr    = 0.1\nstep_size = 5\n", "", 1);
    let world = World::new(&spec);
    let check = || {
        let mut command = world.command(&["check", "/dev/stdin", "--data", "data"]);
        command.stdin(fs::File::open(world.path("spec.toml")).unwrap());
        Ran::from(command.output().unwrap())
    };
    assert!(check().stderr.contains("lr.csv"), "it is not there yet");
    fs::write(world.path("lr.csv"), "iteration,lr\n0,0.1\n30,0.01\n").unwrap();
    let ran = check();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
