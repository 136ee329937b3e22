//! The state that an output holds of a trial, for a reader: no lock is taken, and nothing is written.

use std::io::Write;
use std::path::{Path, PathBuf};

use clr_event::checkpoint::Checkpoint;
use clr_plan::{Names, TrialId, names};
use clr_system::regular;

use super::manifest::Manifest;
use super::{Status, StoreError, files, saved};

/// A trial's kept state.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub id: TrialId,
    /// The first digits of its id, as many as tell the trials of the output apart.
    pub handle: String,
    /// As in the spec that ran it.
    pub label: String,
    /// How far it got.
    pub status: Status,
    /// The iteration at which its accuracy was highest.
    pub best_iteration: Option<u64>,
    /// The state that was kept, or the last one of a trial that is not over; none where there is none.
    pub checkpoint: Option<Checkpoint>,
}

/// The kept state of a trial in `folder`, by its label, its id or the beginning of its id, or of the only trial.
pub fn kept(folder: &Path, trial: Option<&str>) -> Result<Kept, StoreError> {
    let manifest = load(folder)?;
    let (id, label) = find(folder, &manifest, trial)?;
    let record = manifest.trials.get(&id);
    let of_finished = record.and_then(|record| record.checkpoint.as_deref());
    let of_unfinished = || manifest.unfinished.get(&id).map(|record| record.checkpoint.as_str());
    let checkpoint = match of_finished.or_else(of_unfinished) {
        Some(path) => Some(saved::read(folder, &manifest, path, id)?.0),
        None => None,
    };
    let names = Names::new(&[], manifest.trials.keys().map(|id| (id, &[][..])));
    Ok(Kept {
        id,
        handle: names.handle(id),
        label: label.to_owned(),
        status: record.map_or(Status::Unfinished, |record| record.status),
        best_iteration: record.and_then(|record| record.numbers.best_iteration),
        checkpoint,
    })
}

pub(super) fn load(folder: &Path) -> Result<Manifest, StoreError> {
    Manifest::load(folder)?.ok_or_else(|| StoreError::NoOutput { folder: folder.to_owned() })
}

/// The states at the ends of cycles that an output holds, for a reader.
#[derive(Debug)]
pub struct Snapshots {
    folder: PathBuf,
    manifest: Manifest,
}

impl Snapshots {
    /// Those of the output `folder`.
    pub fn open(folder: &Path) -> Result<Snapshots, StoreError> {
        Ok(Snapshots { folder: folder.to_owned(), manifest: load(folder)? })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True if there are any of a trial.
    pub fn has(&self, id: TrialId) -> bool {
        !self.cycles(id).is_empty()
    }

    /// Reads the last states of a trial, `most` at most, in the order of training.
    pub fn read(&self, id: TrialId, most: usize) -> Result<Vec<Checkpoint>, StoreError> {
        let cycles = self.cycles(id);
        let last = &cycles[cycles.len().saturating_sub(most)..];
        last.iter().map(|(path, _)| Ok(saved::read(&self.folder, &self.manifest, path, id)?.0)).collect()
    }

    fn cycles(&self, id: TrialId) -> &[(String, u64)] {
        self.manifest.trials.get(&id).map(|record| &*record.cycles).unwrap_or_default()
    }
}

/// The id and the label of the one trial that is meant.
pub(super) fn find<'m>(
    folder: &Path,
    manifest: &'m Manifest,
    trial: Option<&str>,
) -> Result<(TrialId, &'m str), StoreError> {
    let trials: Vec<(TrialId, &str)> = manifest.trials.iter().map(|(id, record)| (*id, &*record.label)).collect();
    let found = match trial {
        Some(trial) => names::find(trial, trials.iter().copied()),
        None => names::only(trials.iter().copied()),
    };
    found.map(|place| trials[place]).map_err(|why| StoreError::Trial { folder: folder.to_owned(), why })
}

/// The id of the one trial that is meant; none where all are.
pub(super) fn wanted(folder: &Path, manifest: &Manifest, trial: Option<&str>) -> Result<Option<TrialId>, StoreError> {
    trial.map(|_| Ok(find(folder, manifest, trial)?.0)).transpose()
}

/// Writes `bytes` to a file of the user's choice, all at once.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let stream = regular::stream_given(path).map_err(|source| StoreError::io("write", path, source))?;
    match stream {
        Some(mut stream) => stream.write_all(bytes).map_err(|source| StoreError::io("write", path, source)),
        None => files::write_atomically(path, bytes),
    }
}
