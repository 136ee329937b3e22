//! The value behind the host's `clr_session *`: a session, the dataset that it borrows, and the tables made for the host.
#![allow(unsafe_code)]

use std::ffi::c_void;

use crate::data::Loader;
use crate::ffi::{read_grown, read_sized, slice};
use crate::{Augment, Dataset, Error, Session, Split, SplitData, Status, Tensor, Transform};

/// A session with what its calls need. The fields are dropped in order: the dataset borrows the loader.
#[derive(Debug)]
pub(crate) struct Handle<S> {
    pub(crate) session: S,
    /// Static by the host's word: it is there until the handle is dropped. Sessions see it for a call at a time.
    pub(crate) dataset: Dataset<'static>,
    _loader: Option<Box<HostLoader>>,
    pub(crate) lane_count: usize,
    pub(crate) batch_size: usize,
    /// Of hypers and of metrics.
    pub(crate) column_counts: [usize; 2],
    /// For each lane, once asked for, until it is reset.
    pub(crate) tensors: Vec<Option<TensorTable>>,
    /// True if a call has failed in a way that leaves lanes half changed.
    pub(crate) broken: bool,
}

impl<S: Session> Handle<S> {
    /// # Safety
    /// The configuration is as the header says, its dataset until the handle is dropped.
    pub(crate) unsafe fn new(
        session: S,
        config: &clr_abi::SessionConfig,
        loader: Option<Box<HostLoader>>,
        column_counts: [usize; 2],
    ) -> Result<Handle<S>, Error> {
        // SAFETY: the box is kept beside the dataset and outlives it.
        let borrowed = loader.as_deref().map(|loader| unsafe { &*std::ptr::from_ref(loader) });
        // SAFETY: the caller's.
        let dataset = unsafe { dataset(config.dataset, borrowed, true) }?;
        let lane_count = config.lane_count as usize;
        Ok(Handle {
            session,
            dataset,
            _loader: loader,
            lane_count,
            batch_size: config.batch_size as usize,
            column_counts,
            tensors: (0..lane_count).map(|_| None).collect(),
            broken: false,
        })
    }

    pub(crate) fn lane(&self, lane: u32) -> Result<usize, Error> {
        match lane as usize {
            lane if lane < self.lane_count => Ok(lane),
            lane => Err(Error::invalid(format!("lane {lane} of {}", self.lane_count))),
        }
    }

    pub(crate) fn tensor_table(&mut self, lane: u32) -> Result<&TensorTable, Error> {
        let lane = self.lane(lane)?;
        let session = &self.session;
        Ok(self.tensors[lane].get_or_insert_with(|| TensorTable::new(session.tensors(lane))))
    }
}

/// A lane's tensors, and their form in C.
#[derive(Debug)]
pub(crate) struct TensorTable {
    tensors: Vec<Tensor>,
    raw: Vec<clr_abi::Tensor>,
}

// SAFETY: the pointers in `raw` point to the names in `tensors`, which go where the table goes and never change.
unsafe impl Send for TensorTable {}

impl TensorTable {
    fn new(tensors: Vec<Tensor>) -> TensorTable {
        let raw = tensors
            .iter()
            .map(|tensor| {
                assert!(tensor.shape.len() <= clr_abi::MAX_RANK, "tensor {} has too many axes", tensor.name);
                let mut shape = [0; clr_abi::MAX_RANK];
                for (target, &size) in shape.iter_mut().zip(&tensor.shape) {
                    *target = size as u64;
                }
                clr_abi::Tensor {
                    struct_size: size_of::<clr_abi::Tensor>(),
                    name: clr_abi::Str::new(&tensor.name),
                    role: match tensor.role {
                        crate::Role::Weight => clr_abi::WEIGHT,
                        crate::Role::OptimizerState => clr_abi::OPTIMIZER_STATE,
                        crate::Role::Buffer => clr_abi::BUFFER,
                    },
                    rank: tensor.shape.len() as u32,
                    shape,
                }
            })
            .collect();
        TensorTable { tensors, raw }
    }

    pub(crate) fn raw(&self) -> &[clr_abi::Tensor] {
        &self.raw
    }

    pub(crate) fn element_count(&self, tensor: u32) -> Result<usize, Error> {
        match self.tensors.get(tensor as usize) {
            Some(tensor) => Ok(tensor.element_count()),
            None => Err(Error::invalid(format!("tensor {tensor} of {}", self.tensors.len()))),
        }
    }
}

/// The host's `load` function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostLoader {
    function: clr_abi::LoadFunction,
    context: *mut c_void,
}

