//! Files of an output that do not count, and why.

use std::io;

use super::names::is_of_recipe;

/// Why a file does not count.
#[derive(Debug)]
pub enum Unsound {
    /// It is not what was written.
    Damaged(String),
    /// It may be what was written, and this process may not or cannot look: rights, or what the system lacks.
    Unreadable(io::Error),
}

impl Unsound {
    /// Tells a damaged file from a look that failed. What is not there is damaged, and so is what its disk does not
    /// give back; what the process lacks is no fault of the file.
    pub fn of(error: io::Error) -> Unsound {
        let is_of_disk = cfg!(unix) && error.raw_os_error() == Some(5);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unsound::Damaged("it is missing".to_owned()),
            io::ErrorKind::IsADirectory => Unsound::Damaged("it is no file".to_owned()),
            _ if is_of_disk => Unsound::Damaged(format!("it cannot be read: {error}")),
            _ => Unsound::Unreadable(error),
        }
    }
}

impl std::fmt::Display for Unsound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unsound::Damaged(what) => write!(f, "{what}"),
            Unsound::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

/// A file of an output that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its path in the folder.
    pub file: String,
    /// The damage, as in "it is missing".
    pub what: String,
}

impl Damage {
    /// True if rows or a state are lost with it. All else can be made from the manifest and the spec.
    pub fn costs_rows(&self) -> bool {
        self.file.contains('/') && !is_of_recipe(&self.file)
    }
}
