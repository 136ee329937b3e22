//! Batch normalisation on the CPU. Sums run over chunks of rows, which are then added in order, in f64.

use super::{BatchNorm, ROWS_PER_CHUNK};
use crate::cpu::{Simd, Task, for_each_block};
use crate::{Activation, Cpu};

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
        let (means, squares) = partial.split_at_mut(channels);
        cpu.isa().run(ChunkStatistics { x: chunk_of(x, channels, chunk), means, squares });
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

/// The arrays of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows][channels]`.
    pub x: &'a [f32],
    /// `[channels]`.
    pub mean: &'a [f32],
    /// `[channels]`.
    pub variance: &'a [f32],
    /// Weights and biases, `[channels]` each, if there are any.
    pub affine: Option<(&'a [f32], &'a [f32])>,
    /// `[rows][channels]`.
    pub y: &'a mut [f32],
    /// At least [`BatchNorm::scratch_len`] floats.
    pub scratch: &'a mut [f32],
}

/// `y = (x - mean) / sqrt(variance + epsilon)`, then times weight plus bias where there is an `affine` pair of them, then
/// the `activation`.
pub fn forward(cpu: &Cpu, shape: &BatchNorm, activation: Activation, arrays: Forward<'_>) {
    let (channels, Forward { x, mean, variance, affine, y, scratch }) = (shape.channels, arrays);
    assert_eq!((x.len(), y.len(), mean.len(), variance.len()), (shape.len(), shape.len(), channels, channels));
    let (scale, rest) = scratch.split_at_mut(channels);
    let shift = &mut rest[..channels];
    shape.scales(variance, affine, scale);
    match affine {
        Some((_, bias)) => shift.copy_from_slice(bias),
        None => shift.fill(0.0),
    }
    let normalised = Normalised { mean, scale, shift: Some(shift), relu: activation == Activation::Relu };
    cpu.for_each_chunk_mut(y, ROWS_PER_CHUNK * channels, |chunk, y| {
        cpu.isa().run(ChunkForward { normalised: &normalised, activation, x: chunk_of(x, channels, chunk), y });
    });
}

/// The arrays of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows][channels]`.
    pub x: &'a [f32],
    /// `[channels]`: the batch's own.
    pub mean: &'a [f32],
    /// `[channels]`: the batch's own.
    pub variance: &'a [f32],
    /// Weights and biases, `[channels]` each, if there are any.
    pub affine: Option<(&'a [f32], &'a [f32])>,
    /// `[rows][channels]`: read for the sigmoid alone; else it may be empty.
    pub y: &'a [f32],
    /// `[rows][channels]`: the gradient of the output, which the sigmoid's slope is multiplied into.
    pub dy: &'a mut [f32],
    /// `[rows][channels]`: the gradient of the input, where it is asked for.
    pub dx: Option<&'a mut [f32]>,
    /// `[channels]`.
    pub dweight: &'a mut [f32],
    /// `[channels]`.
    pub dbias: &'a mut [f32],
    /// At least [`BatchNorm::scratch_len`] floats.
    pub scratch: &'a mut [f32],
}

/// Through the batch's own statistics, with h the normalised x and g the gradient of what the `activation` was applied to:
/// `dbias = Σ g`, `dweight = Σ g h`, and `dx = weight / sqrt(variance + epsilon) (g - dbias / rows - h dweight / rows)`.
/// Without `affine` weights both sums are still computed.
///
/// ReLU's slope follows from `x`, which is read anyway. The sigmoid's follows from its output `y`, and is multiplied into `dy`;
/// otherwise `dy` stays as it is.
pub fn backward(cpu: &Cpu, shape: &BatchNorm, activation: Activation, arrays: Backward<'_>) {
    let Backward { x, mean, variance, affine, y, dy, dx, dweight, dbias, scratch } = arrays;
    let channels = shape.channels;
    assert_eq!((x.len(), dy.len(), mean.len(), variance.len()), (shape.len(), shape.len(), channels, channels));
    let (partial, constants) = scratch.split_at_mut(2 * shape.rows.div_ceil(ROWS_PER_CHUNK) * channels);
    let (scale, constants) = constants.split_at_mut(channels);
    let (constant, rest) = constants.split_at_mut(channels);
    let slope = &mut rest[..channels];
    shape.scales(variance, affine, scale);
    let normalised =
        Normalised { mean, scale, shift: affine.map(|(_, bias)| bias), relu: activation == Activation::Relu };
    cpu.for_each_chunk_pair_mut((partial, 2 * channels), (dy, ROWS_PER_CHUNK * channels), |chunk, partial, dy| {
        if activation == Activation::Sigmoid {
            let y = chunk_of(y, channels, chunk);
            cpu.isa().vectorize(
                #[inline(always)]
                || activation.differentiate(y, dy),
            );
        }
        let (sums, products) = partial.split_at_mut(channels);
        let x = chunk_of(x, channels, chunk);
        cpu.isa().run(ChunkSums { normalised: &normalised, x, dy, sums, products });
    });
    for channel in 0..channels {
        let total = |offset: usize| -> f64 {
            partial.chunks_exact(2 * channels).map(|partial| f64::from(partial[offset + channel])).sum()
        };
        let inverse = 1.0 / (variance[channel] + shape.epsilon).sqrt();
        dbias[channel] = total(0) as f32;
        dweight[channel] = (total(channels) * f64::from(inverse)) as f32;
        constant[channel] = dbias[channel] / shape.rows as f32;
        slope[channel] = inverse * dweight[channel] / shape.rows as f32;
    }
    let Some(dx) = dx else { return };
    let (dy, constant, slope) = (&*dy, &*constant, &*slope);
    cpu.for_each_chunk_mut(dx, ROWS_PER_CHUNK * channels, |chunk, dx| {
        let (x, dy) = (chunk_of(x, channels, chunk), chunk_of(dy, channels, chunk));
        cpu.isa().run(ChunkGradients { normalised: &normalised, lines: (constant, slope), x, dy, dx });
    });
}

