//! Signals, and starting again after them.

use crate::world::{MIX, World};

/// Long enough that a signal comes in the middle, on a busy machine too: some seconds.
const LONGER: [&str; 2] = ["--set", "train.iterations=33"];

/// What stopped runs and their completion leave equals what one run leaves.
#[test]
fn a_run_that_was_interrupted_and_started_again_gives_equal_files() {
    let world = World::new(MIX);
    world.train(&[&LONGER[..], &["--outputs", "whole"]].concat());

    let mut kept: Vec<String> = Vec::new();
    for _ in 0..2 {
        let mut run = world.start(&[&LONGER[..], &["--outputs", "stopped", "--jobs", "1"]].concat());
        let before = run.wait_for("finished");
        run.signal("INT");
        let ran = run.finish();
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert!(ran.stdout.contains("unfinished"), "{ran:?}");
        let ended = format!("{before}{}", ran.stderr);
        let ended = ended.lines().filter(|line| line.starts_with("finished") || line.starts_with("diverged"));
        kept.extend(ended.map(|line| line.split_once(" (").unwrap().0[10..].to_owned()));
    }
    assert!(kept.len() >= 2 && kept.len() < 32, "{kept:?}");

    let rest = world.train(&[&LONGER[..], &["--outputs", "stopped", "--jobs", "1"]].concat());
    let started = rest.labels("started");
    assert_eq!(started.len() + kept.len(), 32, "what was finished is not run again");
    assert!(started.iter().all(|label| kept.iter().all(|kept| kept != label)), "{started:?} {kept:?}");
    assert!(world.tables("stopped/mix") == world.tables("whole/mix"));
}

#[test]
fn a_run_that_was_killed_and_started_again_gives_equal_files() {
    let world = World::new(MIX);
    world.train(&[&LONGER[..], &["--outputs", "whole"]].concat());
    let mut run = world.start(&[&LONGER[..], &["--outputs", "killed", "--jobs", "1"]].concat());
    run.wait_for("finished");
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    world.train(&[&LONGER[..], &["--outputs", "killed"]].concat());
    assert!(world.tables("killed/mix") == world.tables("whole/mix"));
}

#[test]
fn a_second_command_on_one_output_is_refused_and_sigterm_ends_the_first() {
    let world = World::new(MIX);
    let mut first = world.start(&["--set", "train.iterations=10_000_000", "--set", "train.eval_every=0"]);
    first.wait_for("started");
    let second = world.run(&["spec.toml", "--data", "data"]);
    assert_eq!(second.code, Some(2), "{second:?}");
    let holder = format!("error: another command is writing outputs/mix: process {} on ", first.id());
    assert!(second.said().starts_with(&holder), "{second:?}");
    assert!(second.stderr.ends_with("; wait for it, or choose another folder with --outputs\n"), "{second:?}");
    assert_eq!(second.stdout, "");
    first.signal("TERM");
    let first = first.finish();
    assert_eq!(first.code, Some(143), "{first:?}");
}
