//! Who holds an output: a process, on a host, since a time; and whether that process still lives.

use std::fs;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A process that writes an output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number on its host.
    pub pid: u32,
    /// The name of its host.
    pub host: String,
    /// When it took the folder: RFC 3339, UTC.
    pub since: String,
    /// When the process began, in clock ticks since its host did: tells it from a later one of that number. Linux only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
}

impl Holder {
    /// This process, from now on.
    pub fn this() -> Holder {
        let pid = std::process::id();
        Holder { pid, host: host(), since: now(), born: born(pid) }
    }

    /// True if the process lives; none where that cannot be told, as it runs on another host.
    pub fn lives(&self) -> Option<bool> {
        if self.host != host() {
            return None;
        }
        if self.born.is_some() && cfg!(target_os = "linux") {
            return Some(born(self.pid) == self.born);
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw)?;
        // A process of another user may not be signalled, and lives.
        Some(!matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {} since {}", self.pid, self.host, self.since)
    }
}

/// The time, to the second. RFC 3339, UTC.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Field 22 of `/proc/PID/stat`, `starttime`; none where the process is gone or there is no `/proc`.
fn born(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything; the third is `state`.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_zombie = fields.next()? == "Z";
    if is_zombie { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_ends_and_its_number_is_not_enough() {
        let this = Holder::this();
        assert_eq!(this.lives(), Some(true));
        assert_eq!(Holder { host: "elsewhere.invalid".into(), ..this.clone() }.lives(), None);
        if this.born.is_some() {
            assert_eq!(Holder { born: this.born.map(|ticks| ticks + 1), ..this.clone() }.lives(), Some(false));
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(Holder { pid, born: this.born, ..this }.lives(), Some(false));
    }
}
