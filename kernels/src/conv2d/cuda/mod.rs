//! Convolution on a GPU: how it is cut up is planned once, and launched for K lanes at a time.

#![allow(unsafe_code)]

mod plan;
#[cfg(test)]
mod tests;

use self::plan::{CorrelationPlan, MAX_SHARED_BYTES, WeightGradientPlan};
use super::Conv2d;
use crate::cuda::{Gpu, GpuError, Lanes, Precision};

/// The three passes of a convolution on a GPU: launches that depend on its shape and precision, never on the lanes.
#[derive(Clone, Debug)]
pub struct Conv2dKernels {
    geometry: Conv2d,
    precision: Precision,
    forward: CorrelationPlan,
    backward_input: CorrelationPlan,
    backward_weight: WeightGradientPlan,
}

/// The end of [`Conv2dKernels::forward`]: bias and ReLU, before a sum is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneEpilogue<'a> {
    /// `out_c` floats, added to every pixel.
    pub bias: Option<Lanes<'a>>,
    /// True if negative sums become 0.
    pub relu: bool,
}

/// The gradient of the output: as [`OutputGradient`](super::OutputGradient).
#[derive(Clone, Copy, Debug)]
pub struct LaneOutputGradient<'a> {
    /// One value for each output.
    pub dy: Lanes<'a>,
    /// The output of the forward pass, if it ended in ReLU. `dy` then counts where this is positive.
    pub relu_y: Option<Lanes<'a>>,
}

/// The gradients of weights and bias, which are written.
#[derive(Clone, Copy, Debug)]
pub struct LaneWeightGradients<'a> {
    /// The gradient of the weights, `weight_len()` floats.
    pub dw: Lanes<'a>,
    /// The gradient of the bias, `out_c` floats.
    pub db: Option<Lanes<'a>>,
}

impl Conv2dKernels {
    /// Plans the launches.
    ///
    /// # Errors
    /// [`GpuError::Failed`] if a single row of the kernel, with the pixels that it meets, exceeds a block's shared
    /// memory (kernels more than a thousand pixels wide), or a size exceeds 2^31.
    pub fn new(geometry: &Conv2d, precision: Precision) -> Result<Conv2dKernels, GpuError> {
        Self::within(geometry, precision, MAX_SHARED_BYTES)
    }

    fn within(geometry: &Conv2d, precision: Precision, shared_bytes: usize) -> Result<Conv2dKernels, GpuError> {
        let too_large = || GpuError::Failed {
            action: "planning a convolution".to_owned(),
            message: format!(
                "a {}x{} kernel over {} channels on {} images of {}x{} is too large",
                geometry.kernel_h, geometry.kernel_w, geometry.in_c, geometry.batch, geometry.in_h, geometry.in_w
            ),
        };
        Ok(Conv2dKernels {
            geometry: *geometry,
            precision,
            forward: CorrelationPlan::new(geometry, precision, false, shared_bytes).ok_or_else(too_large)?,
            backward_input: CorrelationPlan::new(geometry, precision, true, shared_bytes).ok_or_else(too_large)?,
            backward_weight: WeightGradientPlan::new(geometry, precision, shared_bytes).ok_or_else(too_large)?,
        })
    }

    /// Floats of scratch memory that [`Conv2dKernels::backward_weight`] needs for each lane.
    pub fn scratch_len(&self) -> usize {
        self.weight_scratch_len() + self.bias_scratch_len()
    }

    /// `y = relu(conv(x, w) + bias)`, or without ReLU.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If a buffer is too short for the shape and the lanes.
    pub fn forward(
        &self,
        gpu: &Gpu,
        lanes: usize,
        x: Lanes<'_>,
        w: Lanes<'_>,
        epilogue: LaneEpilogue<'_>,
        y: Lanes<'_>,
    ) -> Result<(), GpuError> {
        if self.geometry.output_len() == 0 {
            return Ok(());
        }
        let mut plan = self.forward;
        plan.shape.relu = i32::from(epilogue.relu);
        let (input_len, output_len) = (self.geometry.input_len(), self.geometry.output_len());
        self.correlate(gpu, lanes, plan, (x, None, input_len), (w, epilogue.bias), (y, output_len))
    }

    /// `dx`, the gradient of the input, from that of the output. Overwrites `dx`.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If a buffer is too short for the shape and the lanes.
    pub fn backward_input(
        &self,
        gpu: &Gpu,
        lanes: usize,
        dy: LaneOutputGradient<'_>,
        w: Lanes<'_>,
        dx: Lanes<'_>,
    ) -> Result<(), GpuError> {
        let (input_len, output_len) = (self.geometry.input_len(), self.geometry.output_len());
        self.correlate(gpu, lanes, self.backward_input, (dy.dy, dy.relu_y, output_len), (w, None), (dx, input_len))
    }

