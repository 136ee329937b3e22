//! Verification: that an output is what its manifest says, and that training again gives the same bits.
//!
//! [`quick`] looks at files only. [`again`] trains trials again and compares row by row as the rows come.

pub mod again;
mod found;
mod quick;
mod recipe;
mod rows;
mod selection;

use std::path::PathBuf;

pub use again::{Wanted, again};
pub use found::{Checked, Problem};
pub use quick::quick;
pub use recipe::{Recipe, recipe};
pub use selection::{Selection, select};

use crate::plan::NoTrial;
use crate::store::StoreError;

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no output.
    #[error("{} is no output of a run: it has no manifest.json, spec.toml or plan.json", folder.display())]
    NoOutput {
        /// The folder.
        folder: PathBuf,
    },
    /// The output does not have what planning again needs.
    #[error("cannot plan again what {} holds: {message}", folder.display())]
    Recipe {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        message: String,
    },
    /// `--trial` names none, or several.
    #[error(transparent)]
    Trial(#[from] NoTrial),
    /// A file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
