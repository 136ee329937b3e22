//! Pooling on the CPU. The channels of a pixel are neighbours in memory, so the inner loops run over them.

use super::{Pool2d, Window};
use crate::Cpu;

/// Channels that one pass keeps in registers.
const BLOCK: usize = 16;

/// `y`: the largest value of each window; the first of equals, and NaN before all others, so that divergence shows.
/// `choice`, as long as `y`: its place in the window, for [`max_backward`].
pub fn max_forward(cpu: &Cpu, pool: &Pool2d, x: &[f32], y: &mut [f32], choice: &mut [u8]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((x.len(), y.len(), choice.len()), (pool.input_len(), pool.output_len(), pool.output_len()));
    cpu.for_each_chunk_pair_mut((y, out_len), (choice, out_len), |image, y, choice| {
        cpu.isa().vectorize(
            #[inline(always)]
            || max_forward_image(pool, &x[image * in_len..][..in_len], y, choice),
        );
    });
}

/// `dx`: each gradient of `dy` goes to the pixel that was chosen.
pub fn max_backward(cpu: &Cpu, pool: &Pool2d, choice: &[u8], dy: &[f32], dx: &mut [f32]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((choice.len(), dy.len(), dx.len()), (pool.output_len(), pool.output_len(), pool.input_len()));
    cpu.for_each_chunk_mut(dx, in_len, |image, dx| {
        let (choice, dy) = (&choice[image * out_len..][..out_len], &dy[image * out_len..][..out_len]);
        cpu.isa().vectorize(
            #[inline(always)]
            || max_backward_image(pool, choice, dy, dx),
        );
    });
}

/// `y`: the mean of each window. Padding counts as zeros, what hangs over beyond it does not count.
pub fn average_forward(cpu: &Cpu, pool: &Pool2d, x: &[f32], y: &mut [f32]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((x.len(), y.len()), (pool.input_len(), pool.output_len()));
    cpu.for_each_chunk_mut(y, out_len, |image, y| {
        cpu.isa().vectorize(
            #[inline(always)]
            || average_forward_image(pool, &x[image * in_len..][..in_len], y),
        );
    });
}

/// `dx`: each gradient of `dy` is shared out among the pixels of its window.
pub fn average_backward(cpu: &Cpu, pool: &Pool2d, dy: &[f32], dx: &mut [f32]) {
    let (in_len, out_len) = image_lens(pool);
    assert_eq!((dy.len(), dx.len()), (pool.output_len(), pool.input_len()));
    cpu.for_each_chunk_mut(dx, in_len, |image, dx| {
        cpu.isa().vectorize(
            #[inline(always)]
            || average_backward_image(pool, &dy[image * out_len..][..out_len], dx),
        );
    });
}

fn image_lens(pool: &Pool2d) -> (usize, usize) {
    (pool.in_h * pool.in_w * pool.channels, pool.out_h() * pool.out_w() * pool.channels)
}

#[inline(always)]
fn max_forward_image(pool: &Pool2d, input: &[f32], output: &mut [f32], choice: &mut [u8]) {
    let (channels, out_w) = (pool.channels, pool.out_w());
    let pixels = output.chunks_exact_mut(channels).zip(choice.chunks_exact_mut(channels));
    for (pixel, (output, choice)) in pixels.enumerate() {
        let window = pool.window(pixel / out_w, pixel % out_w);
        let mut channel = 0;
        while channel + BLOCK <= channels {
            max_of_window::<BLOCK>(pool, &window, input, channel, output, choice);
            channel += BLOCK;
        }
        for channel in channel..channels {
            max_of_window::<1>(pool, &window, input, channel, output, choice);
        }
    }
}

/// The maximum of `N` channels from `channel` on, a number known to the compiler so that it keeps them in registers.
#[inline(always)]
fn max_of_window<const N: usize>(
    pool: &Pool2d,
    window: &Window,
    input: &[f32],
    channel: usize,
    output: &mut [f32],
    choice: &mut [u8],
) {
    let mut best = [f32::NEG_INFINITY; N];
    let mut place = [0_u32; N];
    for y in window.y.0..window.y.1 {
        for x in window.x.0..window.x.1 {
            let here = window.place(pool, y, x);
            let Some(values) = input[(y * pool.in_w + x) * pool.channels + channel..].first_chunk::<N>() else {
                return;
            };
            for c in 0..N {
                let larger = (values[c] > best[c]) | values[c].is_nan();
                best[c] = if larger { values[c] } else { best[c] };
                place[c] = if larger { here } else { place[c] };
            }
        }
    }
    output[channel..channel + N].copy_from_slice(&best);
    choice[channel..channel + N].copy_from_slice(&place.map(|place| place as u8));
}

#[inline(always)]
fn max_backward_image(pool: &Pool2d, choice: &[u8], dy: &[f32], dx: &mut [f32]) {
    let (channels, out_w) = (pool.channels, pool.out_w());
    dx.fill(0.0);
    for (pixel, (dy, choice)) in dy.chunks_exact(channels).zip(choice.chunks_exact(channels)).enumerate() {
        let window = pool.window(pixel / out_w, pixel % out_w);
        for y in window.y.0..window.y.1 {
            for x in window.x.0..window.x.1 {
                let here = window.place(pool, y, x) as u8;
                let dx = &mut dx[(y * pool.in_w + x) * channels..][..channels];
                for ((dx, &dy), &choice) in dx.iter_mut().zip(dy).zip(choice) {
                    *dx += if choice == here { dy } else { 0.0 };
                }
            }
        }
    }
}

#[inline(always)]
fn average_forward_image(pool: &Pool2d, input: &[f32], output: &mut [f32]) {
    let (channels, out_w) = (pool.channels, pool.out_w());
    for (pixel, output) in output.chunks_exact_mut(channels).enumerate() {
        let window = pool.window(pixel / out_w, pixel % out_w);
        output.fill(0.0);
        for y in window.y.0..window.y.1 {
            for x in window.x.0..window.x.1 {
                let values = &input[(y * pool.in_w + x) * channels..][..channels];
                for (output, &value) in output.iter_mut().zip(values) {
                    *output += value;
                }
            }
        }
        for output in output {
            *output /= window.divisor;
        }
    }
}

#[inline(always)]
fn average_backward_image(pool: &Pool2d, dy: &[f32], dx: &mut [f32]) {
    let (channels, out_w) = (pool.channels, pool.out_w());
    dx.fill(0.0);
    for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
        let window = pool.window(pixel / out_w, pixel % out_w);
        for y in window.y.0..window.y.1 {
            for x in window.x.0..window.x.1 {
                let dx = &mut dx[(y * pool.in_w + x) * channels..][..channels];
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx += dy / window.divisor;
                }
            }
        }
    }
}
