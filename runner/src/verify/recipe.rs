//! What it takes to plan again what an output holds.

use std::fs;
use std::path::{Path, PathBuf};

use super::VerifyError;
use crate::spec::SourceFile;
use crate::store::manifest::Manifest;

/// The spec of an output, as its last command read it.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `spec.toml` of the output.
    pub source: SourceFile,
    /// What `--set` changed of it.
    pub sets: Vec<String>,
    /// Where its tables of values are: the folder in which the spec was, or the output where that is gone.
    pub folder: PathBuf,
}

/// Reads the recipe of the output `folder`.
///
/// # Errors
///
/// Where the output has no manifest or no spec.
pub fn recipe(folder: &Path) -> Result<Recipe, VerifyError> {
    let path = folder.join("spec.toml");
    let manifest = Manifest::parse(folder)?.ok_or_else(|| VerifyError::NoOutput { folder: folder.to_owned() })?;
    let text = fs::read_to_string(&path).map_err(|error| VerifyError::Recipe {
        folder: folder.to_owned(),
        message: format!("{}: {error}", path.display()),
    })?;
    let (sets, recorded) =
        manifest.runs.last().map(|run| (run.info.sets.clone(), run.info.spec_folder.clone())).unwrap_or_default();
    let was_recorded = !recorded.as_os_str().is_empty() && recorded.is_dir();
    Ok(Recipe {
        source: SourceFile { name: path.display().to_string(), text },
        sets,
        folder: if was_recorded { recorded } else { folder.to_owned() },
    })
}
