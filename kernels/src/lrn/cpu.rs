//! Local response normalisation on the CPU, line by line, so that what lies between the input and the output stays in the
//! first-level cache.
//!
//! A line is what a window moves along: a row of pixels for a window within a channel, the channels of one pixel for a
//! window across channels. Sums down the neighbouring lines come first, into a line with zeros at both ends; then sums along
//! it, which need no care at the borders.

use super::{CHUNKS, Lrn, Region};
use crate::Cpu;

/// Values that one pass of a sum keeps in registers.
const BLOCK: usize = 16;

/// `y = x s^-beta` with `s = k + alpha / n Σ x²`.
pub fn forward(cpu: &Cpu, lrn: &Lrn, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (lrn.input_len(), lrn.input_len()));
    let (image, chunk) = (lrn.image_len(), lrn.batch.div_ceil(CHUNKS) * lrn.image_len());
    cpu.for_each_chunk_pair_mut((y, chunk), (scratch, lrn.scratch_len_per_chunk()), |index, y, scratch| {
        let line = &mut scratch[..lrn.padded_line_len()];
        line.fill(0.0);
        let x = &x[index * chunk..][..y.len()];
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(image)) {
            cpu.isa().vectorize(
                #[inline(always)]
                || forward_image(lrn, x, y, line),
            );
        }
    });
}

/// `dx = dy s^-beta - 2 beta alpha / n x Σ (dy x s^-beta / s)`, the sum over the same window as that of the squares. The
/// forward pass keeps nothing: computing s again costs less than fetching it from memory.
pub fn backward(cpu: &Cpu, lrn: &Lrn, x: &[f32], dy: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
    assert_eq!((x.len(), dy.len(), dx.len()), (lrn.input_len(), lrn.input_len(), lrn.input_len()));
    let (image, chunk) = (lrn.image_len(), lrn.batch.div_ceil(CHUNKS) * lrn.image_len());
    cpu.for_each_chunk_pair_mut((dx, chunk), (scratch, lrn.scratch_len_per_chunk()), |index, dx, scratch| {
        let (line, scratch) = scratch.split_at_mut(lrn.padded_line_len());
        line.fill(0.0);
        let (x, dy) = (&x[index * chunk..][..dx.len()], &dy[index * chunk..][..dx.len()]);
        for ((x, dy), dx) in x.chunks_exact(image).zip(dy.chunks_exact(image)).zip(dx.chunks_exact_mut(image)) {
            cpu.isa().vectorize(
                #[inline(always)]
                || backward_image(lrn, x, dy, dx, scratch, line),
            );
        }
    });
}

#[inline(always)]
fn forward_image(lrn: &Lrn, x: &[f32], y: &mut [f32], line: &mut [f32]) {
    let (line_len, factor) = (lrn.line_len(), lrn.alpha_over_n());
    for (index, y) in y.chunks_exact_mut(line_len).enumerate() {
        sum_down(lrn, x, index, line, |x| x * x);
        sum_along(lrn, line, y);
        let x = &x[index * line_len..][..line_len];
        if lrn.beta == 0.75 {
            for (y, &x) in y.iter_mut().zip(x) {
                let root = inverse_fourth_root(lrn.k + factor * *y);
                *y = x * (root * root * root);
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * libm::powf(lrn.k + factor * *y, -lrn.beta);
            }
        }
    }
}

#[inline(always)]
fn backward_image(lrn: &Lrn, x: &[f32], dy: &[f32], dx: &mut [f32], scratch: &mut [f32], line: &mut [f32]) {
    let (line_len, factor) = (lrn.line_len(), lrn.alpha_over_n());
    let (products, sums) = scratch.split_at_mut(x.len());
    let sums = &mut sums[..line_len];
    let lines = dx.chunks_exact_mut(line_len).zip(products.chunks_exact_mut(line_len));
    for (index, (dx, products)) in lines.enumerate() {
        sum_down(lrn, x, index, line, |x| x * x);
        sum_along(lrn, line, products);
        let (x, dy) = (&x[index * line_len..][..line_len], &dy[index * line_len..][..line_len]);
        let values = products.iter_mut().zip(dx).zip(x).zip(dy);
        if lrn.beta == 0.75 {
            for (((product, dx), &x), &dy) in values {
                let root = inverse_fourth_root(lrn.k + factor * *product);
                let square = root * root;
                *dx = dy * (square * root);
                *product = *dx * x * (square * square);
            }
        } else {
            for (((product, dx), &x), &dy) in values {
                let s = lrn.k + factor * *product;
                *dx = dy * libm::powf(s, -lrn.beta);
                *product = *dx * x / s;
            }
        }
    }
    let factor = 2.0 * lrn.beta * factor;
    for (index, dx) in dx.chunks_exact_mut(line_len).enumerate() {
        sum_down(lrn, products, index, line, |product| product);
        sum_along(lrn, line, sums);
        for ((dx, &x), &sum) in dx.iter_mut().zip(&x[index * line_len..]).zip(&*sums) {
            *dx -= factor * x * sum;
        }
    }
}

