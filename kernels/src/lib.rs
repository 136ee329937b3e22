//! Operations on flat buffers, for clr-run networks.
//!
//! An operation is a folder: `mod.rs` has the contract and the tests, `cpu.rs` the loops, `NAME.cu` the same for a GPU, where
//! `cuda.rs` launches it. On the CPU, buffers are flat slices of f32 and hold one lane; for a GPU see [`cuda`]. Images are NHWC,
//! convolution weights `[kernel_h][kernel_w][in_c / groups][out_c]`, weights of a fully connected layer `[inputs][outputs]`.
//! Nothing allocates: an operation that needs scratch memory says how much.
//!
//! Results depend on the instruction set ([`Isa`]) alone: work is cut by shape, never by the number of threads, and partial
//! sums are added in a fixed tree. A buffer of the wrong length is a bug in the caller and panics.

#![warn(missing_docs)]

pub mod activation;
pub mod add;
pub mod batch_norm;
pub mod coin;
pub mod concat;
pub mod conv2d;
mod cpu;
pub mod cuda;
#[cfg(test)]
mod cuda_tests;
pub mod dropout;
pub mod input;
pub mod linear;
pub mod lrn;
pub mod norm;
pub mod optimizer;
pub mod pool;
pub mod softmax_cross_entropy;
pub mod step;
pub mod subsample;
#[cfg(test)]
mod testing;

pub use activation::Activation;
pub use cpu::{Cpu, CpuError, Isa};

/// How many elements an element-wise operation hands to a thread at a time.
const ELEMENTS_PER_CHUNK: usize = 16_384;
