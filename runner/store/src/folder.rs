//! The output folder: its name, and which of its files are ours to delete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use super::manifest::{BACKUP, Manifest, NAME};
use super::schema::FAILED;
use super::{StoreError, files, saved, swap};
use crate::journal;

pub const SPEC: &str = "spec.toml";

/// The plan that the spec resolved to.
pub const PLAN: &str = "plan.json";

/// The folder of the files of `table` schedules.
pub const TABLES: &str = "tables";

/// The folder of what is damaged.
pub const ASIDE: &str = "damaged";

/// The folders of an output.
const FOLDERS: [&str; 6] = ["parts", "metrics", "evals", FAILED, saved::DIRECTORY, TABLES];

/// The files of an output that are in none of its folders.
const FILES: [&str; 8] =
    [SPEC, PLAN, NAME, BACKUP, "trials.parquet", "timings.parquet", journal::EVENTS, journal::HEARTBEAT];

/// A file of an output that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its path in the folder.
    pub file: String,
    /// The damage, as in "it is missing".
    pub what: String,
}

impl Damage {
    /// True if rows or a state are lost with it. All else can be made from the manifest and the spec.
    pub fn costs_rows(&self) -> bool {
        self.file.contains('/') && !is_of_recipe(&self.file)
    }
}

/// Drops files from the manifest that hold no trial's rows or state, such as parts of trials that were cut off.
pub fn forget_unused(manifest: &mut Manifest) {
    let mut used: BTreeSet<String> = manifest.used_files().into_iter().map(str::to_owned).collect();
    let ids = manifest.trials.keys().chain(manifest.unfinished.keys());
    used.extend(ids.flat_map(|id| manifest.checkpoints_of(*id)));
    // What is not in a folder is `trials.parquet`, `timings.parquet` and the recipe.
    manifest.files.retain(|name, _| used.contains(name) || !name.contains('/') || is_of_recipe(name));
}

/// True if a file is of what was asked or what it resolved to: each command writes all of them.
pub fn is_of_recipe(file: &str) -> bool {
    file == SPEC || file == PLAN || file.strip_prefix(TABLES).is_some_and(|rest| rest.starts_with('/'))
}

/// Deletes files of ours that the manifest does not list: what a crash left, and what was replaced. Of the tables' folders only
/// what has no name yet, where `keeps_tables`: what else is there are rows that readers see until they are replaced by those of a
/// trial that was trained again.
pub fn delete_unlisted(folder: &Path, manifest: &Manifest, keeps_tables: bool) -> Result<(), StoreError> {
    for directory in [""].into_iter().chain(FOLDERS) {
        if !folder.join(directory).exists() {
            continue;
        }
        for name in files::names(&folder.join(directory))? {
            let path = format!("{directory}/{name}");
            let temporary = name.starts_with('.') && name.ends_with(files::TEMPORARY_SUFFIX);
            let is_kept = keeps_tables && swap::TABLES.contains(&directory);
            let is_unlisted = (is_ours(&path) || saved::is_path(&path)) && !manifest.files.contains_key(&path);
            if temporary || (is_unlisted && !is_kept) {
                let place = folder.join(directory).join(name);
                // Nobody makes a folder of such a name by chance, but what is in it is not ours.
                match place.is_dir() {
                    true => drop(set_aside(folder, path.trim_start_matches('/'))?),
                    false => files::remove(place)?,
                }
            }
        }
    }
    Ok(())
}

/// Moves a file, or whatever has its place, to the folder of what is damaged. Returns whether there was something.
pub fn set_aside(folder: &Path, path: &str) -> Result<bool, StoreError> {
    let from = folder.join(path);
    if fs::symlink_metadata(&from).is_err() {
        return Ok(false);
    }
    files::create_directory(&folder.join(ASIDE))?;
    let name = path.replace('/', "-");
    let free = |name: &String| fs::symlink_metadata(folder.join(ASIDE).join(name)).is_err();
    let numbered = (2u32..).map(|number| format!("{name}-{number}"));
    let Some(name) = std::iter::once(name.clone()).chain(numbered).find(free) else { return Ok(false) };
    files::move_to(&from, &folder.join(ASIDE).join(name))?;
    Ok(true)
}

/// Moves aside what lies where a file or a folder of the output is to be and is none, and says what that was.
pub fn set_intruders_aside(folder: &Path) -> Result<Vec<Damage>, StoreError> {
    let damage = |file: &str, what: &str| Damage { file: file.to_owned(), what: what.to_owned() };
    let files = FILES.iter().filter(|name| !folder.join(name).is_file()).map(|name| damage(name, "it is no file"));
    let folders = FOLDERS.iter().filter(|name| !folder.join(name).is_dir()).map(|name| damage(name, "it is no folder"));
    let mut intruders = Vec::new();
    for damage in files.chain(folders) {
        if set_aside(folder, &damage.file)? {
            intruders.push(damage);
        }
    }
    Ok(intruders)
}

/// Moves aside all results of an output. Returns whether there were any.
pub fn set_all_aside(folder: &Path) -> Result<bool, StoreError> {
    let reports = [journal::EVENTS, journal::HEARTBEAT];
    let mut any = false;
    for name in swap::FOLDERS.iter().chain(&FOLDERS).chain(FILES.iter().filter(|name| !reports.contains(name))) {
        any |= set_aside(folder, name)?;
    }
    Ok(any)
}

/// True if a folder without a manifest is an output of ours all the same.
pub fn is_output_without_manifest(folder: &Path) -> bool {
    let is_run = [journal::EVENTS, "parts", "metrics"].iter().any(|name| folder.join(name).exists());
    let is_set_aside = folder.join(ASIDE).is_dir() && !folder.join(PLAN).exists();
    is_set_aside || (is_run && [SPEC, PLAN].iter().all(|name| folder.join(name).exists()))
}

/// True if a path is that of a table of one row per trial, which each command that trains writes anew.
pub fn is_summary(path: &str) -> bool {
    ["trials.parquet", "timings.parquet"].contains(&path)
}

/// True if a path has the form of a part or of a compacted file. What a user put beside them is left alone.
pub fn is_ours(path: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let Some((directory, name)) = path.strip_suffix(".parquet").and_then(|path| path.split_once('/')) else {
        return false;
    };
    match (directory, name.split_once('-')) {
        ("parts", Some(("metrics" | "evals", number))) => digits(number, 10),
        ("metrics" | "evals", Some((index, digest))) => digits(index, 10) && digits(digest, 16),
        (FAILED, Some(("metrics" | "evals", rest))) => {
            rest.split_once('-').is_some_and(|(index, digest)| digits(index, 10) && digits(digest, 16))
        }
        _ => false,
    }
}

/// The experiment's name, if it can be a folder in the outputs.
pub fn folder_name(name: &str) -> Result<&str, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(StoreError::Name { name: name.to_owned() }),
    }
}
