//! `[data]` of a spec: in which order images come, what becomes of the end of an epoch, and what is done to the pixels.

use clr_schedule::ratio::Ratio;
use serde::{Deserialize, Serialize};

use super::setting::Value;

/// How images are brought to the size of their set, in this order: turned upright, resized, cropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fit {
    /// Turned as EXIF's orientation says.
    pub exif_orientation: bool,
    /// The shorter side after a resize that keeps the ratio of the sides.
    pub resize: Option<u32>,
    /// Both sides of the square that is cut from the middle.
    pub crop: Option<u32>,
}

/// A dataset as a spec asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatasetQuery {
    /// A name, or a path relative to the folder of the spec.
    pub name: String,
    pub fit: Fit,
    /// The share of images that become the test set where there is none, in millionths.
    pub test_share: Option<u32>,
}

/// Endings of files that are datasets, so that a name that has one is a path.
const FILES: [&str; 6] = ["parquet", "npz", "npy", "csv", "tsv", "tar"];

impl DatasetQuery {
    /// The dataset of that name or path, as it is.
    pub fn named(name: impl Into<String>) -> DatasetQuery {
        DatasetQuery { name: name.into(), ..DatasetQuery::default() }
    }

    /// The keys of `[data]` that it consists of.
    pub const KEYS: [&'static str; 5] = ["dataset", "resize", "crop", "exif_orientation", "test_share"];

    /// The same with the value of one of the [`DatasetQuery::KEYS`], or without one.
    #[must_use]
    pub fn with(mut self, key: &str, value: Option<&Value>) -> DatasetQuery {
        let integer = || if let Some(Value::Integer(integer)) = value { u32::try_from(*integer).ok() } else { None };
        match key {
            "dataset" => self.name = value.and_then(Value::text).unwrap_or_default().to_owned(),
            "resize" => self.fit.resize = integer(),
            "crop" => self.fit.crop = integer(),
            "exif_orientation" => self.fit.exif_orientation = matches!(value, Some(Value::Boolean(true))),
            "test_share" => {
                let share = if let Some(Value::Number(share)) = value { Some(share * 1e6) } else { None };
                self.test_share = share.map(|millionths| millionths.round() as u32);
            }
            _ => {}
        }
        self
    }

    /// True if nothing is done to its images, and none of them become a test set.
    pub fn is_as_it_is(&self) -> bool {
        self.fit == Fit::default() && self.test_share.is_none()
    }

    /// True if the name is a path: it has a slash, or begins with a dot, or ends like a file of data.
    pub fn is_path(&self) -> bool {
        let ending = self.name.rsplit_once('.').map_or("", |(_, ending)| ending);
        self.name.contains(['/', '\\'])
            || self.name.starts_with('.')
            || FILES.iter().any(|known| ending.eq_ignore_ascii_case(known))
    }
}

/// The order in which an epoch visits the training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A new permutation of the canonical order each epoch, from the data seed.
    Shuffled,
    /// The file's own order, cyclic, as Caffe reads an LMDB.
    Stored,
}

/// The rule for samples that do not fill a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBatch {
    /// Batches run on over the end of an epoch.
    Wrap,
    /// The rest is left out.
    Drop,
    /// The last batch of an epoch is smaller.
    Keep,
}

impl LastBatch {
    /// How many iterations an epoch of so many images is, exactly, where each sees a batch.
    pub fn iterations_per_epoch(self, train_count: u64, batch_size: u32) -> Ratio {
        // Where there is nothing to train on, time goes on all the same.
        let batches = Ratio::new(train_count.into(), batch_size.into()).filter(|batches| *batches > Ratio::ZERO);
        let batches = batches.unwrap_or(Ratio::from(1));
        match self {
            LastBatch::Wrap => batches,
            LastBatch::Drop => batches.floor().max(1).into(),
            LastBatch::Keep => batches.ceil().into(),
        }
    }
}

/// The normalisation of pixels: what is subtracted and divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    None,
    /// Subtract the training set's mean image. (Caffe.)
    PixelMean,
    /// Subtract each channel's mean.
    ChannelMean,
    /// Subtract each channel's mean and divide by its standard deviation. (Torch.)
    ChannelStandard,
}
