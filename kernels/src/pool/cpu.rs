//! Pooling on the CPU. The channels of a pixel are neighbours in memory, so the inner loops run over blocks of them. Both
//! backward passes go through the input, whose pixels each lie in few windows: every gradient is written once.

use std::ops::Range;

use super::{Divisor, Pool2d, Window};
use crate::cpu::{Simd, Task, for_each_block};
use crate::{Activation, Cpu, Isa};

/// The argmax where ReLU lets no gradient through. Windows have fewer places.
const NOTHING: u8 = u8::MAX;

/// `y`: the `activation` of the largest value of each window; the first of equals, and NaN before all others, so that
/// divergence shows. `argmax`, as long as `y`: its place in the window, for [`max_backward`].
pub fn max_forward(cpu: &Cpu, pool: &Pool2d, activation: Activation, x: &[f32], y: &mut [f32], argmax: &mut [u8]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((x.len(), y.len(), argmax.len()), (pool.input_len(), pool.output_len(), pool.output_len()));
    cpu.for_each_chunk_pair_mut((y, out_len), (argmax, out_len), |image, y, argmax| {
        cpu.isa().run(MaxForward { pool, activation, x: &x[image * in_len..][..in_len], y, argmax });
    });
}

/// `dx`: each gradient of `dy` goes to the pixel that was chosen, through the slope of the `activation`. That of the sigmoid
/// follows from `y` and is multiplied into `dy`; otherwise `dy` stays as it is and `y` may be empty.
pub fn max_backward(
    cpu: &Cpu,
    pool: &Pool2d,
    activation: Activation,
    y: &[f32],
    argmax: &[u8],
    dy: &mut [f32],
    dx: &mut [f32],
) {
    let (in_len, _) = image_lens(pool);
    assert_eq!((argmax.len(), dy.len(), dx.len()), (pool.output_len(), pool.output_len(), pool.input_len()));
    max_slope(cpu, pool, activation, y, dy);
    let dy = &*dy;
    cpu.for_each_chunk_mut(dx, in_len, |image, dx| max_backward_image(cpu.isa(), pool, image, argmax, dy, dx));
}

/// The part of [`max_backward`] that changes `dy`.
pub(crate) fn max_slope(cpu: &Cpu, pool: &Pool2d, activation: Activation, y: &[f32], dy: &mut [f32]) {
    if activation != Activation::Sigmoid {
        return;
    }
    let (_, out_len) = image_lens(pool);
    cpu.for_each_chunk_mut(dy, out_len, |image, dy| {
        let y = &y[image * out_len..][..out_len];
        cpu.isa().vectorize(
            #[inline(always)]
            || activation.differentiate(y, dy),
        );
    });
}

/// The rest of [`max_backward`], of one image: `dx` is its gradient, `argmax` and `dy` are of the whole batch.
pub(crate) fn max_backward_image(isa: Isa, pool: &Pool2d, image: usize, argmax: &[u8], dy: &[f32], dx: &mut [f32]) {
    let (_, out_len) = image_lens(pool);
    let (argmax, dy) = (&argmax[image * out_len..][..out_len], &dy[image * out_len..][..out_len]);
    isa.run(MaxBackward { pool, argmax, dy, dx });
}

/// `y`: the mean of each window, by the pooling's [`Divisor`].
pub fn average_forward(cpu: &Cpu, pool: &Pool2d, x: &[f32], y: &mut [f32]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((x.len(), y.len()), (pool.input_len(), pool.output_len()));
    cpu.for_each_chunk_mut(y, out_len, |image, y| {
        cpu.isa().run(AverageForward { pool, x: &x[image * in_len..][..in_len], y });
    });
}

/// `dx`: each gradient of `dy` is shared out among the pixels of its window. Where the input `x` is the output of an
/// `activation`, `dx` is the gradient of what that was applied to; where there is none, `x` may be empty.
pub fn average_backward(cpu: &Cpu, pool: &Pool2d, activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((dy.len(), dx.len()), (pool.output_len(), pool.input_len()));
    assert!(activation == Activation::None || x.len() == dx.len());
    cpu.for_each_chunk_mut(dx, in_len, |image, dx| {
        let x = if activation == Activation::None { &[] } else { &x[image * in_len..][..in_len] };
        cpu.isa().run(AverageBackward { pool, activation, x, dy: &dy[image * out_len..][..out_len], dx });
    });
}

