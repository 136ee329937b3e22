//! Checkpoints in the output folder: `checkpoints/ID-STEP-DIGEST.safetensors`. Named by content, so that a new one never
//! takes the place of another that the manifest on the disk still speaks of.

use std::path::Path;

use clr_event::checkpoint::Checkpoint;
use clr_plan::TrialId;
use clr_system::regular;

use super::StoreError;
use super::files::{self, FileEntry};
use super::manifest::Manifest;

pub const DIRECTORY: &str = "checkpoints";

/// The path in the output folder of a trial's checkpoint.
fn path(id: TrialId, step: u64, blake3: &str) -> String {
    format!("{DIRECTORY}/{id}-{step}-{:.12}.safetensors", blake3)
}

/// True if a path is that of a checkpoint, by its form.
pub fn is_path(path: &str) -> bool {
    let name = path.strip_prefix(DIRECTORY).and_then(|path| path.strip_prefix('/'));
    let parts: Vec<&str> = name.and_then(|name| name.strip_suffix(".safetensors")).unwrap_or("").split('-').collect();
    let all = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    matches!(parts[..], [id, step, digest] if all(id, 16) && all(step, 10) && all(digest, 16))
}

/// Writes the file of a checkpoint, all at once, unless the manifest has it, and returns its path. The caller syncs the
/// directory.
pub fn write(
    folder: &Path,
    manifest: &mut Manifest,
    checkpoint: &Checkpoint,
    numerics: &str,
) -> Result<String, StoreError> {
    let directory = folder.join(DIRECTORY);
    let bytes = checkpoint.to_bytes(numerics).map_err(|source| StoreError::checkpoint(&directory, source))?;
    let blake3 = blake3::hash(&bytes).to_hex().to_string();
    let path = path(checkpoint.trial_id, checkpoint.step, &blake3);
    if !manifest.files.contains_key(&path) {
        files::create_directory(&directory)?;
        files::write_whole(&folder.join(&path), &bytes)?;
        manifest.files.insert(path.clone(), FileEntry { rows: 0, bytes: bytes.len() as u64, blake3 });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_path(text), expected, "{text}");
    }

    #[test]
    fn paths_are_known_by_their_form() {
        check(&path(TrialId::of(b"a trial"), 1200, &"0123456789abcdef".repeat(4)), true);
        check("checkpoints/00ff-1200.safetensors", false);
        check("checkpoints/00ff-1200-12.npz", false);
        check("checkpoints/mine.safetensors", false);
        check("checkpoints/../00ff-1200-12.safetensors", false);
        check("checkpoints/00ff--12.safetensors", false);
        check("parts/00ff-1200-12.safetensors", false);
        check("checkpoints-00ff-1200-12.safetensors", false);
    }
}
