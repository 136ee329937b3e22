//! How a convolution is cut into blocks: by its shape alone, so that a lane's bits do not depend on how many there are.

use crate::conv2d::Conv2d;
use crate::cuda::{Precision, mirror};

/// At most this where the shape allows: three blocks fit on a multiprocessor of an H100, two on that of an A100.
const PREFERRED_SHARED_BYTES: usize = 72 << 10;

/// Shared memory of a block on every GPU since Ampere.
pub(super) const MAX_SHARED_BYTES: usize = 99 << 10;

/// Pixels and channels of the target that a block of `correlate.cu` computes, and weights of the depth that it holds at
/// once.
const CORRELATE_PIXELS: usize = 256;
const CORRELATE_CHANNELS: usize = 32;
const CORRELATE_DEPTH: usize = 32;

/// Output pixels that a block of `weight_gradient.cu` stages at once, output channels, rows of a warp, most warps.
const GRADIENT_PIXELS: usize = 128;
const GRADIENT_CHANNELS: usize = 32;
const GRADIENT_ROWS: usize = 80;
const GRADIENT_WARPS: usize = 8;
/// Pixels that a warp takes before it is the next one's turn.
const GRADIENT_STEP: usize = 16;
/// Elements between two output pixels in shared memory.
const GRADIENT_STRIDE: usize = GRADIENT_CHANNELS + 8;

/// Blocks of a weight gradient to aim at for one lane, by cutting the batch: some lanes fill the GPU, and the partial
/// sums of large weights stay few.
const GRADIENT_BLOCKS: usize = 32;
const MAX_PARTS: usize = 16;

mirror! {
    /// `Correlation` of `correlate.cu`, which says what the fields are.
    pub(super) struct Correlation = "conv2d::Correlation" {
        images: i32,
        source_height: i32,
        source_width: i32,
        source_channels: i32,
        target_height: i32,
        target_width: i32,
        target_channels: i32,
        source_group: i32,
        target_group: i32,
        kernel_height: i32,
        kernel_width: i32,
        stride: i32,
        pad: i32,
        is_gradient: i32,
        weight_tap_stride: i32,
        weight_source_stride: i32,
        weight_target_stride: i32,
        weight_group_stride: i32,
        tile_images: i32,
        tile_rows: i32,
        tile_columns: i32,
        image_tiles: i32,
        row_tiles: i32,
        column_tiles: i32,
        patch_rows: i32,
        patch_columns: i32,
        slice_rows: i32,
        table_len: i32,
        patch_channels: i32,
        pixel_stride: i32,
        /// As far as the channels allow it: the launch looks at the tensors too.
        pub source_aligned: i32,
        pub weight_aligned: i32,
        pub target_aligned: i32,
        pub relu: i32,
    }
}

/// The launch of a correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CorrelationPlan {
    pub shape: Correlation,
    pub narrow: bool,
    /// Blocks along x and y.
    pub blocks: [usize; 2],
    pub shared_bytes: usize,
}

mirror! {
    /// `WeightGradient` of `weight_gradient.cu`, which says what the fields are.
    pub(super) struct WeightGradient = "conv2d::WeightGradient" {
        images: i32,
        in_height: i32,
        in_width: i32,
        in_channels: i32,
        in_group: i32,
        out_height: i32,
        out_width: i32,
        out_channels: i32,
        out_group: i32,
        taps: i32,
        kernel_width: i32,
        stride: i32,
        pad: i32,
        tile_images: i32,
        tile_rows: i32,
        tile_columns: i32,
        row_tiles: i32,
        column_tiles: i32,
        tiles: i32,
        tiles_per_part: i32,
        patch_rows: i32,
        patch_columns: i32,
        patch_channels: i32,
        pixel_stride: i32,
        narrow: i32,
        block_taps: i32,
        row_warps: i32,
        turns: i32,
        /// As far as the channels allow it: the launch looks at the tensors too.
        pub in_aligned: i32,
        pub out_aligned: i32,
        weight_len: i32,
    }
}

/// The launch of a weight gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WeightGradientPlan {
    pub shape: WeightGradient,
    pub narrow: bool,
    /// Blocks along x, which are the parts of the batch, and y.
    pub blocks: [usize; 2],
    pub threads: usize,
    pub shared_bytes: usize,
    /// Partial sums of each weight.
    pub weight_parts: usize,
}

/// Both directions of a correlation along its two axes: `(height, width)`.
struct Axes {
    /// Positions of the target and taps, of the largest phase.
    count: (usize, usize),
    taps: (usize, usize),
    /// Source pixels between the neighbours of a target.
    step: usize,
}

