//! A worker whose supervisor is gone, however that ended: it ends too, and with it all that a plugin has started in the
//! worker's process group.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, kill_current_process_group, setpgid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;

/// True if a plugin was loaded, which may have started processes.
static HAS_PLUGIN: AtomicBool = AtomicBool::new(false);

/// A plugin is about to be loaded.
pub fn note_plugin() {
    HAS_PLUGIN.store(true, Ordering::Relaxed);
}

/// Makes the worker the leader of a process group, and lets it end with its supervisor. SIGINT and SIGTERM do nothing as
/// long as there is a supervisor, which decides when to stop: a SIGTERM often goes to a whole job.
pub fn watch() -> io::Result<()> {
    // The supervisor has done so already, unless it is none of ours.
    if getpgrp() != getpid() {
        setpgid(None, None)?;
    }
    let supervisor = getppid();
    for signal in [SIGINT, SIGTERM] {
        // SAFETY: the action makes system calls that a signal handler may make, and touches nothing but an atomic.
        unsafe { low_level::register(signal, move || end_if_orphaned(supervisor)) }?;
    }
    // With the pipe's end, the second way to notice that the supervisor is gone: also where every thread hangs. It is sent
    // when there is another parent already.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have been gone before that was asked for.
    end_if_orphaned(supervisor);
    Ok(())
}

fn end_if_orphaned(supervisor: Option<Pid>) {
    if getppid() != supervisor {
        end();
    }
}

/// Ends the process at once, whatever its other threads do (what a plugin has registered for the end could hang), and what
/// a plugin has started in its group.
pub fn end() -> ! {
    if HAS_PLUGIN.load(Ordering::Relaxed) && getpgrp() == getpid() {
        // Where that fails there is nobody left to end but this process.
        let _ = kill_current_process_group(Signal::KILL);
    }
    low_level::exit(0)
}
