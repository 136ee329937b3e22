//! Damage to an output: the same command finds it, mends it and says so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{BOWL, Ran, World};

fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Trains, harms the output, and trains again: the same tables. Returns what the second command said, and its `started`.
#[track_caller]
fn check(harm: impl Fn(&Path), expected: &str, started: usize) -> Ran {
    let world = World::new(BOWL);
    let first = world.train(&[]);
    let before = world.tables("outputs/bowl");
    harm(&world.path("outputs/bowl"));
    let again = world.train(&[]);
    assert!(again.stderr.contains(expected), "no `{expected}` in {again:?}");
    assert_eq!(again.labels("started").len(), started, "{again:?}");
    assert!(world.tables("outputs/bowl") == before, "{again:?}");
    // All but the time is the same.
    assert_eq!(again.stdout.lines().count(), first.stdout.lines().count(), "{again:?}");
    let third = world.train(&[]);
    assert_eq!(third.stderr, "all 3 trials are finished already; nothing to run\n");
    assert_eq!(world.run(&["verify", "outputs/bowl", "--quick"]).code, Some(0));
    again
}

#[test]
fn the_same_command_mends_a_damaged_output_and_says_what_it_did() {
    let flip = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 2;
        fs::write(path, bytes).unwrap();
    };
    let again = check(
        |output| flip(only_file(&output.join("metrics"))),
        " (hot gd seed=1)\nnote: what is left of damaged files is in outputs/bowl/damaged\n",
        3,
    );
    assert!(again.stderr.starts_with("note: metrics/00000-") && again.stderr.contains(": its bytes have changed: "));
    assert!(again.stderr.contains("; 3 trials with rows in it are trained again: "), "{again:?}");
    check(|output| flip(output.join("manifest.json")), "; its copy, manifest.backup.json, is used instead\n", 0);
    check(|output| flip(output.join("trials.parquet")), "; it is written again\n", 0);
    check(
        |output| fs::remove_dir_all(output.join("evals")).unwrap(),
        ".parquet: it is missing; 3 trials with rows in it are trained again: ",
        3,
    );
}
