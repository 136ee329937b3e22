//! The launch of a kernel: its grid, and its arguments, each checked against the length that the kernel expects.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::{align_of, size_of};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use cudarc::driver::result;

use super::argument::Argument;
use super::buffer::Allocation;
#[cfg(test)]
use super::declared;
use super::{Buffer, Gpu, GpuError, Lanes};

/// A launch in the making: arguments are added in the kernel's order, under the names that it has for them. Tests compare names,
/// types and sizes with what the kernel declares.
///
/// ```ignore
/// let launch = gpu.launch("relu_forward", lanes).threads_for(len, 256).value("len", count(len));
/// // SAFETY: the arguments of `relu_forward`.
/// unsafe { launch.write("y", y, len).run() }
/// ```
#[must_use]
pub(crate) struct Launch<'a> {
    gpu: &'a Gpu,
    kernel: &'static str,
    lanes: usize,
    blocks: [usize; 3],
    threads: usize,
    shared_bytes: usize,
    arguments: Vec<Vec<u64>>,
    allocations: Vec<&'a Arc<Allocation>>,
    /// Type, name and bytes of each argument.
    #[cfg(test)]
    given: Vec<(String, &'static str, usize)>,
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
    pub(super) fn new(gpu: &'a Gpu, kernel: &'static str, lanes: usize) -> Launch<'a> {
        Launch {
            gpu,
            kernel,
            lanes,
            blocks: [1; 3],
            threads: 1,
            shared_bytes: 0,
            arguments: Vec::new(),
            allocations: Vec::new(),
            #[cfg(test)]
            given: Vec::new(),
        }
    }

    /// Blocks along x, y and z: at most 2^31 - 1 and twice 65,535.
    pub fn blocks(self, blocks: [usize; 3]) -> Self {
        Launch { blocks, ..self }
    }

    /// Threads of a block, all along x.
    pub fn threads(self, threads: usize) -> Self {
        Launch { threads, ..self }
    }

    /// A thread for each of `items` in each lane: blocks of so many threads along x, lanes along y.
    pub fn threads_for(self, items: usize, threads: usize) -> Self {
        let lanes = self.lanes;
        self.blocks([items.div_ceil(threads), lanes, 1]).threads(threads)
    }

    /// Dynamic shared memory of a block.
    pub fn shared_bytes(self, shared_bytes: usize) -> Self {
        Launch { shared_bytes, ..self }
    }

    /// A number, or a struct of numbers.
    #[track_caller]
    pub fn value<T: Argument>(self, name: &'static str, value: T) -> Self {
        #[cfg(test)]
        if !T::FIELDS.is_empty() {
            declared::check_struct(T::TYPE, T::FIELDS);
        }
        self.push(name, || T::TYPE.to_owned(), value)
    }

    /// A `Lanes<const T>`: `len` values that the kernel reads in each lane.
    ///
    /// # Panics
    /// If the buffer is too short, or another GPU's.
    #[track_caller]
    pub fn read<T: Argument>(self, name: &'static str, view: Lanes<'a, T>, len: usize) -> Self {
        self.read_optional(name, Some(view), len)
    }

    /// A `Lanes<T>`: `len` values that the kernel writes in each lane.
    ///
    /// # Panics
    /// If the buffer is too short or another GPU's, or lanes overlap.
    #[track_caller]
    pub fn write<T: Argument>(self, name: &'static str, view: Lanes<'a, T>, len: usize) -> Self {
        self.write_optional(name, Some(view), len)
    }

    /// As [`Launch::read`]; null where there is none.
    #[track_caller]
    pub fn read_optional<T: Argument>(self, name: &'static str, view: Option<Lanes<'a, T>>, len: usize) -> Self {
        self.push_lanes(name, || format!("Lanes<const {}>", T::TYPE), view, len)
    }

    /// As [`Launch::write`]; null where there is none.
    #[track_caller]
    pub fn write_optional<T: Argument>(self, name: &'static str, view: Option<Lanes<'a, T>>, len: usize) -> Self {
        if let Some(Lanes { stride, .. }) = view {
            assert!(self.lanes <= 1 || stride >= len, "lanes of {len} values written {stride} apart");
        }
        self.push_lanes(name, || format!("Lanes<{}>", T::TYPE), view, len)
    }

    /// A `const T*`: at least `len` values that the kernel reads.
    ///
    /// # Panics
    /// If the buffer is too short, or another GPU's.
    #[track_caller]
    pub fn table<T: Argument>(self, name: &'static str, buffer: &'a Buffer<T>, len: usize) -> Self {
        self.table_optional(name, Some(buffer), len)
    }

    /// As [`Launch::table`]; null where there is none.
    #[track_caller]
    pub fn table_optional<T: Argument>(self, name: &'static str, buffer: Option<&'a Buffer<T>>, len: usize) -> Self {
        self.push_table(name, || format!("const {}*", T::TYPE), buffer, len)
    }

    /// A `T*`: at least `len` values that the kernel writes.
    ///
    /// # Panics
    /// If the buffer is too short, or another GPU's.
    #[track_caller]
    pub fn table_mut<T: Argument>(self, name: &'static str, buffer: &'a Buffer<T>, len: usize) -> Self {
        self.push_table(name, || format!("{}*", T::TYPE), Some(buffer), len)
    }

    #[track_caller]
    fn push_lanes<T>(
        mut self,
        name: &'static str,
        kind: impl Fn() -> String,
        view: Option<Lanes<'a, T>>,
        len: usize,
    ) -> Self {
        let Some(Lanes { buffer, offset, stride }) = view else {
            return self.push(name, kind, DeviceLanes { pointer: 0, stride: 0 });
        };
        buffer.check(self.gpu, offset, self.lanes.saturating_sub(1).saturating_mul(stride).saturating_add(len));
        self.allocations.push(buffer.allocation());
        self.push(name, kind, DeviceLanes { pointer: buffer.pointer_at(offset), stride: stride as u64 })
    }

    #[track_caller]
    fn push_table<T: Argument>(
        mut self,
        name: &'static str,
        kind: impl Fn() -> String,
        buffer: Option<&'a Buffer<T>>,
        len: usize,
    ) -> Self {
        #[cfg(test)]
        if !T::FIELDS.is_empty() {
            declared::check_struct(T::TYPE, T::FIELDS);
        }
        let Some(buffer) = buffer else { return self.push(name, kind, 0_u64) };
        buffer.check(self.gpu, 0, len);
        self.allocations.push(buffer.allocation());
        self.push(name, kind, buffer.pointer_at(0))
    }

    #[cfg_attr(not(test), expect(unused_variables, reason = "tests look at them"))]
    fn push<T: Pod>(mut self, name: &'static str, kind: impl Fn() -> String, value: T) -> Self {
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        let mut words = vec![0_u64; size_of::<T>().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        self.arguments.push(words);
        #[cfg(test)]
        self.given.push((kind(), name, size_of::<T>()));
        self
    }

    /// Hands the launch to the stream, or to the graph that is being captured. Without blocks or threads there is nothing to
    /// do.
    ///
    /// # Safety
    /// The arguments are those that the kernel declares, in its order, and with this grid it stays within their lengths.
    #[track_caller]
    pub unsafe fn run(self) -> Result<(), GpuError> {
        #[cfg(test)]
        declared::check_launch(self.kernel, &self.given);
        let Launch { gpu, kernel, blocks, threads, shared_bytes, mut arguments, allocations, .. } = self;
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
