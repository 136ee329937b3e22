//! CUDA on the CPU, for tests.
//!
//! The kernels' `.cu` files are compiled by the host's C++ compiler and run by a small runtime, in which each CUDA
//! thread has a stack of its own. A test driver stands in for `libcuda.so.1`, so everything above it runs unchanged:
//! `cudarc`, our device layer, sessions, graphs. A checker watches every memory access of a kernel for races between
//! threads and between blocks, for accesses out of bounds and for reads of memory that nobody has written; it reports
//! diverging barriers and deadlocks. A problem fails the launch, and its text is the driver's error message.
//!
//! ```no_run
//! if !clr_cuda_emulator::install() {
//!     return; // No C++ compiler: the reason was printed.
//! }
//! // From here on, cudarc finds one emulated device.
//! ```
//!
//! What it cannot show: speed, the rounding within a tensor core, weak memory, asynchronous streams (work is done in
//! the call that submits it), clusters, TMA and `wgmma`. See `runtime/` and `driver/` for how it works.

mod builder;
mod driver;
mod kernel_list;

pub use builder::{BuildError, Flavour};
pub use driver::{Order, Setting, environment, install, install_files, install_unchecked, set};
