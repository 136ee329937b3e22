//! Why a plugin could not do what it was asked.

use std::fmt;

/// A status and a message for people. The host adds the plugin's name and the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The status, which says what the host can do about it.
    pub status: Status,
    /// A lowercase fragment: what is wrong, with the value. Cut at 1024 bytes on its way to the host.
    pub message: String,
}

/// Each status implies one action of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The host asked for something malformed: a spec to correct, or a bug of the host.
    InvalidArgument,
    /// Well-formed, but this plugin cannot do it.
    Unsupported,
    /// Fewer lanes may succeed.
    OutOfMemory,
    /// The device failed or is not there: the process must go before the device is used again.
    Device,
    /// A bug in the plugin.
    Internal,
    /// A status of the host's own, from its `load` of streamed data: passed back to it as it came.
    Host(i32),
}

impl Error {
    /// The host asked for something malformed.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error { status: Status::InvalidArgument, message: message.into() }
    }

    /// Well-formed, but this plugin cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error { status: Status::Unsupported, message: message.into() }
    }

    /// Memory ran out; fewer lanes may succeed.
    pub fn out_of_memory(message: impl Into<String>) -> Error {
        Error { status: Status::OutOfMemory, message: message.into() }
    }

    /// The driver or a kernel failed.
    pub fn device(message: impl Into<String>) -> Error {
        Error { status: Status::Device, message: message.into() }
    }

    /// A bug in the plugin.
    pub fn internal(message: impl Into<String>) -> Error {
        Error { status: Status::Internal, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
