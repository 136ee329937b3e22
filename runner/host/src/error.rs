//! What can go wrong with a plugin. Messages name the plugin, the function and the status.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::death::Death;

/// A function of the ABI, by its name.
pub type Function = &'static str;

/// A plugin could not be found, was refused, or did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HostError {
    /// No library of that name in the search path.
    #[error("no plugin `{name}`: found {}; looked in {}", list(.available), folders(.searched))]
    NotFound {
        name: String,
        /// Names that there are.
        available: Vec<String>,
        /// Folders and files, in order.
        searched: Vec<PathBuf>,
    },
    /// The file is not a library, or one that the system cannot load.
    #[error("cannot load the plugin {}: {message}", .path.display())]
    Load {
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        message: String,
    },
    /// The library is no plugin that this host can work with.
    #[error("refused the plugin {}: {}", .path.display(), .problems.join("; "))]
    Refused {
        #[serde(serialize_with = "write_path")]
        path: PathBuf,
        /// All that is wrong with it.
        problems: Vec<String>,
    },
    /// A call ended with a status other than CLR_OK.
    #[error("plugin `{plugin}`: {function}: {message} ({})", status_text(*.status))]
    Call {
        plugin: String,
        /// The function of the ABI.
        #[serde(serialize_with = "write_function", deserialize_with = "read_function")]
        function: Function,
        /// The status, as in `clr_plugin.h`.
        status: i32,
        /// The plugin's own words.
        message: String,
    },
    /// A call succeeded with an answer that breaks the ABI's rules: a bug in the plugin.
    #[error("plugin `{plugin}`: {function}: broke the rules of the ABI: {message}")]
    Answer {
        plugin: String,
        /// The function of the ABI.
        #[serde(serialize_with = "write_function", deserialize_with = "read_function")]
        function: Function,
        /// The rule, and the finding.
        message: String,
    },
    /// The host's own caller asked for something malformed.
    #[error("plugin `{plugin}`: {function}: not called: {message}")]
    Argument {
        plugin: String,
        /// The function of the ABI that would have been called.
        #[serde(serialize_with = "write_function", deserialize_with = "read_function")]
        function: Function,
        message: String,
    },
    /// An earlier call has left the session's lanes half changed.
    #[error("plugin `{plugin}`: {function}: not called: an earlier call on this session failed")]
    Broken {
        plugin: String,
        /// The function of the ABI that would have been called.
        #[serde(serialize_with = "write_function", deserialize_with = "read_function")]
        function: Function,
    },
    /// The dataset could not be opened again where the session is.
    #[error("the dataset `{dataset}` could not be opened again: {problem}")]
    Data { dataset: String, problem: String },
    /// The process that held the session is gone, or had to be ended.
    #[error("plugin `{plugin}`: {function}: {death}{}", last_words(.stderr))]
    Died {
        plugin: String,
        /// The function of the ABI that was being called.
        #[serde(serialize_with = "write_function", deserialize_with = "read_function")]
        function: Function,
        death: Death,
        /// The last that it printed on stderr.
        stderr: String,
    },
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The plugin's, by what it said or did in a call.
    Plugin,
    /// The plugin's, or the machine's: it was killed by a signal that others send, or had no memory.
    Unclear,
    /// The machine's: no line of the plugin ran, or none that could have helped it.
    Machine,
}

/// Words of the system's libraries for a resource that is used up: in errors, and as the last words of a process that ends
/// for it.
const USED_UP: [&str; 8] = [
    "Resource temporarily unavailable",
    "Cannot allocate memory",
    "Too many open files",
    "No space left on device",
    "Disk quota exceeded",
    // An abort of Rust's and of C++'s libraries.
    "memory allocation of",
    "std::bad_alloc",
    "cannot allocate memory in static TLS block",
];

impl HostError {
    /// Whose doing it is, as far as one error tells.
    pub fn blame(&self) -> Blame {
        let is_used_up = |text: &str| USED_UP.iter().any(|words| text.contains(words));
        match self {
            HostError::Died { death: Death::NotStarted(_), .. } => Blame::Machine,
            // What was loaded and opened before can no longer be.
            HostError::NotFound { .. }
            | HostError::Load { .. }
            | HostError::Refused { .. }
            | HostError::Data { .. } => Blame::Machine,
            HostError::Died { death, .. } if death.may_come_from_outside() => Blame::Unclear,
            HostError::Died { death: Death::Signal(_) | Death::Exit(_), stderr, .. } if is_used_up(stderr) => {
                Blame::Unclear
            }
            HostError::Call { status: clr_abi::OUT_OF_MEMORY, .. } => Blame::Unclear,
            HostError::Call { message, .. } if is_used_up(message) => Blame::Unclear,
            HostError::Died { .. }
            | HostError::Call { .. }
            | HostError::Answer { .. }
            | HostError::Argument { .. }
            | HostError::Broken { .. } => Blame::Plugin,
        }
    }

    /// True if a session with fewer lanes may succeed.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            HostError::Call { status: clr_abi::OUT_OF_MEMORY, .. }
                | HostError::Died { death: Death::Memory { .. }, .. }
        )
    }

    /// True if it cost the process that held the session.
    pub fn is_death(&self) -> bool {
        matches!(self, HostError::Died { .. })
    }

    /// True if the session is as good as before: the plugin refused the call and did nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, HostError::Call { status: clr_abi::INVALID_ARGUMENT | clr_abi::UNSUPPORTED, .. })
    }

    /// True if the plugin cannot do this, though the request was well-formed: another device may.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, HostError::Call { status: clr_abi::UNSUPPORTED, .. })
    }

    /// True if the device failed or is not there, so that this process must not use it again.
    pub fn is_device(&self) -> bool {
        matches!(self, HostError::Call { status: clr_abi::DEVICE, .. })
    }
}

fn status_text(status: i32) -> String {
    match status {
        super::stream::LOAD_FAILED => "streamed images could not be read".to_owned(),
        _ => match clr_abi::status_name(status) {
            Some(name) => name.to_owned(),
            None => format!("unknown status {status}"),
        },
    }
}

fn last_words(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it last said: {stderr}") }
}

/// The functions that errors name.
const FUNCTIONS: [Function; 11] = [
    "describe",
    "devices",
    "footprint",
    "session_create",
    "session_step",
    "session_evaluate",
    "session_lane_reset",
    "clr.state/1 tensors",
    "clr.state/1 save",
    "clr.state/1 load",
    "clr.parameters/1 parameters",
];

fn write_function<S: Serializer>(name: &Function, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

fn read_function<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Function, D::Error> {
    let name = Cow::<'de, str>::deserialize(deserializer)?;
    let known = FUNCTIONS.into_iter().find(|known| *known == name);
    known.ok_or_else(|| serde::de::Error::custom(format_args!("there is no function `{name}`")))
}

/// Paths are shown to people: what is not UTF-8 in them may be lost.
fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn folders(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no folder".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
