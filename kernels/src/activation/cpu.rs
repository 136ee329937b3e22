//! Activations on the CPU, by themselves.

use super::Activation;
use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// `y = activation(y)`.
pub fn forward(cpu: &Cpu, activation: Activation, y: &mut [f32]) {
    if activation == Activation::None {
        return;
    }
    cpu.for_each_chunk_mut(y, ELEMENTS_PER_CHUNK, |_, y| {
        cpu.isa().vectorize(
            #[inline(always)]
            || activation.apply(y),
        );
    });
}

/// The gradient `d` of the output becomes that of the input, given the output `y`.
pub fn backward(cpu: &Cpu, activation: Activation, y: &[f32], d: &mut [f32]) {
    if activation == Activation::None {
        return;
    }
    assert_eq!(y.len(), d.len());
    cpu.for_each_chunk_mut(d, ELEMENTS_PER_CHUNK, |chunk, d| {
        let y = &y[chunk * ELEMENTS_PER_CHUNK..][..d.len()];
        cpu.isa().vectorize(
            #[inline(always)]
            || activation.differentiate(y, d),
        );
    });
}
