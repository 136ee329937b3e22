//! Images that come in batches: the plugin calls back, from any of its threads.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::Split;

/// The status that a failed load gives a plugin, which passes it on to us.
pub(super) const LOAD_FAILED: clr_abi::Status = 1000;

/// A source of streamed images: blocks until a batch is there. Several threads may load at once.
pub trait Loader: Send + Sync + std::fmt::Debug {
    /// Fills `images` (`[samples][height][width][channels]`, the stored size) and `labels` (`[samples]`).
    fn load(&self, request: &LoadRequest<'_>, images: &mut [u8], labels: &mut [i32]) -> Result<(), String>;
}

/// The images that a batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest<'a> {
    pub split: Split,
    /// Indices into the split, each below its count.
    pub samples: &'a [u32],
    /// In training, the epoch in which each is seen; none: nothing about them is random.
    pub epochs: Option<&'a [u32]>,
    /// Keys what is random, together with sample and epoch.
    pub data_seed: u64,
}

/// The value behind `load_context`.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) loader: Arc<dyn Loader>,
    /// Bytes of one image.
    pub(super) image_size: usize,
    /// Images in each split.
    pub(super) counts: [u64; 3],
}

/// `clr_dataset.load`.
///
/// # Safety
/// `context` is the `Stream` of a session that is not destroyed; the rest is as the header says.
pub(super) unsafe extern "C" fn load(
    context: *mut c_void,
    load: *const clr_abi::Load,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's.
        unsafe { answer(&*context.cast::<Stream>(), load) }
    }));
    let message = match result {
        Ok(Ok(())) => return clr_abi::OK,
        Ok(Err(message)) => message,
        Err(_) => "the host panicked".to_owned(),
    };
    if !error.is_null() {
        let end = (0..=message.len().min(clr_abi::MESSAGE_CAPACITY)).rev().find(|&end| message.is_char_boundary(end));
        // SAFETY: not null, and so a clr_error by the caller's word.
        let error = unsafe { &mut *error };
        let bytes = message.as_bytes().iter().take(end.unwrap_or(0));
        error.message_size = bytes.len() as u32;
        for (target, &byte) in error.message.iter_mut().zip(bytes) {
            *target = byte as c_char;
        }
    }
    LOAD_FAILED
}

/// # Safety
/// `load` is null or as the header says.
unsafe fn answer(stream: &Stream, load: *const clr_abi::Load) -> Result<(), String> {
    if load.is_null() || !load.is_aligned() {
        return Err("load: no request".to_owned());
    }
    // SAFETY: not null, aligned, and its first field is a usize.
    let size = unsafe { load.cast::<usize>().read() };
    if size < size_of::<clr_abi::Load>() {
        return Err(format!("load: struct_size is {size}, expected at least {}", size_of::<clr_abi::Load>()));
    }
    // SAFETY: as large as it needs to be.
    let raw = unsafe { load.read() };
    let (split, total) = match raw.split {
        clr_abi::TRAIN => (Split::Train, stream.counts[0]),
        clr_abi::VALIDATION => (Split::Validation, stream.counts[1]),
        clr_abi::TEST => (Split::Test, stream.counts[2]),
        other => return Err(format!("load: split {other}")),
    };
    let count = raw.sample_count as usize;
    let bytes = count.checked_mul(stream.image_size).filter(|&bytes| bytes <= isize::MAX as usize);
    let Some(bytes) = bytes else { return Err(format!("load: a batch of {count}")) };
    if count == 0 || raw.samples.is_null() || raw.images.is_null() || raw.labels.is_null() {
        return Err("load: an empty batch or a null pointer".to_owned());
    }
    // SAFETY: not null, and of the sizes that the header states, by the caller's word.
    let (request, images, labels) = unsafe {
        (
            LoadRequest {
                split,
                samples: std::slice::from_raw_parts(raw.samples, count),
                epochs: (!raw.epochs.is_null()).then(|| std::slice::from_raw_parts(raw.epochs, count)),
                data_seed: raw.data_seed,
            },
            std::slice::from_raw_parts_mut(raw.images, bytes),
            std::slice::from_raw_parts_mut(raw.labels, count),
        )
    };
    if let Some(sample) = request.samples.iter().find(|&&sample| u64::from(sample) >= total) {
        return Err(format!("load: sample {sample} of a split of {total}"));
    }
    stream.loader.load(&request, images, labels)
}
