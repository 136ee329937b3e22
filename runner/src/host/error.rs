//! What can go wrong with a plugin. Messages name the plugin, the function and the status.

use std::path::PathBuf;

/// A plugin could not be found, was refused, or did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No library of that name in the search path.
    #[error("no plugin `{name}`: found {}; looked in {}", list(.available), folders(.searched))]
    NotFound {
        /// What was asked for.
        name: String,
        /// Names that there are.
        available: Vec<String>,
        /// Folders and files, in order.
        searched: Vec<PathBuf>,
    },
    /// The file is not a library, or one that the system cannot load.
    #[error("cannot load the plugin {}: {message}", .path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// The system's message.
        message: String,
    },
    /// The library is no plugin that this host can work with.
    #[error("refused the plugin {}: {}", .path.display(), .problems.join("; "))]
    Refused {
        /// The library.
        path: PathBuf,
        /// All that is wrong with it.
        problems: Vec<String>,
    },
    /// A call ended with a status other than CLR_OK.
    #[error("plugin `{plugin}`: {function}: {message} ({})", status_text(*.status))]
    Call {
        /// The plugin's name.
        plugin: String,
        /// The function of the ABI.
        function: &'static str,
        /// The status, as in `clr_plugin.h`.
        status: i32,
        /// The plugin's own words.
        message: String,
    },
    /// A call succeeded with an answer that breaks the ABI's rules: a bug in the plugin.
    #[error("plugin `{plugin}`: {function}: broke the rules of the ABI: {message}")]
    Answer {
        /// The plugin's name.
        plugin: String,
        /// The function of the ABI.
        function: &'static str,
        /// Which rule, and what was found.
        message: String,
    },
    /// The host's own caller asked for something malformed.
    #[error("plugin `{plugin}`: {function}: not called: {message}")]
    Argument {
        /// The plugin's name.
        plugin: String,
        /// The function of the ABI that would have been called.
        function: &'static str,
        /// What is malformed.
        message: String,
    },
    /// An earlier call has left the session's lanes half changed.
    #[error("plugin `{plugin}`: {function}: not called: an earlier call on this session failed")]
    Broken {
        /// The plugin's name.
        plugin: String,
        /// The function of the ABI that would have been called.
        function: &'static str,
    },
}

impl HostError {
    /// Whether a session with fewer lanes may succeed.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, HostError::Call { status: clr_abi::OUT_OF_MEMORY, .. })
    }

    /// Whether the plugin cannot do what was asked, though that was well-formed: another device may.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, HostError::Call { status: clr_abi::UNSUPPORTED, .. })
    }

    /// Whether the device failed or is not there, so that this process must not use it again.
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

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn folders(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no folder".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
