//! The surroundings that a call must leave as it found them: how floats are computed, the locale, handlers and masks of signals, and the
//! process's folder.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::path::PathBuf;

use clr_abi::floating_point::FloatingPoint;

/// Signals are numbered from 1 to this, at least.
const SIGNALS: i32 = 31;

/// All of it, of this thread and process.
#[derive(Debug, PartialEq)]
pub(crate) struct Surroundings {
    floats: FloatingPoint,
    /// `setlocale`'s, and whether the thread has one of its own.
    locale: (String, usize),
    /// Address of the handler of each signal, and flags.
    handlers: Vec<(usize, i32)>,
    /// Signals that this thread does not take.
    blocked: Vec<i32>,
    folder: Option<PathBuf>,
}

impl Surroundings {
    pub(crate) fn current() -> Surroundings {
        Surroundings {
            floats: FloatingPoint::current(),
            locale: locale(),
            handlers: (1..=SIGNALS).map(handler).collect(),
            blocked: blocked(),
            folder: std::env::current_dir().ok(),
        }
    }

    /// Makes a call. Where it leaves something changed, an error says what; how floats are computed is restored.
    pub(crate) fn kept<T>(function: &str, call: impl FnOnce() -> T) -> Result<T, String> {
        let before = Surroundings::current();
        let result = call();
        let after = Surroundings::current();
        if before == after {
            return Ok(result);
        }
        before.floats.restore();
        Err(format!("{function} left what is not its own changed: {}", after.changes(&before).join("; ")))
    }

    fn changes(&self, before: &Surroundings) -> Vec<String> {
        let mut changes = Vec::new();
        let floats = self.floats.changes(before.floats);
        if !floats.is_empty() {
            changes.push(floats.join(", "));
        }
        if self.locale != before.locale {
            changes.push(format!("the locale is `{}`, and was `{}`", self.locale.0, before.locale.0));
        }
        for (index, (after, before)) in self.handlers.iter().zip(&before.handlers).enumerate() {
            if after != before {
                changes.push(format!("signal {} has another handler", index + 1));
            }
        }
        if self.blocked != before.blocked {
            changes.push(format!("the signals {:?} are blocked, and were {:?}", self.blocked, before.blocked));
        }
        if self.folder != before.folder {
            changes.push("the current folder is another".to_owned());
        }
        changes
    }
}

fn locale() -> (String, usize) {
    // SAFETY: both only ask. The text is copied before anyone else, in this thread, could change it.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        let name = if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() };
        (name, libc::uselocale(std::ptr::null_mut()) as usize)
    }
}

fn handler(signal: i32) -> (usize, i32) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it only asks, and fills the struct or leaves it zeroed, which is a value too.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    (action.sa_sigaction, action.sa_flags)
}

fn blocked() -> Vec<i32> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it only asks, and fills the set or leaves it zeroed, which is a value too.
    let set = unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        set.assume_init()
    };
    // SAFETY: the set is a set.
    (1..=SIGNALS).filter(|&signal| unsafe { libc::sigismember(&raw const set, signal) } == 1).collect()
}