    /// `dw` and `db`, the gradients of weights and bias, summed over the batch. Overwrites both. `scratch` has
    /// [`Conv2dKernels::scratch_len`] floats for each lane.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If a buffer is too short for the shape and the lanes.
    pub fn backward_weight(
        &self,
        gpu: &Gpu,
        lanes: usize,
        x: Lanes<'_>,
        dy: LaneOutputGradient<'_>,
        LaneWeightGradients { dw, db }: LaneWeightGradients<'_>,
        scratch: Lanes<'_>,
    ) -> Result<(), GpuError> {
        let plan = &self.backward_weight;
        let (weight_len, out_c, output_len) =
            (self.geometry.weight_len(), self.geometry.out_c, self.geometry.output_len());
        // One part needs no further sum.
        let dw_scratch = scratch;
        let db_scratch = scratch.at(self.weight_scratch_len());
        let partial_dw = if plan.weight_parts > 1 { dw_scratch } else { dw };
        let partial_db = db.map(|db| if plan.bias_parts() > 1 { db_scratch } else { db });
        let mut shape = plan.shape;
        shape.in_aligned &= aligned(x, 4);
        shape.out_aligned &= aligned(dy.dy, 4) & dy.relu_y.map_or(1, |y| aligned(y, 4));
        let kernel = match (self.precision, plan.narrow) {
            (Precision::Float32, _) => "conv2d_backward_weight_float32",
            (Precision::Tf32, _) => "conv2d_backward_weight_tf32",
            (Precision::Bf16, false) => "conv2d_backward_weight_bf16",
            (Precision::Bf16, true) => "conv2d_backward_weight_bf16_narrow",
        };
        let launch = gpu
            .launch(kernel, lanes)
            .blocks([plan.blocks[0], plan.blocks[1], lanes])
            .threads(plan.threads)
            .shared_bytes(plan.shared_bytes)
            .value("shape", shape)
            .read("x", x, self.geometry.input_len())
            .read("dy", dy.dy, output_len)
            .read_optional("relu_output", dy.relu_y, output_len)
            .write("partial_dw", partial_dw, plan.weight_parts * weight_len)
            .write_optional("partial_db", partial_db, plan.bias_parts() * out_c);
        // SAFETY: the kernel's arguments; the plan keeps it within the lengths that were just checked.
        unsafe { launch.run() }?;
        let sum = |partials, parts, sums, len: usize| {
            let launch = gpu
                .launch("conv2d_backward_weight_sum", lanes)
                .blocks([len.div_ceil(256), 1, lanes])
                .threads(256)
                .value("len", len as u32)
                .value("parts", parts as u32)
                .read("partials", partials, parts * len)
                .write("sums", sums, len);
            // SAFETY: as above.
            unsafe { launch.run() }
        };
        if plan.weight_parts > 1 {
            sum(dw_scratch, plan.weight_parts, dw, weight_len)?;
        }
        match db {
            Some(db) if plan.bias_parts() > 1 => sum(db_scratch, plan.bias_parts(), db, out_c),
            _ => Ok(()),
        }
    }

    fn correlate(
        &self,
        gpu: &Gpu,
        lanes: usize,
        plan: CorrelationPlan,
        (source, relu_y, source_len): (Lanes<'_>, Option<Lanes<'_>>, usize),
        (w, bias): (Lanes<'_>, Option<Lanes<'_>>),
        (target, target_len): (Lanes<'_>, usize),
    ) -> Result<(), GpuError> {
        let mut shape = plan.shape;
        shape.source_aligned &= aligned(source, 4) & relu_y.map_or(1, |y| aligned(y, 4));
        shape.weight_aligned &= aligned(w, 4);
        shape.target_aligned &= aligned(target, 2);
        let kernel = match (self.precision, plan.narrow) {
            (Precision::Float32, false) => "conv2d_correlate_float32",
            (Precision::Float32, true) => "conv2d_correlate_float32_narrow",
            (Precision::Tf32, false) => "conv2d_correlate_tf32",
            (Precision::Tf32, true) => "conv2d_correlate_tf32_narrow",
            (Precision::Bf16, false) => "conv2d_correlate_bf16",
            (Precision::Bf16, true) => "conv2d_correlate_bf16_narrow",
        };
        let launch = gpu
            .launch(kernel, lanes)
            .blocks([plan.blocks[0], plan.blocks[1], lanes])
            .threads(128)
            .shared_bytes(plan.shared_bytes)
            .value("shape", shape)
            .read("source", source, source_len)
            .read_optional("relu_output", relu_y, source_len)
            .read("weights", w, self.geometry.weight_len())
            .read_optional("bias", bias, self.geometry.out_c)
            .write("target", target, target_len);
        // SAFETY: the kernel's arguments; the plan keeps it within the lengths that were just checked.
        unsafe { launch.run() }
    }

    fn weight_scratch_len(&self) -> usize {
        let parts = self.backward_weight.weight_parts;
        if parts > 1 { parts * self.geometry.weight_len() } else { 0 }
    }

    fn bias_scratch_len(&self) -> usize {
        let parts = self.backward_weight.bias_parts();
        if parts > 1 { parts * self.geometry.out_c } else { 0 }
    }
}

/// True if every lane begins at a multiple of so many floats: buffers themselves do.
fn aligned(lanes: Lanes<'_>, floats: usize) -> i32 {
    i32::from(lanes.offset.is_multiple_of(floats) && lanes.stride.is_multiple_of(floats))
}