/// Normalised values before the activation: `(x - mean) scale + shift`.
struct Normalised<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    shift: Option<&'a [f32]>,
    /// True if ReLU follows.
    relu: bool,
}

/// Means, and sums of squared differences to them, of a chunk of rows.
struct ChunkStatistics<'a> {
    x: &'a [f32],
    means: &'a mut [f32],
    squares: &'a mut [f32],
}

impl Task for ChunkStatistics<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ChunkStatistics { x, means, squares } = self;
        let channels = means.len();
        for_each_block!(simd, channel in channels, block_statistics(x, channel, means, squares));
    }
}

#[inline(always)]
fn block_statistics<S: Simd>(simd: S, x: &[f32], channel: usize, means: &mut [f32], squares: &mut [f32]) {
    let channels = means.len();
    let rows = (x.len() / channels) as f32;
    let [sum] = sum_rows(
        simd,
        x.len() / channels,
        #[inline(always)]
        |row| [simd.load(&x[row * channels + channel..])],
    );
    simd.store(&mut means[channel..], sum);
    for mean in &mut means[channel..channel + S::LEN] {
        *mean /= rows;
    }
    let mean = simd.load(&means[channel..]);
    let [square] = sum_rows(
        simd,
        x.len() / channels,
        #[inline(always)]
        |row| {
            let difference = simd.sub(simd.load(&x[row * channels + channel..]), mean);
            [simd.mul(difference, difference)]
        },
    );
    simd.store(&mut squares[channel..], square);
}

/// `y` of a chunk of rows.
struct ChunkForward<'a> {
    normalised: &'a Normalised<'a>,
    activation: Activation,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for ChunkForward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ChunkForward { normalised, activation, x, y } = self;
        let channels = normalised.mean.len();
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for_each_block!(simd, channel in channels, block_forward(normalised, x, channel, y));
        }
        if activation == Activation::Sigmoid {
            activation.apply(y);
        }
    }
}

#[inline(always)]
fn block_forward<S: Simd>(simd: S, normalised: &Normalised<'_>, x: &[f32], channel: usize, y: &mut [f32]) {
    let constants = normalised.constants(simd, channel);
    let (_, value) = constants.of(simd, simd.load(&x[channel..]));
    let zero = simd.splat(0.0);
    let value = if normalised.relu { simd.select(simd.greater(zero, value), zero, value) } else { value };
    simd.store(&mut y[channel..], value);
}

/// `Σ g` and `Σ g (x - mean)` of a chunk of rows.
struct ChunkSums<'a> {
    normalised: &'a Normalised<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
    products: &'a mut [f32],
}

impl Task for ChunkSums<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ChunkSums { normalised, x, dy, sums, products } = self;
        let channels = sums.len();
        for_each_block!(simd, channel in channels, block_sums(normalised, x, dy, channel, sums, products));
    }
}

#[inline(always)]
fn block_sums<S: Simd>(
    simd: S,
    normalised: &Normalised<'_>,
    x: &[f32],
    dy: &[f32],
    channel: usize,
    sums: &mut [f32],
    products: &mut [f32],
) {
    let channels = sums.len();
    let constants = normalised.constants(simd, channel);
    let [sum, product] = sum_rows(
        simd,
        x.len() / channels,
        #[inline(always)]
        |row| {
            let first = row * channels + channel;
            let (difference, value) = constants.of(simd, simd.load(&x[first..]));
            let gradient = normalised.gradient(simd, value, simd.load(&dy[first..]));
            [gradient, simd.mul(gradient, difference)]
        },
    );
    simd.store(&mut sums[channel..], sum);
    simd.store(&mut products[channel..], product);
}

