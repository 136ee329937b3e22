//! Why a GPU cannot be used, or can no longer be.

use std::fmt;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// Why a GPU cannot be used, or what failed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuError {
    /// The driver's library is not installed.
    NoDriver,
    /// The driver is older than the kernels. Versions are those of CUDA, as (major, minor).
    DriverTooOld {
        /// The newest CUDA version that the driver supports.
        found: (u32, u32),
        /// The oldest that the kernels run on.
        needed: (u32, u32),
    },
    /// There is no GPU of this number.
    NoSuchGpu {
        /// The number that was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU is older than the kernels.
    GpuTooOld {
        /// The number that was asked for.
        ordinal: usize,
        /// The GPU, as the driver names it.
        name: String,
        /// Its compute capability, as (major, minor).
        found: (u32, u32),
        /// The oldest that the kernels run on.
        needed: (u32, u32),
    },
    /// An allocation did not fit.
    OutOfMemory {
        /// Bytes that were asked for; 0 where the driver does not say.
        bytes: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes that the GPU has.
        total: usize,
    },
    /// The driver reported an error. Errors of a kernel show at the next copy or synchronisation, and leave the GPU unusable
    /// for this process.
    Failed {
        /// The operation that failed.
        action: String,
        /// The driver's name for the error.
        message: String,
    },
}

impl GpuError {
    pub(super) fn failed(action: impl Into<String>, error: DriverError) -> GpuError {
        let DriverError(code) = error;
        let word = |word: Result<&std::ffi::CStr, DriverError>| {
            word.map_or_else(|_| format!("error {}", code as u32), |word| word.to_string_lossy().into_owned())
        };
        let message = format!("{} ({})", word(error.error_string()), word(error.error_name()));
        GpuError::Failed { action: action.into(), message }
    }
}

/// True if the driver had no room.
pub(super) fn is_out_of_memory(error: DriverError) -> bool {
    error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuError::NoDriver => write!(f, "no NVIDIA driver: its library (libcuda.so.1) was not found"),
            GpuError::DriverTooOld { found, needed } => write!(
                f,
                "the NVIDIA driver is too old: it supports CUDA {}.{}, and {}.{} is needed (driver 530 or newer)",
                found.0, found.1, needed.0, needed.1
            ),
            GpuError::NoSuchGpu { ordinal, count: 0 } => write!(f, "no GPU {ordinal}: the NVIDIA driver finds none"),
            GpuError::NoSuchGpu { ordinal, count } => {
                write!(f, "no GPU {ordinal}: the NVIDIA driver finds {count}, counted from 0")
            }
            GpuError::GpuTooOld { ordinal, name, found, needed } => write!(
                f,
                "GPU {ordinal} ({name}) is too old: its compute capability is {}.{}, and {}.{} is needed (Ampere or newer)",
                found.0, found.1, needed.0, needed.1
            ),
            GpuError::OutOfMemory { bytes: 0, free, total } => {
                write!(f, "out of GPU memory: {} of {} MiB are free", free / MIB, total / MIB)
            }
            GpuError::OutOfMemory { bytes, free, total } => write!(
                f,
                "out of GPU memory: {} MiB were asked for, {} of {} MiB are free",
                bytes.div_ceil(MIB),
                free / MIB,
                total / MIB
            ),
            GpuError::Failed { action, message } => write!(f, "GPU: {action}: {message}"),
        }
    }
}

const MIB: usize = 1 << 20;

impl std::error::Error for GpuError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: GpuError, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn messages_say_what_is_missing() {
        check(
            GpuError::DriverTooOld { found: (11, 8), needed: (12, 1) },
            "the NVIDIA driver is too old: it supports CUDA 11.8, and 12.1 is needed (driver 530 or newer)",
        );
        check(GpuError::NoSuchGpu { ordinal: 0, count: 0 }, "no GPU 0: the NVIDIA driver finds none");
        check(GpuError::NoSuchGpu { ordinal: 2, count: 2 }, "no GPU 2: the NVIDIA driver finds 2, counted from 0");
        check(
            GpuError::OutOfMemory { bytes: 3 * MIB - 1, free: MIB, total: 2 * MIB },
            "out of GPU memory: 3 MiB were asked for, 1 of 2 MiB are free",
        );
        check(GpuError::OutOfMemory { bytes: 0, free: MIB, total: 2 * MIB }, "out of GPU memory: 1 of 2 MiB are free");
    }
}
