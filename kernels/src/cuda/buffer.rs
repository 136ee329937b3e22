//! Device memory, and where lanes lie in it.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{DriverError, result, sys};

use super::gpu::Inner;
use super::{Gpu, GpuError};

/// Values of one type in the memory of a GPU. Freed when neither this nor a graph that uses it is left.
pub struct Buffer<T> {
    allocation: Arc<Allocation>,
    len: usize,
    values: PhantomData<T>,
}

/// K tensors of one shape in a buffer: that of lane k begins at `offset + k * stride`.
#[derive(Debug)]
pub struct Lanes<'a, T = f32> {
    /// The buffer that holds them.
    pub buffer: &'a Buffer<T>,
    /// The place in the buffer at which lane 0 begins.
    pub offset: usize,
    /// From one lane to the next; 0 where all read the same tensor.
    pub stride: usize,
}

/// Memory of a GPU.
pub(super) struct Allocation {
    gpu: Arc<Inner>,
    pointer: sys::CUdeviceptr,
}

impl Gpu {
    /// `len` values, all bits 0.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`], or what the driver says.
    pub fn alloc<T: Pod>(&self, len: usize) -> Result<Buffer<T>, GpuError> {
        // No device has so many bytes: the driver says so.
        let bytes = len.saturating_mul(size_of::<T>());
        Ok(Buffer { allocation: Arc::new(self.allocate(bytes)?), len, values: PhantomData })
    }

    /// A buffer with the values of `source`.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub fn alloc_from<T: Pod>(&self, source: &[T]) -> Result<Buffer<T>, GpuError> {
        let buffer = self.alloc(source.len())?;
        self.upload(&buffer, 0, source)?;
        Ok(buffer)
    }

    /// Copies `source` to `buffer` from place `offset` on, after the work so far. `source` can be changed at once.
    ///
    /// # Errors
    /// What the copy or a kernel before it failed with.
    ///
    /// # Panics
    /// If the buffer is too short or another GPU's, or a capture is going on.
    pub fn upload<T: Pod>(&self, buffer: &Buffer<T>, offset: usize, source: &[T]) -> Result<(), GpuError> {
        self.check_copy(buffer, offset, source.len());
        if source.is_empty() {
            return Ok(());
        }
        let failed = |error| GpuError::failed("copying to the GPU", error);
        self.inner().bind().map_err(failed)?;
        // SAFETY: the range was checked. The driver copies from pageable memory before it returns, or waits.
        unsafe { result::memcpy_htod_async(buffer.pointer_at(offset), source, self.inner().raw_stream()) }
            .map_err(failed)
    }

    /// Copies values of `buffer` from place `offset` on to `target`. Waits for the work so far.
    ///
    /// # Errors
    /// What the copy or a kernel before it failed with.
    ///
    /// # Panics
    /// If the buffer is too short or another GPU's, or a capture is going on.
    pub fn download<T: Pod>(&self, buffer: &Buffer<T>, offset: usize, target: &mut [T]) -> Result<(), GpuError> {
        self.check_copy(buffer, offset, target.len());
        if target.is_empty() {
            return Ok(());
        }
        let failed = |error| GpuError::failed("copying from the GPU", error);
        self.inner().bind().map_err(failed)?;
        // SAFETY: the range was checked, and `target` is borrowed until the copy is done.
        unsafe { result::memcpy_dtoh_async(target, buffer.pointer_at(offset), self.inner().raw_stream()) }
            .map_err(failed)?;
        self.synchronize()
    }

    /// Copies `len` values from `source` to `target`, each from its place on, after the work so far. Can be captured.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If a buffer is too short or another GPU's, or both ranges overlap.
    pub fn copy<T: Pod>(
        &self,
        (source, from): (&Buffer<T>, usize),
        (target, to): (&Buffer<T>, usize),
        len: usize,
    ) -> Result<(), GpuError> {
        source.check(self, from, len);
        target.check(self, to, len);
        let overlap = Arc::ptr_eq(&source.allocation, &target.allocation) && from < to + len && to < from + len;
        assert!(!overlap, "a copy of {len} values from {from} to {to} of one buffer");
        if len == 0 {
            return Ok(());
        }
        let failed = |error| GpuError::failed("copying on the GPU", error);
        self.inner().bind().map_err(failed)?;
        self.keep([&source.allocation, &target.allocation]);
        let (source, target) = (source.pointer_at(from), target.pointer_at(to));
        // SAFETY: both ranges were checked.
        unsafe { result::memcpy_dtod_async(target, source, len * size_of::<T>(), self.inner().raw_stream()) }
            .map_err(failed)
    }

    fn check_copy<T>(&self, buffer: &Buffer<T>, offset: usize, len: usize) {
        buffer.check(self, offset, len);
        assert!(self.inner().with_capture(|capture| capture.is_none()), "a copy to or from the host in a graph");
    }

    /// Lets a graph that is being captured hold what it uses.
    pub(super) fn keep<'a>(&self, allocations: impl IntoIterator<Item = &'a Arc<Allocation>>) {
        self.inner().with_capture(|capture| {
            if let Some(capture) = capture {
                capture.keep(allocations.into_iter().cloned());
            }
        });
    }
}

impl<T> Buffer<T> {
    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lanes of `stride` values from the beginning on.
    pub fn lanes(&self, stride: usize) -> Lanes<'_, T> {
        Lanes { buffer: self, offset: 0, stride }
    }

    /// One tensor at the beginning, that all lanes read.
    pub fn shared(&self) -> Lanes<'_, T> {
        self.lanes(0)
    }

    pub(super) fn allocation(&self) -> &Arc<Allocation> {
        &self.allocation
    }

    pub(super) fn pointer_at(&self, place: usize) -> sys::CUdeviceptr {
        self.allocation.pointer + (place * size_of::<T>()) as u64
    }

    #[track_caller]
    pub(super) fn check(&self, gpu: &Gpu, offset: usize, len: usize) {
        assert!(Arc::ptr_eq(&self.allocation.gpu, gpu.inner()), "a buffer of another GPU");
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(fits, "{len} values from {offset} on of a buffer of {}", self.len);
    }
}

impl<T> Lanes<'_, T> {
    /// The same lanes, each so many values further.
    #[must_use]
    pub fn at(self, offset: usize) -> Self {
        Lanes { offset: self.offset + offset, ..self }
    }

    /// True if every lane begins at a multiple of four values.
    pub(crate) fn is_aligned(&self) -> bool {
        self.offset.is_multiple_of(4) && self.stride.is_multiple_of(4)
    }
}

impl<T> Clone for Lanes<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Lanes<'_, T> {}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {} {}", self.len, std::any::type_name::<T>())
    }
}

impl Allocation {
    pub fn new(gpu: &Arc<Inner>, bytes: usize) -> Result<Allocation, DriverError> {
        gpu.bind()?;
        // The driver refuses to allocate nothing.
        let bytes = bytes.max(1);
        // SAFETY: the memory is this allocation's until it is dropped, and is zeroed before anything else goes through the
        // stream.
        unsafe {
            let pointer = result::malloc_sync(bytes)?;
            let allocation = Allocation { gpu: Arc::clone(gpu), pointer };
            result::memset_d8_async(pointer, 0, bytes, gpu.raw_stream())?;
            Ok(allocation)
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // What fails here failed before: whoever waits for the GPU next hears of it.
        if self.gpu.bind().is_ok() {
            let _ = self.gpu.stream.synchronize();
            // SAFETY: nothing uses the memory any more: all work is done, and no graph holds it.
            let _ = unsafe { result::free_sync(self.pointer) };
        }
    }
}
