//! SIGINT and SIGTERM: the first asks the run to stop after the step at hand, the second stops at once.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Handlers for as long as the process lives.
pub struct Signals {
    cancel: Arc<AtomicBool>,
    /// The signal that came, 0 for none.
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers.
    pub fn install() -> io::Result<Signals> {
        let (cancel, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag raised and ends the process before it is raised again.
            flag::register_conditional_shutdown(signal, 128 + signal, cancel.clone())?;
            flag::register(signal, cancel.clone())?;
            flag::register_usize(signal, number.clone(), signal as usize)?;
        }
        Ok(Signals { cancel, number })
    }

    /// Raised by the first signal.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// 130 after SIGINT, 143 after SIGTERM, none otherwise.
    pub fn exit_code(&self) -> Option<ExitCode> {
        match self.number.load(Ordering::Relaxed) {
            0 => None,
            number => Some(ExitCode::from(128 + number as u8)),
        }
    }
}
