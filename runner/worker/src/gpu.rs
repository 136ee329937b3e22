//! GPUs: which there are, and how much of their memory is free.
//!
//! They are asked about in a worker, as plugins are: a driver that crashes or hangs costs an answer and not the command,
//! and the supervisor, which outlives every worker, never holds a GPU's memory.

use clr_kernels::cuda::{Gpu, GpuError};
use serde::{Deserialize, Serialize};

/// A GPU, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuInfo {
    /// Counted from 0.
    pub ordinal: u32,
    pub name: String,
    /// Bytes of memory that nobody used when it was asked.
    pub free: u64,
    /// Bytes of memory.
    pub total: u64,
}

impl GpuInfo {
    /// As plugins name it.
    pub fn device(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }
}

/// The GPUs of these numbers, or all that can be used.
///
/// # Errors
///
/// Why one of those cannot be used, or that there is none.
pub fn gpus(ordinals: &[u32]) -> Result<Vec<GpuInfo>, String> {
    let text = |error: GpuError| error.to_string();
    if !ordinals.is_empty() {
        return ordinals.iter().map(|&ordinal| gpu(ordinal)).collect();
    }
    let count = Gpu::count().map_err(text)?;
    let found: Vec<Result<GpuInfo, String>> = (0..count as u32).map(gpu).collect();
    let usable: Vec<GpuInfo> = found.iter().flatten().cloned().collect();
    match found.into_iter().find_map(Result::err) {
        Some(reason) if usable.is_empty() => Err(reason),
        None if usable.is_empty() => Err(text(GpuError::NoSuchGpu { ordinal: 0, count })),
        _ => Ok(usable),
    }
}

fn gpu(ordinal: u32) -> Result<GpuInfo, String> {
    let asked = Gpu::open(ordinal as usize).and_then(|gpu| Ok((gpu.memory()?, gpu)));
    let (memory, gpu) = asked.map_err(|error| error.to_string())?;
    Ok(GpuInfo { ordinal, name: gpu.name().to_owned(), free: memory.free as u64, total: memory.total as u64 })
}
