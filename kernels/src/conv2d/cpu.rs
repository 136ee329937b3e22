//! Convolution on the CPU: what the caller says is checked here, and the algorithm chosen.

use super::{Conv2d, Epilogue, OutputGradient, direct, winograd};
use crate::cpu::Cpu;

/// `y = activation(conv(x, w) + bias)`.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn forward(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    w: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    geometry.check(x.len(), w.len(), y.len());
    if y.is_empty() {
        return;
    }
    if winograd::is_chosen(geometry) {
        winograd::forward(cpu, geometry, x, w, epilogue, y, scratch);
    } else {
        direct::forward(cpu, geometry, x, w, epilogue, y, scratch);
    }
}

/// `dx`, the gradient of the input, from that of the output. Overwrites `dx`.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn backward_input(
    cpu: &Cpu,
    geometry: &Conv2d,
    dy: OutputGradient<'_>,
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    geometry.check(dx.len(), w.len(), dy.dy.len());
    dy.check();
    if dy.dy.is_empty() || dx.is_empty() {
        return dx.fill(0.0);
    }
    if winograd::is_chosen(geometry) {
        winograd::backward_input(cpu, geometry, dy, w, dx, scratch);
    } else {
        direct::backward_input(cpu, geometry, dy, w, dx, scratch);
    }
}

/// `dw` and `db`, the gradients of weights and bias, summed over the batch. Overwrites both.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn backward_weight(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    dy: OutputGradient<'_>,
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    geometry.check(x.len(), dw.len(), dy.dy.len());
    dy.check();
    if dy.dy.is_empty() {
        dw.fill(0.0);
        return db.into_iter().for_each(|db| db.fill(0.0));
    }
    if winograd::is_chosen(geometry) {
        winograd::backward_weight(cpu, geometry, x, dy, dw, db, scratch);
    } else {
        direct::backward_weight(cpu, geometry, x, direct::Gradient::Stored(dy), dw, db, scratch);
    }
}

impl Conv2d {
    /// Floats of scratch memory that suffice for each of the three operations on so many threads, on any instruction set.
    pub fn scratch_len(&self, thread_count: usize) -> usize {
        if winograd::is_chosen(self) {
            winograd::scratch_len(self, thread_count)
        } else {
            direct::scratch_len(self, thread_count)
        }
    }

    pub(super) fn check(&self, input_len: usize, weight_len: usize, output_len: usize) {
        let &Self { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups, .. } = self;
        let sizes = [in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups];
        assert!(sizes.iter().all(|size| *size > 0), "a size of 0 in {self:?}");
        assert!(in_c % groups == 0 && out_c % groups == 0, "channels are no multiple of the groups in {self:?}");
        assert_eq!(input_len, self.input_len(), "floats of input for {self:?}");
        assert_eq!(weight_len, self.weight_len(), "floats of weights for {self:?}");
        assert_eq!(output_len, self.output_len(), "floats of output for {self:?}");
    }
}

impl OutputGradient<'_> {
    fn check(&self) {
        assert!(self.relu_y.is_none_or(|y| y.len() == self.dy.len()), "the outputs that mask a gradient are as many");
    }
}
