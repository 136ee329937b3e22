//! Convolution on the CPU, the direct method: every product of the definition is multiplied and added.
//!
//! In NHWC memory a kernel row meets one contiguous run of floats, so the three operations are [`Product`]s in place: no
//! matrix of patches is built. Pixels at the edge meet fewer taps and are products of their own, so that nothing is
//! multiplied by the zeros of the padding (28 % of the work for 5x5 kernels on 8x8 pixels).

use std::ops::Range;

use super::side::{Segment, Side};
use super::{Conv2d, Epilogue, OutputGradient};
use crate::cpu::{Ahead, Cpu, Depth, Isa, Level, Packed, Planes, Product, Rows, Start, pack, packed_len, sum_partials};
use crate::pool::{Pool2d, max_backward_image};

/// Tasks that the images of a batch are spread over. No sum crosses images.
pub(super) const IMAGE_TASKS: usize = 16;

/// Parts of a batch whose weight gradients are summed apart and then in a tree. A function of the batch alone, so that bits
/// never depend on threads.
pub(super) const WEIGHT_PARTS: usize = 8;

/// Pixels to process at once, so that the weights are not fetched anew for each small image.
const PIXELS_AT_ONCE: usize = 192;

/// Floats of source and target that stay in the second-level cache.
const FLOATS_AT_ONCE: usize = 1 << 16;

/// Pixels whose gradients are masked at once: they stay in the second-level cache, and there are some of each edge.
const PIXELS_MASKED: usize = 1024;

/// Depth of weights to sum at once: 1024 x 16 floats are 64 KiB. They stream from the second-level cache, which costs less
/// than to put sums aside more often (3 to 5 % of the time with 320, which the first level holds).
const WEIGHT_BLOCK: usize = 1024;

/// Pixels over which a weight gradient is summed at once. Images and gradients come from the second-level cache: fewer would
/// fit into the first, but sums would be put aside more often.
const PIXEL_BLOCK: usize = 384;

/// Channels below which the taps of a kernel row are multiplied together in a weight gradient, padding included: rows of a
/// tile are channels, and 3 of them would leave half the tile empty.
const FEW_CHANNELS: usize = 6;

