//! `clr-run status`, and outputs that are moved or cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::world::{BOWL, MIX, World};

#[test]
fn status_tells_of_a_run_at_work_then_of_one_that_was_killed_and_of_one_that_is_done() {
    let world = World::new(MIX);
    let long = ["--jobs", "1", "--set", "policies.one_cycle.train.iterations=10_000_000"];
    let long =
        [&long[..], &["--set", "policies.one_cycle.train.eval_every=0", "--set", "experiment.seeds=[1]"]].concat();
    let mut run = world.start(&long);
    run.wait_for("started   one_cycle");
    let state = loop {
        let ran = world.run(&["status", "outputs/mix", "--json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        let state: Value = serde_json::from_str(&ran.stdout).unwrap();
        if state["trials"].as_array().unwrap().iter().any(|trial| trial["per_second"].is_number()) {
            break state;
        }
    };
    assert_eq!((&state["state"], &state["name"]), (&Value::from("running"), &Value::from("mix")));
    assert_eq!(state["holder"]["pid"], run.id());
    assert_eq!((&state["counts"]["trials"], &state["counts"]["running"]), (&Value::from(16), &Value::from(1)));
    let text = world.run(&["status", "outputs/mix"]).stdout;
    let holder = format!("outputs/mix: running, process {} on ", run.id());
    assert!(text.starts_with(&holder) && text.contains("\nrunning  "), "{text}");

    run.signal("KILL");
    run.finish();
    let text = world.run(&["status", "outputs/mix"]).stdout;
    let gone = format!("outputs/mix: not running: process {} on ", state["holder"]["pid"]);
    assert!(text.starts_with(&gone) && text.contains("is gone") && !text.contains("\nrunning  "), "{text}");

    let short = ["--set", "experiment.seeds=[1]", "--set", "grid.exclude=[{policy=[\"hot\",\"one_cycle\"]}]"];
    world.train(&short);
    let text = world.run(&["status", "outputs/mix", "--trials"]).stdout;
    assert!(text.starts_with("outputs/mix: done\n7 trials: 7 finished\n100%, 77 of 77 iterations\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("finished  ")).count(), 7, "{text}");
}

#[test]
fn what_is_no_output_has_no_status() {
    let world = World::new(BOWL);
    for folder in ["data", "nowhere"] {
        let ran = world.run(&["status", folder]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains(&format!("error: {folder} is no output of a run")), "{ran:?}");
    }
}

/// Every file below a folder, with its content and the time of its last change.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.clone(), (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()));
        }
    }
    found
}

#[test]
fn a_finished_output_that_was_moved_is_read_and_not_written() {
    let world = World::new(BOWL);
    let first = world.train(&[]);
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::rename(world.path("outputs/bowl"), world.path("elsewhere/bowl")).unwrap();
    let before = everything(&world.path("elsewhere"));
    let again = world.train(&["--outputs", "elsewhere"]);
    let expected = first.stdout.replace("outputs/bowl", "elsewhere/bowl");
    assert_eq!(
        (again.stdout, again.stderr.as_str()),
        (expected, "all 3 trials are finished already; nothing to run\n")
    );
    assert_eq!(world.run(&["status", "elsewhere/bowl"]).code, Some(0));
    assert_eq!(world.run(&["verify", "elsewhere/bowl", "--quick"]).code, Some(0));
    assert_eq!(world.run(&["verify", "elsewhere/bowl", "--data", "data"]).code, Some(0));
    assert!(everything(&world.path("elsewhere")) == before);
}

#[cfg(unix)]
#[test]
fn a_read_only_output_is_enough_where_nothing_is_left_to_run() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(BOWL);
    let first = world.train(&[]);
    let set_mode = |mode| {
        for folder in ["", "metrics", "evals", "parts"] {
            let path = world.path("outputs/bowl").join(folder);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for file in [".lock", "manifest.json", "events.jsonl"] {
            let path = world.path("outputs/bowl").join(file);
            fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o666)).unwrap();
        }
    };
    set_mode(0o555);
    if fs::write(world.path("outputs/bowl/probe"), "").is_ok() {
        eprintln!("SKIPPED: this user may write anything");
        return;
    }
    // Another comment changes nothing that counts.
    fs::write(world.path("spec.toml"), format!("# again\n{BOWL}")).unwrap();
    let again = world.train(&[]);
    assert_eq!(
        (again.stdout, again.stderr.as_str()),
        (first.stdout, "all 3 trials are finished already; nothing to run\n")
    );
    assert_eq!(world.run(&["verify", "outputs/bowl", "--data", "data"]).code, Some(0));
    let more = world.run(&["spec.toml", "--data", "data", "--set", "experiment.seeds=[1, 2]"]);
    set_mode(0o755);
    assert_eq!(more.code, Some(2), "{more:?}");
    let expected = "error: outputs/bowl cannot be written, and 3 of its trials are left to run; make it writable, or choose \
                    another folder with --outputs: ";
    assert!(more.stderr.starts_with(expected), "{more:?}");
}
