//! The dataset that sessions borrow.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stream::Loader;

/// Images and labels of up to three splits, and what is done to each image. Resident, streamed, or sizes only: enough to
/// ask for a footprint.
#[derive(Clone, Debug)]
pub struct Data {
    /// Of the stored image, in pixels.
    pub height: u32,
    /// Of the stored image, in pixels.
    pub width: u32,
    /// Of the stored image.
    pub channels: u32,
    /// Labels are below this.
    pub class_count: u32,
    /// Train, validation, test: indexed by [`crate::Split`].
    pub splits: [SplitData; 3],
    /// The transform of each image on its way to the model.
    pub transform: Transform,
    /// The source of images, if they come in batches. Splits then have counts only.
    pub loader: Option<Arc<dyn Loader>>,
}

/// One split; count 0 where there is no such split.
#[derive(Clone, Debug, Default)]
pub struct SplitData {
    /// The number of images.
    pub count: u64,
    /// `[count][height][width][channels]`; none where images are streamed, or not read yet.
    pub images: Option<Images>,
    /// `[count]`, each below the class count; none as for images.
    pub labels: Option<Arc<[i32]>>,
}

/// A range of bytes that are shared: a vector, a memory map.
#[derive(Clone)]
pub struct Images {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Images {
    /// The bytes in `range`; none where there are not so many.
    pub fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Images> {
        (*bytes).as_ref().get(range.clone())?;
        Some(Images { bytes, range })
    }

    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Images({:?})", self.range)
    }
}

/// A transform of images: see `clr_transform` in `clr_plugin.h`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// Subtracted: empty, one for each channel, or one for each value of the stored image.
    pub mean: Vec<f32>,
    /// Multiplied: empty, one, or one for each channel.
    pub scale: Vec<f32>,
    /// Zeros on each side before the crop.
    pub pad: u32,
    /// Height and width of what the model sees; none: those of the stored image.
    pub crop: Option<[u32; 2]>,
    /// True if training flips half of the images left to right.
    pub flip: bool,
    /// The least share of the stored image that a training image is an area of; 0 where training images are plain crops.
    pub min_area: f32,
    /// The deviation of random light; 0 where there is none.
    pub lighting: f32,
}

impl Transform {
    /// The last number of a plugin's ABI 1 that knows all of it.
    pub(super) fn abi_minor(&self) -> u32 {
        u32::from(self.min_area > 0.0 || self.lighting > 0.0)
    }
}

impl Data {
    /// Height, width and channels of what the model sees.
    pub fn input_shape(&self) -> [u32; 3] {
        let [height, width] = self.transform.crop.unwrap_or([self.height, self.width]);
        [height, width, self.channels]
    }

    /// That a plugin may rely on it: the sizes fit each other, and labels are classes. `needs_images` for a session.
    pub(super) fn check(&self, needs_images: bool) -> Result<(), String> {
        let [height, width, channels] = [self.height as usize, self.width as usize, self.channels as usize];
        let size = height.checked_mul(width).and_then(|size| size.checked_mul(channels)).filter(|&size| size > 0);
        let Some(size) = size else { return Err(format!("images of {height} x {width} x {channels}")) };
        if self.class_count == 0 {
            return Err("a dataset of 0 classes".to_owned());
        }
        let Transform { mean, scale, pad, min_area, lighting, .. } = &self.transform;
        if ![0, channels, size].contains(&mean.len()) || ![0, 1, channels].contains(&scale.len()) {
            let (means, scales) = (mean.len(), scale.len());
            return Err(format!("{means} means and {scales} scales for images of {height} x {width} x {channels}"));
        }
        if self.height.max(self.width).max(*pad) > u32::from(u16::MAX) {
            return Err(format!("images of {height} x {width}, padded by {pad}: too large"));
        }
        let [input_height, input_width, _] = self.input_shape();
        let padded = [self.height + 2 * pad, self.width + 2 * pad];
        if input_height == 0 || input_width == 0 || input_height > padded[0] || input_width > padded[1] {
            return Err(format!("a crop of {input_height} x {input_width} from {} x {}", padded[0], padded[1]));
        }
        if !(0.0..=1.0).contains(min_area) || (*min_area > 0.0 && *pad > 0) {
            return Err(format!("areas of at least {min_area} of images padded by {pad}"));
        }
        if !(*lighting >= 0.0 && lighting.is_finite()) || (*lighting > 0.0 && channels != 3) {
            return Err(format!("lighting of {lighting} for {channels} channels"));
        }
        for (split, name) in self.splits.iter().zip(["train", "validation", "test"]) {
            split
                .check(size, self.class_count, needs_images && self.loader.is_none())
                .map_err(|problem| format!("the {name} split: {problem}"))?;
        }
        Ok(())
    }
}

impl SplitData {
    fn check(&self, image_size: usize, class_count: u32, needs_images: bool) -> Result<(), String> {
        if self.count > 1 << 32 {
            return Err(format!("{} images, more than 2^32", self.count));
        }
        let count = self.count as usize;
        match (&self.images, &self.labels) {
            (None, None) if needs_images && count > 0 => Err("no images".to_owned()),
            (None, None) => Ok(()),
            (Some(images), Some(labels)) => {
                if count.checked_mul(image_size) != Some(images.bytes().len()) || labels.len() != count {
                    let (bytes, labels) = (images.bytes().len(), labels.len());
                    return Err(format!("{bytes} bytes and {labels} labels for {count} images"));
                }
                match labels.iter().find(|&&label| label < 0 || label as u32 >= class_count) {
                    Some(label) => Err(format!("label {label}; there are {class_count} classes")),
                    None => Ok(()),
                }
            }
            _ => Err("images without labels, or labels without images".to_owned()),
        }
    }
}