/// `s`^-0.25 for s >= 0, within 2 units in the last place, by multiplications alone: square roots and divisions take most of
/// the time otherwise. A first guess is
/// made of the bits of `s`, which are nearly its logarithm, as for the well-known inverse square root; a step of Newton's method for r^-4 = s takes an error e to 2.5 e².
#[inline(always)]
fn inverse_fourth_root(s: f32) -> f32 {
    let mut root = f32::from_bits(0x4f58_c5d5 - (s.to_bits() >> 2));
    for _ in 0..3 {
        let square = root * root;
        root += 0.25 * root * (1.0 - s * square * square);
    }
    root
}

/// The middle of `line`: `f` of the values of line `index` and of its neighbours, summed.
#[inline(always)]
fn sum_down(lrn: &Lrn, values: &[f32], index: usize, line: &mut [f32], f: impl Fn(f32) -> f32) {
    let line_len = lrn.line_len();
    let lines = match lrn.region {
        Region::AcrossChannels => index..index + 1,
        Region::WithinChannel => index.saturating_sub(lrn.size / 2)..(index + lrn.size / 2 + 1).min(lrn.height),
    };
    let middle = &mut line[lrn.margin()..][..line_len];
    let (blocks, rest) = middle.as_chunks_mut::<BLOCK>();
    for (block, sums) in blocks.iter_mut().enumerate() {
        let mut sum = [0.0; BLOCK];
        for line in lines.clone() {
            let Some(values) = values[line * line_len + block * BLOCK..].first_chunk::<BLOCK>() else { return };
            for (sum, &value) in sum.iter_mut().zip(values) {
                *sum += f(value);
            }
        }
        *sums = sum;
    }
    let first = line_len - rest.len();
    for (offset, sum) in rest.iter_mut().enumerate() {
        *sum = lines.clone().map(|line| f(values[line * line_len + first + offset])).sum();
    }
}

/// `sums[i]`: of the window around place i of the line's middle.
#[inline(always)]
fn sum_along(lrn: &Lrn, line: &[f32], sums: &mut [f32]) {
    let (blocks, rest) = sums.as_chunks_mut::<BLOCK>();
    let first = blocks.len() * BLOCK;
    for (block, sums) in blocks.iter_mut().enumerate() {
        let mut sum = [0.0; BLOCK];
        for tap in 0..lrn.size {
            let Some(values) = line[block * BLOCK + tap * lrn.step()..].first_chunk::<BLOCK>() else { return };
            for (sum, &value) in sum.iter_mut().zip(values) {
                *sum += value;
            }
        }
        *sums = sum;
    }
    for (offset, sum) in rest.iter_mut().enumerate() {
        *sum = (0..lrn.size).map(|tap| line[first + offset + tap * lrn.step()]).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_fourth_roots_are_within_two_units_of_the_exact_value() {
        let mut worst = 0.0_f64;
        for i in 1..400_000 {
            let s = i as f32 * 1e-3;
            let exact = libm::pow(f64::from(s), -0.25);
            worst = worst.max((f64::from(inverse_fourth_root(s)) - exact).abs() / exact / f64::from(f32::EPSILON));
        }
        for exponent in -126..128 {
            let s = f32::from_bits(((exponent + 127) as u32) << 23 | 0x3b_1234);
            let exact = libm::pow(f64::from(s), -0.25);
            worst = worst.max((f64::from(inverse_fourth_root(s)) - exact).abs() / exact / f64::from(f32::EPSILON));
        }
        assert!(worst < 2.0, "{worst} units");
        assert!(!inverse_fourth_root(f32::NAN).is_finite());
    }
}
