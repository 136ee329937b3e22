//! Statistics of the training images, and what is done to pixels with them.

use clr_spec::Normalize;
use rayon::prelude::*;

use super::Dataset;

/// Means and deviations of training images, in pixel values (0 to 255).
///
/// Sums are exact integers, so the numbers depend neither on threads nor on the machine: each is one division (and one
/// root) in f64, rounded to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The mean image: one value a pixel and channel, HWC.
    pub pixel_mean: Vec<f32>,
    /// One value a channel.
    pub channel_mean: Vec<f32>,
    /// Standard deviation of the population, one value a channel.
    pub channel_deviation: Vec<f32>,
}

/// The transform of an image on its way into the network: `(pixel - mean) * scale`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transform {
    /// Subtracted first: nothing, one value a channel, or one a pixel and channel (HWC).
    pub mean: Vec<f32>,
    /// Multiplied then: nothing, one value, or one a channel.
    pub scale: Vec<f32>,
}

/// Images summed in 32 bits before they join the 64-bit sums: 255^2 x 4096 is below 2^32.
const CHUNK: usize = 4096;

/// The statistics of the first `train_count` training images in canonical order: those that are trained on when the
/// rest is held out for validation. All means and deviations of no images are 0.
///
/// # Panics
///
/// If the dataset has fewer training images.
pub fn statistics(dataset: &Dataset, train_count: usize) -> Statistics {
    clr_system::threads::install(|| statistics_of(dataset, train_count))
}

fn statistics_of(dataset: &Dataset, train_count: usize) -> Statistics {
    let image_bytes = dataset.image_bytes();
    let channels = dataset.channels as usize;
    let (sums, squares) = dataset.train.images[..train_count * image_bytes]
        .par_chunks(CHUNK * image_bytes)
        .map(|images| chunk_sums(images, image_bytes))
        .reduce(|| (vec![0; image_bytes], vec![0; image_bytes]), |a, b| (added(a.0, &b.0), added(a.1, &b.1)));

    let mean = |sum: u64, count: usize| if count == 0 { 0.0 } else { (sum as f64 / count as f64) as f32 };
    let per_channel = |values: &[u64], channel: usize| values.iter().skip(channel).step_by(channels).sum::<u64>();
    let pixels = train_count * image_bytes / channels;
    let deviation = |channel: usize| {
        // n^2 times the variance: n * sum of squares - square of the sum, exact.
        let (sum, square) = (u128::from(per_channel(&sums, channel)), u128::from(per_channel(&squares, channel)));
        let scaled = pixels as u128 * square - sum * sum;
        if pixels == 0 { 0.0 } else { ((scaled as f64).sqrt() / pixels as f64) as f32 }
    };
    Statistics {
        pixel_mean: sums.iter().map(|&sum| mean(sum, train_count)).collect(),
        channel_mean: (0..channels).map(|channel| mean(per_channel(&sums, channel), pixels)).collect(),
        channel_deviation: (0..channels).map(deviation).collect(),
    }
}

/// For each pixel and channel the sum over the images, and the sum of squares.
fn chunk_sums(images: &[u8], image_bytes: usize) -> (Vec<u64>, Vec<u64>) {
    let mut sums = vec![0u32; image_bytes];
    let mut squares = vec![0u32; image_bytes];
    for image in images.chunks_exact(image_bytes) {
        for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(image) {
            *sum += u32::from(value);
            *square += u32::from(value) * u32::from(value);
        }
    }
    let wide = |values: Vec<u32>| values.into_iter().map(u64::from).collect();
    (wide(sums), wide(squares))
}

fn added(mut a: Vec<u64>, b: &[u64]) -> Vec<u64> {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
    a
}

impl Transform {
    /// The transform of a spec's `normalize` and `scale`. A channel that is constant in training is not divided by its
    /// deviation, which is 0.
    pub fn new(normalize: Normalize, scale: f64, statistics: &Statistics) -> Transform {
        let mean = match normalize {
            Normalize::None => Vec::new(),
            Normalize::PixelMean => statistics.pixel_mean.clone(),
            Normalize::ChannelMean | Normalize::ChannelStandard => statistics.channel_mean.clone(),
        };
        let scale = match normalize {
            Normalize::ChannelStandard => {
                let scale_of = |&deviation: &f32| if deviation == 0.0 { scale } else { scale / f64::from(deviation) };
                statistics.channel_deviation.iter().map(|deviation| scale_of(deviation) as f32).collect()
            }
            _ if scale == 1.0 => Vec::new(),
            _ => vec![scale as f32],
        };
        Transform { mean, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical;
    use crate::decoded::{Decoded, Split};

    fn dataset(channels: u32, images: &[u8], labels: usize) -> Dataset {
        let split = Split { images: images.to_vec().into(), labels: vec![0; labels] };
        let class_names = Vec::new();
        let test = split.clone();
        canonical::dataset(
            "set",
            "",
            Decoded {
                height: 1,
                width: 2,
                channels,
                class_count: 1,
                class_names,
                train: split,
                test,
                notes: Vec::new(),
            },
        )
        .unwrap()
    }

    #[test]
    fn means_and_deviations_are_those_of_the_definition() {
        // Two images of two pixels of two channels.
        let set = dataset(2, &[0, 255, 2, 255, 4, 255, 6, 255], 2);
        let found = statistics(&set, 2);
        assert_eq!(found.pixel_mean, [2.0, 255.0, 4.0, 255.0]);
        assert_eq!(found.channel_mean, [3.0, 255.0]);
        // Population variance of 0, 2, 4, 6 is 5.
        assert_eq!(found.channel_deviation, [5f64.sqrt() as f32, 0.0]);
    }

    #[test]
    fn only_the_first_images_count() {
        let set = dataset(1, &[10, 20, 30, 40], 2);
        let first = &set.train.images[..2];
        assert_eq!(statistics(&set, 1).pixel_mean, [f32::from(first[0]), f32::from(first[1])]);
        assert_eq!(statistics(&set, 0).channel_mean, [0.0]);
    }

    #[test]
    fn sums_of_the_brightest_images_do_not_overflow() {
        let count = 2 * CHUNK + 1;
        let found = statistics(&dataset(1, &vec![255; 2 * count], count), count);
        assert_eq!((found.channel_mean, found.channel_deviation), (vec![255.0], vec![0.0]));
    }

    #[track_caller]
    fn check(normalize: Normalize, scale: f64, mean: &[f32], expected_scale: &[f32]) {
        let statistics =
            Statistics { pixel_mean: vec![1.0, 2.0], channel_mean: vec![3.0], channel_deviation: vec![4.0] };
        let transform = Transform { mean: mean.to_vec(), scale: expected_scale.to_vec() };
        assert_eq!(Transform::new(normalize, scale, &statistics), transform);
    }

    #[test]
    fn a_transform_is_mean_and_scale() {
        check(Normalize::None, 1.0, &[], &[]);
        check(Normalize::None, 0.5, &[], &[0.5]);
        check(Normalize::PixelMean, 1.0, &[1.0, 2.0], &[]);
        check(Normalize::ChannelMean, 0.25, &[3.0], &[0.25]);
        check(Normalize::ChannelStandard, 1.0, &[3.0], &[0.25]);
        check(Normalize::ChannelStandard, 2.0, &[3.0], &[0.5]);
        let constant = Statistics { pixel_mean: vec![], channel_mean: vec![9.0], channel_deviation: vec![0.0] };
        assert_eq!(Transform::new(Normalize::ChannelStandard, 1.0, &constant).scale, [1.0]);
    }
}
