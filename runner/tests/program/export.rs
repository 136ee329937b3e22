//! What `clr-run export` writes is read by NumPy, by the Python package safetensors, and by anything that reads text.

use std::collections::BTreeMap;
use std::process::Command;

use clr_event::checkpoint::Checkpoint;
use serde_json::Value as Json;

use crate::results::{Cell, read};
use crate::verify::{altered, manifest, only_file, rewrite, write_manifest};
use crate::world::{BOWL, World};

/// Prints every array of a file as `name shape hexadecimal-bytes`.
const READ: &str = r#"
import sys, numpy
if sys.argv[1].endswith(".npz"):
    arrays = dict(numpy.load(sys.argv[1]))
else:
    from safetensors.numpy import load_file
    arrays = load_file(sys.argv[1])
for name in sorted(arrays):
    array = arrays[name]
    assert array.dtype == numpy.dtype("<f4"), array.dtype
    print(name, list(array.shape), array.tobytes().hex())
"#;

#[test]
fn numpy_and_safetensors_read_the_weights_that_were_kept() {
    let world = World::new(BOWL);
    world.train(&["--set", "checkpoint.keep=last"]);
    let kept: Vec<_> = std::fs::read_dir(world.path("outputs/bowl/checkpoints")).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept.len(), 2, "of three trials one diverged: {kept:?}");
    let label = "triangular sgd seed=1";
    for (arguments, file) in [
        (&["--format", "npz"][..], "triangular_sgd_seed=1.npz"),
        (&["--out", "weights.safetensors"][..], "weights.safetensors"),
    ] {
        let ran = world.run(&[&["export", "outputs/bowl", "--trial", label], arguments].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains(&format!("of `{label}` after 30 iterations in {file}")), "{ran:?}");
        check_in_python(&world, file, &kept.iter().map(std::fs::DirEntry::path).collect::<Vec<_>>());
    }
}

