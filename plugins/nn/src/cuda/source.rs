//! The source of the images of a session on a GPU: the whole data set, as bytes in the GPU's memory, or from the host.

use clr_kernels::cuda::{Buffer, Gpu, GpuError};
use clr_kernels::input::cuda::Images;
use clr_plugin::{Dataset, Error, Split};

/// The splits, in the order of their numbers.
pub(super) const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// The source of images.
#[derive(Debug)]
pub(super) enum Source {
    Resident(Resident),
    /// The host, batch by batch.
    Streamed,
}

/// A data set in the GPU's memory.
#[derive(Debug)]
pub(super) struct Resident {
    /// Images and labels of each split that has any.
    splits: [Option<(Buffer<u8>, Buffer<i32>)>; 3],
    shape: [usize; 3],
    mean: Buffer<f32>,
    scale: Buffer<f32>,
    pad: usize,
    crop: [usize; 2],
    flip: bool,
}

/// Bytes of a data set in a GPU's memory, and in how many allocations.
pub(super) fn bytes(dataset: &Dataset<'_>) -> (u64, u64) {
    if dataset.is_made_by_host() {
        return (0, 0);
    }
    let sample = dataset.stored_shape().iter().product::<usize>() + size_of::<i32>();
    let counts = SPLITS.map(|split| dataset.count(split));
    let constants = 4 * (dataset.transform().mean.len() + dataset.transform().scale.len());
    let present = counts.iter().filter(|&&count| count > 0).count();
    ((counts.iter().sum::<usize>() * sample + constants) as u64, 2 * present as u64 + 2)
}

impl Source {
    /// # Errors
    /// That the data set has no images, or what the driver says.
    pub fn new(gpu: &Gpu, dataset: &Dataset<'_>) -> Result<Source, Error> {
        if dataset.is_made_by_host() {
            return Ok(Source::Streamed);
        }
        let split = |split| {
            let data = dataset.split(split);
            match (data.count, data.images, data.labels) {
                (0, _, _) => Ok(None),
                (_, Some(images), Some(labels)) => {
                    let upload = || Ok::<_, GpuError>((gpu.alloc_from(images)?, gpu.alloc_from(labels)?));
                    upload().map(Some).map_err(super::failure)
                }
                _ => Err(Error::invalid("the dataset has no images")),
            }
        };
        let [train, validation, test] = SPLITS.map(split);
        let transform = dataset.transform();
        let [height, width, _] = dataset.input_shape();
        Ok(Source::Resident(Resident {
            splits: [train?, validation?, test?],
            shape: dataset.stored_shape(),
            mean: gpu.alloc_from(transform.mean).map_err(super::failure)?,
            scale: gpu.alloc_from(transform.scale).map_err(super::failure)?,
            pad: transform.pad,
            crop: [height, width],
            flip: transform.flip,
        }))
    }
}

impl Resident {
    /// The images of a split; none if it has none.
    pub fn images(&self, split: Split) -> Option<Images<'_>> {
        let Resident { splits, shape, mean, scale, pad, crop, flip } = self;
        let (images, labels) = splits[split as usize].as_ref()?;
        Some(Images { images, labels, shape: *shape, mean, scale, pad: *pad, crop: *crop, flip: *flip })
    }
}

/// True if training changes images at random.
pub(super) fn is_random(dataset: &Dataset<'_>) -> bool {
    dataset.is_random()
}
