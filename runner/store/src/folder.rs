//! The output folder: its name, and which of its files are ours to delete.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::StoreError;
use super::files::{self, set_aside};
use super::manifest::{BACKUP, Manifest, NAME};
use super::names::{ASIDE, CHECKPOINTS, FAILED, PLAN, SPEC, TABLES, is_checkpoint, is_of_recipe, is_ours};
use super::swap;
use super::unsound::Damage;
use crate::journal;

/// The folders of an output.
const FOLDERS: [&str; 6] = ["parts", "metrics", "evals", FAILED, CHECKPOINTS, TABLES];

/// The files of an output that are in none of its folders.
const FILES: [&str; 8] =
    [SPEC, PLAN, NAME, BACKUP, "trials.parquet", "timings.parquet", journal::EVENTS, journal::HEARTBEAT];

/// Drops files from the manifest that hold no trial's rows or state, such as parts of trials that were cut off.
pub fn forget_unused(manifest: &mut Manifest) {
    let mut used: BTreeSet<String> = manifest.used_files().into_iter().map(str::to_owned).collect();
    let ids = manifest.trials.keys().chain(manifest.unfinished.keys());
    used.extend(ids.flat_map(|id| manifest.checkpoints_of(*id)));
    // What is not in a folder is `trials.parquet`, `timings.parquet` and the recipe.
    manifest.files.retain(|name, _| used.contains(name) || !name.contains('/') || is_of_recipe(name));
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
            let is_unlisted = (is_ours(&path) || is_checkpoint(&path)) && !manifest.files.contains_key(&path);
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

/// The experiment's name, if it can be a folder in the outputs.
pub fn folder_name(name: &str) -> Result<&str, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(StoreError::Name { name: name.to_owned() }),
    }
}
