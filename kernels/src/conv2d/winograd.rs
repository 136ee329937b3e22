//! Convolution on the CPU by Winograd's minimal filtering: fewer multiplications than the definition has.
//!
//! Images are cut into tiles of 4x4 outputs. A tile of 3x3 taps takes 36 multiplications for each pair of channels instead of
//! 144, one of 5x5 taps 64 instead of 400. At each of the 36 or 64 points the sum over channels is a matrix product of tiles
//! and weights. The gradient of the weights correlates the input with tiles of 4x4 gradients, at the same points.

use std::ops::Range;

use super::direct::{IMAGE_TASKS, WEIGHT_PARTS, copy_where_positive};
use super::{Algorithm, Conv2d, Epilogue, OutputGradient};
use crate::cpu::winograd::{EightPoints, Finish, Patch, Planes as Points2d, Points, SixPoints, Strides, Transform};
use crate::cpu::winograd::{from_points, to_points};
use crate::cpu::{
    Ahead, Cpu, Depth, Isa, Level, Packed, Planes, Product, Rows, Start, add_rows, for_each_panel, pack, packed_len,
    sum_partials,
};

/// Outputs of a tile along one side.
const OUTPUTS: usize = 4;

/// Floats at all points of the tiles that are processed at once: 128 KiB of a second-level cache of 512 or more, which holds
/// weights too.
const FLOATS_AT_ONCE: usize = 1 << 15;

/// True if this algorithm is used, by the shape of images and kernels alone.
pub(super) fn is_chosen(geometry: &Conv2d) -> bool {
    let &Conv2d { kernel_h, kernel_w, stride, groups, in_c, out_c, algorithm, .. } = geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let computed = out_h.next_multiple_of(OUTPUTS) * out_w.next_multiple_of(OUTPUTS);
    algorithm == Algorithm::Auto
        && stride == 1
        && kernel_h == kernel_w
        && matches!(kernel_h, 3 | 5)
        && geometry.pad < kernel_h
        && (in_c / groups).is_multiple_of(16)
        && (out_c / groups).is_multiple_of(16)
        // Images of 13 x 13, as AlexNet has them, are the smallest part that is worth it: 169 of 256 outputs.
        && 169 * computed <= 256 * out_h * out_w
}

pub(super) fn forward(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    w: &[f32],
    Epilogue { bias, relu }: Epilogue<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let finish = Finish { bias, relu };
    let filter = Filter::forward(geometry);
    match filter.taps {
        3 => filter.run::<SixPoints>(cpu, (x, None), w, finish, y, scratch),
        _ => filter.run::<EightPoints>(cpu, (x, None), w, finish, y, scratch),
    }
}

/// As [`super::backward_input`]: the gradient is filtered by the weights, turned around.
pub(super) fn backward_input(
    cpu: &Cpu,
    geometry: &Conv2d,
    OutputGradient { dy, relu_y }: OutputGradient<'_>,
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let finish = Finish { bias: None, relu: false };
    let filter = Filter::backward(geometry);
    match filter.taps {
        3 => filter.run::<SixPoints>(cpu, (dy, relu_y), w, finish, dx, scratch),
        _ => filter.run::<EightPoints>(cpu, (dy, relu_y), w, finish, dx, scratch),
    }
}

/// Images, of whose channels some take part at a time: those of a group.
#[derive(Clone, Copy)]
struct Images {
    h: usize,
    w: usize,
    c: usize,
    /// Channels of a group.
    group: usize,
}

impl Images {
    /// Floats of one image.
    fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    fn strides(&self) -> Strides {
        Strides { row: (self.w * self.c) as isize, column: self.c as isize }
    }

    /// Tiles of [`OUTPUTS`] pixels a side, down and across.
    fn tiles(&self) -> (usize, usize) {
        (self.h.div_ceil(OUTPUTS), self.w.div_ceil(OUTPUTS))
    }

