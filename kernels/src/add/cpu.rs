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

/// A term of a sum.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// As many as the sum has.
    pub values: &'a [f32],
    /// What they are multiplied by. With 0 they are left out, whatever they are: they need not have been computed.
    pub scale: f32,
}

/// As [`forward`], with terms that are multiplied by numbers.
pub fn forward_scaled(cpu: &Cpu, activation: Activation, a: Term<'_>, b: Term<'_>, y: &mut [f32]) {
    if (a.scale, b.scale) == (1.0, 1.0) {
        return forward(cpu, activation, a.values, b.values, y);
    }
    for_each_block(
        cpu,
        [a, b],
        y,
        #[inline(always)]
        |[a, b], y| {
            assign(a, y);
            add(b, 1.0, y);
            activation.apply(y);
        },
    );
}

/// `sum = activation(sum_scale * sum + x)`, with `x` as its term says. A `sum_scale` of 0 leaves out what `sum` held.
pub fn accumulate_scaled(cpu: &Cpu, activation: Activation, x: Term<'_>, sum_scale: f32, sum: &mut [f32]) {
    if (x.scale, sum_scale) == (1.0, 1.0) {
        return accumulate(cpu, activation, x.values, sum);
    }
    for_each_block(
        cpu,
        [x],
        sum,
        #[inline(always)]
        |[x], sum| {
            add(x, sum_scale, sum);
            activation.apply(sum);
        },
    );
}

/// `y`: the values of a term times its scale. Of the gradient of a sum it makes that of a scaled term.
pub fn scale(cpu: &Cpu, x: Term<'_>, y: &mut [f32]) {
    for_each_block(
        cpu,
        [x],
        y,
        #[inline(always)]
        |[x], y| assign(x, y),
    );
}

/// As [`scale`], over the values themselves.
pub fn scale_in_place(cpu: &Cpu, scale: f32, values: &mut [f32]) {
    if scale == 1.0 {
        return;
    }
    cpu.for_each_chunk_mut(values, ELEMENTS_PER_CHUNK, |_, values| {
        cpu.isa().vectorize(
            #[inline(always)]
            || match scale {
                0.0 => values.fill(0.0),
                scale => values.iter_mut().for_each(|value| *value *= scale),
            },
        );
    });
}

/// Calls `f` for parts of `y` that stay in the first-level cache, with the same parts of the terms.
fn for_each_block<const N: usize>(
    cpu: &Cpu,
    terms: [Term<'_>; N],
    y: &mut [f32],
    f: impl Fn([Term<'_>; N], &mut [f32]) + Sync,
) {
    assert!(terms.iter().all(|term| term.values.len() == y.len()), "terms are as long as their sum");
    cpu.for_each_chunk_mut(y, ELEMENTS_PER_CHUNK, |chunk, y| {
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                    let first = chunk * ELEMENTS_PER_CHUNK + block * BLOCK;
                    f(terms.map(|term| Term { values: &term.values[first..][..y.len()], ..term }), y);
                }
            },
        );
    });
}

#[inline(always)]
fn assign(x: Term<'_>, y: &mut [f32]) {
    match x.scale {
        0.0 => y.fill(0.0),
        1.0 => y.copy_from_slice(x.values),
        scale => {
            for (y, &value) in y.iter_mut().zip(x.values) {
                *y = scale * value;
            }
        }
    }
}

#[inline(always)]
fn add(x: Term<'_>, sum_scale: f32, sum: &mut [f32]) {
    let term = |scale: f32, value: f32| if scale == 0.0 { 0.0 } else { scale * value };
    for (sum, &value) in sum.iter_mut().zip(x.values) {
        *sum = term(sum_scale, *sum) + term(x.scale, value);
    }
}
