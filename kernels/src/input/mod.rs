//! Batches of images, made on a GPU from a data set that lies there as bytes.
//!
//! On the CPU, and for a data set that is streamed, `clr_plugin::Dataset::fill_batch` makes them: bit for bit the same.

pub mod cuda;
