//! A GPU: found, opened, and what it is asked for.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::buffer::Allocation;
use super::error::is_out_of_memory;
use super::graph::Capture;
use super::module::Module;
use super::{GpuError, Launch};

/// The CUDA version that the kernels were compiled with: older drivers cannot load them.
const NEEDED_CUDA: (u32, u32) = (12, 1);

/// Ampere: asynchronous copies to shared memory, and the tensor cores' TF32 and BF16.
const NEEDED_CAPABILITY: (u32, u32) = (8, 0);

/// A GPU with the kernels loaded, and the one stream that all work goes through in order. Clones are the same GPU.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

/// Bytes of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that no process uses.
    pub free: usize,
    /// Bytes that the GPU has.
    pub total: usize,
}

pub(super) struct Inner {
    pub stream: Arc<CudaStream>,
    pub module: Module,
    /// The capture in progress.
    pub capture: Mutex<Option<Capture>>,
    name: String,
    capability: (u32, u32),
}

impl Gpu {
    /// How many GPUs the driver finds, too old ones among them. 0 where the driver finds none.
    ///
    /// # Errors
    /// [`GpuError::NoDriver`], [`GpuError::DriverTooOld`], or what the driver says.
    pub fn count() -> Result<usize, GpuError> {
        // SAFETY: the driver's library, if there is one, is loaded and unloaded; the names it is looked for by are fixed.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::NoDriver);
        }
        let mut version = 0;
        // SAFETY: the function writes one integer, and may be called before `cuInit`.
        let asked = unsafe { sys::cuDriverGetVersion(&mut version) };
        asked.result().map_err(|error| GpuError::failed("asking for the driver's version", error))?;
        let found = (version as u32 / 1000, version as u32 % 1000 / 10);
        if found < NEEDED_CUDA {
            return Err(GpuError::DriverTooOld { found, needed: NEEDED_CUDA });
        }
        match result::init() {
            Ok(()) => {}
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(0),
            Err(DriverError(sys::CUresult::CUDA_ERROR_STUB_LIBRARY)) => return Err(GpuError::NoDriver),
            Err(error) => return Err(GpuError::failed("starting the driver", error)),
        }
        let count = result::device::get_count().map_err(|error| GpuError::failed("counting GPUs", error))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Major and minor compute capability of GPU `ordinal`, counted from 0. Does not open it.
    ///
    /// # Errors
    /// As [`Gpu::open`], but for what loading the kernels fails with.
    pub fn capability_of(ordinal: usize) -> Result<(u32, u32), GpuError> {
        let count = Gpu::count()?;
        let device = i32::try_from(ordinal).ok().filter(|_| ordinal < count);
        let failed = |error| GpuError::failed(format!("asking for the compute capability of GPU {ordinal}"), error);
        let device = result::device::get(device.ok_or(GpuError::NoSuchGpu { ordinal, count })?).map_err(failed)?;
        use sys::CUdevice_attribute::{
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
        };
        // SAFETY: the driver gave the device.
        let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) }.map_err(failed);
        let found = (attribute(MAJOR)? as u32, attribute(MINOR)? as u32);
        if found < NEEDED_CAPABILITY {
            let name = result::device::get_name(device).map_err(failed)?;
            return Err(GpuError::GpuTooOld { ordinal, name, found, needed: NEEDED_CAPABILITY });
        }
        Ok(found)
    }

    /// Opens GPU `ordinal`, counted from 0, and loads the kernels.
    ///
    /// # Errors
    /// As [`Gpu::count`]; [`GpuError::NoSuchGpu`], [`GpuError::GpuTooOld`].
    pub fn open(ordinal: usize) -> Result<Gpu, GpuError> {
        let capability = Gpu::capability_of(ordinal)?;
        let failed = |error| GpuError::failed(format!("opening GPU {ordinal}"), error);
        let context = CudaContext::new(ordinal).map_err(failed)?;
        // SAFETY: all work goes through one stream, in order.
        unsafe { context.disable_event_tracking() };
        let name = context.name().map_err(failed)?;
        // Waiting threads sleep: a processor may have fewer threads than there are workers.
        context.set_blocking_synchronize().map_err(failed)?;
        // The default stream cannot be captured.
        let stream = context.new_stream().map_err(failed)?;
        let module = Module::load(context, capability)?;
        Ok(Gpu { inner: Arc::new(Inner { stream, module, capture: Mutex::new(None), name, capability }) })
    }

    /// The model, as the driver names it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Major and minor compute capability.
    pub fn compute_capability(&self) -> (u32, u32) {
        self.inner.capability
    }

    /// The memory that is free at this moment, and all that there is.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<Memory, GpuError> {
        let (free, total) =
            self.context().mem_get_info().map_err(|error| GpuError::failed("asking for free memory", error))?;
        Ok(Memory { free, total })
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// What a kernel or a copy failed with.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        self.inner.stream.synchronize().map_err(|error| GpuError::failed("waiting for the GPU", error))
    }

    /// Begins the launch of a kernel for K lanes.
    pub(crate) fn launch(&self, kernel: &'static str, lanes: usize) -> Launch<'_> {
        Launch::new(self, kernel, lanes)
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<Allocation, GpuError> {
        let failed = |error| self.failed(format!("allocating {bytes} bytes"), bytes, error);
        Allocation::new(&self.inner, bytes).map_err(failed)
    }

    /// The error of an operation that takes memory: `bytes`, or 0 where the driver alone knows.
    pub(super) fn failed(&self, action: impl Into<String>, bytes: usize, error: DriverError) -> GpuError {
        if !is_out_of_memory(error) {
            return GpuError::failed(action, error);
        }
        let Memory { free, total } = self.memory().unwrap_or(Memory { free: 0, total: 0 });
        GpuError::OutOfMemory { bytes, free, total }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    fn context(&self) -> &Arc<CudaContext> {
        self.inner.stream.context()
    }
}

impl Inner {
    /// Makes the GPU that of the calling thread, for calls to the driver that go past `cudarc`'s safe layer.
    pub fn bind(&self) -> Result<(), DriverError> {
        self.stream.context().bind_to_thread()
    }

    pub fn raw_stream(&self) -> sys::CUstream {
        self.stream.cu_stream()
    }

    /// Does something to the capture, if one is going on.
    pub fn with_capture<T>(&self, work: impl FnOnce(&mut Option<Capture>) -> T) -> T {
        work(&mut self.capture.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("name", &self.inner.name).field("capability", &self.inner.capability).finish()
    }
}