fn image_lens(pool: &Pool2d) -> (usize, usize) {
    (pool.in_h * pool.in_w * pool.channels, pool.out_h() * pool.out_w() * pool.channels)
}

/// [`max_forward`] of an image.
struct MaxForward<'a> {
    pool: &'a Pool2d,
    activation: Activation,
    x: &'a [f32],
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}

impl Task for MaxForward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let MaxForward { pool, activation, x, y, argmax } = self;
        let channels = pool.channels;
        let row_len = pool.out_w() * channels;
        let rows = y.chunks_exact_mut(row_len).zip(argmax.chunks_exact_mut(row_len));
        for (out_y, (y, argmax)) in rows.enumerate() {
            let pixels = y.chunks_exact_mut(channels).zip(argmax.chunks_exact_mut(channels));
            for (out_x, (y, argmax)) in pixels.enumerate() {
                let (window, relu) = (pool.window(out_y, out_x), activation == Activation::Relu);
                match window.nine(pool, x) {
                    Some(pixels) => {
                        for_each_block!(simd, channel in channels, largest(pixels, relu, channel, y, argmax));
                    }
                    None => {
                        let pixels = || window.pixels(pool, x);
                        for_each_block!(simd, channel in channels, largest(pixels(), relu, channel, y, argmax));
                    }
                }
            }
            if activation == Activation::Sigmoid {
                activation.apply(y);
            }
        }
    }
}

/// The largest of each channel of a block, among pixels and their places in the window.
#[inline(always)]
fn largest<'a, S: Simd>(
    simd: S,
    pixels: impl IntoIterator<Item = (&'a [f32], u32)>,
    relu: bool,
    channel: usize,
    y: &mut [f32],
    argmax: &mut [u8],
) {
    let (mut best, mut place) = (simd.splat(f32::NEG_INFINITY), simd.splat(0.0));
    for (pixel, here) in pixels {
        let values = simd.load(&pixel[channel..]);
        let larger = simd.greater_or_nan(values, best);
        best = simd.select(larger, values, best);
        place = simd.select(larger, simd.splat(here as f32), place);
    }
    if relu {
        let zero = simd.splat(0.0);
        place = simd.select(simd.greater(best, zero), place, simd.splat(f32::from(NOTHING)));
        best = simd.select(simd.greater(zero, best), zero, best);
    }
    simd.store(&mut y[channel..], best);
    simd.store_bytes(&mut argmax[channel..], place);
}

/// [`average_forward`] of an image.
struct AverageForward<'a> {
    pool: &'a Pool2d,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for AverageForward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let AverageForward { pool, x, y } = self;
        let channels = pool.channels;
        for (out_y, y) in y.chunks_exact_mut(pool.out_w() * channels).enumerate() {
            for (out_x, y) in y.chunks_exact_mut(channels).enumerate() {
                let window = pool.window(out_y, out_x);
                let share = pool.share(out_y, out_x);
                if pool.sums_rows() {
                    for_each_block!(simd, channel in channels, mean_of_rows(pool, &window, share, x, channel, y));
                    continue;
                }
                match window.nine(pool, x) {
                    Some(pixels) => for_each_block!(simd, channel in channels, mean(pixels, share, channel, y)),
                    None => {
                        let pixels = || window.pixels(pool, x);
                        for_each_block!(simd, channel in channels, mean(pixels(), share, channel, y));
                    }
                }
            }
        }
    }
}

/// The mean of each channel of a block.
#[inline(always)]
fn mean<'a, S: Simd>(
    simd: S,
    pixels: impl IntoIterator<Item = (&'a [f32], u32)>,
    share: f32,
    channel: usize,
    y: &mut [f32],
) {
    let mut sum = simd.splat(0.0);
    for (pixel, _) in pixels {
        sum = simd.add(sum, simd.load(&pixel[channel..]));
    }
    simd.store(&mut y[channel..], simd.mul(sum, simd.splat(share)));
}

/// As [`mean`], of a large window: its rows are summed apart.
#[inline(always)]
fn mean_of_rows<S: Simd>(
    simd: S,
    pool: &Pool2d,
    window: &Window,
    share: f32,
    x: &[f32],
    channel: usize,
    y: &mut [f32],
) {
    let mut sum = simd.splat(0.0);
    for in_y in window.y.0..window.y.1 {
        let mut row = simd.splat(0.0);
        for in_x in window.x.0..window.x.1 {
            row = simd.add(row, simd.load(&x[(in_y * pool.in_w + in_x) * pool.channels + channel..]));
        }
        sum = simd.add(sum, row);
    }
    simd.store(&mut y[channel..], simd.mul(sum, simd.splat(share)));
}

