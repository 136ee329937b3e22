//! Readers of an output: ours, and pandas, polars and DuckDB, which read the tables as they are.

use std::path::PathBuf;
use std::process::Command;

use clr_host::Split;

use super::*;
use crate::{Status, reader};

/// Runs `read_tables.py`, which computes mean test accuracy by policy and optimizer with each library, on a
/// spec that was widened by an axis after its first run.
#[test]
fn pandas_polars_and_duckdb_agree() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    let has_libraries = Command::new(&python).args(["-c", "import pandas, pyarrow, polars, duckdb"]).output();
    if !has_libraries.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python:?} lacks pandas, pyarrow, polars or duckdb; CLR_PYTHON names another Python");
        return;
    }
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &GRID.plan(), SMALL);
    let wide = Grid { policies: &["triangular", "explode", "welch"], max_lrs: &[0.1, 0.2], ..GRID }.plan();
    let summary = run(outputs.path(), &wide, SMALL);

    let output = Command::new(&python)
        .arg(root.join("src/tests/read_tables.py"))
        .arg(outputs.path().join("example"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut means: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for result in summary.results() {
        let words: Vec<&str> = wide.trials[result.trial].label.split(' ').take(2).collect();
        means.entry(words.join(" ")).or_default().extend(result.numbers.final_test_accuracy.map(f64::from));
    }
    let expected: String = means
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name} {:.4}\n", values.iter().sum::<f64>() / values.len() as f64))
        .collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn a_reader_sees_every_trial_with_its_results_and_evaluations_while_a_command_holds_the_output() {
    let outputs = tempfile::tempdir().unwrap();
    let summary = run(outputs.path(), &GRID.plan(), SMALL);
    let wide = Grid { seeds: &[1, 2, 3], ..GRID }.plan();
    let mut store = open(outputs.path(), &wide, SMALL);
    let next = unfinished(&store)[0];
    record(&mut store, &events(&wide, next, 5)[..2]);

    let folder = outputs.path().join("example");
    let output = reader::read(&folder).unwrap();
    assert_eq!((output.axes.len(), output.trials.len()), (wide.axes.len(), 12));
    assert!(output.unreadable.is_empty());
    assert_eq!(reader::settings(&folder).unwrap().len(), 12);
    for (planned, trial) in wide.trials.iter().zip(&output.trials) {
        assert_eq!((planned.id, &planned.axes[..]), (trial.id, &trial.axes[..]));
        assert_eq!((planned.init_seed, planned.data_seed), (trial.init_seed, trial.data_seed));
        let evaluations = trial.evaluations.as_ref().unwrap();
        let narrow = GRID.plan();
        let Some(before) = narrow.trials.iter().position(|known| known.id == planned.id) else {
            assert_eq!((trial.status, evaluations.len()), (Status::Unfinished, 0));
            continue;
        };
        let result = result(&summary, before);
        assert_eq!((trial.status, &trial.numbers), (result.status, result.numbers));
        let last = evaluations.iter().rfind(|it| it.split == Split::Test && it.iteration == planned.iterations);
        assert_eq!(last.map(|it| it.accuracy), result.numbers.final_test_accuracy, "{}", planned.label);
    }
}

#[test]
fn a_reader_has_the_results_of_trials_whose_evaluations_are_damaged() {
    let outputs = tempfile::tempdir().unwrap();
    let summary = run(outputs.path(), &GRID.plan(), SMALL);
    let folder = outputs.path().join("example");
    let name = super::super::files::names(&folder.join("evals")).unwrap().remove(0);
    let mut bytes = fs::read(folder.join("evals").join(&name)).unwrap();
    bytes[20] ^= 1;
    fs::write(folder.join("evals").join(&name), bytes).unwrap();
    let output = reader::read(&folder).unwrap();
    assert_eq!(output.unreadable.keys().collect::<Vec<_>>(), [&format!("evals/{name}")]);
    let lost = output.trials.iter().filter(|trial| trial.evaluations.is_none()).count();
    assert!((1..output.trials.len()).contains(&lost), "those of one file of several: {lost}");
    assert!(output.trials.iter().zip(summary.results()).all(|(trial, result)| trial.numbers == *result.numbers));
}
