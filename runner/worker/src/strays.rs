//! Processes that plugins start and leave behind outside the process groups of their workers, such as daemons.
//!
//! Linux hands orphans to the nearest ancestor that asks for them. A command that trains does ask: once it has no worker
//! left, whatever else it has for children is of some plugin, and is ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Orphans of orphans come one generation after the other; a plugin that starts processes faster than that is not fought.
const GENERATIONS: usize = 100;

/// The workers of this process.
#[derive(Debug, Default)]
pub struct Workers {
    /// True if orphans come to this process, which starts nothing but workers.
    adopts: bool,
    living: BTreeSet<u32>,
}

static WORKERS: Mutex<Workers> = Mutex::new(Workers { adopts: false, living: BTreeSet::new() });

/// From now on orphans of plugins come to this process. It must start no other processes than workers. Only Linux can.
pub fn adopt() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // A system that refuses leaves daemons alone, as others do.
        workers().adopts = rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok();
    }
}

/// Held while a worker is started, so that none is taken for a stray before it is known.
pub fn workers() -> MutexGuard<'static, Workers> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// A worker was started.
    pub fn add(&mut self, process: u32) {
        self.living.insert(process);
    }

    /// A worker has ended and was waited for. After the last, strays are ended.
    pub fn remove(&mut self, process: u32) {
        self.living.remove(&process);
        if !self.adopts || !self.living.is_empty() {
            return;
        }
        for _ in 0..GENERATIONS {
            let strays = clr_system::memory::children();
            if strays.is_empty() {
                return;
            }
            for stray in strays.into_iter().filter_map(|stray| Pid::from_raw(stray as i32)) {
                // Errors say that it is gone.
                let _ = kill_process(stray, Signal::KILL);
                let _ = waitpid(Some(stray), WaitOptions::empty());
            }
        }
    }
}
