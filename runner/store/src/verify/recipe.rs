//! The recipe of an output, from which it can be planned again.

use std::path::{Path, PathBuf};

use clr_spec::{LARGEST_SPEC, SourceFile};
use clr_system::regular;

use super::VerifyError;
use crate::manifest::Manifest;

/// The spec of an output, as its last command read it.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `spec.toml` of the output.
    pub source: SourceFile,
    /// The arguments of `--set`, unless they are written into it.
    pub sets: Vec<String>,
    /// The folder of its tables of values: the output, or, of a spec that was kept as it was, the folder in which that was.
    pub folder: PathBuf,
    /// The folders in which its datasets were looked for.
    pub data: Vec<PathBuf>,
}

/// Reads the recipe of the output `folder`.
///
/// # Errors
///
/// Where the output has no manifest or no spec.
pub fn recipe(folder: &Path) -> Result<Recipe, VerifyError> {
    let path = folder.join("spec.toml");
    let manifest = Manifest::load(folder)?.ok_or_else(|| VerifyError::NoOutput { folder: folder.to_owned() })?;
    let text = regular::read_text(&path, LARGEST_SPEC).map_err(|error| VerifyError::Recipe {
        folder: folder.to_owned(),
        message: format!("{}: {error}", path.display()),
    })?;
    let source = SourceFile { name: path.display().to_string(), text };
    let whole = Recipe { source, sets: Vec::new(), folder: folder.to_owned(), data: Vec::new() };
    let Some(run) = manifest.runs.last().map(|run| &run.info) else { return Ok(whole) };
    let data = run.data.clone();
    if run.spec_is_whole {
        return Ok(Recipe { data, ..whole });
    }
    let was_recorded = !run.spec_folder.as_os_str().is_empty() && run.spec_folder.is_dir();
    let folder = if was_recorded { &run.spec_folder } else { folder };
    Ok(Recipe { sets: run.sets.clone(), folder: folder.to_owned(), data, ..whole })
}
