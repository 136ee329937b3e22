//! Gathers, normalises, flips, pads and crops.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count};
use crate::step::LaneStep;

const THREADS: usize = 256;

/// A split of a data set on the GPU, and what is done to each image: `(pixel - mean) * scale`, then, in training, a flip of
/// every other image, at random; then zeros of width `pad` around it and a crop, random in training and central in evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `[samples][height][width][channels]`.
    pub images: &'a Buffer<u8>,
    /// `[samples]`.
    pub labels: &'a Buffer<i32>,
    /// Height, width and channels of a stored image.
    pub shape: [usize; 3],
    /// Empty (0), `[channels]`, or of a stored image.
    pub mean: &'a Buffer<f32>,
    /// Empty (1), `[1]` or `[channels]`.
    pub scale: &'a Buffer<f32>,
    /// Zeros on each side.
    pub pad: usize,
    /// Height and width of what the model sees.
    pub crop: [usize; 2],
    /// Whether training flips images.
    pub flip: bool,
}

/// Which samples are in each batch of a call.
#[derive(Clone, Copy, Debug)]
pub struct Batches<'a> {
    /// `[rows][lane_count][batch_size]`: places in the split.
    pub samples: &'a Buffer<u32>,
    /// As `samples`: the epoch in which each is seen, which keys its draws. Read in training alone.
    pub epochs: &'a Buffer<u32>,
    /// As many as there are steps in the call.
    pub rows: usize,
    /// 1 where all lanes see the same samples.
    pub lane_count: usize,
    /// Of the table; a batch may have fewer samples.
    pub batch_size: usize,
    /// `[lanes]`: what keys each lane's draws. None: this is evaluation, where nothing is random.
    pub data_seeds: Option<&'a Buffer<u64>>,
}

/// Mirrors `input::Shape` in input.cu.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Shape {
    sample_count: u32,
    height: u32,
    width: u32,
    channels: u32,
    crop_h: u32,
    crop_w: u32,
    pad: u32,
    flip: u32,
    mean_len: u32,
    scale_len: u32,
    row_count: u32,
    sample_lanes: u32,
    batch_size: u32,
    augment: u32,
}

/// Fills `images`, `[batch][crop][crop][channels]`, and `labels`, `[batch]`, of `lanes` lanes with the batch of the step at
/// hand. One lane serves all, if all see the same samples with the same seed. A place that is no sample's gives zeros and the
/// label -1.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a buffer is too short, a crop larger than a padded image, or mean or scale of another length.
#[expect(clippy::too_many_arguments, reason = "the arrays of one operation")]
pub fn gather(
    gpu: &Gpu,
    lanes: usize,
    batch: usize,
    source: &Images<'_>,
    batches: &Batches<'_>,
    steps: &Buffer<LaneStep>,
    images: Lanes<'_>,
    labels: Lanes<'_, i32>,
) -> Result<(), GpuError> {
    let &Images { shape: [height, width, channels], mean, scale, pad, crop: [crop_h, crop_w], flip, .. } = source;
    let &Batches { samples, epochs, rows, lane_count, batch_size, data_seeds } = batches;
    let (stored_len, image_len) = (height * width * channels, crop_h * crop_w * channels);
    assert!([0, channels, stored_len].contains(&mean.len()), "a mean of {} values", mean.len());
    assert!([0, 1, channels].contains(&scale.len()), "a scale of {} values", scale.len());
    assert!(crop_h <= height + 2 * pad && crop_w <= width + 2 * pad, "a crop of {crop_h} x {crop_w}");
    assert!(batch <= batch_size && (lane_count == 1 || lane_count >= lanes));
    let shape = Shape {
        sample_count: count(source.labels.len()),
        height: count(height),
        width: count(width),
        channels: count(channels),
        crop_h: count(crop_h),
        crop_w: count(crop_w),
        pad: count(pad),
        flip: u32::from(flip),
        mean_len: count(mean.len()),
        scale_len: count(scale.len()),
        row_count: count(rows),
        sample_lanes: count(lane_count),
        batch_size: count(batch_size),
        augment: u32::from(data_seeds.is_some()),
    };
    let table_len = rows * lane_count * batch_size;
    let launch = gpu.launch("input_gather").blocks([image_len.div_ceil(THREADS), batch, lanes]).threads(THREADS);
    let launch = launch.value(shape).buffer(source.images, source.labels.len() * stored_len);
    let launch = launch.buffer(source.labels, source.labels.len()).buffer(mean, mean.len()).buffer(scale, scale.len());
    let launch = launch.buffer(samples, table_len);
    let launch = match data_seeds {
        Some(seeds) => launch.buffer(epochs, table_len).buffer(seeds, lanes),
        None => launch.value(0_u64).value(0_u64),
    };
    let launch = launch.buffer(steps, 1);
    // SAFETY: the arguments of `input_gather`.
    unsafe { launch.write(images, lanes, batch * image_len).write(labels, lanes, batch).run() }
}
