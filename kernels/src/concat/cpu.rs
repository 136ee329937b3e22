//! Concatenation on the CPU.

use super::Slice;
use crate::cpu::{Simd, Task, for_each_block};
use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// The slice's channels of every pixel of `y` become those of `x`. Leaves the others as they are.
pub fn forward(cpu: &Cpu, slice: &Slice, x: &[f32], y: &mut [f32]) {
    slice.check();
    assert_eq!((x.len(), y.len()), (slice.len(), slice.whole_len()));
    if slice.is_empty() {
        return;
    }
    let pixels = pixels_per_chunk(slice);
    cpu.for_each_chunk_mut(y, pixels * slice.of, |chunk, y| {
        let source = Pixels { values: &x[chunk * pixels * slice.channels..], first: 0, of: slice.channels };
        let target = PixelsMut { values: y, first: slice.first, of: slice.of };
        cpu.isa().run(Move { channels: slice.channels, source, target, adds: false });
    });
}

/// `dx`: the slice's channels of `dy`, the gradient of the concatenation. Overwrites `dx`.
pub fn backward(cpu: &Cpu, slice: &Slice, dy: &[f32], dx: &mut [f32]) {
    gather(cpu, slice, dy, dx, false);
}

/// As [`backward`], added to what `dx` holds: for a value that others read too.
pub fn accumulate(cpu: &Cpu, slice: &Slice, dy: &[f32], dx: &mut [f32]) {
    gather(cpu, slice, dy, dx, true);
}

fn gather(cpu: &Cpu, slice: &Slice, dy: &[f32], dx: &mut [f32], adds: bool) {
    slice.check();
    assert_eq!((dy.len(), dx.len()), (slice.whole_len(), slice.len()));
    if slice.is_empty() {
        return;
    }
    let pixels = pixels_per_chunk(slice);
    cpu.for_each_chunk_mut(dx, pixels * slice.channels, |chunk, dx| {
        let source = Pixels { values: &dy[chunk * pixels * slice.of..], first: slice.first, of: slice.of };
        let target = PixelsMut { values: dx, first: 0, of: slice.channels };
        cpu.isa().run(Move { channels: slice.channels, source, target, adds });
    });
}

fn pixels_per_chunk(slice: &Slice) -> usize {
    (ELEMENTS_PER_CHUNK / slice.of).max(1)
}

/// Pixels of `of` channels, of which those from `first` on take part.
struct Pixels<'a> {
    values: &'a [f32],
    first: usize,
    of: usize,
}

struct PixelsMut<'a> {
    values: &'a mut [f32],
    first: usize,
    of: usize,
}

/// So many channels of every pixel of the target become those of the source, or have them added.
struct Move<'a> {
    channels: usize,
    source: Pixels<'a>,
    target: PixelsMut<'a>,
    adds: bool,
}

impl Task for Move<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Move { channels, source, target, adds } = self;
        let pixels = source.values.chunks_exact(source.of).zip(target.values.chunks_exact_mut(target.of));
        for (from, to) in pixels {
            let (from, to) = (&from[source.first..][..channels], &mut to[target.first..][..channels]);
            if adds {
                for_each_block!(simd, channel in channels, add(channel, from, to));
            } else {
                for_each_block!(simd, channel in channels, copy(channel, from, to));
            }
        }
    }
}

#[inline(always)]
fn copy<S: Simd>(simd: S, channel: usize, from: &[f32], to: &mut [f32]) {
    simd.store(&mut to[channel..], simd.load(&from[channel..]));
}

#[inline(always)]
fn add<S: Simd>(simd: S, channel: usize, from: &[f32], to: &mut [f32]) {
    let sum = simd.add(simd.load(&to[channel..]), simd.load(&from[channel..]));
    simd.store(&mut to[channel..], sum);
}
