//! Workers: processes that hold a plugin's session, so that what a plugin does to its process costs a worker and not the
//! run.
//!
//! Everything that decides (schedules, samples, stop rules, what is stored) stays with the supervisor, the command that
//! the user started. A worker is a [`clr_host::LocalSession`] behind a pipe, and gives the same bits:
//!
//! ```text
//! train ──RemoteSession──▶ process ══stdin: requests══▶ serve ──LocalSession──▶ plugin
//!                            ◀═stdout: replies═══
//!                            ◀═stderr: last words of a crash
//! ```
//!
//! - `frame.rs` cuts the pipe's bytes into frames, `message.rs` says what is in them;
//! - `process.rs` starts a worker, talks to it, watches over it and ends it; `memory.rs` and `tail.rs` help it;
//! - `session.rs` is a session as the supervisor sees it, `probe.rs` a plugin or a GPU before it has one;
//! - `serve.rs` is the worker's own side, the hidden command `clr-run worker`; `inherited.rs` closes what it must not hold,
//!   `orphaned.rs` ends it with its supervisor.
//!
//! A worker ends when its pipe closes, also in the middle of a call: no worker outlives its supervisor. Each leads a process
//! group of its own, so that signals that a plugin sends to its group reach nobody else, and what a plugin has started ends
//! with its worker; `strays.rs` ends what has left that group.

pub mod frame;
pub mod gpu;
mod inherited;
pub mod message;
mod orphaned;
pub mod patience;
mod probe;
mod process;
mod serve;
mod session;
mod strays;
mod tail;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use clr_dataset::Dataset;

pub use probe::{Known, gpus};
pub use serve::serve;
pub use session::{RemoteSession, Worker};
pub use strays::adopt as adopt_strays;

#[derive(Clone, Debug)]
pub enum Isolation {
    /// In this process: what a plugin does to its process, it does to the run. Limits of memory and of calls do not hold.
    None,
    /// In worker processes, one for each session that is open.
    Process(Launch),
}

/// How workers are started, and where they find datasets.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    /// The folder of the spec: paths of datasets are relative to it.
    pub folder: PathBuf,
    /// Folders that hold datasets.
    pub roots: Vec<PathBuf>,
    /// The folder of decoded datasets.
    pub cache: Option<PathBuf>,
    /// States of the cached datasets of which this process has checked all ([`Dataset::checked`]).
    pub checked: Vec<String>,
}

impl Isolation {
    /// The same for workers that open `datasets`, which this process has opened.
    pub fn with_opened<'d>(mut self, datasets: impl IntoIterator<Item = &'d Dataset>) -> Isolation {
        if let Isolation::Process(launch) = &mut self {
            launch.checked = datasets.into_iter().filter_map(|dataset| dataset.checked.clone()).collect();
        }
        self
    }
}

impl Launch {
    /// Workers of the program that runs: the same file, even where another has taken its place on the disk.
    pub fn this_program(folder: PathBuf, roots: Vec<PathBuf>, cache: Option<PathBuf>) -> io::Result<Launch> {
        let itself = Path::new("/proc/self/exe");
        let program = if itself.exists() { itself.to_owned() } else { std::env::current_exe()? };
        Ok(Launch { program, folder, roots, cache, checked: Vec::new() })
    }
}
