//! A device that runs `.cu` files beside these tests.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use clr_cuda_emulator::{Flavour, install_files};
use cudarc::driver::{CudaContext, CudaStream, DriverError, LaunchConfig, result, sys};

/// A stream, and a module whose image names the given kernels.
pub struct Device {
    pub stream: Arc<CudaStream>,
    module: sys::CUmodule,
}

impl Device {
    /// Builds `tests/kernels/FILES`; none without a C++ compiler.
    pub fn open(files: &[&str], flavour: Flavour, kernels: &[&str]) -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
        let files: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        if !install_files(&files, flavour) {
            return None;
        }
        let context = CudaContext::new(0).unwrap();
        let stream = context.new_stream().unwrap();
        let module = load(&image(kernels)).unwrap();
        Some(Self { stream, module })
    }

    /// Launches a kernel; each argument is the address of what the kernel takes.
    pub fn launch(&self, kernel: &str, launch: LaunchConfig, arguments: &[*const c_void]) -> Result<(), DriverError> {
        let name = CString::new(kernel).unwrap();
        let mut arguments: Vec<*mut c_void> = arguments.iter().map(|argument| argument.cast_mut()).collect();
        // SAFETY: the tests pass what the kernels in their `.cu` files take.
        unsafe {
            let function = result::module::get_function(self.module, name)?;
            let (grid, block) = (launch.grid_dim, launch.block_dim);
            let stream = self.stream.cu_stream();
            result::launch_kernel(function, grid, block, launch.shared_mem_bytes, stream, &mut arguments)
        }
    }
}

/// The address of an argument.
pub fn argument<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

/// Loads an image that ends with a zero, or that knows its length.
pub fn load(image: &[u8]) -> Result<sys::CUmodule, DriverError> {
    // SAFETY: the callers pass PTX that ends with a zero, or a whole ELF file.
    unsafe { result::module::load_data(image.as_ptr().cast()) }
}

/// As much PTX as the driver looks at.
pub fn image(kernels: &[&str]) -> Vec<u8> {
    let entries: String = kernels.iter().map(|name| format!(".visible .entry {name}()\n{{ ret; }}\n")).collect();
    format!(".version 8.1\n.target sm_80\n.address_size 64\n{entries}\0").into_bytes()
}
