//! Local response normalisation on the CPU, image by image, so that an image stays in the cache between its passes.

use super::{CHUNKS, Lrn, Region};
use crate::Cpu;

/// `y = x s^-beta` with `s = k + alpha / n Σ x²`.
pub fn forward(cpu: &Cpu, lrn: &Lrn, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (lrn.input_len(), lrn.input_len()));
    let (image, chunk) = (lrn.image_len(), lrn.batch.div_ceil(CHUNKS) * lrn.image_len());
    cpu.for_each_chunk_pair_mut((y, chunk), (scratch, lrn.scratch_len_per_chunk()), |index, y, scratch| {
        let x = &x[index * chunk..][..y.len()];
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(image)) {
            cpu.isa().vectorize(
                #[inline(always)]
                || forward_image(lrn, x, y, scratch),
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
        let (x, dy) = (&x[index * chunk..][..dx.len()], &dy[index * chunk..][..dx.len()]);
        for ((x, dy), dx) in x.chunks_exact(image).zip(dy.chunks_exact(image)).zip(dx.chunks_exact_mut(image)) {
            cpu.isa().vectorize(
                #[inline(always)]
                || backward_image(lrn, x, dy, dx, scratch),
            );
        }
    });
}

#[inline(always)]
fn forward_image(lrn: &Lrn, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    let (sums, row) = scratch.split_at_mut(x.len());
    let factor = lrn.alpha_over_n();
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x * x;
    }
    window_sums(lrn, y, sums, row);
    if lrn.beta == 0.75 {
        for ((y, &x), &sum) in y.iter_mut().zip(x).zip(&*sums) {
            *y = x / power_three_quarters(lrn.k + factor * sum);
        }
    } else {
        for ((y, &x), &sum) in y.iter_mut().zip(x).zip(&*sums) {
            *y = x * libm::powf(lrn.k + factor * sum, -lrn.beta);
        }
    }
}

#[inline(always)]
fn backward_image(lrn: &Lrn, x: &[f32], dy: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
    let (sums, scratch) = scratch.split_at_mut(x.len());
    let (products, row) = scratch.split_at_mut(x.len());
    let factor = lrn.alpha_over_n();
    for (product, &x) in products.iter_mut().zip(x) {
        *product = x * x;
    }
    window_sums(lrn, products, sums, row);
    let values = products.iter_mut().zip(dx.iter_mut()).zip(&*sums).zip(x).zip(dy);
    if lrn.beta == 0.75 {
        for ((((product, dx), &sum), &x), &dy) in values {
            let s = lrn.k + factor * sum;
            *dx = dy / power_three_quarters(s);
            *product = *dx * x / s;
        }
    } else {
        for ((((product, dx), &sum), &x), &dy) in values {
            let s = lrn.k + factor * sum;
            *dx = dy * libm::powf(s, -lrn.beta);
            *product = *dx * x / s;
        }
    }
    window_sums(lrn, products, sums, row);
    let factor = 2.0 * lrn.beta * factor;
    for ((dx, &x), &sum) in dx.iter_mut().zip(x).zip(&*sums) {
        *dx -= factor * x * sum;
    }
}

/// `value`^0.75 by two square roots, which round correctly everywhere and are fast in vectors.
#[inline(always)]
fn power_three_quarters(value: f32) -> f32 {
    let root = value.sqrt();
    root * root.sqrt()
}

/// Sums over the window around each value of an image. `row` has room for a row.
#[inline(always)]
fn window_sums(lrn: &Lrn, values: &[f32], sums: &mut [f32], row: &mut [f32]) {
    let reach = lrn.size / 2;
    match lrn.region {
        Region::AcrossChannels => {
            for (values, sums) in values.chunks_exact(lrn.channels).zip(sums.chunks_exact_mut(lrn.channels)) {
                add_neighbours(values, sums, reach, 1);
            }
        }
        Region::WithinChannel => {
            let row_len = lrn.width * lrn.channels;
            let row = &mut row[..row_len];
            for (y, sums) in sums.chunks_exact_mut(row_len).enumerate() {
                row.fill(0.0);
                for y in y.saturating_sub(reach)..(y + reach + 1).min(lrn.height) {
                    for (sum, &value) in row.iter_mut().zip(&values[y * row_len..][..row_len]) {
                        *sum += value;
                    }
                }
                add_neighbours(row, sums, reach, lrn.channels);
            }
        }
    }
}

/// `sums[i]`: of the values at i and at 1 to `reach` times `stride` before and after it.
#[inline(always)]
fn add_neighbours(values: &[f32], sums: &mut [f32], reach: usize, stride: usize) {
    sums.copy_from_slice(values);
    for distance in (1..=reach).map(|step| step * stride).take_while(|&distance| distance < values.len()) {
        for (sum, &value) in sums.iter_mut().zip(&values[distance..]) {
            *sum += value;
        }
        for (sum, &value) in sums[distance..].iter_mut().zip(values) {
            *sum += value;
        }
    }
}
