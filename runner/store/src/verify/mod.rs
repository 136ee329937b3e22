//! Verification of an output's files: that they are what the manifest says, and that rows agree with themselves.

mod found;
mod quick;
mod recipe;
pub mod rows;
mod selection;

use std::path::PathBuf;

use clr_plan::NoTrial;

use crate::StoreError;

pub use found::{Checked, Problem};
pub use quick::quick;
pub use recipe::{Recipe, recipe};
pub use selection::{Selection, select};

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no output.
    #[error("{} is no output of a run: it has no manifest.json, spec.toml or plan.json", folder.display())]
    NoOutput { folder: PathBuf },
    /// The output does not have what planning again needs.
    #[error("cannot plan again what {} holds: {message}", folder.display())]
    Recipe { folder: PathBuf, message: String },
    /// `--trial` names none, or several.
    #[error(transparent)]
    Trial(#[from] NoTrial),
    /// A file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
