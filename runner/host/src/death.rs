//! How a process that held a session ended.

use std::fmt;
use std::time::Duration;

use clr_terminal::words;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGXCPU, SIGXFSZ};
use signal_hook::low_level::signal_name;

/// Why there is no answer from a worker, and will be none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// A signal ended it: a crash, an abort, the system's out-of-memory killer.
    Signal(i32),
    /// It called `exit` with this code.
    Exit(i32),
    /// It was ended because a call had not returned in this time.
    Hung(Duration),
    /// It was ended because of the memory that it had of its own, in bytes.
    Memory {
        /// The memory that it took.
        used: u64,
        /// Of so much that it was allowed.
        limit: u64,
    },
    /// It was ended because what came from it was no answer.
    Garbled(String),
    /// It did not even start.
    NotStarted(String),
}

/// Signals that other processes send, and the system on its own account: when memory is out, when a job's time is up, when
/// a limit of the shell is reached. No instruction of a plugin causes them, short of sending one to itself.
const FROM_OUTSIDE: [i32; 8] = [SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGXCPU, SIGXFSZ, SIGSTOP];

impl Death {
    /// True if the machine, or somebody on it, may have done this to a plugin that did nothing wrong.
    pub fn may_come_from_outside(&self) -> bool {
        match self {
            Death::Signal(number) => FROM_OUTSIDE.contains(number),
            Death::NotStarted(_) => true,
            Death::Exit(_) | Death::Hung(_) | Death::Memory { .. } | Death::Garbled(_) => false,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Signal(SIGKILL) => {
                write!(out, "the worker was killed by SIGKILL (signal 9), as the system's out-of-memory killer does")
            }
            Death::Signal(number) => match signal_name(*number) {
                Some(name) => write!(out, "the worker was killed by {name} (signal {number})"),
                None => write!(out, "the worker was killed by signal {number}"),
            },
            Death::Exit(code) => write!(out, "the worker exited with code {code}"),
            Death::Hung(limit) => {
                let limit = words::duration(limit.as_secs_f64());
                write!(out, "the call did not return within {limit} (`call` in `[limits]`)")
            }
            Death::Memory { used, limit } => {
                let (used, limit) = (words::bytes(*used), words::bytes(*limit));
                write!(out, "the worker used {used} of memory, its trials may use {limit} (`memory` in `[limits]`)")
            }
            Death::Garbled(problem) => write!(out, "the worker's pipe carried what is no answer: {problem}"),
            Death::NotStarted(problem) => write!(out, "the machine let no worker be started: {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(death: Death, expected: &str) {
        assert_eq!(death.to_string(), expected);
    }

    #[test]
    fn a_death_is_told_in_words() {
        check(Death::Signal(11), "the worker was killed by SIGSEGV (signal 11)");
        check(
            Death::Signal(9),
            "the worker was killed by SIGKILL (signal 9), as the system's out-of-memory killer does",
        );
        check(Death::Signal(99), "the worker was killed by signal 99");
        check(Death::Exit(3), "the worker exited with code 3");
        let call = Duration::from_millis(1500);
        check(Death::Hung(call), "the call did not return within 1.5s (`call` in `[limits]`)");
        check(
            Death::Memory { used: 5 << 20, limit: 3 << 19 },
            "the worker used 5.0 MiB of memory, its trials may use 1.5 MiB (`memory` in `[limits]`)",
        );
    }
}