impl Window {
    /// The pixels of a window, row by row, and their places in it.
    #[inline(always)]
    fn pixels<'a>(&'a self, pool: &'a Pool2d, image: &'a [f32]) -> impl Iterator<Item = (&'a [f32], u32)> {
        let columns = self.x;
        (self.y.0..self.y.1).flat_map(move |y| (columns.0..columns.1).map(move |x| self.pixel(pool, image, y, x)))
    }

    /// [`Window::pixels`] of a whole window of 3 x 3, the usual one: as an array, which needs no loop.
    #[inline(always)]
    fn nine<'a>(&self, pool: &Pool2d, image: &'a [f32]) -> Option<[(&'a [f32], u32); 9]> {
        if (self.y.1 - self.y.0, self.x.1 - self.x.0, pool.size) != (3, 3, 3) {
            return None;
        }
        let (row_len, channels) = (pool.in_w * pool.channels, pool.channels);
        let first = self.y.0 * row_len + self.x.0 * channels;
        let row = |first: usize, place: u32| {
            // One check for three pixels.
            let (left, rest) = image[first..][..3 * channels].split_at(channels);
            let (middle, right) = rest.split_at(channels);
            [(left, place), (middle, place + 1), (&right[..channels], place + 2)]
        };
        let [[a, b, c], [d, e, f], [g, h, i]] = [row(first, 0), row(first + row_len, 3), row(first + 2 * row_len, 6)];
        Some([a, b, c, d, e, f, g, h, i])
    }

    #[inline(always)]
    fn pixel<'a>(&self, pool: &Pool2d, image: &'a [f32], y: usize, x: usize) -> (&'a [f32], u32) {
        let first = (y * pool.in_w + x) * pool.channels;
        (&image[first..][..pool.channels], self.place(pool, y, x))
    }
}

impl Pool2d {
    /// The factor that makes a window's sum its mean.
    #[inline(always)]
    fn share(&self, out_y: usize, out_x: usize) -> f32 {
        // Padded coordinates: what counts begins at `start`, and ends `more` after the length of the image.
        let (start, more) = match self.divisor {
            Divisor::WithPadding => (0, 2 * self.pad),
            Divisor::ImageAlone => (self.pad, self.pad),
        };
        let is_whole = |index: usize, len: usize| {
            let first = index * self.stride;
            first >= start && first + self.size <= len + more
        };
        if is_whole(out_y, self.in_h) && is_whole(out_x, self.in_w) {
            // A division that the compiler can take out of the loop.
            1.0 / (self.size * self.size) as f32
        } else {
            1.0 / self.window(out_y, out_x).divisor
        }
    }
}

/// Sums over the windows in which a pixel lies: `$function` adds what `$tap` makes of them to `$dx`. Those of windows of 3
/// every 2 pixels, the usual ones, and of every pixel come at once: a loop of few rounds costs more than what is done in it.
macro_rules! for_each_group {
    (
        $tap:ident at ($y:ident, $x:ident) in ($rows:ident, $columns:ident) => $make:expr,
        $dx:ident, $simd:ident, $channel:ident in $channels:expr, $function:ident($($argument:expr),*)
    ) => {{
        $dx.fill(0.0);
        let make = |$y: usize, $x: usize| $make;
        let (y, x) = ($rows.range.start, $columns.range.start);
        match ($rows.range.len(), $columns.range.len()) {
            (2, 2) => {
                let $tap = [make(y, x), make(y, x + 1), make(y + 1, x), make(y + 1, x + 1)];
                for_each_block!($simd, $channel in $channels, $function($($argument),*));
            }
            (2, 1) => {
                let $tap = [make(y, x), make(y + 1, x)];
                for_each_block!($simd, $channel in $channels, $function($($argument),*));
            }
            (1, 2) => {
                let $tap = [make(y, x), make(y, x + 1)];
                for_each_block!($simd, $channel in $channels, $function($($argument),*));
            }
            (3, 3) => {
                let $tap = [
                    make(y, x),
                    make(y, x + 1),
                    make(y, x + 2),
                    make(y + 1, x),
                    make(y + 1, x + 1),
                    make(y + 1, x + 2),
                    make(y + 2, x),
                    make(y + 2, x + 1),
                    make(y + 2, x + 2),
                ];
                for_each_block!($simd, $channel in $channels, $function($($argument),*));
            }
            _ => {
                for y in $rows.range.clone() {
                    for x in $columns.range.clone() {
                        let $tap = [make(y, x)];
                        for_each_block!($simd, $channel in $channels, $function($($argument),*));
                    }
                }
            }
        }
    }};
}

