//! SIGINT and SIGTERM. Before anything is trained they end the command at once, with a word; then the first asks the run to
//! stop after the step at hand, and the second stops at once.
#![allow(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;

/// Handlers for as long as the process lives.
pub struct Signals {
    state: Arc<State>,
}

/// The state that handlers and the program share.
#[derive(Default)]
struct State {
    /// True while there is a run that can be stopped with care.
    runs: AtomicBool,
    cancel: AtomicBool,
    /// The signal that came, 0 for none.
    number: AtomicI32,
}

impl Signals {
    /// Installs the handlers. Whatever is slow comes later, and so do other threads.
    pub fn install() -> io::Result<Signals> {
        let state = Arc::new(State::default());
        for (signal, words) in [
            (SIGINT, "stopped by SIGINT, before anything was trained\n"),
            (SIGTERM, "stopped by SIGTERM, before anything was trained\n"),
        ] {
            let state = state.clone();
            // SAFETY: the action reads and writes atomics, writes to a descriptor and ends the process: a handler may.
            unsafe { low_level::register(signal, move || state.take(signal, words)) }?;
        }
        Ok(Signals { state })
    }

    /// From now on the first signal only raises [`Signals::cancel`], which the caller watches.
    pub fn begin_run(&self) {
        self.state.runs.store(true, Ordering::SeqCst);
    }

    /// Raised by the first signal, and by whatever else ends a run.
    pub fn cancel(&self) -> &AtomicBool {
        &self.state.cancel
    }

    /// 130 after SIGINT, 143 after SIGTERM, none otherwise.
    pub fn exit_code(&self) -> Option<ExitCode> {
        match self.state.number.load(Ordering::SeqCst) {
            0 => None,
            number => Some(ExitCode::from(128 + number as u8)),
        }
    }
}

impl State {
    /// In a signal handler.
    fn take(&self, signal: i32, words: &str) {
        if !self.runs.load(Ordering::SeqCst) {
            // Nobody may listen.
            let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
            low_level::exit(128 + signal);
        }
        if self.number.swap(signal, Ordering::SeqCst) != 0 {
            low_level::exit(128 + signal);
        }
        self.cancel.store(true, Ordering::Relaxed);
    }
}