pub(super) fn forward(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    w: &[f32],
    Epilogue { bias, relu }: Epilogue<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let &Conv2d { in_h, in_w, in_c, out_c, kernel_h, kernel_w, groups, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    let taps = kernel_h * kernel_w * group_in;
    let group_len = packed_len(taps, group_out);
    let packed = &mut scratch[..groups * group_len];
    for (group, packed) in packed.chunks_exact_mut(group_len).enumerate() {
        pack(cpu.isa(), packed, w, (taps, group_out), 1, |k| k * out_c + group * group_out);
    }

    let (rows, columns) = geometry.sides();
    let per_task = geometry.batch.div_ceil(IMAGE_TASKS);
    let (x_len, y_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    cpu.for_each_chunk_mut(y, per_task * y_len, |task, y| {
        let x = &x[task * per_task * x_len..];
        for (group, packed) in packed.chunks_exact(group_len).enumerate() {
            let correlation = Correlation {
                images: y.len() / y_len,
                rows,
                columns,
                channels: group_in,
                source_strides: [x_len, in_w * in_c, in_c],
                target_strides: [y_len, out_w * out_c, out_c],
                weights: Packed { floats: packed, depth: taps, columns: group_out, first: 0 },
                start: bias.map_or(Start::Zero, |bias| Start::Bias(&bias[group * group_out..][..group_out])),
                relu,
            };
            correlation.run(cpu.isa(), &x[group * group_in..], &mut y[group * group_out..]);
        }
    });
}

/// Input pixel i meets kernel position k at output `(i + pad - k) / stride`, if that is whole. So the input pixels of one
/// remainder of `i + pad` meet the kernel positions of the same remainder, and their gradient is a convolution of stride 1
/// of `dy` with these, turned around.
pub(super) fn backward_input(
    cpu: &Cpu,
    geometry: &Conv2d,
    OutputGradient { dy, relu_y }: OutputGradient<'_>,
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let &Conv2d { in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, pad, groups, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    let phases = || {
        (0..stride * stride).map(move |i| {
            let rows = Phase::new((in_h, out_h), kernel_h, stride, pad, i / stride);
            let columns = Phase::new((in_w, out_w), kernel_w, stride, pad, i % stride);
            (rows, columns, rows.side.taps * columns.side.taps * group_out)
        })
    };

    let (packed, masked) = scratch.split_at_mut(groups * packed_len(kernel_h * kernel_w * group_out, group_in));
    let mut rest = &mut *packed;
    for group in 0..groups {
        for (rows, columns, depth) in phases() {
            let target = rest.split_off_mut(..packed_len(depth, group_in)).unwrap_or_default();
            pack(cpu.isa(), target, w, (depth, group_in), out_c, |k| {
                let (tap, channel) = (k / group_out, k % group_out);
                let row = rows.kernel_position(tap / columns.side.taps);
                let column = columns.kernel_position(tap % columns.side.taps);
                (row * kernel_w + column) * group_in * out_c + group * group_out + channel
            });
        }
    }

    let (dx_len, dy_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    let gradient_of_images = |dy: &[f32], dx: &mut [f32]| {
        let mut rest = &*packed;
        for group in 0..groups {
            for (rows, columns, depth) in phases() {
                let floats = rest.split_off(..packed_len(depth, group_in)).unwrap_or_default();
                let first = (rows.first_in * in_w + columns.first_in) * in_c + group * group_in;
                let correlation = Correlation {
                    images: dx.len() / dx_len,
                    rows: rows.side,
                    columns: columns.side,
                    channels: group_out,
                    source_strides: [dy_len, out_w * out_c, out_c],
                    target_strides: [dx_len, stride * in_w * in_c, stride * in_c],
                    weights: Packed { floats, depth, columns: group_in, first: 0 },
                    start: Start::Zero,
                    relu: false,
                };
                correlation.run(cpu.isa(), &dy[group * group_out..], dx.get_mut(first..).unwrap_or_default());
            }
        }
    };

    let per_task = geometry.batch.div_ceil(IMAGE_TASKS);
    let masked_at_once = geometry.images_masked_at_once();
    cpu.for_each_chunk_mut_with((dx, per_task * dx_len), (masked, masked_at_once * dy_len), |task, dx, masked| {
        let first = task * per_task * dy_len;
        let dy = &dy[first..];
        let Some(y) = relu_y.map(|y| &y[first..]) else {
            return gradient_of_images(dy, dx);
        };
        for (i, dx) in dx.chunks_mut(masked_at_once * dx_len).enumerate() {
            let first = i * masked_at_once * dy_len;
            let masked = &mut masked[..dx.len() / dx_len * dy_len];
            copy_where_positive(masked, &dy[first..], &y[first..]);
            gradient_of_images(masked, dx);
        }
    });
}

/// The source of the gradient of the output.
#[derive(Clone, Copy)]
pub(super) enum Gradient<'a> {
    Stored(OutputGradient<'a>),
    /// From that of its max pooling, `dy`, by way of the pixels that were chosen.
    Pooled {
        pool: &'a Pool2d,
        argmax: &'a [u8],
        dy: &'a [f32],
    },
}

/// The images are summed in order within each part of the batch, and the parts in a tree.
pub(super) fn backward_weight(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    gradient: Gradient<'_>,
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    let &Conv2d { in_h, in_w, in_c, out_c, stride, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let (x_len, dy_len) = (in_h * in_w * in_c, out_h * out_w * out_c);
    let lens = WeightMemory::new(geometry, gradient);
    let part_len = lens.part_len;
    let per_part = geometry.batch.div_ceil(WEIGHT_PARTS);
    let part_count = geometry.batch.div_ceil(per_part);
    let with_bias = db.is_some();
    let (parts, memory) = scratch.split_at_mut(part_count * part_len);
    let (images_at_once, rows_at_once) = geometry.bands();
    cpu.for_each_chunk_mut_with((parts, part_len), (memory, lens.thread_len()), |part, sums, memory| {
        let (dw, db) = sums.split_at_mut(dw.len());
        let (frames, memory) = memory.split_at_mut(lens.frames_len);
        let (unpooled, memory) = memory.split_at_mut(lens.unpooled_len);
        let (masked, packed) = memory.split_at_mut(lens.masked_len);
        db.fill(0.0);
        frames.fill(0.0);
        let first_image = part * per_part;
        let end_image = geometry.batch.min(first_image + per_part);
        for first in (first_image..end_image).step_by(images_at_once) {
            let images = images_at_once.min(end_image - first);
            let source = geometry.place(&x[first * x_len..][..images * x_len], frames);
            // The gradients from here on, the first of these images, and where the outputs are that mask them.
            let (all_dy, first_dy, relu_y) = match gradient {
                Gradient::Stored(OutputGradient { dy, relu_y }) => (dy, first * dy_len, relu_y),
                Gradient::Pooled { pool, argmax, dy } => {
                    for (image, target) in unpooled[..images * dy_len].chunks_exact_mut(dy_len).enumerate() {
                        max_backward_image(cpu.isa(), pool, first + image, argmax, dy, target);
                    }
                    (&*unpooled, 0, None)
                }
            };
            for first_row in (0..out_h).step_by(rows_at_once) {
                let band = first_row..out_h.min(first_row + rows_at_once);
                // Several images are taken at once only as a whole, so that their pixels lie together.
                let pixels = images * band.len() * out_w;
                let first_dy = first_dy + band.start * out_w * out_c;
                let mut dy = &all_dy[first_dy..][..pixels * out_c];
                if let Some(y) = relu_y {
                    let masked = &mut masked[..dy.len()];
                    copy_where_positive(masked, dy, &y[first_dy..]);
                    dy = masked;
                }
                let next_x = match band.end == out_h {
                    true => (first + images) * x_len,
                    false => first * x_len + band.end * stride * in_w * in_c,
                };
                let ahead = [
                    Ahead::of(x, next_x, images * band.len() * stride * in_w * in_c),
                    Ahead::of(all_dy, first_dy + dy.len(), dy.len()),
                ];
                let start = if (first, first_row) == (first_image, 0) { Start::Zero } else { Start::Sum };
                let band = Band { images, rows: band, x: source, dy, start, ahead };
                band.add_to(cpu.isa(), geometry, dw, with_bias.then_some(&mut *db), packed);
            }
        }
    });
    sum_partials(cpu, parts, part_len, part_count, dw);
    if let Some(db) = db {
        sum_partials(cpu, &parts[dw.len()..], part_len, part_count, db);
    }
}

/// Floats of scratch memory that [`backward_weight`] takes for so many threads.
pub(super) fn weight_scratch_len(geometry: &Conv2d, gradient: Gradient<'_>, thread_count: usize) -> usize {
    let memory = WeightMemory::new(geometry, gradient);
    let part_count = geometry.batch.min(WEIGHT_PARTS);
    part_count * memory.part_len + part_count.min(thread_count) * memory.thread_len()
}

/// The scratch memory of [`backward_weight`], in floats.
struct WeightMemory {
    /// The gradients of weights and bias, of a part of the batch.
    part_len: usize,
    /// Floats of each thread: framed images, gradients that were unpooled, that were masked, and that were packed.
    frames_len: usize,
    unpooled_len: usize,
    masked_len: usize,
    packed_len: usize,
}

impl WeightMemory {
    fn new(geometry: &Conv2d, gradient: Gradient<'_>) -> Self {
        let (images, rows) = geometry.bands();
        let (out_w, out_c) = (geometry.out_w(), geometry.out_c);
        let pixels = images * rows * out_w;
        let (unpooled_pixels, masked_pixels) = match gradient {
            Gradient::Stored(_) => (0, pixels),
            Gradient::Pooled { .. } => (images * geometry.out_h() * out_w, 0),
        };
        WeightMemory {
            part_len: geometry.weight_len() + out_c,
            frames_len: geometry.frames_len(),
            unpooled_len: unpooled_pixels * out_c,
            masked_len: masked_pixels * out_c,
            packed_len: packed_len(pixels, out_c / geometry.groups),
        }
    }

    fn thread_len(&self) -> usize {
        self.frames_len + self.unpooled_len + self.masked_len + self.packed_len
    }
}

/// Some images, or some rows of one, whose share in the gradient of the weights is computed at once.
struct Band<'a> {
    images: usize,
    /// Rows of the output.
    rows: Range<usize>,
    /// The images, in frames if the geometry has them.
    x: &'a [f32],
    /// The gradient of these rows.
    dy: &'a [f32],
    start: Start<'a>,
    /// Memory that the next band reads.
    ahead: [Ahead; 2],
}

impl Band<'_> {
    /// Adds the band's share to `dw`, or sets `dw` to it, and adds to `db`. `packed` is scratch memory.
    fn add_to(&self, isa: Isa, geometry: &Conv2d, dw: &mut [f32], mut db: Option<&mut [f32]>, packed: &mut [f32]) {
        let &Conv2d { in_h, in_c, out_c, kernel_h, kernel_w, stride, groups, .. } = geometry;
        let (group_in, group_out) = (in_c / groups, out_c / groups);
        let out_w = geometry.out_w();
        let (rows, columns) = geometry.sides();
        let (frame_w, together) = (geometry.frame_w(), geometry.multiplies_taps_together());
        for group in 0..groups {
            let pixels = self.images * self.rows.len() * out_w;
            let dy = &self.dy[group * group_out..];
            let b = match Packed::in_place(isa, dy, (pixels, group_out), out_c) {
                Some(b) => b,
                None => pack(isa, packed, dy, (pixels, group_out), 1, |pixel| pixel * out_c),
            };
            if let Some(db) = &mut db {
                b.add_columns(isa, &mut db[group * group_out..][..group_out]);
            }
            let tap_count = kernel_h * if together { 1 } else { kernel_w };
            for tap in 0..tap_count {
                let (kernel_row, kernel_column) = if together { (tap, 0) } else { (tap / kernel_w, tap % kernel_w) };
                let meets = rows.positions_of(kernel_row);
                let (first_row, end_row) = (meets.start.max(self.rows.start), meets.end.min(self.rows.end));
                let meets = if together { 0..out_w } else { columns.positions_of(kernel_column) };
                let first_dw = (kernel_row * kernel_w + kernel_column) * group_in * out_c + group * group_out;
                let (mut first_x, mut first) = (0, 0);
                if first_row < end_row && !meets.is_empty() {
                    let column = if together { 0 } else { columns.source(meets.start, kernel_column) };
                    let pixel = rows.source(first_row, kernel_row) * frame_w + column;
                    (first_x, first) =
                        (pixel * in_c + group * group_in, (first_row - self.rows.start) * out_w + meets.start);
                }
                let product = Product {
                    rows: Rows {
                        counts: [1, if together { kernel_w } else { 1 }, group_in],
                        a_strides: [0, in_c, 1],
                        c_strides: [0, group_in * out_c, out_c],
                    },
                    depth: Depth::new(
                        [
                            Level { count: self.images, a: in_h * frame_w * in_c, b: self.rows.len() * out_w },
                            Level { count: end_row.saturating_sub(first_row), a: stride * frame_w * in_c, b: out_w },
                            Level { count: meets.len(), a: stride * in_c, b: 1 },
                        ],
                        PIXEL_BLOCK,
                    ),
                    a: &self.x[first_x..],
                    b: Packed { first, ..b },
                    start: self.start,
                    relu: false,
                    planes: Planes::ONE,
                    ahead: self.ahead.map(|ahead| ahead.part(group * tap_count + tap, groups * tap_count)),
                };
                product.run(isa, &mut dw[first_dw..]);
            }
        }
    }
}

/// A convolution of one group, as [`forward`] is one and each phase of [`backward_input`].
struct Correlation<'a> {
    images: usize,
    rows: Side,
    columns: Side,
    /// Channels of the source that take part.
    channels: usize,
    /// Offsets from image to image, row to row, pixel to pixel.
    source_strides: [usize; 3],
    target_strides: [usize; 3],
    /// `[taps of rows][taps of columns][channels]`, and the channels of the target.
    weights: Packed<'a>,
    start: Start<'a>,
    relu: bool,
}

impl Correlation<'_> {
    fn run(&self, isa: Isa, source: &[f32], target: &mut [f32]) {
        // Edges of one pixel or two are computed for all images, so that they fill tiles; what is larger for so many images
        // as stay in the second-level cache meanwhile.
        let is_small = |row: &Segment, column: &Segment| row.positions.len() * column.positions.len() < 4;
        let at_once = (FLOATS_AT_ONCE / (self.source_strides[0] + self.target_strides[0])).max(1);
        for first in (0..self.images).step_by(at_once) {
            let images = first..self.images.min(first + at_once);
            self.for_each_region(|row, column| {
                if !is_small(row, column) {
                    self.run_region(isa, images.clone(), row, column, source, target);
                }
            });
        }
        self.for_each_region(|row, column| {
            if is_small(row, column) {
                self.run_region(isa, 0..self.images, row, column, source, target);
            }
        });
    }

    /// Visits the parts of the target whose pixels meet the same taps.
    fn for_each_region(&self, mut visit: impl FnMut(&Segment, &Segment)) {
        for row in self.rows.segments() {
            for column in self.columns.segments() {
                visit(&row, &column);
            }
        }
    }

    fn run_region(
        &self,
        isa: Isa,
        images: Range<usize>,
        row: &Segment,
        column: &Segment,
        source: &[f32],
        target: &mut [f32],
    ) {
        let &Self { channels, source_strides, target_strides, weights, start, relu, .. } = self;
        let tap = row.taps.start * self.columns.taps + column.taps.start;
        let first_source = row.source * source_strides[1] + column.source * source_strides[2];
        let first_target = row.positions.start * target_strides[1] + column.positions.start * target_strides[2];
        let at_once = PIXELS_AT_ONCE.div_ceil(row.positions.len() * column.positions.len());
        // The largest region meets nearly all of the next images.
        let pixels = row.positions.len() * column.positions.len();
        let is_most = 2 * pixels > self.rows.positions * self.columns.positions;
        for first in images.clone().step_by(at_once) {
            let ahead = |images: &[f32], len: usize| match is_most {
                true => Ahead::of(images, (first + at_once) * len, at_once * len),
                false => Ahead::NONE,
            };
            let product = Product {
                rows: Rows {
                    counts: [at_once.min(images.end - first), row.positions.len(), column.positions.len()],
                    a_strides: [
                        source_strides[0],
                        self.rows.step * source_strides[1],
                        self.columns.step * source_strides[2],
                    ],
                    c_strides: target_strides,
                },
                depth: Depth::new(
                    [
                        Level { count: row.taps.len(), a: source_strides[1], b: self.columns.taps * channels },
                        Level { count: column.taps.len(), a: source_strides[2], b: channels },
                        Level { count: channels, a: 1, b: 1 },
                    ],
                    WEIGHT_BLOCK,
                ),
                a: &source[first * source_strides[0] + first_source..],
                b: Packed { first: tap * channels, ..weights },
                start,
                relu,
                planes: Planes::ONE,
                ahead: [ahead(source, source_strides[0]), ahead(target, target_strides[0])],
            };
            product.run(isa, &mut target[first * target_strides[0] + first_target..]);
        }
    }
}

/// Floats of scratch memory that suffice for each of the three operations on so many threads, on any instruction set.
pub(super) fn scratch_len(geometry: &Conv2d, thread_count: usize) -> usize {
    let &Conv2d { kernel_h, kernel_w, groups, .. } = geometry;
    let (group_in, group_out) = (geometry.in_c / groups, geometry.out_c / groups);
    let taps = kernel_h * kernel_w;
    let output = geometry.out_h() * geometry.out_w() * geometry.out_c;
    let forward = groups * packed_len(taps * group_in, group_out);
    let backward_input = groups * packed_len(taps * group_out, group_in)
        + IMAGE_TASKS.min(thread_count) * geometry.images_masked_at_once() * output;
    let stored = Gradient::Stored(OutputGradient { dy: &[], relu_y: None });
    let backward_weight = weight_scratch_len(geometry, stored, thread_count);
    forward.max(backward_input).max(backward_weight)
}

impl Conv2d {
    /// Height and width, as [`forward`] sees them.
    fn sides(&self) -> (Side, Side) {
        let &Self { in_h, in_w, kernel_h, kernel_w, stride, pad, .. } = self;
        let side = |positions, taps, len| Side { positions, taps, first: 0, step: stride, before: pad, len };
        (side(self.out_h(), kernel_h, in_h), side(self.out_w(), kernel_w, in_w))
    }

    /// Images whose output gradients are masked at once.
    pub(super) fn images_masked_at_once(&self) -> usize {
        let pixels = (self.out_h() * self.out_w()).max(1);
        (PIXELS_MASKED / pixels).clamp(1, self.batch.div_ceil(IMAGE_TASKS).max(1))
    }

    /// How many images, or how many rows of one, the weights' gradient takes at once.
    fn bands(&self) -> (usize, usize) {
        let (out_h, out_w) = (self.out_h().max(1), self.out_w().max(1));
        let images = (PIXEL_BLOCK / (out_h * out_w)).clamp(1, self.batch.div_ceil(WEIGHT_PARTS).max(1));
        (images, (PIXEL_BLOCK / out_w).clamp(1, out_h))
    }

    /// True if the weights' gradient multiplies all taps of a kernel row at once, so that their channels fill a tile.
    fn multiplies_taps_together(&self) -> bool {
        self.pad == 0 || self.in_c / self.groups < FEW_CHANNELS
    }

    /// Width of an image with the padding that taps which are multiplied together meet.
    fn frame_w(&self) -> usize {
        if self.multiplies_taps_together() { self.in_w + 2 * self.pad } else { self.in_w }
    }

    /// Images in frames: none if they need none.
    fn frames_len(&self) -> usize {
        if self.frame_w() == self.in_w { 0 } else { self.bands().0 * self.in_h * self.frame_w() * self.in_c }
    }

    /// The images with `pad` zeros on either side of each row: in `frames`, whose border is zero already, or where they are,
    /// if they need none.
    fn place<'a>(&self, images: &'a [f32], frames: &'a mut [f32]) -> &'a [f32] {
        let &Self { in_w, in_c, pad, .. } = self;
        if frames.is_empty() {
            return images;
        }
        for (row, frame) in images.chunks_exact(in_w * in_c).zip(frames.chunks_exact_mut(self.frame_w() * in_c)) {
            frame[pad * in_c..][..in_w * in_c].copy_from_slice(row);
        }
        frames
    }
}

/// `target[i] = source[i]` where `y[i]` is positive, 0 elsewhere.
pub(super) fn copy_where_positive(target: &mut [f32], source: &[f32], y: &[f32]) {
    for ((target, source), y) in target.iter_mut().zip(source).zip(y) {
        *target = if *y > 0.0 { *source } else { 0.0 };
    }
}

/// The input positions, along one side of the image, whose distance from the padded edge leaves the remainder `phase` when
/// divided by the stride: `first_in`, `first_in + stride`, ...
#[derive(Clone, Copy)]
struct Phase {
    phase: usize,
    stride: usize,
    first_in: usize,
    /// These positions, the kernel positions `phase`, `phase + stride`, ... that they meet, farthest first, and the outputs.
    side: Side,
}

impl Phase {
    fn new((in_len, out_len): (usize, usize), kernel: usize, stride: usize, pad: usize, phase: usize) -> Self {
        // The output at which `first_in` meets kernel position `phase`.
        let first = pad.saturating_sub(phase).div_ceil(stride);
        let first_in = first * stride + phase - pad;
        let taps = kernel.saturating_sub(phase).div_ceil(stride);
        let positions = in_len.saturating_sub(first_in).div_ceil(stride);
        let side = Side { positions, taps, first, step: 1, before: taps.saturating_sub(1), len: out_len };
        Self { phase, stride, first_in, side }
    }

    /// The kernel position of a tap.
    fn kernel_position(&self, tap: usize) -> usize {
        self.phase + self.stride * (self.side.taps - 1 - tap)
    }
}
