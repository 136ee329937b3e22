//! Errors of reading and writing an output folder.

use std::io;
use std::path::{Path, PathBuf};

use clr_event::checkpoint::CheckpointError;
use clr_plan::NoTrial;

use crate::holder::Holder;
use crate::names::{FORMAT, OLDEST_FORMAT};

/// Why results could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The Parquet library refused.
    #[error("{}: Parquet", path.display())]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    /// The Arrow library refused.
    #[error("{}: Arrow", path.display())]
    Arrow {
        /// The file or folder.
        path: PathBuf,
        source: arrow_schema::ArrowError,
    },
    /// Another process has the folder.
    #[error("another command is writing {}{}; wait for it, or choose another folder with --outputs", folder.display(), named(holder.as_deref()))]
    Locked {
        folder: PathBuf,
        /// The process that has it, if that can be told.
        holder: Option<Box<Holder>>,
    },
    /// There is something to do, and the folder cannot be written.
    #[error("{} cannot be written, and {left} of its trials are left to run; make it writable, or choose another folder with --outputs", folder.display())]
    ReadOnly {
        folder: PathBuf,
        left: usize,
        /// Why it cannot be written.
        source: io::Error,
    },
    /// Rows are damaged, and the folder cannot be written.
    #[error("{}: {file}: {what}; it cannot be mended, since the folder cannot be written: make it writable, or run a copy of it with --outputs", folder.display())]
    DamagedReadOnly {
        folder: PathBuf,
        /// The file, or the first of several.
        file: String,
        what: String,
        /// Why it cannot be written.
        source: io::Error,
    },
    /// The name cannot be a folder's.
    #[error("`{name}` cannot name a folder; choose another [experiment] name")]
    Name { name: String },
    /// The folder holds something else.
    #[error("{} has files (`{found}`) but no manifest.json; choose another name or --outputs, or empty it", folder.display())]
    Foreign {
        folder: PathBuf,
        /// One of its files.
        found: String,
    },
    /// There is something to write, and the folder is an excerpt.
    #[error("{} is an excerpt, which holds no rows of metrics, so nothing can be added to it; choose another folder with --outputs", folder.display())]
    Excerpt { folder: PathBuf },
    /// The rows are in a file that an excerpt leaves out.
    #[error("{}: this excerpt of an output leaves out the rows of metrics; `clr-run verify` makes them again", path.display())]
    LeftOut { path: PathBuf },
    /// No excerpt can be made of the folder.
    #[error("{}: no excerpt can be made: {why}", folder.display())]
    NoExcerpt { folder: PathBuf, why: &'static str },
    /// An excerpt would be written beside something else.
    #[error("{} holds `{found}` and is no earlier excerpt; name another folder with --out", folder.display())]
    Occupied {
        folder: PathBuf,
        /// One of its files.
        found: String,
    },
    /// The manifest cannot be understood.
    #[error("{}: {message}; running its spec again mends it", path.display())]
    Manifest { path: PathBuf, message: String },
    /// The folder was written by a version of the program whose format differs.
    #[error("{}: format {found}, and this program knows formats {OLDEST_FORMAT} to {FORMAT}; use the program that wrote it, or another --outputs", path.display())]
    Format { path: PathBuf, found: u64 },
    /// A file is not as it was written.
    #[error("{}: damaged ({what}); restore it, or run its spec again, which trains again what is lost", path.display())]
    Corrupt { path: PathBuf, what: String },
    /// There is no run in the folder.
    #[error("{}: no manifest.json; name the folder of a run, such as outputs/NAME", folder.display())]
    NoOutput { folder: PathBuf },
    /// No trial of that id or label, or several.
    #[error("{}: {why}", folder.display())]
    Trial { folder: PathBuf, why: NoTrial },
    /// A file is no checkpoint, or a state cannot be one.
    #[error("{}: not a checkpoint", path.display())]
    Checkpoint { path: PathBuf, source: CheckpointError },
    /// A column cannot be told from another.
    #[error("the model has a {kind} `{name}`, and the tables have another column of that name")]
    Column { kind: &'static str, name: String },
    /// Two trials of a plan are one.
    #[error("the trials `{first}` and `{second}` have one id")]
    Duplicate { first: String, second: String },
    /// A trial's axis values do not fit the plan's axes.
    #[error("the axes of trial `{label}` do not fit the plan's")]
    Axes { label: String },
    /// The groups do not each have their numerics.
    #[error("{found} numerics were given for {expected} groups")]
    Numerics {
        found: usize,
        /// Groups of the plan.
        expected: usize,
    },
    /// An event that does not fit those before. A bug, not the user's doing.
    #[error("unexpected event of trial {trial}: {message}; this is a bug")]
    Event {
        /// The trial's label, or its index.
        trial: String,
        message: String,
    },
}

impl StoreError {
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::Io { action, path: path.to_owned(), source }
    }

    pub fn checkpoint(path: &Path, source: CheckpointError) -> StoreError {
        StoreError::Checkpoint { path: path.to_owned(), source }
    }

    pub fn parquet(path: &Path, source: parquet::errors::ParquetError) -> StoreError {
        StoreError::Parquet { path: path.to_owned(), source }
    }

    pub fn arrow(path: &Path, source: arrow_schema::ArrowError) -> StoreError {
        StoreError::Arrow { path: path.to_owned(), source }
    }
}

fn named(holder: Option<&Holder>) -> String {
    holder.map_or(String::new(), |holder| format!(": {holder}"))
}
