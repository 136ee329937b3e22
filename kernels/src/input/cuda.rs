//! Gathers, normalises, flips, pads and crops.

#![allow(unsafe_code)]

use crate::cuda::{Buffer, Gpu, GpuError, Lanes, count, mirror};
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
    /// True if training flips images.
    pub flip: bool,
}

/// The samples of each batch of a call.
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
    /// The place in a row of the table at which the batch begins.
    pub first: usize,
    /// `[lanes]`: what keys each lane's draws. None: this is evaluation, where nothing is random.
    pub data_seeds: Option<&'a Buffer<u64>>,
}

mirror! {
    /// Mirrors `input::LaunchShape` in input.cu.
    struct LaunchShape = "input::LaunchShape" {
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
        first: u32,
        augment: u32,
    }
}

/// The batch that [`gather`] writes.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Samples of the batch.
    pub len: usize,
    /// `[len][crop height][crop width][channels]`.
    pub images: Lanes<'a>,
    /// `[len]`.
    pub labels: Lanes<'a, i32>,
}

/// Fills the batch of the step at hand in each of `lanes` lanes. One lane serves all, if all see the same samples with the same
/// seed. A place that is no sample's gives zeros and the label -1.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a buffer is too short, a crop larger than a padded image, or mean or scale of another length.
pub fn gather(
    gpu: &Gpu,
    lanes: usize,
    source: &Images<'_>,
    batches: &Batches<'_>,
    steps: &Buffer<LaneStep>,
    to: Batch<'_>,
) -> Result<(), GpuError> {
    let &Images { shape: [height, width, channels], mean, scale, pad, crop: [crop_h, crop_w], flip, .. } = source;
    let &Batches { samples, epochs, rows, lane_count, batch_size, first, data_seeds } = batches;
    let Batch { len: batch, images, labels } = to;
    let (stored_len, image_len) = (height * width * channels, crop_h * crop_w * channels);
    assert!([0, channels, stored_len].contains(&mean.len()), "a mean of {} values", mean.len());
    assert!([0, 1, channels].contains(&scale.len()), "a scale of {} values", scale.len());
    assert!(crop_h <= height + 2 * pad && crop_w <= width + 2 * pad, "a crop of {crop_h} x {crop_w}");
    assert!(first + batch <= batch_size && (lane_count == 1 || lane_count >= lanes));
    let shape = LaunchShape {
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
        first: count(first),
        augment: u32::from(data_seeds.is_some()),
    };
    let table_len = rows * lane_count * batch_size;
    let launch = gpu.launch("input_gather", lanes).blocks([image_len.div_ceil(THREADS), batch, lanes]).threads(THREADS);
    let launch = launch.value("shape", shape).table("stored", source.images, source.labels.len() * stored_len);
    let launch = launch.table("stored_labels", source.labels, source.labels.len());
    let launch = launch.table("mean", mean, mean.len()).table("scale", scale, scale.len());
    let launch = launch.table("samples", samples, table_len);
    let launch = launch.table_optional("epochs", data_seeds.map(|_| epochs), table_len);
    let launch = launch.table_optional("seeds", data_seeds, lanes).table("steps", steps, 1);
    // SAFETY: the arguments of `input_gather`.
    unsafe { launch.write("images", images, batch * image_len).write("labels", labels, batch).run() }
}

#[cfg(test)]
mod tests {
    use clr_rng::{Philox, Stream, below};

    use super::*;
    use crate::testing::{Tensors, join, on_the_gpu, values};

    const SHAPE: [usize; 3] = [5, 6, 3];
    const SAMPLES: usize = 11;
    const BATCH: usize = 4;
    const ROWS: u64 = 2;

    /// The sample at a place of a batch; the last one is none.
    fn sample(lane: u64, row: u64, place: usize) -> u32 {
        if place == BATCH - 1 { SAMPLES as u32 } else { ((7 * lane + 3 * row + place as u64) % SAMPLES as u64) as u32 }
    }

    fn epoch(lane: u64, row: u64, place: usize) -> u32 {
        (lane + row) as u32 + place as u32
    }

    fn seed(lane: u64) -> u64 {
        (lane << 33) + 3
    }

    /// By the words of `clr_plugin::Transform`, one value at a time.
    fn reference(images: &[u8], transform: &Transform, training: Option<u64>, row: u64, lane: u64) -> Vec<f32> {
        let [height, width, channels] = SHAPE.map(|len| len as isize);
        let Transform { mean, scale, pad, crop, flip } = transform;
        let spare = [height as usize + 2 * pad - crop[0], width as usize + 2 * pad - crop[1]];
        let mut values = Vec::new();
        for place in 0..BATCH {
            let sample = sample(lane, row, place);
            let (mut flipped, mut top, mut left) = (false, spare[0] / 2, spare[1] / 2);
            if let Some(seed) = training {
                let words = Philox::new(seed, Stream::Augment).block(u64::from(epoch(lane, row, place)), sample);
                flipped = *flip && words[0] >> 31 == 1;
                [top, left] = [0, 1].map(|side| below(words[side + 1], spare[side] as u32 + 1) as usize);
            }
            for index in 0..crop[0] * crop[1] * channels as usize {
                let (pixel, channel) = (index / channels as usize, index % channels as usize);
                let y = (pixel / crop[1] + top) as isize - *pad as isize;
                let x = (pixel % crop[1] + left) as isize - *pad as isize;
                let x = if flipped { width - 1 - x } else { x };
                let inside = (0..height).contains(&y) && (0..width).contains(&x) && (sample as usize) < SAMPLES;
                values.push(if inside {
                    let offset = ((y * width + x) * channels) as usize + channel;
                    let mean = [mean.get(offset), mean.get(channel)][usize::from(mean.len() == 3)].unwrap_or(&0.0);
                    let scale = scale.get(if scale.len() == 1 { 0 } else { channel }).unwrap_or(&1.0);
                    let image = &images[sample as usize * SHAPE.iter().product::<usize>()..];
                    (f32::from(image[offset]) - mean) * scale
                } else {
                    0.0
                });
            }
        }
        values
    }

