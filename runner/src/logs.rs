//! Logs for whoever looks for the cause of something: `--log LEVEL`. Off unless asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::regular;

/// Why there can be no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error(
        "--log {filter}: expected a level (error, warn, info, debug, trace), or module=level, such as clr_run::store=debug"
    )]
    Filter {
        /// As given.
        filter: String,
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
    let targets = targets(filter).ok_or_else(|| LogError::Filter { filter: filter.to_owned() })?;
    let layer = tracing_subscriber::fmt::layer().with_ansi(false);
    let layer = match file {
        None => layer.with_writer(io::stderr).with_filter(targets).boxed(),
        Some(path) => {
            let file =
                regular::append_given(path).map_err(|source| LogError::File { path: path.to_owned(), source })?;
            layer.with_writer(Mutex::new(file)).with_filter(targets).boxed()
        }
    };
    Ok(tracing_subscriber::registry().with(layer).try_init()?)
}

/// A level, or modules of this program with levels. Whatever else would filter all out, and say nothing.
fn targets(filter: &str) -> Option<Targets> {
    let is_known = |part: &str| match part.split_once('=') {
        Some((module, level)) => module.starts_with("clr_run") && level.parse::<LevelFilter>().is_ok(),
        None => part.parse::<LevelFilter>().is_ok() || part.starts_with("clr_run"),
    };
    filter.split(',').all(|part| !part.is_empty() && is_known(part)).then(|| filter.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_modules_with_levels() {
        for good in ["info", "DEBUG", "off", "info,clr_run::store=debug", "clr_run::train", "clr_run=warn"] {
            assert!(targets(good).is_some(), "{good}");
        }
        for bad in ["", "loud", "info,loud", "store=debug", "clr_run::store=loud", "info,,debug"] {
            assert!(targets(bad).is_none(), "{bad}");
        }
    }
}