/// [`max_backward`] of an image.
struct MaxBackward<'a> {
    pool: &'a Pool2d,
    argmax: &'a [u8],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for MaxBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let MaxBackward { pool, argmax, dy, dx } = self;
        let channels = pool.channels;
        let mut rows = Windows::new(pool, pool.out_h());
        for row in dx.chunks_exact_mut(pool.in_w * channels) {
            rows.next_place(pool);
            let mut columns = Windows::new(pool, pool.out_w());
            for dx in row.chunks_exact_mut(channels) {
                columns.next_place(pool);
                for_each_group!(
                    tap at (out_y, out_x) in (rows, columns) => {
                        let first = (out_y * columns.count + out_x) * channels;
                        let place = (rows.at - out_y * pool.stride) * pool.size + columns.at - out_x * pool.stride;
                        (&argmax[first..][..channels], &dy[first..][..channels], place as u8)
                    },
                    dx, simd, channel in channels,
                    chosen_gradients(tap, channel, dx)
                );
            }
        }
    }
}

/// Adds the gradients of the windows that chose a pixel, for a block of channels.
#[inline(always)]
fn chosen_gradients<S: Simd, const N: usize>(
    simd: S,
    windows: [(&[u8], &[f32], u8); N],
    channel: usize,
    dx: &mut [f32],
) {
    let zero = simd.splat(0.0);
    let mut sum = simd.load(&dx[channel..]);
    for (argmax, dy, place) in windows {
        let chosen = simd.equal_bytes(&argmax[channel..], place);
        sum = simd.add(sum, simd.select(chosen, simd.load(&dy[channel..]), zero));
    }
    simd.store(&mut dx[channel..], sum);
}

/// [`average_backward`] of an image.
struct AverageBackward<'a> {
    pool: &'a Pool2d,
    activation: Activation,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for AverageBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let AverageBackward { pool, activation, x, dy, dx } = self;
        let channels = pool.channels;
        let mut rows = Windows::new(pool, pool.out_h());
        for (y, row) in dx.chunks_exact_mut(pool.in_w * channels).enumerate() {
            rows.next_place(pool);
            let mut columns = Windows::new(pool, pool.out_w());
            for dx in row.chunks_exact_mut(channels) {
                columns.next_place(pool);
                for_each_group!(
                    tap at (out_y, out_x) in (rows, columns) => {
                        let first = (out_y * columns.count + out_x) * channels;
                        (&dy[first..][..channels], pool.share(out_y, out_x))
                    },
                    dx, simd, channel in channels,
                    shared_gradients(tap, channel, dx)
                );
            }
            if activation != Activation::None {
                activation.differentiate(&x[y * row.len()..][..row.len()], row);
            }
        }
    }
}

/// Adds a pixel's share of the gradients of its windows, for a block of channels.
#[inline(always)]
fn shared_gradients<S: Simd, const N: usize>(simd: S, windows: [(&[f32], f32); N], channel: usize, dx: &mut [f32]) {
    let mut sum = simd.load(&dx[channel..]);
    for (dy, share) in windows {
        sum = simd.add(sum, simd.mul(simd.load(&dy[channel..]), simd.splat(share)));
    }
    simd.store(&mut dx[channel..], sum);
}

/// The windows that cover a row or a column of the input, one after the other, found without divisions: those would take
/// more time than the sums.
struct Windows {
    range: Range<usize>,
    /// How many there are in all.
    count: usize,
    /// The row or column, in padded coordinates.
    at: usize,
    next: usize,
}

impl Windows {
    #[inline(always)]
    fn new(pool: &Pool2d, count: usize) -> Windows {
        Windows { range: 0..0, count, at: pool.pad, next: pool.pad }
    }

    #[inline(always)]
    fn next_place(&mut self, pool: &Pool2d) {
        self.at = self.next;
        self.next += 1;
        while self.range.end < self.count && self.range.end * pool.stride <= self.at {
            self.range.end += 1;
        }
        while self.range.start < self.range.end && self.range.start * pool.stride + pool.size <= self.at {
            self.range.start += 1;
        }
    }
}
