//! The inputs of sessions: random images, and trials.

use clr_rng::{Philox, Stream};

/// The size of the random images that plugins are tried on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSize {
    pub height: u32,
    pub width: u32,
    /// Bytes of a pixel.
    pub channels: u32,
    /// Labels are below this.
    pub class_count: u32,
    /// Samples of a batch, at least 2.
    pub batch_size: u32,
}

/// As CIFAR-10, in batches of 3.
impl Default for DataSize {
    fn default() -> DataSize {
        DataSize { height: 32, width: 32, channels: 3, class_count: 10, batch_size: 3 }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) channels: u32,
    pub(crate) class_count: u32,
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) pad: u32,
    pub(crate) pixels: [Vec<u8>; 3],
    pub(crate) labels: [Vec<i32>; 3],
}

impl Images {
    pub(crate) fn new(size: &DataSize) -> Images {
        let image_size = size.height as usize * size.width as usize * size.channels as usize;
        // Few and odd numbers: batches run over the ends of epochs.
        let counts = [7, 4, 5];
        let words = |split: usize| Philox::new(split as u64, Stream::Dataset).words(0);
        Images {
            height: size.height,
            width: size.width,
            channels: size.channels,
            class_count: size.class_count,
            mean: vec![120.0; size.channels as usize],
            scale: vec![1.0 / 64.0],
            pad: 1,
            pixels: [0, 1, 2]
                .map(|split| words(split).map(|word| word as u8).take(counts[split] * image_size).collect()),
            labels: [0, 1, 2].map(|split| {
                words(split + 3).map(|word| clr_rng::below(word, size.class_count) as i32).take(counts[split]).collect()
            }),
        }
    }

    pub(crate) fn image_size(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) optimizer: String,
    pub(crate) options: String,
    pub(crate) init_seed: u64,
    pub(crate) data_seed: u64,
}
