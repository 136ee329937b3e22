//! Output folders: a manifest, or a part, made of outside bytes, in a folder that is otherwise sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clr_event::example::events;
use clr_plan::Plan;
use clr_plan::example::Grid;
use clr_store::names::FORMAT;
use clr_store::{Cut, Limits, RunInfo, Status, Store, StoreError};
use clr_terminal::terminal::Terminal;
use tempfile::TempDir;

use super::Target;

pub(super) const MANIFEST: Target = Target { name: "manifest", read: read_manifest, seeds: seeds_of_manifests };
pub(super) const PART: Target = Target { name: "part", read: read_part, seeds: seeds_of_parts };

const GRID: Grid<'static> = Grid {
    policies: &["triangular", "explode"],
    optimizers: &["sgd", "adam"],
    seeds: &[1],
    max_lrs: &[],
    iterations: 9,
};

/// Small files, so that there are several.
const LIMITS: Limits = Limits {
    part_rows: 1 << 18,
    part_trials: 1 << 10,
    commit_every: Duration::from_secs(3600),
    seal_every: Duration::from_secs(3600),
    parts: Cut { batch_rows: 64, group_rows: 64, file_rows: u64::MAX },
    tables: Cut { batch_rows: 8, group_rows: 8, file_rows: 16 },
};

fn open(outputs: &Path, plan: &Plan) -> Result<Store, StoreError> {
    Store::open_with(
        outputs,
        plan,
        RunInfo { numerics: vec!["example/1 cpu".to_owned()], ..RunInfo::default() },
        LIMITS,
    )
}

/// Runs `trials` and leaves them as the store leaves them.
fn run(outputs: &Path, plan: &Plan, trials: &[usize]) -> Store {
    let mut store = open(outputs, plan).expect("a folder of ours");
    for &trial in trials {
        for event in events(plan, trial, 5) {
            store.record(&event).expect("a folder of ours");
        }
    }
    store
}

/// Runs every trial that is left, as the program would, and then shows what came of all.
fn go_on(outputs: &Path, plan: &Plan) -> Result<(), StoreError> {
    let mut store = open(outputs, plan)?;
    for work in store.unfinished() {
        for event in events(plan, work.trial, 5) {
            store.record(&event)?;
        }
    }
    let summary = store.finish()?;
    clr_run::show::results(&summary, &Terminal::default());
    assert!(summary.results().all(|result| result.status != Status::Unfinished));
    Ok(())
}

/// Copies a folder of an output, as links: the store never writes in place.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a temporary folder");
    for entry in fs::read_dir(from).expect("a folder of ours") {
        let path = entry.expect("a folder of ours").path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::hard_link(&path, &target).expect("a temporary folder");
        }
    }
}

/// A folder with two trials in tables and one in a part.
fn half_run() -> TempDir {
    let outputs = tempfile::tempdir().expect("a temporary folder");
    let plan = GRID.plan();
    run(outputs.path(), &plan, &[0, 2]).finish().expect("a folder of ours");
    run(outputs.path(), &plan, &[1]).commit().expect("a folder of ours");
    outputs
}

fn read_manifest(bytes: &[u8]) {
    thread_local! {
        static SOUND: TempDir = half_run();
    }
    let outputs = tempfile::tempdir().expect("a temporary folder");
    SOUND.with(|sound| copy(sound.path(), outputs.path()));
    let manifest = outputs.path().join("example/manifest.json");
    fs::remove_file(&manifest).expect("a file of ours");
    // It would be used instead.
    fs::remove_file(outputs.path().join("example/manifest.backup.json")).expect("a file of ours");
    fs::write(&manifest, bytes).expect("a file of ours");
    refused_or_done(outputs.path(), go_on(outputs.path(), &GRID.plan()));
}

/// The part of one trial's rows, the manifest right about its size and digest.
fn read_part(bytes: &[u8]) {
    let outputs = tempfile::tempdir().expect("a temporary folder");
    let parts = outputs.path().join("example/parts");
    fs::create_dir_all(&parts).expect("a temporary folder");
    fs::write(parts.join("metrics-000000.parquet"), bytes).expect("a temporary folder");
    let plan = GRID.plan();
    let entry =
        serde_json::json!({ "rows": 9, "bytes": bytes.len(), "blake3": blake3::hash(bytes).to_hex().to_string() });
    let record = serde_json::json!({
        "status": "finished", "numerics": "example/1 cpu", "attempts": 1, "numbers": { "rows": 9 },
        "metrics": [["parts/metrics-000000.parquet", 0, 9]],
    });
    let id = plan.trials[0].id.to_string();
    let manifest = serde_json::json!({
        "format": FORMAT, "name": "example", "runs": [], "layout": null, "next_part": 1,
        "files": { "parts/metrics-000000.parquet": entry }, "trials": { id: record },
    });
    fs::write(outputs.path().join("example/manifest.json"), manifest.to_string()).expect("a temporary folder");
    refused_or_done(outputs.path(), go_on(outputs.path(), &plan));
}

fn refused_or_done(outputs: &Path, result: Result<(), StoreError>) {
    if let Err(error) = result {
        let folder = outputs.display().to_string();
        assert!(error.to_string().contains(&folder), "{error}");
    }
}

fn seeds_of_manifests() -> Vec<(String, Vec<u8>)> {
    let folder = half_run();
    let bytes = fs::read(folder.path().join("example/manifest.json")).expect("a file of ours");
    let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("a file of ours");
    // With a digest, every change would end in one and the same refusal.
    manifest.as_object_mut().map(|manifest| manifest.remove("blake3"));
    vec![("half_run.json".to_owned(), manifest.to_string().into_bytes())]
}

fn seeds_of_parts() -> Vec<(String, Vec<u8>)> {
    let outputs = tempfile::tempdir().expect("a temporary folder");
    let mut store = run(outputs.path(), &GRID.plan(), &[0]);
    store.commit().expect("a folder of ours");
    let entries = fs::read_dir(outputs.path().join("example/parts")).expect("a folder of ours");
    let mut parts: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder of ours").path()).collect();
    parts.sort_by(|one, other| other.cmp(one));
    let seed = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, fs::read(path).expect("a file of ours"))
    };
    let seeds: Vec<(String, Vec<u8>)> = parts.iter().map(seed).collect();
    assert_eq!(seeds.len(), 2, "a part of each table");
    seeds
}