/// A box of pixels, and how many of them there are.
#[derive(Clone, Copy)]
struct Tile {
    images: usize,
    rows: usize,
    columns: usize,
    image_tiles: usize,
    row_tiles: usize,
    column_tiles: usize,
}

/// The channels that are staged at once.
#[derive(Clone, Copy)]
struct Channels {
    len: usize,
    /// Elements between two pixels of a patch.
    pixel_stride: usize,
    narrow: bool,
}

impl Axes {
    /// Rows and columns of the source that a tile meets by so many taps.
    fn patch(&self, tile: &Tile, taps: (usize, usize)) -> (usize, usize) {
        let side = |len: usize, taps: usize| (len - 1) * self.step + taps.max(1);
        (side(tile.rows, taps.0), side(tile.columns, taps.1))
    }
}

impl Tile {
    fn pixels(&self) -> usize {
        self.images * self.rows * self.columns
    }

    fn count(&self) -> usize {
        self.image_tiles * self.row_tiles * self.column_tiles
    }

    /// The boxes of up to `max` pixels that cover `images` of `height` x `width`: of each width, the highest, and
    /// halves of it for patches that are too large. Several images only as a whole.
    fn candidates(images: usize, (height, width): (usize, usize), max: usize) -> impl Iterator<Item = Tile> {
        let (height, width) = (height.max(1), width.max(1));
        // As many tiles, and these as equal as can be.
        let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most.clamp(1, len)));
        (1..=width.min(max)).rev().filter(move |columns| even(width, *columns) == *columns).flat_map(move |columns| {
            halves(max / columns).flat_map(move |rows| {
                let rows = even(height, rows);
                let whole = rows == height && columns == width;
                halves(if whole { max / (rows * columns) } else { 1 }).map(move |tile_images| {
                    let tile_images = even(images.max(1), tile_images);
                    Tile {
                        images: tile_images,
                        rows,
                        columns,
                        image_tiles: images.div_ceil(tile_images),
                        row_tiles: height.div_ceil(rows),
                        column_tiles: width.div_ceil(columns),
                    }
                })
            })
        })
    }
}

impl Channels {
    /// Channels of a group that can be staged at once: 8, 16 or 32 channels at a time, the rest zeros; or all of few, as they are.
    ///
    /// `least` is what a step of the depth needs, and `padding(len)` the elements after each pixel that keep fragments
    /// from meeting a bank of shared memory twice.
    fn candidates(group: usize, least: usize, padding: impl Fn(usize) -> usize) -> impl Iterator<Item = Channels> {
        // Few channels are read one by one, which costs about as much as half of them being zeros.
        let narrow = group < least && 3 * group < 2 * least;
        let all = Channels { len: group, pixel_stride: group, narrow: true };
        let some = [32, 16, 8].map(|len| Channels { len, pixel_stride: len + padding(len), narrow: false });
        let some = some.into_iter().filter(move |channels| channels.len >= least && !narrow);
        some.chain(narrow.then_some(all))
    }
}

/// The number, half of it and so on, down to 1.
fn halves(number: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(number.max(1)), |number| (*number > 1).then_some(number / 2))
}

/// An integer as kernels take it.
fn int(value: usize) -> Option<i32> {
    i32::try_from(value).ok()
}

/// True if channels may be read in runs of four.
fn aligned(channels: usize, group: usize) -> i32 {
    i32::from(channels.is_multiple_of(4) && group.is_multiple_of(4))
}