// SAFETY: the header lets any thread call `load` with its context.
unsafe impl Send for HostLoader {}
// SAFETY: as above, several at once.
unsafe impl Sync for HostLoader {}

impl HostLoader {
    /// None where the dataset is resident.
    ///
    /// # Safety
    /// `dataset` is as the header says.
    pub(crate) unsafe fn new(dataset: *const clr_abi::Dataset) -> Result<Option<Box<HostLoader>>, Error> {
        // SAFETY: the caller's.
        let raw = unsafe { read_sized(dataset, "dataset") }?;
        Ok(raw.load.map(|function| Box::new(HostLoader { function, context: raw.load_context })))
    }
}

impl Loader for HostLoader {
    fn load(
        &self,
        split: Split,
        samples: &[u32],
        augment: Option<Augment<'_>>,
        images: &mut [u8],
        labels: &mut [i32],
    ) -> Result<(), Error> {
        let load = clr_abi::Load {
            struct_size: size_of::<clr_abi::Load>(),
            split: split as u32,
            sample_count: samples.len() as u32,
            samples: samples.as_ptr(),
            epochs: augment.map_or(std::ptr::null(), |augment| augment.epochs.as_ptr()),
            data_seed: augment.map_or(0, |augment| augment.data_seed),
            images: images.as_mut_ptr(),
            labels: labels.as_mut_ptr(),
        };
        let mut error = clr_abi::Error::new();
        // SAFETY: the arrays have the sizes that the header asks for, by `fill_batch`.
        match unsafe { (self.function)(self.context, &raw const load, &raw mut error) } {
            clr_abi::OK => Ok(()),
            status => Err(Error { status: Status::Host(status), message: error.text() }),
        }
    }
}

/// The safe view of a dataset.
///
/// # Safety
/// `raw` is as the header says for as long as `'a`.
pub(crate) unsafe fn dataset<'a>(
    raw: *const clr_abi::Dataset,
    loader: Option<&'a HostLoader>,
    needs_images: bool,
) -> Result<Dataset<'a>, Error> {
    // SAFETY: the caller's.
    let raw = unsafe { read_sized(raw, "dataset") }?;
    let mut transform = Transform::default();
    if !raw.transform.is_null() {
        // SAFETY: the caller's.
        let raw_transform =
            unsafe { read_grown(raw.transform, std::mem::offset_of!(clr_abi::Transform, min_area), "transform") }?;
        // SAFETY: the caller's.
        let (mean, scale) = unsafe {
            let (mean_count, scale_count) = (raw_transform.mean_count as usize, raw_transform.scale_count as usize);
            (slice(raw_transform.mean, mean_count, "mean")?, slice(raw_transform.scale, scale_count, "scale")?)
        };
        let crop = match [raw_transform.crop_height, raw_transform.crop_width] {
            [0, 0] => None,
            [0, width] => Some([raw.height as usize, width as usize]),
            [height, 0] => Some([height as usize, raw.width as usize]),
            [height, width] => Some([height as usize, width as usize]),
        };
        let clr_abi::Transform { pad, flip, min_area, lighting, .. } = raw_transform;
        transform = Transform { mean, scale, pad: pad as usize, crop, flip: flip != 0, min_area, lighting };
    }
    let shape = [raw.height as usize, raw.width as usize, raw.channels as usize];
    let size = shape.iter().try_fold(1usize, |size, &axis| size.checked_mul(axis));
    let mut splits = [SplitData::default(); clr_abi::SPLITS];
    for (index, (split, raw_split)) in splits.iter_mut().zip(&raw.splits).enumerate() {
        let count = raw_split.count as usize;
        let bytes = size.and_then(|size| size.checked_mul(count));
        let Some(bytes) = bytes.filter(|_| raw_split.count <= 1 << 32) else {
            return Err(Error::invalid(format!("split {index} has {} images: too many", raw_split.count)));
        };
        split.count = count;
        if loader.is_none() && (needs_images || !raw_split.images.is_null()) {
            // SAFETY: the caller's.
            unsafe {
                split.images = Some(slice(raw_split.images, bytes, "images")?);
                split.labels = Some(slice(raw_split.labels, count, "labels")?);
            }
        }
    }
    Dataset::new(shape, raw.class_count as usize, splits, transform, loader.map(|loader| loader as &dyn Loader))
}

/// A split by its number.
pub(crate) fn split(number: u32) -> Result<Split, Error> {
    match number {
        clr_abi::TRAIN => Ok(Split::Train),
        clr_abi::VALIDATION => Ok(Split::Validation),
        clr_abi::TEST => Ok(Split::Test),
        _ => Err(Error::invalid(format!("split {number} of {}", clr_abi::SPLITS))),
    }
}
