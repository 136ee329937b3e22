//! The folders of the tables, each replaced as a whole: whoever reads `metrics/*.parquet` sees the rows of before or those of
//! after, and none twice. So it is with `failed/*.parquet`, which goes first: a trial that failed and has finished since is in
//! neither for an instant, and never in both.
//!
//! New files are written to a folder beside, `.metrics.new`. The manifest changes over to them, and then the two folders
//! change places in one operation. Where the file system has no such operation, the old one is moved away first, so that for
//! an instant there is nothing; where it moves no folders (the lower layer of an overlay), files are deleted, then moved.
//! What a kill leaves in between is finished by the next command ([`settle`]); until then readers of this program look beside
//! too ([`locate`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::files::{self, Way};
use super::manifest::Manifest;
use crate::files::set_aside;
use crate::names::{FAILED, is_ours};

/// The folders that are replaced, in this order.
pub const TABLES: [&str; 3] = [FAILED, "metrics", "evals"];

/// The folders beside them, while they are replaced.
pub const FOLDERS: [&str; 6] =
    [".failed.new", ".failed.old", ".metrics.new", ".metrics.old", ".evals.new", ".evals.old"];

/// The folder in which a table is made anew.
fn new(table: &str) -> String {
    format!(".{table}.new")
}

/// The folder to which the old one goes where the two cannot change places.
fn old(table: &str) -> String {
    format!(".{table}.old")
}

/// The folder of a table's new files.
pub fn directory(folder: &Path, table: &str) -> PathBuf {
    folder.join(new(table))
}

/// Makes these folders; that of failed trials only where there is one to replace, or a trial `has_failed`.
pub fn prepare(folder: &Path, has_failed: bool) -> Result<Vec<PathBuf>, StoreError> {
    let needed = TABLES.into_iter().filter(|table| *table != FAILED || has_failed || folder.join(FAILED).exists());
    let prepare = |table: &str| {
        let path = directory(folder, table);
        files::create_directory(&path)?;
        // As the user set them, who may share the folder with others.
        if let Ok(metadata) = fs::metadata(folder.join(table)) {
            let _ = fs::set_permissions(&path, metadata.permissions());
        }
        Ok(path)
    };
    needed.map(prepare).collect()
}

/// The path of a new file: beside the old ones of its table.
pub fn place(folder: &Path, file: &str) -> PathBuf {
    match of_table(file) {
        Some((table, name)) => folder.join(new(table)).join(name),
        None => folder.join(file),
    }
}

/// The path of a file that the manifest lists: in its folder, or beside it where a command was killed before they changed places.
pub fn locate(folder: &Path, file: &str) -> PathBuf {
    let path = folder.join(file);
    let Some((table, name)) = of_table(file).filter(|_| !path.exists()) else { return path };
    let beside = [new(table), old(table)].map(|directory| folder.join(directory).join(name));
    beside.into_iter().find(|path| path.exists()).unwrap_or(path)
}

/// The table and the name of one of its files.
fn of_table(file: &str) -> Option<(&str, &str)> {
    file.split_once('/').filter(|(directory, _)| TABLES.contains(directory))
}

/// True if no command was killed while it replaced a table.
pub fn is_settled(folder: &Path) -> bool {
    !FOLDERS.iter().any(|name| fs::symlink_metadata(folder.join(name)).is_ok())
}

/// Puts the new files of all tables, of which the manifest on the disk speaks, in the place of the old ones.
pub fn replace(folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for table in TABLES.into_iter().filter(|table| directory(folder, table).exists()) {
        swap(folder, manifest, &new(table), table)?;
        files::sync_directory(folder)?;
        clear(folder, manifest, table)?;
    }
    Ok(())
}

/// Finishes what a killed command began: the manifest says which files are to be in the tables' folders.
pub fn settle(folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let listed = |table: &str, directory: &str| {
        let listed = manifest.files.keys().filter_map(|file| of_table(file)).filter(|(name, _)| *name == table);
        listed.filter(|(_, file)| folder.join(directory).join(file).exists()).count()
    };
    let is_better = |table: &str, beside: &str| listed(table, beside) > listed(table, table);
    let has_changed_over = TABLES.iter().any(|table| is_better(table, &new(table)));
    for table in TABLES {
        // Of a table that has no rows any more, the manifest lists no file.
        let is_emptied =
            has_changed_over && !manifest.files.keys().any(|file| of_table(file).is_some_and(|it| it.0 == table));
        for beside in [new(table), old(table)] {
            let is_emptied = is_emptied && beside == new(table);
            if folder.join(&beside).is_dir() && (is_better(table, &beside) || is_emptied) {
                swap(folder, manifest, &beside, table)?;
                files::sync_directory(folder)?;
            }
        }
        clear(folder, manifest, table)?;
    }
    Ok(())
}

/// Puts the folder `beside` in the place of a table's.
fn swap(folder: &Path, manifest: &Manifest, beside: &str, table: &str) -> Result<(), StoreError> {
    let [from, to, away] = [beside, table, &old(table)].map(|name| folder.join(name));
    if !to.exists() {
        return files::move_to(&from, &to);
    }
    let way = files::best_way();
    if way == Way::Exchange && files::exchange(&from, &to)? {
        return Ok(());
    }
    if way != Way::OneByOne && from != away && moves(&to, &away)? {
        return files::move_to(&from, &to);
    }
    // First what is no longer to be there, so that no row is there twice.
    for name in files::names(&to)? {
        let path = format!("{table}/{name}");
        if is_ours(&path) && !manifest.files.contains_key(&path) {
            files::remove(to.join(name))?;
        }
    }
    files::names(&from)?.into_iter().try_for_each(|name| files::move_to(&from.join(&name), &to.join(&name)))
}

/// Moves a folder, if the file system can.
fn moves(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match files::move_to(from, to) {
        Ok(()) => Ok(true),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes what is left beside a table. What a user put into its folder goes back there.
fn clear(folder: &Path, manifest: &Manifest, table: &str) -> Result<(), StoreError> {
    for beside in [new(table), old(table)] {
        let directory = folder.join(&beside);
        if !directory.is_dir() {
            continue;
        }
        for name in files::names(&directory)? {
            let path = format!("{table}/{name}");
            let is_free = !folder.join(&path).exists();
            let is_ours = is_ours(&path) || (name.starts_with('.') && name.ends_with(files::TEMPORARY_SUFFIX));
            match (is_ours && !(is_free && manifest.files.contains_key(&path)), is_free) {
                (true, _) => files::remove(directory.join(&name))?,
                (false, true) => files::move_to(&directory.join(&name), &folder.join(&path))?,
                (false, false) => drop(set_aside(folder, &format!("{beside}/{name}"))?),
            }
        }
        files::remove_directory(&directory)?;
    }
    Ok(())
}
