//! The L2 norm on a GPU, in two parts: sums of squares here, their sum in the update, which scales gradients by it.

#![allow(unsafe_code)]

use crate::cuda::{Gpu, GpuError, Lanes, count, width};

const THREADS: usize = 256;

/// Values that a block sums, at least.
const CHUNK: usize = 4096;

/// Sums of squares of a lane, at most: every block of the update adds them all.
const MOST_CHUNKS: usize = 1024;

/// How many sums of squares there are of `len` values.
pub fn partial_count(len: usize) -> usize {
    len.div_ceil(chunk_len(len))
}

/// `partial`: the sums of squares of [`partial_count`] pieces of `len` values a lane.
///
/// # Errors
/// What the driver says.
pub fn partials(
    gpu: &Gpu,
    lanes: usize,
    len: usize,
    values: Lanes<'_>,
    partial: Lanes<'_, f64>,
) -> Result<(), GpuError> {
    let chunks = partial_count(len);
    let launch = gpu.launch("norm_partials", lanes).blocks([chunks, lanes, 1]).threads(THREADS);
    let launch = launch.value("len", count(len)).value("chunk_len", count(chunk_len(len)));
    let launch = launch.value("width", width(len, [values.is_aligned()]) as u32).read("values", values, len);
    // SAFETY: the arguments of `norm_partials`.
    unsafe { launch.write("partial", partial, chunks).run() }
}

fn chunk_len(len: usize) -> usize {
    len.div_ceil(MOST_CHUNKS).next_multiple_of(4).max(CHUNK)
}
