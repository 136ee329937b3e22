//! Batch normalisation on the CPU. Sums run over chunks of rows, which are then added in order, in f64.

use super::{BatchNorm, ROWS_PER_CHUNK};
use crate::Cpu;

/// `mean` and biased `variance` of each channel. The variance comes from differences to each chunk's own mean, and the
/// chunks are put together as by Chan et al. (1979): no digits are lost where the mean is large.
pub fn statistics(
    cpu: &Cpu,
    shape: &BatchNorm,
    x: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    scratch: &mut [f32],
) {
    let channels = shape.channels;
    assert_eq!((x.len(), mean.len(), variance.len()), (shape.len(), channels, channels));
    let partial = &mut scratch[..2 * shape.rows.div_ceil(ROWS_PER_CHUNK) * channels];
    cpu.for_each_chunk_mut(partial, 2 * channels, |chunk, partial| {
        let x = chunk_of(x, channels, chunk);
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                let (mean, squares) = partial.split_at_mut(channels);
                mean.fill(0.0);
                squares.fill(0.0);
                for x in x.chunks_exact(channels) {
                    for (sum, &x) in mean.iter_mut().zip(x) {
                        *sum += x;
                    }
                }
                let rows = (x.len() / channels) as f32;
                for mean in mean.iter_mut() {
                    *mean /= rows;
                }
                for x in x.chunks_exact(channels) {
                    for ((square, &mean), &x) in squares.iter_mut().zip(&*mean).zip(x) {
                        *square += (x - mean) * (x - mean);
                    }
                }
            },
        );
    });
    let partial = &*partial;
    for (channel, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
        let chunks = || {
            partial.chunks_exact(2 * channels).enumerate().map(|(chunk, partial)| {
                let rows = (shape.rows - chunk * ROWS_PER_CHUNK).min(ROWS_PER_CHUNK) as f64;
                (rows, f64::from(partial[channel]), f64::from(partial[channels + channel]))
            })
        };
        let exact = chunks().map(|(rows, mean, _)| rows * mean).sum::<f64>() / shape.rows as f64;
        let squares: f64 = chunks().map(|(rows, mean, squares)| squares + rows * (mean - exact) * (mean - exact)).sum();
        *mean = exact as f32;
        *variance = (squares / shape.rows as f64) as f32;
    }
}

/// `y = (x - mean) / sqrt(variance + epsilon)`, then times weight plus bias where there is an `affine` pair of them.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn forward(
    cpu: &Cpu,
    shape: &BatchNorm,
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    affine: Option<(&[f32], &[f32])>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let channels = shape.channels;
    assert_eq!((x.len(), y.len(), mean.len(), variance.len()), (shape.len(), shape.len(), channels, channels));
    let (scale, rest) = scratch.split_at_mut(channels);
    let shift = &mut rest[..channels];
    for channel in 0..channels {
        let (weight, bias) = affine.map_or((1.0, 0.0), |(weight, bias)| (weight[channel], bias[channel]));
        scale[channel] = weight / (variance[channel] + shape.epsilon).sqrt();
        shift[channel] = bias;
    }
    let (scale, shift) = (&*scale, &*shift);
    cpu.for_each_chunk_mut(y, ROWS_PER_CHUNK * channels, |chunk, y| {
        let x = chunk_of(x, channels, chunk);
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                    let constants = mean.iter().zip(scale).zip(shift);
                    for ((y, &x), ((&mean, &scale), &shift)) in y.iter_mut().zip(x).zip(constants) {
                        *y = (x - mean) * scale + shift;
                    }
                }
            },
        );
    });
}

/// Through the batch's own statistics, with h the normalised x: `dbias = Σ dy`, `dweight = Σ dy h`, and
/// `dx = weight / sqrt(variance + epsilon) (dy - dbias / rows - h dweight / rows)`. Without affine weights (`weight` is none)
/// both sums are still computed.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn backward(
    cpu: &Cpu,
    shape: &BatchNorm,
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    weight: Option<&[f32]>,
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dweight: &mut [f32],
    dbias: &mut [f32],
    scratch: &mut [f32],
) {
    let channels = shape.channels;
    assert_eq!((x.len(), dy.len(), mean.len(), variance.len()), (shape.len(), shape.len(), channels, channels));
    let (partial, constants) = scratch.split_at_mut(2 * shape.rows.div_ceil(ROWS_PER_CHUNK) * channels);
    cpu.for_each_chunk_mut(partial, 2 * channels, |chunk, partial| {
        let (x, dy) = (chunk_of(x, channels, chunk), chunk_of(dy, channels, chunk));
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                let (sums, products) = partial.split_at_mut(channels);
                sums.fill(0.0);
                products.fill(0.0);
                for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
                    let totals = sums.iter_mut().zip(products.iter_mut());
                    for ((sum, product), ((&dy, &x), &mean)) in totals.zip(dy.iter().zip(x).zip(mean)) {
                        *sum += dy;
                        *product += dy * (x - mean);
                    }
                }
            },
        );
    });
    let (scale, constants) = constants.split_at_mut(channels);
    let (constant, slope) = constants.split_at_mut(channels);
    for channel in 0..channels {
        let total = |offset: usize| -> f64 {
            partial.chunks_exact(2 * channels).map(|partial| f64::from(partial[offset + channel])).sum()
        };
        let inverse = 1.0 / (variance[channel] + shape.epsilon).sqrt();
        dbias[channel] = total(0) as f32;
        dweight[channel] = (total(channels) * f64::from(inverse)) as f32;
        scale[channel] = inverse * weight.map_or(1.0, |weight| weight[channel]);
        constant[channel] = dbias[channel] / shape.rows as f32;
        slope[channel] = inverse * dweight[channel] / shape.rows as f32;
    }
    let Some(dx) = dx else { return };
    let (scale, constant, slope) = (&*scale, &*constant, &*slope);
    cpu.for_each_chunk_mut(dx, ROWS_PER_CHUNK * channels, |chunk, dx| {
        let (x, dy) = (chunk_of(x, channels, chunk), chunk_of(dy, channels, chunk));
        cpu.isa().vectorize(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels)).zip(dx.chunks_exact_mut(channels));
                for ((x, dy), dx) in rows {
                    let constants = mean.iter().zip(scale).zip(constant).zip(slope);
                    let values = dx.iter_mut().zip(x).zip(dy);
                    for (((dx, &x), &dy), (((&mean, &scale), &constant), &slope)) in values.zip(constants) {
                        *dx = scale * (dy - constant - (x - mean) * slope);
                    }
                }
            },
        );
    });
}

fn chunk_of(values: &[f32], channels: usize, chunk: usize) -> &[f32] {
    let start = chunk * ROWS_PER_CHUNK * channels;
    &values[start..(start + ROWS_PER_CHUNK * channels).min(values.len())]
}
