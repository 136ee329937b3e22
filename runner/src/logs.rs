//! Logs for whoever looks for the cause of something: `--log LEVEL`. Off unless asked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Why there can be no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error(
        "--log {filter}: {source}; a level (error, warn, info, debug, trace), or module=level, such as clr_run::store=debug"
    )]
    Filter {
        /// As given.
        filter: String,
        /// Why not.
        source: ParseError,
    },
    /// The file cannot be written.
    #[error("--log-file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There are logs already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Begins to log what passes `filter`, at the end of `file` or to standard error.
///
/// # Errors
///
/// Where the filter cannot be understood, or the file not be opened.
pub fn install(filter: &str, file: Option<&Path>) -> Result<(), LogError> {
    let targets: Targets = filter.parse().map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let layer = tracing_subscriber::fmt::layer().with_ansi(false);
    let layer = match file {
        None => layer.with_writer(io::stderr).with_filter(targets).boxed(),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|source| LogError::File { path: path.to_owned(), source })?;
            layer.with_writer(Mutex::new(file)).with_filter(targets).boxed()
        }
    };
    Ok(tracing_subscriber::registry().with(layer).try_init()?)
}
