//! What a loader hands over: both splits in the order of the files.

use clr_spec::Fit;
use rayon::prelude::*;

use super::error::{DatasetError, Place};
use super::image::{self, Image, Refusal};
use super::spool::Spool;
use super::{Bytes, key};

/// Images that are worked on at once.
const AT_ONCE: usize = 512;

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
    /// Sentences on images that are special, such as grey ones that became coloured.
    pub notes: Vec<String>,
}

/// Images one after the other, uint8 HWC, and a label for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    pub images: Bytes,
    pub labels: Vec<i32>,
}

/// A split that is read into memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growing {
    pub images: Vec<u8>,
    pub labels: Vec<i32>,
}

impl From<Growing> for Split {
    fn from(Growing { images, labels }: Growing) -> Split {
        Split { images: images.into(), labels }
    }
}

impl Growing {
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

    /// The same set, its images resized and cropped.
    ///
    /// # Errors
    ///
    /// Where they are smaller than what is to be cut from them.
    pub fn fitted(mut self, fit: &Fit, source: &str) -> Result<Decoded, DatasetError> {
        if fit.resize.is_none() && fit.crop.is_none() {
            return Ok(self);
        }
        let (height, width, channels) = (self.height, self.width, self.channels);
        let image_bytes = height as usize * width as usize * channels as usize;
        for split in [&mut self.train, &mut self.test] {
            let mut spool = Spool::default();
            for images in split.images.chunks(AT_ONCE * image_bytes.max(1)) {
                let images = images.par_chunks_exact(image_bytes.max(1));
                let fitted = images.map(|pixels| image::refit(pixels, [height, width, channels], fit));
                let fitted: Result<Vec<Image>, Refusal> = fitted.collect();
                let fitted = fitted.map_err(|refusal| match refusal {
                    Refusal::Unusable { expected, found } => {
                        DatasetError::malformed(source, Place::File, expected, found)
                    }
                    Refusal::OtherSize(_) => {
                        DatasetError::malformed(source, Place::File, "images of one size", "others")
                    }
                })?;
                for image in &fitted {
                    spool.extend(&image.pixels)?;
                    (self.height, self.width) = (image.height, image.width);
                }
            }
            split.images = spool.finish()?;
        }
        Ok(self)
    }

    /// Takes a test set off the training images, of each class so large a share: the last of it in canonical order, at least
    /// one image, and never the only one.
    ///
    /// # Errors
    ///
    /// Where a file for them cannot be written.
    pub fn hold_out(&mut self, share: f64) -> Result<(), DatasetError> {
        let image_bytes = self.height as usize * self.width as usize * self.channels as usize;
        let keys = key::keys(&self.train.images, &self.train.labels, image_bytes);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&index| (self.train.labels[index], keys[index]));
        let mut is_test = vec![false; keys.len()];
        for class in order.chunk_by(|&a, &b| self.train.labels[a] == self.train.labels[b]) {
            let count = (class.len() as f64 * share).round() as usize;
            let count = count.max(1).min(class.len() - 1);
            class[class.len() - count..].iter().for_each(|&index| is_test[index] = true);
        }
        let part = |wanted: bool| {
            let (mut spool, mut labels) = (Spool::default(), Vec::new());
            for index in (0..keys.len()).filter(|&index| is_test[index] == wanted) {
                spool.extend(&self.train.images[index * image_bytes..][..image_bytes])?;
                labels.push(self.train.labels[index]);
            }
            Ok(Split { images: spool.finish()?, labels })
        };
        (self.train, self.test) = (part(false)?, part(true)?);
        Ok(())
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
