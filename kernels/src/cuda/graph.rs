//! Launches recorded once and replayed as one.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::buffer::Allocation;
use super::{Gpu, GpuError};

/// Launches and copies that were captured, with the buffers and arguments that they had. It keeps those buffers.
pub struct Graph {
    graph: CudaGraph,
    gpu: Gpu,
    _allocations: Vec<Arc<Allocation>>,
}

// SAFETY: a graph may be used by one thread at a time, any of them; `cudarc` makes the GPU that thread's before each call.
unsafe impl Send for Graph {}

/// Allocations that a capture in progress uses.
#[derive(Default)]
pub(super) struct Capture {
    allocations: Vec<Arc<Allocation>>,
}

impl Capture {
    pub fn keep(&mut self, allocations: impl Iterator<Item = Arc<Allocation>>) {
        for allocation in allocations {
            if !self.allocations.iter().any(|kept| Arc::ptr_eq(kept, &allocation)) {
                self.allocations.push(allocation);
            }
        }
    }
}

impl Gpu {
    /// Records what `work` launches, which does not run now.
    ///
    /// # Errors
    /// What `work` failed with, or the driver.
    ///
    /// # Panics
    /// If a capture is going on.
    pub fn capture(&self, work: impl FnOnce(&Gpu) -> Result<(), GpuError>) -> Result<Graph, GpuError> {
        let stream = &self.inner().stream;
        let begun = self.inner().with_capture(|capture| capture.replace(Capture::default()));
        assert!(begun.is_none(), "a graph captured within a graph");
        let result = stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .map_err(|error| GpuError::failed("recording a graph", error))
            .and_then(|()| {
                let worked = work(self);
                // Ended in any case, or the stream would be of no more use.
                let ended = stream.end_capture(CUgraphInstantiate_flags(0));
                worked.and_then(|()| ended.map_err(|error| self.failed("making a graph", 0, error)))
            });
        let capture = self.inner().with_capture(Option::take).unwrap_or_default();
        let graph = result?.ok_or_else(|| GpuError::Failed {
            action: "making a graph".to_owned(),
            message: "the driver gave none".to_owned(),
        })?;
        graph.upload().map_err(|error| self.failed("making a graph", 0, error))?;
        Ok(Graph { graph, gpu: self.clone(), _allocations: capture.allocations })
    }
}

impl Graph {
    /// Runs it, after the work so far.
    ///
    /// # Errors
    /// What the driver says; what the kernels fail with shows later.
    ///
    /// # Panics
    /// If a capture is going on.
    pub fn launch(&self) -> Result<(), GpuError> {
        assert!(self.gpu.inner().with_capture(|capture| capture.is_none()), "a graph launched within a graph");
        self.graph.launch().map_err(|error| GpuError::failed("launching a graph", error))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // Its buffers may go with it: first it ends.
        let _ = self.gpu.synchronize();
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("gpu", &self.gpu).finish_non_exhaustive()
    }
}
