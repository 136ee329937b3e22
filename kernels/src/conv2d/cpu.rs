//! Convolution on the CPU.
//!
//! Images are placed in frames of zeros. There every kernel row meets one contiguous run of floats, and the three operations
//! are a [`Product`] each: no matrix of patches is built.

use super::Conv2d;
use crate::cpu::{Cpu, Depth, Product, Rows, Start, add_rows, pack, packed_len, sum_partials};

/// Tasks that the images of a batch are spread over. Each has its own frames; no sum crosses images.
const IMAGE_TASKS: usize = 16;

/// Parts of a batch whose weight gradients are summed apart and then in a tree. A function of the batch alone, so that bits
/// never depend on threads.
const WEIGHT_PARTS: usize = 8;

/// Pixels to process at once, so that the weights are not fetched anew for each small image.
const PIXELS_AT_ONCE: usize = 192;

/// Depth of weights to sum at once: 320 x 16 floats are 20 KiB of a first-level cache of 32.
const WEIGHT_BLOCK: usize = 320;

/// Pixels over which a weight gradient is summed at once, so that images and gradients share the first-level cache.
const PIXEL_BLOCK: usize = 128;

/// `y = conv(x, w) + bias`. Without bias, `y = conv(x, w)`.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn forward(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    geometry.check(x.len(), w.len(), y.len());
    let &Conv2d { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    if y.is_empty() {
        return;
    }

    let taps = kernel_h * kernel_w * group_in;
    let group_len = packed_len(taps, group_out);
    let (packed, frames) = scratch.split_at_mut(groups * group_len);
    for (group, packed) in packed.chunks_exact_mut(group_len).enumerate() {
        pack(cpu.isa(), packed, w, (taps, group_out), 1, |k| k * out_c + group * group_out);
    }

    let frame = geometry.input_frame();
    let per_task = geometry.batch.div_ceil(IMAGE_TASKS);
    let at_once = geometry.images_at_once(out_h * out_w);
    let (x_len, y_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    cpu.for_each_chunk_pair_mut((y, per_task * y_len), (frames, at_once * frame.len(group_in)), |task, y, frames| {
        frames.fill(0.0);
        let x = &x[task * per_task * x_len..];
        for (x, y) in x.chunks(at_once * x_len).zip(y.chunks_mut(at_once * y_len)) {
            for group in 0..groups {
                let images = y.len() / y_len;
                let a = frame.place(&x[..images * x_len], (in_h, in_w, in_c), (group, groups), frames);
                let product = Product {
                    rows: Rows {
                        counts: [images, out_h, out_w],
                        a_strides: [frame.len(group_in), stride * frame.w * group_in, stride * group_in],
                        c_strides: [y_len, out_w * out_c, out_c],
                    },
                    depth: Depth {
                        runs: kernel_h,
                        run_len: kernel_w * group_in,
                        run_stride: frame.w * group_in,
                        step: 1,
                        block: WEIGHT_BLOCK,
                    },
                    a,
                    b: &packed[group * group_len..],
                    columns: group_out,
                    start: bias.map_or(Start::Zero, |bias| Start::Bias(&bias[group * group_out..][..group_out])),
                };
                product.run(cpu.isa(), &mut y[group * group_out..]);
            }
        }
    });
}

/// `dx`, the gradient of the input, from `dy`, that of the output. Overwrites `dx`.
///
/// Input pixel i meets kernel position k at output `(i + pad - k) / stride`, if that is whole. So the input pixels of one
/// remainder of `i + pad` meet the kernel positions of the same remainder, and their gradient is a convolution of stride 1
/// of `dy` with these, turned around.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn backward_input(cpu: &Cpu, geometry: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
    geometry.check(dx.len(), w.len(), dy.len());
    let &Conv2d { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, pad, groups, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    if dy.is_empty() || dx.is_empty() {
        return dx.fill(0.0);
    }

    let phases = || {
        (0..stride * stride).map(move |i| {
            let rows = Phase::new(in_h, kernel_h, stride, pad, i / stride);
            let columns = Phase::new(in_w, kernel_w, stride, pad, i % stride);
            (rows, columns, rows.taps * columns.taps * group_out)
        })
    };

    let (packed, frames) = scratch.split_at_mut(groups * packed_len(kernel_h * kernel_w * group_out, group_in));
    let mut rest = &mut *packed;
    for group in 0..groups {
        for (rows, columns, depth) in phases() {
            let target = rest.split_off_mut(..packed_len(depth, group_in)).unwrap_or_default();
            pack(cpu.isa(), target, w, (depth, group_in), out_c, |k| {
                let (tap, channel) = (k / group_out, k % group_out);
                let row = rows.kernel_position(tap / columns.taps);
                let column = columns.kernel_position(tap % columns.taps);
                (row * kernel_w + column) * group_in * out_c + group * group_out + channel
            });
        }
    }

    let frame = geometry.output_frame();
    let per_task = geometry.batch.div_ceil(IMAGE_TASKS);
    let at_once = geometry.images_at_once(in_h * in_w);
    let (dx_len, dy_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    cpu.for_each_chunk_pair_mut(
        (dx, per_task * dx_len),
        (frames, at_once * frame.len(group_out)),
        |task, dx, frames| {
            frames.fill(0.0);
            let dy = &dy[task * per_task * dy_len..];
            for (dy, dx) in dy.chunks(at_once * dy_len).zip(dx.chunks_mut(at_once * dx_len)) {
                let images = dx.len() / dx_len;
                let mut b = &*packed;
                for group in 0..groups {
                    let a = frame.place(&dy[..images * dy_len], (out_h, out_w, out_c), (group, groups), frames);
                    for (rows, columns, depth) in phases() {
                        let (phase_b, rest) = b.split_at(packed_len(depth, group_in));
                        b = rest;
                        if rows.count * columns.count == 0 {
                            continue;
                        }
                        // The first tap is the farthest; where the kernel has none, any place will do.
                        let first_row = rows.first_out + frame.top + 1 - rows.taps.max(1);
                        let first_column = columns.first_out + frame.left + 1 - columns.taps.max(1);
                        let product = Product {
                            rows: Rows {
                                counts: [images, rows.count, columns.count],
                                a_strides: [frame.len(group_out), frame.w * group_out, group_out],
                                c_strides: [dx_len, stride * in_w * in_c, stride * in_c],
                            },
                            depth: Depth {
                                runs: rows.taps,
                                run_len: columns.taps * group_out,
                                run_stride: frame.w * group_out,
                                step: 1,
                                block: WEIGHT_BLOCK,
                            },
                            a: &a[(first_row * frame.w + first_column) * group_out..],
                            b: phase_b,
                            columns: group_in,
                            start: Start::Zero,
                        };
                        let first = (rows.first_in * in_w + columns.first_in) * in_c + group * group_in;
                        product.run(cpu.isa(), &mut dx[first..]);
                    }
                }
            }
        },
    );
}

/// `dw` and `db`, the gradients of weights and bias, summed over the batch. Overwrites both.
///
/// The images are summed in order within each of at most 8 parts of the batch, and the parts in a tree.
///
/// # Panics
/// If a slice does not have the length that `geometry` says.
pub fn backward_weight(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    geometry.check(x.len(), dw.len(), dy.len());
    let &Conv2d { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    if dy.is_empty() {
        dw.fill(0.0);
        return db.into_iter().for_each(|db| db.fill(0.0));
    }

    let frame = geometry.input_frame();
    let per_part = geometry.batch.div_ceil(WEIGHT_PARTS);
    let (x_len, dy_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    let part_len = geometry.weight_part_len();
    let part_count = geometry.batch.div_ceil(per_part);
    let rows_at_once = geometry.rows_at_once();
    let with_bias = db.is_some();
    let parts = &mut scratch[..part_count * part_len];
    cpu.for_each_chunk_mut(parts, part_len, |part, memory| {
        let (dw, memory) = memory.split_at_mut(dw.len());
        let (db, memory) = memory.split_at_mut(out_c);
        let (frames, packed) = memory.split_at_mut(frame.len(group_in));
        db.fill(0.0);
        frames.fill(0.0);
        let images = x.chunks_exact(x_len).zip(dy.chunks_exact(dy_len)).skip(part * per_part).take(per_part);
        for (image, (x, dy)) in images.enumerate() {
            if with_bias {
                add_rows(cpu.isa(), dy, db);
            }
            for group in 0..groups {
                let a = frame.place(x, (in_h, in_w, in_c), (group, groups), frames);
                for first_row in (0..out_h).step_by(rows_at_once) {
                    let rows = rows_at_once.min(out_h - first_row);
                    let dy = &dy[first_row * out_w * out_c + group * group_out..];
                    pack(cpu.isa(), packed, dy, (rows * out_w, group_out), 1, |pixel| pixel * out_c);
                    let product = Product {
                        rows: Rows {
                            counts: [1, kernel_h, kernel_w * group_in],
                            a_strides: [0, frame.w * group_in, 1],
                            c_strides: [0, kernel_w * group_in * out_c, out_c],
                        },
                        depth: Depth {
                            runs: rows,
                            run_len: out_w,
                            run_stride: stride * frame.w * group_in,
                            step: stride * group_in,
                            block: PIXEL_BLOCK,
                        },
                        a: &a[first_row * stride * frame.w * group_in..],
                        b: packed,
                        columns: group_out,
                        start: if (image, first_row) == (0, 0) { Start::Zero } else { Start::Sum },
                    };
                    product.run(cpu.isa(), &mut dw[group * group_out..]);
                }
            }
        }
    });
    sum_partials(cpu, parts, part_len, part_count, dw);
    if let Some(db) = db {
        sum_partials(cpu, &parts[dw.len()..], part_len, part_count, db);
    }
}

impl Conv2d {
    /// Floats of scratch memory that suffice for each of the three operations, on any instruction set.
    pub fn scratch_len(&self) -> usize {
        let &Self { batch, in_h, in_w, kernel_h, kernel_w, groups, .. } = self;
        let (group_in, group_out) = (self.in_c / groups, self.out_c / groups);
        let (taps, out_pixels) = (kernel_h * kernel_w, self.out_h() * self.out_w());
        let frames = |frame: Frame, channels: usize, pixels: usize| {
            batch.min(IMAGE_TASKS) * self.images_at_once(pixels) * frame.len(channels)
        };
        let forward =
            groups * packed_len(taps * group_in, group_out) + frames(self.input_frame(), group_in, out_pixels);
        let backward_input =
            groups * packed_len(taps * group_out, group_in) + frames(self.output_frame(), group_out, in_h * in_w);
        let backward_weight = batch.min(WEIGHT_PARTS) * self.weight_part_len();
        forward.max(backward_input).max(backward_weight)
    }

    /// Output rows that the weights' gradient takes at once.
    fn rows_at_once(&self) -> usize {
        (PIXEL_BLOCK / self.out_w().max(1)).clamp(1, self.out_h().max(1))
    }

    /// Scratch memory of one part of the batch: gradients of weights and bias, an image in its frame, packed gradients.
    fn weight_part_len(&self) -> usize {
        self.weight_len()
            + self.out_c
            + self.input_frame().len(self.in_c / self.groups)
            + packed_len(self.rows_at_once() * self.out_w(), self.out_c / self.groups)
    }

    /// Images that one product covers.
    fn images_at_once(&self, pixels: usize) -> usize {
        PIXELS_AT_ONCE.div_ceil(pixels.max(1)).clamp(1, self.batch.div_ceil(IMAGE_TASKS).max(1))
    }

    /// Where an input image lies for [`forward`] and [`backward_weight`].
    fn input_frame(&self) -> Frame {
        let &Self { in_h, in_w, pad, .. } = self;
        Frame { h: in_h + 2 * pad, w: in_w + 2 * pad, top: pad, left: pad }
    }

    /// Where an output image lies for [`backward_input`]: all outputs that an input pixel might meet.
    fn output_frame(&self) -> Frame {
        let &Self { in_h, in_w, kernel_h, kernel_w, stride, pad, .. } = self;
        let (top, left) = (kernel_h.div_ceil(stride) - 1, kernel_w.div_ceil(stride) - 1);
        let last = |len: usize| (len - 1 + pad) / stride;
        Frame { h: top + last(in_h) + 1, w: left + last(in_w) + 1, top, left }
    }

    fn check(&self, input_len: usize, weight_len: usize, output_len: usize) {
        let &Self { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups, .. } = self;
        let sizes = [in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, groups];
        assert!(sizes.iter().all(|size| *size > 0), "a size of 0 in {self:?}");
        assert!(in_c % groups == 0 && out_c % groups == 0, "channels are no multiple of the groups in {self:?}");
        assert_eq!(input_len, self.input_len(), "floats of input for {self:?}");
        assert_eq!(weight_len, self.weight_len(), "floats of weights for {self:?}");
        assert_eq!(output_len, self.output_len(), "floats of output for {self:?}");
    }
}

/// Where an image lies in a larger one that is zero elsewhere.
#[derive(Clone, Copy)]
struct Frame {
    h: usize,
    w: usize,
    top: usize,
    left: usize,
}

impl Frame {
    fn len(&self, channels: usize) -> usize {
        self.h * self.w * channels
    }

    /// The channels of one group of `images`, framed: in `frames`, whose border is zero already, or where they are, if they
    /// need no frame. What does not fit into the frame is left out.
    fn place<'a>(
        &self,
        images: &'a [f32],
        (h, w, channels): (usize, usize, usize),
        (group, groups): (usize, usize),
        frames: &'a mut [f32],
    ) -> &'a [f32] {
        if (self.h, self.w, self.top, self.left, groups) == (h, w, 0, 0, 1) {
            return images;
        }
        let (rows, columns, group_channels) = (h.min(self.h - self.top), w.min(self.w - self.left), channels / groups);
        let frame_len = self.len(group_channels);
        for (image, frame) in images.chunks_exact(h * w * channels).zip(frames.chunks_exact_mut(frame_len)) {
            let frame_rows = frame.chunks_exact_mut(self.w * group_channels).skip(self.top).take(rows);
            for (row, frame_row) in image.chunks_exact(w * channels).zip(frame_rows) {
                let target = &mut frame_row[self.left * group_channels..][..columns * group_channels];
                if groups == 1 {
                    target.copy_from_slice(&row[..columns * channels]);
                    continue;
                }
                for (pixel, target) in row.chunks_exact(channels).zip(target.chunks_exact_mut(group_channels)) {
                    target.copy_from_slice(&pixel[group * group_channels..][..group_channels]);
                }
            }
        }
        frames
    }
}

/// The positions, along one side of the image, whose distance from the padded edge leaves the remainder `phase` when
/// divided by the stride; and the kernel positions that meet them.
#[derive(Clone, Copy)]
struct Phase {
    phase: usize,
    stride: usize,
    /// Kernel positions: `phase`, `phase + stride`, ...
    taps: usize,
    /// Input positions: `first_in`, `first_in + stride`, ...
    count: usize,
    first_in: usize,
    /// The output position at which `first_in` meets kernel position `phase`.
    first_out: usize,
}

impl Phase {
    fn new(in_len: usize, kernel: usize, stride: usize, pad: usize, phase: usize) -> Self {
        let first_out = pad.saturating_sub(phase).div_ceil(stride);
        let first_in = first_out * stride + phase - pad;
        Self {
            phase,
            stride,
            taps: kernel.saturating_sub(phase).div_ceil(stride),
            count: in_len.saturating_sub(first_in).div_ceil(stride),
            first_in,
            first_out,
        }
    }

    /// The kernel position of a tap, counted from the far end, as the turned kernel has them.
    fn kernel_position(&self, tap: usize) -> usize {
        self.phase + self.stride * (self.taps - 1 - tap)
    }
}