    /// The rows of these images in which so many tiles lie, `across` beside each other; about, for images of another size
    /// than the output.
    fn of_tiles(&self, images: &[f32], tiles: Range<usize>, across: usize) -> Ahead {
        let down = self.h.div_ceil(OUTPUTS);
        let first_pixel = |tile: usize| {
            let row = tile / across;
            (row / down * self.h + row % down * OUTPUTS) * self.w
        };
        let first = first_pixel(tiles.start) * self.c;
        Ahead::of(images, first, (first_pixel(tiles.end.next_multiple_of(across)) * self.c).saturating_sub(first))
    }

    /// A patch of `size` pixels a side, which begins `before` pixels above and to the left of `pixel` of the image, at its first
    /// channel.
    fn patch(&self, image: usize, (row, column): (usize, usize), size: usize, before: usize) -> Patch {
        let inside =
            |first: usize, len: usize| before.saturating_sub(first)..(len + before).saturating_sub(first).min(size);
        let pixel = (image * self.h + row) * self.w + column;
        let first = (pixel * self.c) as isize - (before * (self.w + 1) * self.c) as isize;
        Patch { first, rows: inside(row, self.h), columns: inside(column, self.w) }
    }
}

/// A correlation of stride 1: the forward pass, or the gradient of the input.
struct Filter {
    batch: usize,
    source: Images,
    target: Images,
    groups: usize,
    taps: usize,
    pad: usize,
    /// True if the weights are turned around, their channels of input and output exchanged.
    turned: bool,
    /// Images whose gradients are masked at once.
    masked_at_once: usize,
}

impl Filter {
    fn forward(geometry: &Conv2d) -> Self {
        let &Conv2d { batch, in_h, in_w, in_c, out_c, kernel_h, pad, groups, .. } = geometry;
        Self {
            batch,
            source: Images { h: in_h, w: in_w, c: in_c, group: in_c / groups },
            target: Images { h: geometry.out_h(), w: geometry.out_w(), c: out_c, group: out_c / groups },
            groups,
            taps: kernel_h,
            pad,
            turned: false,
            masked_at_once: 0,
        }
    }

    fn backward(geometry: &Conv2d) -> Self {
        let Self { source, target, taps, pad, .. } = Self::forward(geometry);
        let masked_at_once = geometry.images_masked_at_once();
        let (source, target, pad) = (target, source, taps - 1 - pad);
        Self { source, target, pad, turned: true, masked_at_once, ..Self::forward(geometry) }
    }

    /// Filters `source`, where the optional second images are positive, into `target`.
    fn run<P: Points>(
        &self,
        cpu: &Cpu,
        (source, relu_y): (&[f32], Option<&[f32]>),
        w: &[f32],
        finish: Finish<'_>,
        target: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (zeros, scratch) = scratch.split_at_mut(self.source.group.max(self.target.group));
        zeros.fill(0.0);
        let group_len = self.weights_len();
        let (weights, memory) = scratch.split_at_mut(self.groups * group_len);
        for (group, weights) in weights.chunks_exact_mut(group_len).enumerate() {
            self.transform_weights::<P>(cpu, group, w, zeros, weights, memory);
        }
        let (zeros, weights) = (&*zeros, &*weights);

        let per_task = self.batch.div_ceil(IMAGE_TASKS);
        let (source_len, target_len) = (self.source.len(), self.target.len());
        let memory = (memory, self.task_len());
        cpu.for_each_chunk_mut_with((target, per_task * target_len), memory, |task, target, memory| {
            let first = task * per_task * source_len;
            let source = &source[first..];
            let Some(y) = relu_y.map(|y| &y[first..]) else {
                return self.run_images::<P>(cpu.isa(), source, (zeros, weights), finish, target, memory);
            };
            let (masked, memory) = memory.split_at_mut(self.masked_at_once * source_len);
            for (i, target) in target.chunks_mut(self.masked_at_once * target_len).enumerate() {
                let first = i * self.masked_at_once * source_len;
                let masked = &mut masked[..target.len() / target_len * source_len];
                copy_where_positive(masked, &source[first..], &y[first..]);
                self.run_images::<P>(cpu.isa(), masked, (zeros, weights), finish, target, memory);
            }
        });
    }

