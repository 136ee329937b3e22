//! What the tests of this folder have in common: a run that was disturbed, and what must be true of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::world::{Ran, World};

/// A run that could not write stops, says what went wrong and where, and does not panic.
#[track_caller]
pub fn check_stopped(ran: &Ran, folder: &Path, cause: &str) {
    assert!(matches!(ran.code, Some(1 | 2)), "{cause}: not stopped: {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    let errors: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one error: {ran:?}");
    let names_the_file = errors[0].contains(&folder.display().to_string());
    assert!(names_the_file && errors[0].contains(cause), "no `{cause}` in {}: {errors:?}", folder.display());
}

/// Whatever has the name of a table is one: a reader never sees part of a file.
#[track_caller]
pub fn check_tables_are_whole(output: &Path) {
    for folder in ["", "parts", "metrics", "evals", "failed"] {
        let Ok(files) = fs::read_dir(output.join(folder)) else { continue };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "parquet") {
                let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap());
                let rows: Result<Vec<_>, _> = reader.unwrap().build().unwrap().collect();
                assert!(rows.is_ok(), "{}: {rows:?}", path.display());
            }
        }
    }
}

/// (trial, iteration) of every row of `FOLDER/PREFIX*.parquet`, as a reader's glob finds them; `seen` has each once.
#[track_caller]
pub fn see_rows(output: &Path, directory: &str, prefix: &str, seen: &mut BTreeSet<(String, i64)>) {
    let files = fs::read_dir(output.join(directory)).into_iter().flatten().map(|file| file.unwrap().path());
    let is_seen = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(prefix) && !name.starts_with('.') && name.ends_with(".parquet")
    };
    for path in files.filter(is_seen) {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let trials = batch.column_by_name("trial").unwrap().as_dictionary::<Int32Type>();
            let names = trials.values().as_string::<i32>();
            let iterations = batch.column_by_name("iteration").unwrap().as_primitive::<Int64Type>();
            for (trial, iteration) in trials.keys().values().iter().zip(iterations.values()) {
                let row = (names.value(*trial as usize).to_owned(), *iteration);
                assert!(seen.insert(row.clone()), "{directory}: {row:?} is there twice");
            }
        }
    }
}

/// The same command once more, undisturbed, gives the bytes of `whole`.
#[track_caller]
pub fn check_completes(world: &World, arguments: &[&str], output: &str, whole: &World, disturbance: &str) {
    world.train(arguments);
    assert!(world.tables(output) == whole.tables("whole/bowl"), "{disturbance}: other bytes");
}

/// `command` as the last words of a shell's script, which are `exec "$@"`.
pub fn in_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{script}\nexec \"$@\""), "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}
