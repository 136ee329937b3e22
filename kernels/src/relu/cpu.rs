//! ReLU on the CPU.

use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// `y = max(y, 0)`; NaN stays, so that divergence shows.
pub fn forward(cpu: &Cpu, y: &mut [f32]) {
    cpu.for_each_chunk_mut(y, ELEMENTS_PER_CHUNK, |_, y| {
        cpu.isa().vectorize(
            #[inline(always)]
            || apply(y),
        );
    });
}

/// The gradient `d` of the output becomes that of the input, given the output `y`: it passes where `y > 0`.
pub fn backward(cpu: &Cpu, y: &[f32], d: &mut [f32]) {
    assert_eq!(y.len(), d.len());
    cpu.for_each_chunk_mut(d, ELEMENTS_PER_CHUNK, |chunk, d| {
        let y = &y[chunk * ELEMENTS_PER_CHUNK..][..d.len()];
        cpu.isa().vectorize(
            #[inline(always)]
            || differentiate(y, d),
        );
    });
}

/// [`forward`] within a thread, for what is fused with it.
#[inline(always)]
pub(crate) fn apply(y: &mut [f32]) {
    for y in y {
        *y = if *y < 0.0 { 0.0 } else { *y };
    }
}

/// [`backward`] within a thread.
#[inline(always)]
pub(crate) fn differentiate(y: &[f32], d: &mut [f32]) {
    for (d, &y) in d.iter_mut().zip(y) {
        *d = if y > 0.0 { *d } else { 0.0 };
    }
}