    /// The weights of a group at the points, packed: plane after plane.
    fn transform_weights<P: Points>(
        &self,
        cpu: &Cpu,
        group: usize,
        w: &[f32],
        zeros: &[f32],
        packed: &mut [f32],
        memory: &mut [f32],
    ) {
        let (taps, depth, columns) = (self.taps, self.source.group, self.target.group);
        let (in_c, out_c) = if self.turned { (columns, depth) } else { (depth, columns) };
        // In memory the output channels of all groups are neighbours.
        let row_len = self.groups * out_c;
        let tap_len = (in_c * row_len) as isize;
        let sign = if self.turned { -1 } else { 1 };
        let strides = Strides { row: sign * taps as isize * tap_len, column: sign * tap_len };
        let first_tap = if self.turned { (taps * taps - 1) as isize * tap_len } else { 0 };
        let patches = (0..in_c).map(|channel| Patch {
            first: first_tap + (channel * row_len + group * out_c) as isize,
            rows: 0..taps,
            columns: 0..taps,
        });
        let planes = Points2d { stride: in_c * out_c, width: out_c };
        let points = &mut memory[..self.points() * planes.stride];
        to_points::<P>(cpu.isa(), Transform::Taps(taps), (w, strides, zeros), patches, out_c, (points, planes));
        cpu.for_each_chunk_mut(packed, packed_len(depth, columns), |point, packed| {
            let source = &points[point * planes.stride..];
            if self.turned {
                pack(cpu.isa(), packed, source, (depth, columns), out_c, |k| k);
            } else {
                pack(cpu.isa(), packed, source, (depth, columns), 1, |k| k * out_c);
            }
        });
    }

    /// All images of `target`.
    fn run_images<P: Points>(
        &self,
        isa: Isa,
        source: &[f32],
        (zeros, weights): (&[f32], &[f32]),
        finish: Finish<'_>,
        target: &mut [f32],
        memory: &mut [f32],
    ) {
        for (group, weights) in weights.chunks_exact(self.weights_len()).enumerate() {
            let columns = self.target.group;
            let finish = Finish { bias: finish.bias.map(|bias| &bias[group * columns..][..columns]), ..finish };
            self.run_group::<P>(isa, group, source, (zeros, weights), finish, target, memory);
        }
    }

