//! `[data]` of a spec: in which order images come, what becomes of the end of an epoch, and what is done to the pixels.

use clr_schedule::ratio::Ratio;

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
