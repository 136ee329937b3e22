//! The output folder: its name, and which of its files are ours to delete.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::manifest::Manifest;
use super::{StoreError, files, saved};

/// Drops files from the manifest that hold no trial's rows or state, such as parts of trials that were cut off.
pub(crate) fn forget_unused(manifest: &mut Manifest) {
    let mut used: BTreeSet<String> = manifest.used_files().into_iter().map(str::to_owned).collect();
    let ids = manifest.trials.keys().chain(manifest.unfinished.keys());
    used.extend(ids.flat_map(|id| manifest.checkpoints_of(*id)));
    // What is not in a folder is `trials.parquet` and `timings.parquet`.
    manifest.files.retain(|name, _| used.contains(name) || !name.contains('/'));
}

/// Deletes files of ours that the manifest does not list: what a crash left, and what was replaced.
pub(crate) fn delete_unlisted(folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for directory in ["", "parts", "metrics", "evals", saved::DIRECTORY] {
        if !folder.join(directory).exists() {
            continue;
        }
        for name in files::names(&folder.join(directory))? {
            let path = format!("{directory}/{name}");
            let temporary = name.starts_with('.') && name.ends_with(files::TEMPORARY_SUFFIX);
            if temporary || ((is_ours(&path) || saved::is_path(&path)) && !manifest.files.contains_key(&path)) {
                files::remove(folder.join(directory).join(name))?;
            }
        }
    }
    Ok(())
}

/// Whether a path has the form of a part or of a compacted file. What a user put beside them is left alone.
fn is_ours(path: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let Some((directory, name)) = path.strip_suffix(".parquet").and_then(|path| path.split_once('/')) else {
        return false;
    };
    match (directory, name.split_once('-')) {
        ("parts", Some(("metrics" | "evals", number))) => digits(number, 10),
        ("metrics" | "evals", Some((index, digest))) => digits(index, 10) && digits(digest, 16),
        _ => false,
    }
}

/// The experiment's name, if it can be a folder in the outputs.
pub(crate) fn folder_name(name: &str) -> Result<&str, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(StoreError::Name { name: name.to_owned() }),
    }
}