    struct Transform {
        mean: Vec<f32>,
        scale: Vec<f32>,
        pad: usize,
        crop: [usize; 2],
        flip: bool,
    }

    #[track_caller]
    fn check(transform: &Transform, is_training: bool, shares_samples: bool) {
        let stored_len: usize = SHAPE.iter().product();
        let stored: Vec<u8> =
            values(9, SAMPLES * stored_len).iter().map(|value| (127.0 * value + 128.0) as u8).collect();
        let image_len = transform.crop[0] * transform.crop[1] * SHAPE[2];
        let of = |lane| if shares_samples { 0 } else { lane };
        let last_row = ROWS - 1;
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let classes: Vec<i32> = (0..SAMPLES as i32).map(|sample| 100 + sample).collect();
            let (images, labels) = (gpu.alloc_from(&stored).unwrap(), gpu.alloc_from(&classes).unwrap());
            let [mean, scale] = [&transform.mean, &transform.scale].map(|values| gpu.alloc_from(values).unwrap());
            let Transform { pad, crop, flip, .. } = *transform;
            let source =
                Images { images: &images, labels: &labels, shape: SHAPE, mean: &mean, scale: &scale, pad, crop, flip };
            let in_table = if shares_samples { &[0][..] } else { lanes };
            let table = |value: fn(u64, u64, usize) -> u32| {
                let rows = (0..ROWS).flat_map(|row| in_table.iter().map(move |&lane| (lane, row)));
                rows.flat_map(|(lane, row)| (0..BATCH).map(move |place| value(lane, row, place))).collect::<Vec<_>>()
            };
            let [samples, epochs] = [table(sample), table(epoch)].map(|table| gpu.alloc_from(&table).unwrap());
            let seeds = gpu.alloc_from(&lanes.iter().map(|&lane| seed(lane)).collect::<Vec<_>>()).unwrap();
            let batches = Batches {
                samples: &samples,
                epochs: &epochs,
                rows: ROWS as usize,
                lane_count: in_table.len(),
                batch_size: BATCH,
                first: 0,
                data_seeds: is_training.then_some(&seeds),
            };
            let step = |row| vec![LaneStep { row, ..LaneStep::default() }; count];
            let (batch, targets) = (
                Tensors::unwritten(gpu, placing, count, BATCH * image_len),
                Tensors::unwritten(gpu, placing, count, BATCH),
            );
            let steps = gpu.alloc_from(&step(last_row as u32)).unwrap();
            let all = Batch { len: BATCH, images: batch.lanes(), labels: targets.lanes() };
            gather(gpu, count, &source, &batches, &steps, all).unwrap();
            let found = targets.read(gpu).iter().map(|lane| lane.iter().map(|label| *label as f32).collect()).collect();
            let images = batch.read(gpu);
            // The last two samples alone are where the first two were.
            let half = Batches { first: BATCH / 2, ..batches };
            gather(gpu, count, &source, &half, &steps, Batch { len: BATCH / 2, ..all }).unwrap();
            for (whole, half) in images.iter().zip(batch.read(gpu)) {
                assert_eq!(half[..BATCH / 2 * image_len], whole[BATCH / 2 * image_len..]);
            }
            // Beyond the table there are no samples.
            let steps = gpu.alloc_from(&step(ROWS as u32)).unwrap();
            gather(gpu, count, &source, &batches, &steps, all).unwrap();
            assert!(targets.read(gpu).iter().flatten().all(|label| *label == -1));
            join([images, found])
        }) {
            let training = is_training.then(|| seed(lane));
            let mut expected = reference(&stored, transform, training, last_row, of(lane));
            expected.extend((0..BATCH).map(|place| match sample(of(lane), last_row, place) as usize {
                SAMPLES => -1.0,
                sample => 100.0 + sample as f32,
            }));
            assert_eq!(result, expected, "{placing:?}");
        }
    }

    #[test]
    fn batches_are_those_of_the_transform() {
        let image_mean = values(5, SHAPE.iter().product());
        check(&Transform { mean: vec![], scale: vec![], pad: 0, crop: [5, 6], flip: false }, true, true);
        check(
            &Transform { mean: vec![1.0, 2.5, 3.0], scale: vec![0.5], pad: 0, crop: [4, 3], flip: true },
            true,
            false,
        );
        check(
            &Transform { mean: image_mean, scale: vec![0.5, 0.1, 2.0], pad: 2, crop: [5, 6], flip: true },
            true,
            false,
        );
        check(&Transform { mean: vec![1.0; 3], scale: vec![], pad: 3, crop: [9, 11], flip: true }, false, true);
    }
}
