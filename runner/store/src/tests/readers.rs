//! pandas, polars and DuckDB read the tables as they are.

use std::path::PathBuf;
use std::process::Command;

use super::*;

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