    /// The channels of a group, of all images of `target`.
    #[expect(clippy::too_many_arguments, reason = "what `run_images` has, and the group")]
    fn run_group<P: Points>(
        &self,
        isa: Isa,
        group: usize,
        source: &[f32],
        (zeros, weights): (&[f32], &[f32]),
        finish: Finish<'_>,
        target: &mut [f32],
        memory: &mut [f32],
    ) {
        let (depth, columns) = (self.source.group, self.target.group);
        let (down, across) = self.target.tiles();
        let tiles_at_once = self.tiles_at_once();
        let (before, after) = (planes(tiles_at_once, depth), planes(tiles_at_once, columns));
        let (memory_before, memory) = memory.split_at_mut(self.points() * before.stride);
        let memory_after = &mut memory[..self.points() * after.stride];
        let tile_count = target.len() / self.target.len() * down * across;
        for first in (0..tile_count).step_by(tiles_at_once) {
            let tiles = first..tile_count.min(first + tiles_at_once);
            let patches = |images: Images, size: usize, before: usize| {
                tiles.clone().map(move |tile| {
                    let pixel = (tile / across % down * OUTPUTS, tile % across * OUTPUTS);
                    let patch = images.patch(tile / across / down, pixel, size, before);
                    Patch { first: patch.first + (group * images.group) as isize, ..patch }
                })
            };
            let image = (source, self.source.strides(), zeros);
            let patches_before = patches(self.source, P::TILE, self.pad);
            to_points::<P>(isa, Transform::Data, image, patches_before, depth, (memory_before, before));
            let product = Product {
                rows: Rows { counts: [1, 1, tiles.len()], a_strides: [0, 0, depth], c_strides: [0, 0, columns] },
                depth: Depth::new([Level::ONCE, Level::ONCE, Level { count: depth, a: 1, b: 1 }], depth),
                a: memory_before,
                b: Packed { floats: weights, depth, columns, first: 0 },
                start: Start::Zero,
                relu: false,
                planes: Planes {
                    count: self.points(),
                    a: before.stride,
                    b: packed_len(depth, columns),
                    c: after.stride,
                },
                ahead: [
                    self.source.of_tiles(source, tiles.end..tile_count.min(tiles.end + tiles_at_once), across),
                    self.target.of_tiles(target, tiles.clone(), across),
                ],
            };
            product.run(isa, memory_after);
            let image = (&mut *target, self.target.strides());
            from_points::<P>(
                isa,
                OUTPUTS,
                (memory_after, after),
                patches(self.target, OUTPUTS, 0),
                columns,
                image,
                finish,
            );
        }
    }

    fn points(&self) -> usize {
        (OUTPUTS + self.taps - 1).pow(2)
    }

    /// Floats of the weights of a group at the points, packed.
    fn weights_len(&self) -> usize {
        self.points() * packed_len(self.source.group, self.target.group)
    }

    /// Tiles to process at once: whole tiles of any instruction set's product.
    fn tiles_at_once(&self) -> usize {
        let floats = self.points() * (self.source.group + self.target.group);
        (FLOATS_AT_ONCE / floats / 12 * 12).max(12)
    }

    /// Scratch memory of a task: masked images, tiles before and after the product.
    fn task_len(&self) -> usize {
        let tiles = self.tiles_at_once();
        let planes = planes(tiles, self.source.group).stride + planes(tiles, self.target.group).stride;
        self.masked_at_once * self.source.len() + self.points() * planes
    }

    fn scratch_len(&self, thread_count: usize) -> usize {
        let points_of_weights = self.points() * self.source.group * self.target.group;
        self.source.group.max(self.target.group)
            + self.groups * self.weights_len()
            + points_of_weights.max(IMAGE_TASKS.min(thread_count) * self.task_len())
    }
}

/// Tiles of so many channels at the points. An odd number of cache lines from plane to plane spreads them over the cache's
/// sets.
fn planes(tiles: usize, channels: usize) -> Points2d {
    Points2d { stride: (tiles * channels).next_multiple_of(32) + 16, width: channels }
}

/// As [`super::backward_weight`]. Within each part of the batch the sum over tiles is taken at the points.
pub(super) fn backward_weight(
    cpu: &Cpu,
    geometry: &Conv2d,
    x: &[f32],
    dy: OutputGradient<'_>,
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    let gradient = WeightGradient::new(geometry);
    match gradient.taps {
        3 => gradient.run::<SixPoints>(cpu, x, dy, dw, db, scratch),
        _ => gradient.run::<EightPoints>(cpu, x, dy, dw, db, scratch),
    }
}

/// The gradient of the weights: the input is correlated with tiles of the output's gradient.
struct WeightGradient {
    batch: usize,
    input: Images,
    output: Images,
    groups: usize,
    taps: usize,
    pad: usize,
    /// Images that are masked at once.
    images_at_once: usize,
}

impl WeightGradient {
    fn new(geometry: &Conv2d) -> Self {
        let Filter { batch, source, target, groups, taps, pad, .. } = Filter::forward(geometry);
        let images_at_once = geometry.images_masked_at_once();
        Self { batch, input: source, output: target, groups, taps, pad, images_at_once }
    }