impl CorrelationPlan {
    /// The plan of a forward pass, or of the gradient of the input. None if a block would need more shared memory.
    pub fn new(
        g: &Conv2d,
        precision: Precision,
        is_gradient: bool,
        max_shared_bytes: usize,
    ) -> Option<CorrelationPlan> {
        let (group_in, group_out) = (g.in_c / g.groups, g.out_c / g.groups);
        let input = ((g.in_h, g.in_w), g.in_c, group_in, g.out_c);
        let output = ((g.out_h(), g.out_w()), g.out_c, group_out, 1);
        let (source, target) = if is_gradient { (output, input) } else { (input, output) };
        let axes = if is_gradient {
            // Of the s x s phases, the first has most taps.
            let side = |len: usize| len.div_ceil(g.stride);
            Axes { count: (side(g.in_h), side(g.in_w)), taps: (side(g.kernel_h), side(g.kernel_w)), step: 1 }
        } else {
            Axes { count: (g.out_h(), g.out_w()), taps: (g.kernel_h, g.kernel_w), step: g.stride }
        };
        let phases = if is_gradient { g.stride * g.stride } else { 1 };

        let element_bytes = if precision == Precision::Bf16 { 2 } else { 4 };
        let least = if precision == Precision::Bf16 { 16 } else { 8 };
        let weight_bytes = 2 * CORRELATE_CHANNELS * (CORRELATE_DEPTH * element_bytes + 16);
        let best = Channels::candidates(source.2, least, |_| 16 / element_bytes)
            .flat_map(|channels| halves(axes.taps.0).map(move |slice_rows| (channels, slice_rows)))
            .flat_map(|(channels, slice_rows)| {
                Tile::candidates(g.batch, axes.count, CORRELATE_PIXELS).map(move |tile| (channels, slice_rows, tile))
            })
            .filter_map(|(channels, slice_rows, tile)| {
                let (rows, columns) = axes.patch(&tile, (slice_rows, axes.taps.1));
                let patch_pixels = tile.images * rows * columns;
                let bytes = if channels.narrow { 4 } else { element_bytes };
                let taps = slice_rows * axes.taps.1;
                let table_len = taps * if channels.narrow { channels.len } else { 1 };
                let shared_bytes =
                    weight_bytes + (patch_pixels * channels.pixel_stride * bytes).next_multiple_of(16) + 8 * table_len;
                // A tensor core makes 512 products in the time in which 32 B are staged; each patch costs something,
                // too.
                let slices = axes.taps.0.div_ceil(slice_rows) * source.2.div_ceil(channels.len);
                let slice = channels.len * (CORRELATE_PIXELS / 2 * taps + patch_pixels) + 8192;
                let cost = (tile.count() * slices * slice, usize::from(shared_bytes > PREFERRED_SHARED_BYTES));
                (shared_bytes <= max_shared_bytes).then_some((
                    (cost.1, cost.0),
                    channels,
                    slice_rows,
                    tile,
                    (rows, columns),
                    shared_bytes,
                ))
            })
            .min_by_key(|candidate| candidate.0);
        let (_, channels, slice_rows, tile, patch, shared_bytes) = best?;

        int(g.weight_len())?;
        let shape = Correlation {
            images: int(g.batch)?,
            source_height: int(source.0.0)?,
            source_width: int(source.0.1)?,
            source_channels: int(source.1)?,
            target_height: int(target.0.0)?,
            target_width: int(target.0.1)?,
            target_channels: int(target.1)?,
            source_group: int(source.2)?,
            target_group: int(target.2)?,
            kernel_height: int(g.kernel_h)?,
            kernel_width: int(g.kernel_w)?,
            stride: int(if is_gradient { g.stride } else { axes.step })?,
            pad: int(g.pad)?,
            is_gradient: i32::from(is_gradient),
            weight_tap_stride: int(group_in * g.out_c)?,
            weight_source_stride: int(source.3)?,
            weight_target_stride: int(target.3)?,
            weight_group_stride: int(group_out)?,
            tile_images: int(tile.images)?,
            tile_rows: int(tile.rows)?,
            tile_columns: int(tile.columns)?,
            image_tiles: int(tile.image_tiles)?,
            row_tiles: int(tile.row_tiles)?,
            column_tiles: int(tile.column_tiles)?,
            patch_rows: int(patch.0)?,
            patch_columns: int(patch.1)?,
            slice_rows: int(slice_rows)?,
            table_len: int(slice_rows * axes.taps.1 * if channels.narrow { channels.len } else { 1 })?,
            patch_channels: int(channels.len)?,
            pixel_stride: int(channels.pixel_stride)?,
            source_aligned: aligned(source.1, source.2),
            weight_aligned: aligned(g.out_c, group_out),
            target_aligned: i32::from(target.1.is_multiple_of(2) && target.2.is_multiple_of(2)),
            relu: 0,
        };
        let blocks = [phases * tile.count(), g.groups * target.2.div_ceil(CORRELATE_CHANNELS)];
        int(blocks[0])?;
        Some(CorrelationPlan { shape, narrow: channels.narrow, blocks, shared_bytes })
    }
}

