//! What can be wrong with a dataset: which file, where in it, what was expected and what was found.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a dataset could not be opened or fetched.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No root holds it in any known layout.
    #[error("dataset `{name}` was not found; looked for{}\n{hint}", lines(looked))]
    NotFound {
        name: String,
        /// For each root, every place that was looked at.
        looked: Vec<String>,
        /// How to get it.
        hint: String,
    },
    /// The name could not be a folder's.
    #[error(
        "`{name}` cannot be a dataset's name: expected letters, digits, `-`, `_` and `.`, a letter or digit first; where its folder is, `--data` or CLR_DATA says"
    )]
    Name { name: String },
    /// The operating system's word on a file.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        cause: std::io::Error,
    },
    /// A file does not hold what its format says.
    #[error("{file}{place}: expected {expected}, found {found}")]
    Malformed {
        /// The file, and the entry if it is an archive.
        file: String,
        place: Place,
        /// The format's demand.
        expected: String,
        found: String,
    },
    /// Several images cannot be used.
    #[error("{count} of {of} images cannot be used:{}{}", lines(problems), more(*count, problems.len()))]
    Images {
        count: u64,
        /// All that were looked at.
        of: u64,
        /// What is wrong with the first of them.
        problems: Vec<String>,
    },
    /// A well-known name whose files are sound but hold another set.
    #[error("{found_in} is not the published `{name}`: expected {expected}, found {found}")]
    OtherSet {
        name: String,
        /// The source that was read.
        found_in: String,
        /// The published sizes and counts.
        expected: String,
        /// Those of the files.
        found: String,
    },
}

/// The place of a mistake in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// Bytes from its start (after decompression, if it is compressed).
    Byte(u64),
    /// Row of a table, from 0.
    Row(u64),
    /// Record or image, from 0.
    Record(u64),
    /// Line of a text, from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Byte(at) => write!(out, ", byte {at}"),
            Place::Row(at) => write!(out, ", row {at}"),
            Place::Record(at) => write!(out, ", record {at}"),
            Place::Line(at) => write!(out, ", line {at}"),
        }
    }
}

impl DatasetError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError + '_ {
        move |cause| DatasetError::Io { path: path.to_owned(), cause }
    }

    pub(super) fn malformed(
        file: impl Into<String>,
        place: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> DatasetError {
        DatasetError::Malformed { file: file.into(), place, expected: expected.into(), found: found.into() }
    }
}

fn more(count: u64, named: usize) -> String {
    match count.saturating_sub(named as u64) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    }
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
