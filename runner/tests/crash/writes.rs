//! Each call that changes the output folder goes wrong in turn: the process is killed instead of it, there is no room from
//! there on, or it fails once. `shim.c` does that from within the process.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disturbed::{check_completes, check_stopped, check_tables_are_whole, see_rows};
use crate::faults::{self, HEAD};
use crate::support::cc;
use crate::world::{BOWL, Ran, World};

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Kill,
    Full,
    Once,
}

/// A world with the library to preload, and an undisturbed run in `whole`.
struct Shimmed {
    world: World,
    /// Its folder, as the kernel names it: without symbolic links.
    root: PathBuf,
    library: PathBuf,
}

impl Shimmed {
    /// Of the spec [`BOWL`]. None, loudly, where there is no compiler.
    fn new() -> Option<Shimmed> {
        let shimmed = Shimmed::of(BOWL)?;
        shimmed.world.train(&["--outputs", "whole"]);
        Some(shimmed)
    }

    fn of(spec: &str) -> Option<Shimmed> {
        let world = World::new(spec);
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/shim.c"));
        let library = cc(source, &["-D_GNU_SOURCE"], world.folder(), "shim")?;
        let root = world.folder().path().canonicalize().unwrap();
        Some(Shimmed { world, root, library })
    }

    /// Trains into `outputs`, where call `at` goes wrong. Returns what the program said, and that call, if there was one.
    fn train(&self, outputs: &str, at: usize, how: How) -> (Ran, Option<String>) {
        self.run(&["spec.toml", "--data", "data"], outputs, "", at, how)
    }

    /// As [`Shimmed::train`], with these arguments, and without a report, which is no result; calls are counted from the first one on a path that has `from` in it.
    fn run(&self, arguments: &[&str], outputs: &str, from: &str, at: usize, how: How) -> (Ran, Option<String>) {
        let log = self.world.path("shim.log");
        let _ = fs::remove_file(&log);
        let folder = self.root.join(outputs);
        let mut command =
            self.world.command(&[arguments, &["--no-report", "--outputs", folder.to_str().unwrap()]].concat());
        command.env("LD_PRELOAD", &self.library).env("CLR_SHIM_LOG", &log).env("CLR_SHIM_FOLDER", &folder);
        command.env("CLR_FAULTS", self.world.path("strikes")).env("CLR_SHIM_FROM", from);
        command.env("CLR_SHIM_AT", at.to_string()).env("CLR_SHIM_HOW", format!("{how:?}").to_lowercase());
        let ran = Ran::from(command.output().unwrap());
        let struck = fs::read_to_string(&log).unwrap_or_default().lines().next().map(str::to_owned);
        (ran, struck)
    }
}

/// Lets the first call go wrong, then the second and so on, until the run is through before its turn.
#[track_caller]
fn check_each_call(how: How) {
    let Some(shimmed) = Shimmed::new() else { return };
    let mut calls = Vec::new();
    loop {
        let at = calls.len() + 1;
        let (outputs, output) = (format!("{how:?}"), format!("{how:?}/bowl"));
        let (ran, struck) = shimmed.train(&outputs, at, how);
        let Some(call) = struck else {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            break;
        };
        let folder = shimmed.root.join(&outputs);
        match how {
            How::Kill => {
                assert_eq!(ran.code, None, "{call}: {ran:?}");
                check_tables_are_whole(&shimmed.world.path(&output));
            }
            // Reports decide nothing: a run goes on without them.
            How::Full | How::Once if is_of_a_report(&call) && ran.code == Some(0) => {}
            How::Full => check_stopped(&ran, &folder, "No space left on device"),
            // What was to be deleted is deleted next time.
            How::Once if call.starts_with("unlink ") && ran.code == Some(0) => {}
            How::Once => check_stopped(&ran, &folder, "Input/output error"),
        }
        let disturbance = format!("{how:?} at call {at}, {call}");
        check_completes(&shimmed.world, &["--outputs", &outputs], &output, &shimmed.world, &disturbance);
        fs::remove_dir_all(shimmed.world.path(&outputs)).unwrap();
        calls.push(call);
        assert!(calls.len() < 2000, "no end: {:?}", &calls[1990..]);
    }
    // The library sees what it is meant to see.
    for name in ["open ", "write ", "fsync ", "rename ", "mkdir "] {
        assert!(calls.iter().any(|call| call.starts_with(name)), "no {name}in {calls:#?}");
    }
    eprintln!("{how:?}: {} calls, each in its turn", calls.len());
}

