//! What the tests of this folder have in common: a run that was disturbed, and what must be true of it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

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
    for folder in ["", "parts", "metrics", "evals"] {
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
