//! An NVIDIA GPU as a device: memory, kernel launches, and graphs of them.
//!
//! The driver is loaded when it is asked for; where there is none, [`Gpu::open`] says so. Each operation's `cuda.rs` checks
//! lengths against shapes and launches the kernels of the `.cu` file beside it. A launch is asynchronous, allocates nothing
//! on the device and can be captured in a [`Graph`].
//!
//! All operations work on K lanes at once: [`Lanes`] says where lane k's tensor begins. The lane is a dimension of the grid,
//! and neither blocks nor the order of a sum depend on K: a lane's bits do not depend on its neighbours.

mod argument;
mod buffer;
#[cfg(test)]
mod declared;
mod error;
mod gpu;
mod graph;
mod launch;
mod module;
mod precision;

pub(crate) use argument::{Argument, mirror};
pub use buffer::{Buffer, Lanes};
pub use error::GpuError;
pub use gpu::{Gpu, Memory};
pub use graph::Graph;
pub(crate) use launch::{Launch, count, width};
pub use precision::Precision;