    fn run<P: Points>(
        &self,
        cpu: &Cpu,
        x: &[f32],
        OutputGradient { dy, relu_y }: OutputGradient<'_>,
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let (zeros, scratch) = scratch.split_at_mut(self.input.group.max(self.output.group));
        zeros.fill(0.0);
        let zeros = &*zeros;
        let per_part = self.batch.div_ceil(WEIGHT_PARTS);
        let part_count = self.batch.div_ceil(per_part);
        let part_len = self.part_len();
        let with_bias = db.is_some();
        let (x_len, dy_len) = (self.input.len(), self.output.len());
        let (parts, memory) = scratch.split_at_mut(part_count * part_len);
        cpu.for_each_chunk_mut_with((parts, part_len), (memory, self.thread_len()), |part, gradients, memory| {
            let (dw, db) = gradients.split_at_mut(dw.len());
            let (sums, memory) = memory.split_at_mut(self.groups * self.points() * self.sums().stride);
            let (masked, memory) = memory.split_at_mut(self.images_at_once * dy_len);
            db.fill(0.0);
            let images = part * per_part..self.batch.min((part + 1) * per_part);
            for first in images.clone().step_by(self.images_at_once) {
                let count = self.images_at_once.min(images.end - first);
                let mut dy = &dy[first * dy_len..][..count * dy_len];
                if let Some(y) = relu_y {
                    let masked = &mut masked[..dy.len()];
                    copy_where_positive(masked, dy, &y[first * dy_len..]);
                    dy = masked;
                }
                if with_bias {
                    add_rows(cpu.isa(), dy, db);
                }
                let start = if first == images.start { Start::Zero } else { Start::Sum };
                for (group, sums) in sums.chunks_exact_mut(self.points() * self.sums().stride).enumerate() {
                    self.add_images::<P>(cpu.isa(), group, (&x[first * x_len..], dy, zeros), start, sums, memory);
                }
            }
            let (in_c, out_c) = (self.input.group, self.output.group);
            let tap_len = (in_c * self.output.c) as isize;
            let strides = Strides { row: self.taps as isize * tap_len, column: tap_len };
            for (group, sums) in sums.chunks_exact(self.points() * self.sums().stride).enumerate() {
                let patches = (0..in_c).map(|channel| Patch {
                    first: (channel * self.output.c + group * out_c) as isize,
                    rows: 0..self.taps,
                    columns: 0..self.taps,
                });
                let finish = Finish { bias: None, relu: false };
                from_points::<P>(cpu.isa(), self.taps, (sums, self.sums()), patches, out_c, (dw, strides), finish);
            }
        });
        sum_partials(cpu, parts, part_len, part_count, dw);
        if let Some(db) = db {
            sum_partials(cpu, &parts[dw.len()..], part_len, part_count, db);
        }
    }

