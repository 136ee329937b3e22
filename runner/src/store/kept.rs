//! The state that an output holds of a trial, for a reader: no lock is taken, and nothing is written.

use std::path::Path;

use super::manifest::Manifest;
use super::{StoreError, files, saved};
use crate::checkpoint::Checkpoint;
use crate::plan::{TrialId, names};

/// A trial's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// As in the spec that ran it.
    pub label: String,
    /// The kept one, or of a trial that is not over the last.
    pub checkpoint: Checkpoint,
}

/// The state that `folder` holds of a trial, by its id, the beginning of its id, or its label.
pub fn kept(folder: &Path, trial: &str) -> Result<Kept, StoreError> {
    let Some(manifest) = Manifest::load(folder)? else {
        return Err(StoreError::NoOutput { folder: folder.to_owned() });
    };
    let (id, label) = find(folder, &manifest, trial)?;
    let of_finished = manifest.trials.get(&id).and_then(|record| record.checkpoint.as_deref());
    let of_unfinished = || manifest.unfinished.get(&id).map(|record| record.checkpoint.as_str());
    let Some(path) = of_finished.or_else(of_unfinished) else {
        return Err(StoreError::NothingKept { label: label.to_owned() });
    };
    let (checkpoint, _) = saved::read(folder, &manifest, path, id)?;
    Ok(Kept { label: label.to_owned(), checkpoint })
}

/// The id and the label of the one trial that is meant.
pub(super) fn find<'m>(folder: &Path, manifest: &'m Manifest, trial: &str) -> Result<(TrialId, &'m str), StoreError> {
    let trials: Vec<(TrialId, &str)> = manifest.trials.iter().map(|(id, record)| (*id, &*record.label)).collect();
    let found = names::find(trial, trials.iter().copied());
    found.map(|place| trials[place]).map_err(|why| StoreError::Trial { folder: folder.to_owned(), why })
}

/// Writes `bytes` to a file of the user's choice, all at once.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    files::write_atomically(path, bytes)
}
