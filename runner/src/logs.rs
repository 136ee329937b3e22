//! Logs for whoever looks for the cause of something: `--log LEVEL`. Off unless asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clr_system::regular;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Why there can be no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error(
        "--log {filter}: expected a level (error, warn, info, debug, trace), or module=level, such as clr_store=debug"
    )]
    Filter { filter: String },
    /// The file cannot be written.
    #[error("--log-file {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
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

/// The crates of the program: the first part of the names of their modules.
const CRATES: [&str; 15] = [
    "clr_dataset",
    "clr_event",
    "clr_finder",
    "clr_host",
    "clr_plan",
    "clr_report",
    "clr_run",
    "clr_schedule",
    "clr_spec",
    "clr_store",
    "clr_system",
    "clr_terminal",
    "clr_train",
    "clr_vetted",
    "clr_worker",
];

/// A level, or modules of this program with levels. Whatever else would filter all out, and say nothing.
fn targets(filter: &str) -> Option<Targets> {
    let parts: Vec<String> = filter.split(',').map(expanded).collect::<Option<_>>()?;
    parts.join(",").parse().ok()
}

/// Modules of crates that were the program's own.
const FORMER: [(&str, &str); 3] =
    [("device", "clr_train::device"), ("journal", "clr_store::journal"), ("threads", "clr_system::threads")];

/// A part of a filter, with the crates that it is about: `clr_run` is all of them, and `clr_run::store` is `clr_store`.
fn expanded(part: &str) -> Option<String> {
    // An empty text is read as a level.
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    if is_level(part) {
        return Some(part.to_owned());
    }
    let (module, level) = part.split_once('=').unwrap_or((part, "trace"));
    if !is_level(level) {
        return None;
    }
    let is_ours = |module: &str| CRATES.contains(&module.split("::").next().unwrap_or_default());
    let in_crate = module.strip_prefix("clr_run::").map(|rest| {
        let former = FORMER.iter().find(|(name, _)| *name == rest);
        former.map_or_else(|| format!("clr_{rest}"), |(_, module)| (*module).to_owned())
    });
    match in_crate.filter(|module| is_ours(module)) {
        Some(module) => Some(format!("{module}={level}")),
        None if module == "clr_run" => Some(CRATES.map(|name| format!("{name}={level}")).join(",")),
        None => is_ours(module).then(|| format!("{module}={level}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_modules_with_levels() {
        for good in ["info", "DEBUG", "off", "info,clr_store=debug", "clr_train", "clr_run=warn", "clr_run::gather"] {
            assert!(targets(good).is_some(), "{good}");
        }
        for bad in
            ["", "loud", "info,loud", "store=debug", "clr_store=loud", "clr_store=", "info,,debug", "clr_nn=info"]
        {
            assert!(targets(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_the_program_is_all_of_its_crates() {
        let enabled = |filter: &str, module: &str| targets(filter).unwrap().would_enable(module, &tracing::Level::INFO);
        assert!(enabled("clr_run=info", "clr_store::open") && enabled("clr_run=info", "clr_run::gather"));
        assert!(enabled("off,clr_run::store=debug", "clr_store::open"));
        assert!(!enabled("off,clr_run::store=debug", "clr_train"));
        assert!(enabled("off,clr_run::gather=info", "clr_run::gather"));
        assert!(enabled("off,clr_run::device=info", "clr_train::device"));
    }

    #[test]
    fn every_crate_of_the_program_can_be_named() {
        let manifests = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap().map(|entry| entry.unwrap().path());
        let folders = manifests.filter(|path| path.join("Cargo.toml").exists());
        let name = |folder: PathBuf| format!("clr_{}", folder.file_name().unwrap().to_string_lossy());
        let mut names: Vec<String> = folders.map(name).chain(["clr_run".to_owned()]).collect();
        names.sort();
        assert_eq!(names, CRATES);
    }
}
