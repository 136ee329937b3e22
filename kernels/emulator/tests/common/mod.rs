//! A device that runs one of the `.cu` files beside these tests.

use std::path::PathBuf;
use std::sync::Arc;

use clr_cuda_emulator::{Flavour, install_files};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream};
use cudarc::nvrtc::Ptx;

/// A stream, and a module whose image names the given kernels.
pub struct Device {
    pub stream: Arc<CudaStream>,
    pub module: Arc<CudaModule>,
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
        let module = context.load_module(image(kernels)).unwrap();
        Some(Self { stream, module })
    }

    pub fn function(&self, name: &str) -> CudaFunction {
        self.module.load_function(name).unwrap()
    }
}

/// As much PTX as the driver looks at.
pub fn image(kernels: &[&str]) -> Ptx {
    let entries: String = kernels.iter().map(|name| format!(".visible .entry {name}()\n{{ ret; }}\n")).collect();
    Ptx::from_src(format!(".version 8.1\n.target sm_80\n.address_size 64\n{entries}"))
}