/// Compares a file as Python reads it with the checkpoint of its trial.
fn check_in_python(world: &World, file: &str, kept: &[std::path::PathBuf]) {
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    if !Command::new(&python).args(["-c", "import numpy, safetensors"]).output().is_ok_and(|it| it.status.success()) {
        eprintln!("SKIPPED: {python:?} lacks numpy or safetensors; CLR_PYTHON names another Python");
        return;
    }
    let output = Command::new(&python).args(["-c", READ]).arg(world.path(file)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    let lines = |path: &std::path::PathBuf| -> String {
        let (checkpoint, _) = Checkpoint::from_bytes(&std::fs::read(path).unwrap()).unwrap();
        let line = |tensor: &clr_event::checkpoint::Tensor| {
            let bytes: String =
                tensor.values.iter().flat_map(|value| value.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
            format!("{} {:?} {bytes}\n", tensor.info.name, tensor.info.shape)
        };
        checkpoint.weights().map(line).collect()
    };
    assert!(!found.is_empty() && kept.iter().any(|path| lines(path) == found), "{found}");
}

#[track_caller]
fn check_refused(world: &World, arguments: &[&str], expected: &str) {
    let ran = world.run(&[&["export"], arguments].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains(expected), "{ran:?}");
}

#[test]
fn what_cannot_be_exported_is_named() {
    let world = World::new(BOWL);
    check_refused(&world, &["outputs/bowl", "--trial", "x"], "outputs/bowl: no manifest.json");
    world.train(&[]);
    check_refused(&world, &["outputs/bowl", "--trial", "triangular sgd seed=2"], " (triangular sgd seed=1)?");
    check_refused(&world, &["outputs/bowl"], "which trial? `--trial` takes a label or the first digits of an id: ");
    check_refused(
        &world,
        &["outputs/bowl", "--trial", "hot gd seed=1", "--data", "data"],
        "diverged, and has no last weights",
    );
}

#[test]
fn a_trial_whose_weights_were_not_kept_is_trained_again_for_them() {
    let world = World::new(BOWL);
    let first = world.train(&[]);
    let said = first.stderr.lines().last().unwrap();
    assert!(said.starts_with("note: weights were not kept: `clr-run export outputs/bowl --trial "), "{said}");
    let handle = said.split("--trial ").nth(1).unwrap().split('`').next().unwrap();
    let export = |output: &str, trial: &str, out: &str, arguments: &[&str]| {
        let fixed = ["export", output, "--trial", trial, "--out", out, "--data", "data"];
        world.run(&[&fixed[..], arguments].concat())
    };
    // By the handle that was named.
    let ran = export("outputs/bowl", handle, "again.safetensors", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let label = "triangular gd seed=1";
    assert!(ran.stdout.contains(&format!("of `{label}` after 30 iterations in again.safetensors\n")), "{ran:?}");
    assert!(ran.stdout.ends_with("the stored rows, bit for bit: 30 rows and 4 evaluations\n"), "{ran:?}");
    assert!(ran.stderr.contains(&format!("({label}) were not kept, so it is trained again")), "{ran:?}");
    assert!(ran.stderr.contains("finished  "), "it shows progress: {ran:?}");

    // They are those that would have been kept.
    for (keep, arguments) in [("last", &[][..]), ("best", &["--best"])] {
        world.train(&["--set", &format!("checkpoint.keep=\"{keep}\""), "--outputs", keep]);
        let kept = export(&format!("{keep}/bowl"), label, "kept.safetensors", &[]);
        assert!(kept.code == Some(0) && kept.stderr.is_empty(), "{kept:?}");
        let ran = export("outputs/bowl", label, "again.safetensors", arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let read = |name: &str| std::fs::read(world.path(name)).unwrap();
        assert!(read("again.safetensors") == read("kept.safetensors"), "keep = {keep}");
    }

    // Kept too late: it is said, and how to get them.
    let late = world.train(&["--set", "checkpoint.keep=\"last\""]);
    let expected = "note: 2 finished trials have no weights, from before [checkpoint] keep was set: `clr-run export ";
    assert!(late.stderr.contains(expected), "{late:?}");
    assert!(!world.train(&["--set", "checkpoint.keep=\"last\"", "--outputs", "last"]).stderr.contains("weights"));
}

#[test]
fn weights_of_other_numerics_or_of_other_rows_are_refused() {
    let world = World::new(BOWL);
    world.train(&[]);
    let whole = manifest(&world);
    let export = || {
        let fixed = ["export", "outputs/bowl", "--trial", "triangular sgd seed=1", "--out", "w.npz", "--format", "npz"];
        world.run(&[&fixed[..], &["--data", "data"]].concat())
    };
    let mut other = whole.clone();
    for (_, trial) in other["trials"].as_object_mut().unwrap() {
        trial["numerics"] = "quadratic/0 gpu".into();
    }
    write_manifest(&world, &other);
    let ran = export();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let expected = "cannot be trained again to its weights: its rows are of quadratic/0 gpu, and this is quadratic/";
    assert!(ran.stderr.contains(expected), "{ran:?}");

    // One value is another, behind every digest.
    write_manifest(&world, &whole);
    let metrics = only_file(&world, "metrics");
    rewrite(&world, &metrics, |rows| altered(rows, "loss", 3));
    let ran = export();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("does not come out as it is stored, so its weights are lost: "), "{ran:?}");
    assert!(!world.path("w.npz").exists());
}

#[test]
fn rows_are_written_as_text() {
    let world = World::new(BOWL);
    world.train(&[]);
    for (label, rows) in [("triangular sgd seed=1", 30), ("hot gd seed=1", 0)] {
        let ran = world.run(&["export", "outputs/bowl", "--trial", label, "--format", "csv", "--out", "rows.csv"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let text = std::fs::read_to_string(world.path("rows.csv")).unwrap();
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        assert_eq!((names[0], names.contains(&"lr"), names.contains(&"loss")), ("iteration", true, true), "{names:?}");
        let (loss, lines) = (names.iter().position(|name| *name == "loss").unwrap(), lines.collect::<Vec<_>>());
        assert!(ran.stdout.contains(&format!("{} of `{label}` in rows.csv", counted(lines.len()))), "{ran:?}");
        assert!(lines.len() == rows || rows == 0 && (1..30).contains(&lines.len()), "{text}");
        assert!(lines.iter().enumerate().all(|(row, line)| line[0] == row.to_string() && line.len() == names.len()));
        // The last row of a trial that diverged may have no loss.
        let losses = lines[..lines.len() - 1].iter().map(|line| line[loss].parse::<f32>());
        assert!(losses.into_iter().all(|loss| loss.is_ok_and(f32::is_finite)), "{text}");
    }
}

fn counted(rows: usize) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// The evaluations too, with the rates in force, and quotes where a label has commas.
#[test]
fn the_rows_of_all_trials_are_written_as_one_csv() {
    let spec = BOWL.replace(
        "[policies.hot]\nkind       = \"fixed\"\nbase_lr    = 1e6",
        "[policies.\"hot, \\\"very\\\"\"]\nkind       = \"fixed\"\nbase_lr    = 1e6",
    );
    assert!(spec != BOWL);
    let world = World::new(&spec);
    world.train(&[]);
    for (rows, table) in [("metrics", "outputs/bowl/metrics"), ("evals", "outputs/bowl/evals")] {
        let ran = world.run(&["export", "outputs/bowl", "--format", "csv", "--rows", rows]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let stored = read(&world.path(table));
        assert_eq!(ran.stdout, format!("{} rows of 3 trials in bowl-{rows}.csv\n", stored.len()));
        let text = std::fs::read_to_string(world.path(&format!("bowl-{rows}.csv"))).unwrap();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(names[..6], ["trial", "label", "status", "policy", "optimizer", "seed"]);
        assert!(names.contains(&"lr") && names.contains(&"momentum"), "{names:?}");
        for (line, row) in lines.zip(&stored) {
            let line = line.replace(r#""hot, ""very"" gd seed=1""#, "hot gd").replace(r#""hot, ""very""""#, "hot");
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), names.len(), "{line}");
            for (name, value) in row.iter().filter(|(name, _)| *name != "policy") {
                let text = cells[names.iter().position(|known| known == name).unwrap()];
                let expected = match value {
                    Cell::Null => String::new(),
                    Cell::Text(text) => text.clone(),
                    Cell::Integer(integer) => integer.to_string(),
                    Cell::Boolean(boolean) => boolean.to_string(),
                    Cell::F32(bits) => format!("{:?}", f32::from_bits(*bits)),
                    Cell::F64(bits) => format!("{:?}", f64::from_bits(*bits)),
                };
                assert_eq!(text, expected, "{name} of {line}");
            }
        }
    }
}

/// Rows of the CSV file that is exported of all trials, by the names of its columns.
fn csv_rows(world: &World, rows: &str) -> Vec<BTreeMap<String, String>> {
    let ran = world.run(&["export", "outputs/bowl", "--format", "csv", "--rows", rows, "--out", "rows.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(world.path("rows.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines.map(|line| header.iter().cloned().zip(line).collect()).collect()
}

#[test]
fn lines_of_json_have_the_rows_of_the_tables() {
    let world = World::new(BOWL);
    world.train(&[]);
    for rows in ["metrics", "evals"] {
        let ran = world.run(&["export", "outputs/bowl", "--format", "jsonl", "--rows", rows]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let text = std::fs::read_to_string(world.path(&format!("bowl-{rows}.jsonl"))).unwrap();
        let expected = csv_rows(&world, rows);
        assert!(
            ran.stdout.starts_with(&format!("{} rows of 3 trials in bowl-{rows}.jsonl", expected.len())),
            "{ran:?}"
        );
        assert_eq!(text.lines().count(), expected.len());
        for (line, expected) in text.lines().zip(&expected) {
            let object: serde_json::Map<String, Json> = serde_json::from_str(line).unwrap();
            assert_eq!(object.len(), expected.len(), "{line}");
            for (name, value) in object {
                let expected = &expected[&name];
                match value {
                    Json::Null => assert_eq!(expected, "", "{name}"),
                    Json::Number(number) => assert_eq!(number.as_f64(), expected.parse().ok(), "{name}"),
                    Json::Bool(flag) => assert_eq!(flag.to_string(), *expected, "{name}"),
                    other => assert_eq!(other.as_str(), Some(expected.as_str()), "{name}"),
                }
            }
        }
    }
    let one =
        world.run(&["export", "outputs/bowl", "--format", "jsonl", "--trial", "triangular gd seed=1", "--out", "one"]);
    assert!(one.stdout.contains("30 rows of 1 trial in one"), "{one:?}");
}

/// Prints every scalar that TensorBoard's own reader finds below a folder: run, tag, step, value.
const EVENTS: &str = r#"
import sys
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
for run in sorted(Path(sys.argv[1]).iterdir()):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    for tag in sorted(events.Tags()["scalars"]):
        for event in events.Scalars(tag):
            print(run.name, tag, event.step, event.value)
"#;

#[test]
fn tensorboard_reads_the_rows_of_every_trial() {
    let world = World::new(BOWL);
    world.train(&[]);
    let ran = world.run(&["export", "outputs/bowl", "--format", "tensorboard"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let names: Vec<String> =
        ["hot_gd_seed=1", "triangular_gd_seed=1", "triangular_sgd_seed=1"].map(str::to_owned).into();
    let mut found: Vec<String> = std::fs::read_dir(world.path("bowl-tensorboard"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);

    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    if !Command::new(&python).args(["-c", "import tensorboard"]).output().is_ok_and(|it| it.status.success()) {
        eprintln!("SKIPPED: {python:?} lacks tensorboard; CLR_PYTHON names another Python");
        return;
    }
    let read = |folder: &str| -> BTreeMap<(String, String, u64), f32> {
        let output = Command::new(&python).args(["-c", EVENTS]).arg(world.path(folder)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let scalar = |line: &str| {
            let [run, tag, step, value] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            ((str::to_owned(run), str::to_owned(tag), step.parse().unwrap()), value.parse().unwrap())
        };
        text.lines().map(scalar).collect()
    };
    let events = read("bowl-tensorboard");
    let mut expected: BTreeMap<(String, String, u64), f32> = BTreeMap::new();
    for (rows, columns) in [("metrics", &["loss", "lr", "momentum"][..]), ("evals", &["loss", "accuracy"])] {
        for row in csv_rows(&world, rows) {
            for column in columns {
                let group = match (rows, *column) {
                    ("evals", _) => row["split"].as_str(),
                    (_, "loss") => "train",
                    _ => "hyper",
                };
                let is_nan = row[*column].is_empty() && group != "hyper";
                let value =
                    if is_nan { Some(f32::NAN) } else { row[*column].parse::<f64>().ok().map(|value| value as f32) };
                let key =
                    (row["label"].replace(' ', "_"), format!("{group}/{column}"), row["iteration"].parse().unwrap());
                expected.extend(value.map(|value| (key, value)));
            }
        }
    }
    assert!(expected.len() > 150, "{expected:?}");
    for (key, value) in &expected {
        let found = events.get(key).unwrap_or_else(|| panic!("{key:?} is missing"));
        assert!(found == value || (found.is_nan() && value.is_nan()), "{key:?}: {found} instead of {value}");
    }

    let thin = world.run(&["export", "outputs/bowl", "--format", "tensorboard", "--every", "10", "--out", "thin"]);
    assert_eq!(thin.code, Some(0), "{thin:?}");
    let steps = |events: &BTreeMap<(String, String, u64), f32>| -> Vec<u64> {
        let of = |key: &&(String, String, u64)| key.0 == names[1] && key.1 == "train/loss";
        events.keys().filter(of).map(|key| key.2).collect()
    };
    assert_eq!(steps(&read("thin")), [0, 10, 20]);
    assert_eq!(steps(&events), (0..30).collect::<Vec<u64>>());
}
