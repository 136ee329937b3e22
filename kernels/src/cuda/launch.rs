//! The launch of a kernel: its grid, and its arguments, each checked against the length that the kernel expects.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::{align_of, size_of};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use cudarc::driver::result;

use super::buffer::Allocation;
use super::{Buffer, Gpu, GpuError, Lanes};

/// A launch in the making: arguments are added in the kernel's order.
///
/// ```ignore
/// let launch = gpu.launch("relu_forward").blocks([len.div_ceil(256), lanes, 1]).threads(256);
/// // SAFETY: the arguments of `relu_forward`.
/// unsafe { launch.value(len as u32).write(y, lanes, len).run() }
/// ```
#[must_use]
pub(crate) struct Launch<'a> {
    gpu: &'a Gpu,
    kernel: &'static str,
    blocks: [usize; 3],
    threads: usize,
    shared_bytes: usize,
    /// Each argument's bytes.
    arguments: Vec<Vec<u64>>,
    allocations: Vec<&'a Arc<Allocation>>,
}

/// `Lanes<T>` of `device.cuh`: where lane 0 begins, and how many values lie from one lane to the next.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct DeviceLanes {
    pointer: u64,
    stride: u64,
}

/// A number of values as kernels take it.
///
/// # Panics
/// If it is 2^32 or more: such a tensor fits no GPU.
#[track_caller]
pub(crate) fn count(values: usize) -> u32 {
    u32::try_from(values).expect("fewer than 2^32 values")
}

/// How many neighbouring floats a thread reads and writes at once: 4 where every run of `len` floats and every view begins
/// at a multiple of four, else 1. No bit depends on it.
pub(crate) fn width<const N: usize>(len: usize, aligned: [bool; N]) -> usize {
    if len.is_multiple_of(4) && aligned.iter().all(|&aligned| aligned) { 4 } else { 1 }
}

impl<'a> Launch<'a> {
    pub(super) fn new(gpu: &'a Gpu, kernel: &'static str) -> Launch<'a> {
        let (arguments, allocations) = (Vec::new(), Vec::new());
        Launch { gpu, kernel, blocks: [1; 3], threads: 1, shared_bytes: 0, arguments, allocations }
    }

    /// Blocks along x, y and z: at most 2^31 - 1 and twice 65,535.
    pub fn blocks(self, blocks: [usize; 3]) -> Self {
        Launch { blocks, ..self }
    }

    /// Threads of a block, all along x.
    pub fn threads(self, threads: usize) -> Self {
        Launch { threads, ..self }
    }

    /// Dynamic shared memory of a block.
    pub fn shared_bytes(self, shared_bytes: usize) -> Self {
        Launch { shared_bytes, ..self }
    }

    /// A number, or a `#[repr(C)]` struct of numbers as the kernel declares it.
    pub fn value<T: Pod>(mut self, value: T) -> Self {
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        let mut words = vec![0_u64; size_of::<T>().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        self.arguments.push(words);
        self
    }

    /// A `Lanes<const T>`: `len` values that the kernel reads in each of `lanes` lanes.
    ///
    /// # Panics
    /// If the buffer is too short, or another GPU's.
    #[track_caller]
    pub fn read<T>(mut self, view: Lanes<'a, T>, lanes: usize, len: usize) -> Self {
        let Lanes { buffer, offset, stride } = view;
        buffer.check(self.gpu, offset, lanes.saturating_sub(1).saturating_mul(stride).saturating_add(len));
        self.allocations.push(buffer.allocation());
        self.value(DeviceLanes { pointer: buffer.pointer_at(offset), stride: stride as u64 })
    }

    /// A `Lanes<T>`: `len` values that the kernel writes in each of `lanes` lanes.
    ///
    /// # Panics
    /// If the buffer is too short or another GPU's, or lanes overlap.
    #[track_caller]
    pub fn write<T>(self, view: Lanes<'a, T>, lanes: usize, len: usize) -> Self {
        assert!(lanes <= 1 || view.stride >= len, "lanes of {len} values written {} apart", view.stride);
        self.read(view, lanes, len)
    }

    /// As [`Launch::read`]; null where there is none.
    #[track_caller]
    pub fn read_optional<T>(self, view: Option<Lanes<'a, T>>, lanes: usize, len: usize) -> Self {
        match view {
            Some(view) => self.read(view, lanes, len),
            None => self.value(DeviceLanes { pointer: 0, stride: 0 }),
        }
    }

    /// As [`Launch::write`]; null where there is none.
    #[track_caller]
    pub fn write_optional<T>(self, view: Option<Lanes<'a, T>>, lanes: usize, len: usize) -> Self {
        match view {
            Some(view) => self.write(view, lanes, len),
            None => self.value(DeviceLanes { pointer: 0, stride: 0 }),
        }
    }

    /// A plain pointer to at least `len` values that the kernel reads or writes.
    ///
    /// # Panics
    /// If the buffer is too short, or another GPU's.
    #[track_caller]
    pub fn buffer<T>(mut self, buffer: &'a Buffer<T>, len: usize) -> Self {
        buffer.check(self.gpu, 0, len);
        self.allocations.push(buffer.allocation());
        self.value(buffer.pointer_at(0))
    }

    /// Hands the launch to the stream, or to the graph that is being captured. Without blocks or threads there is nothing to
    /// do.
    ///
    /// # Safety
    /// The arguments are those that the kernel declares, in its order, and with this grid it stays within their lengths.
    pub unsafe fn run(self) -> Result<(), GpuError> {
        let Launch { gpu, kernel, blocks, threads, shared_bytes, mut arguments, allocations } = self;
        if threads == 0 || blocks.contains(&0) {
            return Ok(());
        }
        let failed = |error| GpuError::failed(format!("launching {kernel}"), error);
        let size = |size: usize| {
            let too_large = || GpuError::Failed {
                action: format!("launching {kernel}"),
                message: format!("a grid of {blocks:?} blocks is too large"),
            };
            u32::try_from(size).map_err(|_| too_large())
        };
        let [x, y, z] = blocks;
        let (grid, block, shared_bytes) = ((size(x)?, size(y)?, size(z)?), (size(threads)?, 1, 1), size(shared_bytes)?);
        let inner = gpu.inner();
        inner.bind().map_err(failed)?;
        let function = inner.module.function(kernel, shared_bytes).map_err(failed)?;
        gpu.keep(allocations);
        let mut pointers: Vec<*mut c_void> = arguments.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        unsafe { result::launch_kernel(function, grid, block, shared_bytes, inner.raw_stream(), &mut pointers) }
            .map_err(failed)
    }
}