impl WeightGradientPlan {
    /// None if a block would need more shared memory.
    pub fn new(g: &Conv2d, precision: Precision, max_shared_bytes: usize) -> Option<WeightGradientPlan> {
        let (group_in, group_out) = (g.in_c / g.groups, g.out_c / g.groups);
        let taps = g.kernel_h * g.kernel_w;
        let axes = Axes { count: (g.out_h(), g.out_w()), taps: (g.kernel_h, g.kernel_w), step: g.stride };
        let images = if g.output_len() == 0 { 0 } else { g.batch };
        let channel_tiles = group_out.div_ceil(GRADIENT_CHANNELS);

        let element_bytes = if precision == Precision::Bf16 { 2 } else { 4 };
        let best = Channels::candidates(group_in, 8, |len| if len == 8 { 0 } else { 8 })
            .flat_map(|channels| {
                let most = (GRADIENT_WARPS * GRADIENT_ROWS / channels.len).min(taps);
                // As many blocks, and these as equal as can be.
                halves(most).map(move |block_taps| (channels, taps.div_ceil(taps.div_ceil(block_taps))))
            })
            .flat_map(|(channels, block_taps)| {
                Tile::candidates(images, axes.count, GRADIENT_PIXELS).map(move |tile| (channels, block_taps, tile))
            })
            .filter_map(|(channels, block_taps, tile)| {
                let tap_rows = kernel_rows(taps, block_taps, g.kernel_w);
                let (rows, columns) = axes.patch(&tile, (tap_rows, g.kernel_w));
                let patch_pixels = tile.images * rows * columns;
                let padded_pixels = tile.pixels().next_multiple_of(GRADIENT_STEP);
                let bytes = if channels.narrow { 4 } else { element_bytes };
                let row_warps = (block_taps * channels.len).div_ceil(GRADIENT_ROWS);
                let turns = (4 / row_warps).max(1);
                let threads = 32 * row_warps * turns;
                let staged = padded_pixels * GRADIENT_STRIDE * element_bytes
                    + (patch_pixels * channels.pixel_stride * bytes).next_multiple_of(16)
                    + 4 * padded_pixels;
                // The bias is summed over the threads at the end.
                let shared_bytes = staged.max(16 * threads);
                let blocks = taps.div_ceil(block_taps) * group_in.div_ceil(channels.len);
                let products = row_warps * GRADIENT_ROWS * GRADIENT_CHANNELS * padded_pixels / 64;
                let tile_cost = products + patch_pixels * channels.len + padded_pixels * GRADIENT_CHANNELS + 2048;
                let cost = (usize::from(shared_bytes > PREFERRED_SHARED_BYTES), tile.count() * blocks * tile_cost);
                (shared_bytes <= max_shared_bytes).then_some((
                    cost,
                    channels,
                    (block_taps, row_warps, turns),
                    tile,
                    (rows, columns),
                    shared_bytes,
                ))
            })
            .min_by_key(|candidate| candidate.0);
        let (_, channels, (block_taps, row_warps, turns), tile, patch, shared_bytes) = best?;

        let blocks = g.groups * channel_tiles * group_in.div_ceil(channels.len) * taps.div_ceil(block_taps);
        let parts = (GRADIENT_BLOCKS / blocks).clamp(1, MAX_PARTS).min(tile.count().max(1));
        let tiles_per_part = tile.count().div_ceil(parts);
        let parts = tile.count().div_ceil(tiles_per_part.max(1)).max(1);
        let shape = WeightGradient {
            images: int(images)?,
            in_height: int(g.in_h)?,
            in_width: int(g.in_w)?,
            in_channels: int(g.in_c)?,
            in_group: int(group_in)?,
            out_height: int(g.out_h())?,
            out_width: int(g.out_w())?,
            out_channels: int(g.out_c)?,
            out_group: int(group_out)?,
            taps: int(taps)?,
            kernel_width: int(g.kernel_w)?,
            stride: int(g.stride)?,
            pad: int(g.pad)?,
            tile_images: int(tile.images)?,
            tile_rows: int(tile.rows)?,
            tile_columns: int(tile.columns)?,
            row_tiles: int(tile.row_tiles)?,
            column_tiles: int(tile.column_tiles)?,
            tiles: int(tile.count())?,
            tiles_per_part: int(tiles_per_part)?,
            patch_rows: int(patch.0)?,
            patch_columns: int(patch.1)?,
            patch_channels: int(channels.len)?,
            pixel_stride: int(channels.pixel_stride)?,
            narrow: i32::from(channels.narrow),
            block_taps: int(block_taps)?,
            row_warps: int(row_warps)?,
            turns: int(turns)?,
            in_aligned: aligned(g.in_c, group_in),
            out_aligned: aligned(g.out_c, group_out),
            weight_len: int(g.weight_len())?,
        };
        Some(WeightGradientPlan {
            shape,
            narrow: channels.narrow,
            blocks: [parts, blocks],
            threads: 32 * row_warps * turns,
            shared_bytes,
            weight_parts: parts * turns,
        })
    }

    /// Parts of the batch: partial sums of each bias.
    pub fn bias_parts(&self) -> usize {
        self.blocks[0]
    }
}

/// Rows of the kernel that any block of so many taps meets.
fn kernel_rows(taps: usize, block_taps: usize, kernel_width: usize) -> usize {
    (0..taps)
        .step_by(block_taps)
        .map(|first| (taps.min(first + block_taps) - 1) / kernel_width - first / kernel_width + 1)
        .max()
        .unwrap_or(1)
}
