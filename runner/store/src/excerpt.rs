//! An excerpt of an output: all but its rows of metrics, for whoever keeps results beside a spec or gives them away.
//!
//! It is an output itself. Its manifest still lists the files that were left out, with their digests, so that every reader
//! knows what is missing on purpose; `clr-run verify` trains again and compares the evaluations. Where the output lay, and
//! where its data, is not told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clr_system::regular;

use super::StoreError;
use super::files::{self, FileEntry};
use super::kept::load;
use super::manifest::{Manifest, NAME};
use super::names::{PLAN, SPEC, is_of_recipe, is_summary};
use super::swap;

/// Longer than any file of an excerpt that this program writes.
const LARGEST_FILE: u64 = 1 << 30;

/// The content of an excerpt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Trials that are over, with their evaluations.
    pub trials: usize,
    pub evaluations: u64,
    /// Bytes of its files, the manifest apart.
    pub bytes: u64,
    /// Bytes of the files that were left out.
    pub left_out: u64,
}

/// Writes the excerpt of the output `folder` to the folder `into`, which is new or holds an earlier excerpt. Trials that are
/// not over are left out too, and so are failed ones.
///
/// # Errors
///
/// Where there is no output, its run is going on or was cut off, a file is damaged, or `into` holds something else.
pub fn excerpt(folder: &Path, into: &Path) -> Result<Excerpt, StoreError> {
    let mut manifest = load(folder)?;
    let obstacle = match () {
        () if manifest.is_excerpt() => Some("it is one already"),
        () if manifest.runs.last().is_none_or(|run| run.ended.is_none()) => {
            Some("its run is going on or was cut off; run the same command again, which ends it")
        }
        () if !manifest.trials.values().any(|record| record.status.is_done()) => Some("no trial is finished yet"),
        () => None,
    };
    if let Some(why) = obstacle {
        return Err(StoreError::NoExcerpt { folder: folder.to_owned(), why });
    }
    let old = earlier(into)?;
    restrict(&mut manifest);
    for name in [SPEC, PLAN] {
        // Earlier versions did not list them.
        if !manifest.files.contains_key(name) {
            let entry = FileEntry::of(&read(&folder.join(name))?);
            manifest.files.insert(name.to_owned(), entry);
        }
    }
    let mut found = Excerpt { trials: manifest.trials.len(), ..Excerpt::default() };
    for (name, entry) in &manifest.files {
        if entry.left_out {
            found.left_out += entry.bytes;
            continue;
        }
        let path = swap::locate(folder, name);
        let bytes = read(&path)?;
        if blake3::hash(&bytes).to_hex().as_str() != entry.blake3 {
            return Err(StoreError::Corrupt { path, what: "its digest is not the manifest's".to_owned() });
        }
        let target = into.join(name);
        files::create_directory(target.parent().unwrap_or(into))?;
        files::write_atomically(&target, &bytes)?;
        found.bytes += entry.bytes;
    }
    found.evaluations = manifest.trials.values().flat_map(|record| &record.evals).map(|segment| segment.2).sum();
    manifest.save(into)?;
    manifest.back_up(into)?;
    for name in old.difference(&manifest.files.keys().cloned().collect()) {
        files::remove(into.join(name))?;
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    regular::read(path, LARGEST_FILE).map_err(|source| StoreError::io("read", path, source))
}

/// Restricts a manifest to what an excerpt holds or knows of.
fn restrict(manifest: &mut Manifest) {
    manifest.unfinished.clear();
    manifest.trials.retain(|_, record| record.status.is_done());
    for record in manifest.trials.values_mut() {
        (record.checkpoint, record.cycles) = (None, Box::default());
    }
    let metrics: BTreeSet<String> =
        manifest.trials.values().flat_map(|record| &record.metrics).map(|segment| segment.0.to_string()).collect();
    let evals: BTreeSet<String> =
        manifest.trials.values().flat_map(|record| &record.evals).map(|segment| segment.0.to_string()).collect();
    manifest.files.retain(|name, entry: &mut FileEntry| {
        entry.left_out = metrics.contains(name);
        entry.left_out || evals.contains(name) || is_of_recipe(name) || is_summary(name)
    });
    for run in &mut manifest.runs {
        (run.info.directory, run.info.spec_folder, run.info.data) = (String::new(), PathBuf::new(), Vec::new());
    }
}

/// The files of the excerpt that `into` holds: none where it is new.
fn earlier(into: &Path) -> Result<BTreeSet<String>, StoreError> {
    let occupied = |found: String| StoreError::Occupied { folder: into.to_owned(), found };
    match Manifest::load(into)? {
        Some(manifest) if manifest.is_excerpt() => {
            Ok(manifest.files.into_iter().filter(|(_, entry)| !entry.left_out).map(|(name, _)| name).collect())
        }
        Some(_) => Err(occupied(NAME.to_owned())),
        None => match fs::read_dir(into).ok().and_then(|mut entries| entries.next()?.ok()) {
            Some(entry) => Err(occupied(entry.file_name().to_string_lossy().into_owned())),
            None => Ok(BTreeSet::new()),
        },
    }
}