/// `dx` of a chunk of rows.
struct ChunkGradients<'a> {
    normalised: &'a Normalised<'a>,
    /// `constant` and `slope` of each channel: dx is `scale (gradient - constant - slope (x - mean))`.
    lines: (&'a [f32], &'a [f32]),
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for ChunkGradients<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ChunkGradients { normalised, lines, x, dy, dx } = self;
        let channels = lines.0.len();
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels)).zip(dx.chunks_exact_mut(channels));
        for ((x, dy), dx) in rows {
            for_each_block!(simd, channel in channels, block_gradients(normalised, lines, x, dy, channel, dx));
        }
    }
}

#[inline(always)]
fn block_gradients<S: Simd>(
    simd: S,
    normalised: &Normalised<'_>,
    (constant, slope): (&[f32], &[f32]),
    x: &[f32],
    dy: &[f32],
    channel: usize,
    dx: &mut [f32],
) {
    let constants = normalised.constants(simd, channel);
    let (difference, value) = constants.of(simd, simd.load(&x[channel..]));
    let gradient = normalised.gradient(simd, value, simd.load(&dy[channel..]));
    let rest = simd.sub(gradient, simd.load(&constant[channel..]));
    let rest = simd.sub(rest, simd.mul(difference, simd.load(&slope[channel..])));
    simd.store(&mut dx[channel..], simd.mul(constants.scale, rest));
}

/// The constants of a block of channels.
#[derive(Clone, Copy)]
struct Constants<S: Simd> {
    mean: S::Floats,
    scale: S::Floats,
    shift: S::Floats,
}

impl Normalised<'_> {
    #[inline(always)]
    fn constants<S: Simd>(&self, simd: S, channel: usize) -> Constants<S> {
        Constants {
            mean: simd.load(&self.mean[channel..]),
            scale: simd.load(&self.scale[channel..]),
            shift: self.shift.map_or(simd.splat(0.0), |shift| simd.load(&shift[channel..])),
        }
    }

    /// The gradient of the normalised value, from that of what ReLU made of it.
    #[inline(always)]
    fn gradient<S: Simd>(&self, simd: S, value: S::Floats, dy: S::Floats) -> S::Floats {
        let zero = simd.splat(0.0);
        if self.relu { simd.select(simd.greater(value, zero), dy, zero) } else { dy }
    }
}

impl<S: Simd> Constants<S> {
    /// The difference to the mean, and the normalised value.
    #[inline(always)]
    fn of(&self, simd: S, x: S::Floats) -> (S::Floats, S::Floats) {
        let difference = simd.sub(x, self.mean);
        (difference, simd.add(simd.mul(difference, self.scale), self.shift))
    }
}

/// Sums of what `terms` makes of each of so many rows. Every fourth row is summed apart, so that an addition need not wait for
/// the one before it.
#[inline(always)]
fn sum_rows<S: Simd, const TERMS: usize>(
    simd: S,
    rows: usize,
    terms: impl Fn(usize) -> [S::Floats; TERMS],
) -> [S::Floats; TERMS] {
    let mut sums = [[simd.splat(0.0); TERMS]; 4];
    let mut row = 0;
    while row + 4 <= rows {
        for (offset, sums) in sums.iter_mut().enumerate() {
            *sums = add(simd, *sums, terms(row + offset));
        }
        row += 4;
    }
    while row < rows {
        sums[0] = add(simd, sums[0], terms(row));
        row += 1;
    }
    let [a, b, c, d] = sums;
    add(simd, add(simd, a, b), add(simd, c, d))
}

#[inline(always)]
fn add<S: Simd, const TERMS: usize>(
    simd: S,
    mut sums: [S::Floats; TERMS],
    terms: [S::Floats; TERMS],
) -> [S::Floats; TERMS] {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum = simd.add(*sum, term);
    }
    sums
}

fn chunk_of(values: &[f32], channels: usize, chunk: usize) -> &[f32] {
    let start = chunk * ROWS_PER_CHUNK * channels;
    &values[start..(start + ROWS_PER_CHUNK * channels).min(values.len())]
}

impl BatchNorm {
    /// The factors of the differences to the mean.
    fn scales(&self, variance: &[f32], affine: Option<(&[f32], &[f32])>, scales: &mut [f32]) {
        for (channel, (scale, variance)) in scales.iter_mut().zip(variance).enumerate() {
            *scale = affine.map_or(1.0, |(weight, _)| weight[channel]) / (variance + self.epsilon).sqrt();
        }
    }
}
