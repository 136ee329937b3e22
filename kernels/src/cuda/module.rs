//! The kernels, as the library carries them and as the driver has loaded them.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::GpuError;

/// All kernels for compute capability 9.0, which needs no compilation.
const SM_90: &[u8] = include_bytes!("../../cuda/kernels.sm_90.cubin");

/// All kernels for 8.0 and later, which the driver compiles, and keeps in a cache.
const COMPUTE_80: &[u8] = include_bytes!("../../cuda/kernels.compute_80.ptx");

/// Shared memory that a block has without asking.
const SHARED_BYTES: u32 = 48 << 10;

pub(super) struct Module {
    context: Arc<CudaContext>,
    module: sys::CUmodule,
    kernels: Mutex<HashMap<&'static str, Kernel>>,
}

#[derive(Clone, Copy)]
struct Kernel {
    function: sys::CUfunction,
    /// Dynamic shared memory that it was allowed so far.
    shared_bytes: u32,
}

// SAFETY: modules and functions may be used by any thread, of which the driver takes care; before each call the context is
// made that of the thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    pub fn load(context: Arc<CudaContext>, capability: (u32, u32)) -> Result<Module, GpuError> {
        let failed = |error| GpuError::failed("loading the kernels", error);
        context.bind_to_thread().map_err(failed)?;
        let ptx;
        let image: *const c_void = if capability == (9, 0) {
            SM_90.as_ptr().cast()
        } else {
            ptx = [COMPUTE_80, b"\0"].concat();
            ptx.as_ptr().cast()
        };
        // SAFETY: a cubin says how long it is, and PTX ends in a zero.
        let module = unsafe { result::module::load_data(image) }.map_err(failed)?;
        Ok(Module { context, module, kernels: Mutex::new(HashMap::new()) })
    }

    /// The kernel of this name, allowed to use so much dynamic shared memory.
    pub fn function(&self, name: &'static str, shared_bytes: u32) -> Result<sys::CUfunction, DriverError> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = match kernels.get_mut(name) {
            Some(kernel) => kernel,
            None => {
                let c_name = CString::new(name).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))?;
                // SAFETY: the module is loaded.
                let function = unsafe { result::module::get_function(self.module, c_name) }?;
                kernels.entry(name).or_insert(Kernel { function, shared_bytes: SHARED_BYTES })
            }
        };
        if shared_bytes > kernel.shared_bytes {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of a loaded module.
            unsafe { result::function::set_function_attribute(kernel.function, attribute, shared_bytes as i32) }?;
            kernel.shared_bytes = shared_bytes;
        }
        Ok(kernel.function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: the stream is used by nobody any more, and buffers and graphs hold the GPU that holds this module.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}