/// Whether a call is on a file that no result depends on.
fn is_of_a_report(call: &str) -> bool {
    ["/events.jsonl", "/heartbeat.json", "/.heartbeat.tmp", "/.lock"].iter().any(|name| call.ends_with(name))
}

#[test]
fn killed_at_any_call_that_changes_the_folder() {
    check_each_call(How::Kill);
}

#[test]
fn out_of_room_from_any_call_on() {
    check_each_call(How::Full);
}

#[test]
fn an_error_of_the_disk_at_any_call() {
    check_each_call(How::Once);
}

/// Crashes of the recovery from a crash, and so on: each attempt gets some calls further than opening the folder takes.
#[test]
fn killed_again_and_again() {
    let Some(shimmed) = Shimmed::new() else { return };
    for seed in 0..8 {
        let outputs = format!("again-{seed}");
        let mut kills = 0;
        loop {
            let (ran, struck) = shimmed.train(&outputs, 3 + (7 * kills + 13 * seed) % 71, How::Kill);
            if struck.is_none() {
                assert_eq!(ran.code, Some(0), "{ran:?}");
                break;
            }
            check_tables_are_whole(&shimmed.world.path(&outputs).join("bowl"));
            kills += 1;
            assert!(kills < 500, "no end");
        }
        let disturbance = format!("{kills} kills, seed {seed}");
        check_completes(
            &shimmed.world,
            &["--outputs", &outputs],
            &format!("{outputs}/bowl"),
            &shimmed.world,
            &disturbance,
        );
    }
}

/// Of three trials a seed, one fails.
const FAILING: &str = r#"
[policies]
a = { kind = "fixed", base_lr = 0.01 }

[optimizers]
gd  = { kind = "gd" }
bad = { kind = "sgd", fault = "error", fault_step = 4 }
sgd = { kind = "sgd" }
"#;

/// What the globs of a reader see: rows of metrics and of evaluations, those of failed trials with them, and none twice.
#[track_caller]
fn see(output: &Path) -> [BTreeSet<(String, i64)>; 2] {
    ["metrics", "evals"].map(|table| {
        let mut seen = BTreeSet::new();
        see_rows(output, table, "", &mut seen);
        see_rows(output, "failed", &format!("{table}-"), &mut seen);
        seen
    })
}

/// A grid with failed trials is widened; at its end, tables and failed rows are replaced by longer ones.
#[test]
fn whenever_it_is_killed_a_reader_sees_no_row_twice_and_all_that_were_there() {
    let Some(shimmed) = Shimmed::of(&(HEAD.replace("faults", "failing").replace("30", "8") + FAILING)) else { return };
    let plugin = faults::plugin().to_str().unwrap();
    let narrow = ["spec.toml", "--data", "data", "--jobs", "1", "--plugin", plugin];
    let wide = [&narrow[..], &["--set", "experiment.seeds=[1, 2]"]].concat();
    let world = &shimmed.world;
    let run = |arguments: &[&str], outputs: &str| {
        let mut command = world.command(&[arguments, &["--outputs", outputs]].concat());
        let ran = Ran::from(command.env("CLR_FAULTS", world.path("strikes")).output().unwrap());
        assert_eq!(ran.code, Some(1), "one trial of each seed fails: {ran:?}");
    };
    run(&narrow, "whole");
    run(&narrow, "cut");
    let (whole, cut) = (world.path("whole/failing"), world.path("cut/failing"));
    let before = see(&whole);
    run(&wide, "whole");
    let after = see(&whole);
    assert!((0..2).all(|table| before[table].is_subset(&after[table]) && before[table] != after[table]));
    assert!(
        before[0].iter().any(|row| !after[0].contains(&(row.0.clone(), 7))),
        "a failed trial has rows, and not all"
    );

    let kept = world.path("kept");
    copy(&cut, &kept);
    for at in 1.. {
        let (ran, struck) = shimmed.run(&wide, "cut", ".failed.new", at, How::Kill);
        let seen = see(&cut);
        let Some(call) = struck else {
            assert!(ran.code == Some(1) && seen == after, "{ran:?}");
            assert!(at > 20, "{at} calls");
            break;
        };
        let is_between = |table: usize| seen[table].is_superset(&before[table]) && seen[table].is_subset(&after[table]);
        assert!(is_between(0) && is_between(1), "call {at}, {call}: {seen:?}");
        fs::remove_dir_all(&cut).unwrap();
        copy(&kept, &cut);
    }
}

/// Copies a folder of files and folders of files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
