//! What a loader hands over: both splits in the order of the files.

use super::error::{DatasetError, Place};

/// A set as its files have it, before the canonical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    /// Every label is below this; the loaders see to it.
    pub class_count: u32,
    /// `class_count` names, or none.
    pub class_names: Vec<String>,
    pub train: Split,
    pub test: Split,
}

/// Images one after the other, uint8 HWC, and a label for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    pub images: Vec<u8>,
    pub labels: Vec<i32>,
}

impl Split {
    /// Appends an image given as one plane a channel (CHW, as CIFAR's own formats have it).
    pub fn push_planes(&mut self, planes: &[u8], channels: usize) {
        let area = planes.len() / channels;
        let start = self.images.len();
        self.images.resize(start + planes.len(), 0);
        for (pixel, values) in self.images[start..].chunks_exact_mut(channels).enumerate() {
            for (channel, value) in values.iter_mut().enumerate() {
                *value = planes[channel * area + pixel];
            }
        }
    }
}

impl Decoded {
    /// Refuses a set of one class, whose accuracy would be 100% whatever is learned. `source` is what it was read from.
    pub fn check_classes(&self, source: &str) -> Result<(), DatasetError> {
        let Some((first, others)) = self.train.labels.split_first() else { return Ok(()) };
        if others.iter().any(|label| label != first) {
            return Ok(());
        }
        let found = format!("label {first} alone, with which accuracy is 100% whatever is learned");
        Err(DatasetError::malformed(source, Place::File, "training images of at least two classes", found))
    }

    /// `50000 training and 10000 test images of 32x32x3 in 10 classes`.
    pub fn sizes(&self) -> String {
        sizes(self.train.labels.len(), self.test.labels.len(), self.height, self.width, self.channels, self.class_count)
    }
}

/// The sizes of a set in words.
pub fn sizes(train: usize, test: usize, height: u32, width: u32, channels: u32, class_count: u32) -> String {
    format!("{train} training and {test} test images of {height}x{width}x{channels} in {class_count} classes")
}
