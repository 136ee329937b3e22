//! Helpers of the store's tests: running hand-made plans and looking at what was left.

mod bytes;
mod cost;
mod damage;
mod readers;
mod refusals;
mod reopening;
mod resuming;
mod rows;
mod swaps;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clr_event::Event;
use clr_event::example::events;
use clr_plan::Plan;
use clr_plan::example::Grid;

use super::table::Cut;
use super::{KeptSpec, Limits, RunInfo, Store, Summary, TrialResult};

/// Two policies, two optimizers, two seeds; 12 rows a trial, 7 where it diverges.
const GRID: Grid<'static> = Grid {
    policies: &["triangular", "explode"],
    optimizers: &["sgd", "adam"],
    seeds: &[1, 2],
    max_lrs: &[],
    iterations: 12,
};

/// Tiny files, so that every boundary is crossed.
const SMALL: Limits = Limits {
    part_rows: 20,
    part_trials: 3,
    commit_every: Duration::from_secs(3600),
    seal_every: Duration::from_secs(3600),
    parts: Cut { batch_rows: 4, group_rows: 8, file_rows: u64::MAX },
    tables: Cut { batch_rows: 4, group_rows: 8, file_rows: 16 },
};

fn info(numerics: &str) -> RunInfo {
    let table = [("tables/0123456789ab-rates.csv".to_owned(), "iteration,lr\n0,0.1\n".to_owned())];
    RunInfo {
        spec: KeptSpec { text: "[experiment]\n".to_owned(), tables: table.into(), ..KeptSpec::default() },
        command: vec!["clr-run".to_owned(), "example.toml".to_owned()],
        numerics: vec![numerics.to_owned()],
        ..RunInfo::default()
    }
}

fn open(outputs: &Path, plan: &Plan, limits: Limits) -> Store {
    Store::open_with(outputs, plan, info("example/1 cpu"), limits).unwrap()
}

fn record(store: &mut Store, events: &[Event]) {
    for event in events {
        store.record(event).unwrap();
    }
}

/// The indices of the trials that are to be run.
fn unfinished(store: &Store) -> Vec<usize> {
    store.unfinished().iter().map(|work| work.trial).collect()
}

/// Runs what is unfinished, one trial after the other.
fn run(outputs: &Path, plan: &Plan, limits: Limits) -> Summary {
    let mut store = open(outputs, plan, limits);
    for trial in unfinished(&store) {
        record(&mut store, &events(plan, trial, 5));
    }
    store.finish().unwrap()
}

fn result(summary: &Summary, trial: usize) -> TrialResult<'_> {
    summary.results().nth(trial).unwrap()
}

/// The tables that two runs of one spec must have in common, byte for byte.
fn tables(outputs: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = outputs.join("example");
    let mut tables = BTreeMap::new();
    for directory in ["", "metrics", "evals", "failed"] {
        for name in super::files::names(&folder.join(directory)).unwrap_or_default() {
            if name.ends_with(".parquet") && name != "timings.parquet" {
                let bytes = fs::read(folder.join(directory).join(&name)).unwrap();
                tables.insert(format!("{directory}/{name}"), bytes);
            }
        }
    }
    tables
}

/// The tables of an undisturbed run.
fn fresh_tables(plan: &Plan) -> BTreeMap<String, Vec<u8>> {
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), plan, SMALL);
    tables(outputs.path())
}

#[track_caller]
fn assert_equal_tables(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in found {
        assert!(*bytes == expected[name], "{name} differs");
    }
}

/// Changes a manifest as earlier versions wrote them, which had no digest and no copy.
fn edit_manifest(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("blake3").unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
    fs::remove_file(folder.join("manifest.backup.json")).unwrap();
}

/// The names in a folder of the output, sorted.
fn listing(outputs: &Path, directory: &str) -> Vec<String> {
    super::files::names(&outputs.join("example").join(directory)).unwrap()
}
