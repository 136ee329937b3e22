//! Checkpoints in the output folder: `checkpoints/ID-STEP-DIGEST.safetensors`. Named by content, so that a new one never
//! takes the place of another that the manifest on the disk still speaks of.

use std::path::Path;

use clr_event::checkpoint::Checkpoint;
use clr_plan::TrialId;
use clr_system::regular;

use super::StoreError;
use super::files::{self, FileEntry};
use super::manifest::Manifest;
use super::names::{CHECKPOINTS, checkpoint_path};

/// Writes the file of a checkpoint, all at once, unless the manifest has it, and returns its path. The caller syncs the
/// directory.
pub fn write(
    folder: &Path,
    manifest: &mut Manifest,
    checkpoint: &Checkpoint,
    numerics: &str,
) -> Result<String, StoreError> {
    let directory = folder.join(CHECKPOINTS);
    let bytes = checkpoint.to_bytes(numerics).map_err(|source| StoreError::checkpoint(&directory, source))?;
    let entry = FileEntry::of(&bytes);
    let path = checkpoint_path(checkpoint.trial_id, checkpoint.step, &entry.blake3);
    if !manifest.files.contains_key(&path) {
        files::create_directory(&directory)?;
        files::write_whole(&folder.join(&path), &bytes)?;
        manifest.files.insert(path.clone(), entry);
    }
    Ok(path)
}

/// Reads a checkpoint and its numerics. The file must be the one that was written, of the trial `id`.
pub fn read(folder: &Path, manifest: &Manifest, path: &str, id: TrialId) -> Result<(Checkpoint, String), StoreError> {
    let file = folder.join(path);
    let most = manifest.files.get(path).map_or(0, |entry| entry.bytes);
    let bytes = regular::read(&file, most).map_err(|source| StoreError::io("read", &file, source))?;
    let corrupt = |what: String| StoreError::Corrupt { path: file.clone(), what };
    let expected = manifest.files.get(path).map(|entry| entry.blake3.as_str());
    if Some(blake3::hash(&bytes).to_hex().as_str()) != expected {
        return Err(corrupt("its digest is not the manifest's".to_owned()));
    }
    let (checkpoint, numerics) =
        Checkpoint::from_bytes(&bytes).map_err(|source| StoreError::checkpoint(&file, source))?;
    if checkpoint.trial_id != id {
        return Err(corrupt(format!("it is of trial {}", checkpoint.trial_id)));
    }
    Ok((checkpoint, numerics))
}