    /// Adds the share of a group of the images of `dy` to `sums`, the gradient at the points, or starts `sums` with it.
    fn add_images<P: Points>(
        &self,
        isa: Isa,
        group: usize,
        (x, dy, zeros): (&[f32], &[f32], &[f32]),
        start: Start<'_>,
        sums: &mut [f32],
        memory: &mut [f32],
    ) {
        let (in_c, out_c) = (self.input.group, self.output.group);
        let (down, across) = self.output.tiles();
        let tiles_at_once = self.tiles_at_once();
        let x_planes = planes(tiles_at_once, in_c);
        let (x_memory, memory) = memory.split_at_mut(self.points() * x_planes.stride);
        let dy_stride = planes(tiles_at_once, out_c).stride;
        let dy_memory = &mut memory[..self.points() * dy_stride];
        let tile_count = dy.len() / self.output.len() * down * across;
        for first in (0..tile_count).step_by(tiles_at_once) {
            let tiles = first..tile_count.min(first + tiles_at_once);
            let patches = |images: Images, size: usize, before: usize, channel: usize| {
                tiles.clone().map(move |tile| {
                    let pixel = (tile / across % down * OUTPUTS, tile % across * OUTPUTS);
                    let patch = images.patch(tile / across / down, pixel, size, before);
                    Patch { first: patch.first + (group * images.group + channel) as isize, ..patch }
                })
            };
            let image = (x, self.input.strides(), zeros);
            let patches_of_x = patches(self.input, P::TILE, self.pad, 0);
            to_points::<P>(isa, Transform::Data, image, patches_of_x, in_c, (x_memory, x_planes));
            for_each_panel(isa, out_c, |first, columns, width| {
                let image = (dy, self.output.strides(), zeros);
                let target = (&mut dy_memory[tiles_at_once * first..], Points2d { stride: dy_stride, width });
                let patches = patches(self.output, OUTPUTS, 0, first);
                to_points::<P>(isa, Transform::Taps(OUTPUTS), image, patches, columns, target);
            });
            let product = Product {
                rows: Rows { counts: [1, 1, in_c], a_strides: [0, 0, 1], c_strides: [0, 0, out_c] },
                depth: Depth::new([Level::ONCE, Level::ONCE, Level { count: tiles.len(), a: in_c, b: 1 }], tiles.len()),
                a: x_memory,
                b: Packed { floats: dy_memory, depth: tiles_at_once, columns: out_c, first: 0 },
                start: if first == 0 { start } else { Start::Sum },
                relu: false,
                planes: Planes { count: self.points(), a: x_planes.stride, b: dy_stride, c: self.sums().stride },
                ahead: {
                    let next = tiles.end..tile_count.min(tiles.end + tiles_at_once);
                    [self.input.of_tiles(x, next.clone(), across), self.output.of_tiles(dy, next, across)]
                },
            };
            product.run(isa, sums);
        }
    }

    fn points(&self) -> usize {
        (OUTPUTS + self.taps - 1).pow(2)
    }

    /// Tiles to process at once: the more, the less often the sums at the points are read and written.
    fn tiles_at_once(&self) -> usize {
        let floats = self.points() * (self.input.group + self.output.group);
        let at_once = (2 * FLOATS_AT_ONCE).max(2 * self.points() * self.sums().stride);
        (at_once / floats / 4 * 4).max(16)
    }

    /// The gradient of a group at the points: a plane is `[in_c][out_c]`.
    fn sums(&self) -> Points2d {
        planes(self.input.group, self.output.group)
    }

    /// Scratch memory of one part of the batch: gradients of weights and bias.
    fn part_len(&self) -> usize {
        self.taps * self.taps * self.input.group * self.output.c + self.output.c
    }

    /// Scratch memory of a thread: gradients of the weights at the points, masked gradients of the output, tiles of input and
    /// gradient.
    fn thread_len(&self) -> usize {
        let (in_c, out_c, tiles) = (self.input.group, self.output.group, self.tiles_at_once());
        let planes = self.groups * self.sums().stride + planes(tiles, in_c).stride + planes(tiles, out_c).stride;
        self.images_at_once * self.output.len() + self.points() * planes
    }

    fn scratch_len(&self, thread_count: usize) -> usize {
        let parts = self.batch.min(WEIGHT_PARTS);
        self.input.group.max(self.output.group) + parts * self.part_len() + parts.min(thread_count) * self.thread_len()
    }
}

/// Floats of scratch memory that suffice for each of the three operations on so many threads, on any instruction set.
pub(super) fn scratch_len(geometry: &Conv2d, thread_count: usize) -> usize {
    let filters =
        [Filter::forward(geometry), Filter::backward(geometry)].map(|filter| filter.scratch_len(thread_count));
    filters.into_iter().fold(WeightGradient::new(geometry).scratch_len(thread_count), usize::max)
}
