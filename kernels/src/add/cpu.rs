//! Sums on the CPU.

use crate::{Activation, Cpu, ELEMENTS_PER_CHUNK};

/// Values that stay in the first-level cache between the sum and the activation.
const BLOCK: usize = 1024;

/// `y = activation(a + b)`. Overwrites `y`.
pub fn forward(cpu: &Cpu, activation: Activation, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert_eq!((a.len(), b.len()), (y.len(), y.len()));
    cpu.for_each_chunk_mut(y, ELEMENTS_PER_CHUNK, |chunk, y| {
        let start = chunk * ELEMENTS_PER_CHUNK;
        let (a, b) = (&a[start..][..y.len()], &b[start..][..y.len()]);
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                for ((y, a), b) in y.chunks_mut(BLOCK).zip(a.chunks(BLOCK)).zip(b.chunks(BLOCK)) {
                    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                        *y = a + b;
                    }
                    activation.apply(y);
                }
            },
        );
    });
}

/// `sum = activation(sum + x)`.
pub fn accumulate(cpu: &Cpu, activation: Activation, x: &[f32], sum: &mut [f32]) {
    assert_eq!(x.len(), sum.len());
    cpu.for_each_chunk_mut(sum, ELEMENTS_PER_CHUNK, |chunk, sum| {
        let x = &x[chunk * ELEMENTS_PER_CHUNK..][..sum.len()];
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                for (sum, x) in sum.chunks_mut(BLOCK).zip(x.chunks(BLOCK)) {
                    for (sum, &x) in sum.iter_mut().zip(x) {
                        *sum += x;
                    }
                    activation.apply(sum);
                }
            },
        );
    });
}
