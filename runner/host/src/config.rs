//! What a session is made from, and its form in C.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use super::data::Data;
use super::raw;
use super::stream::{self, Stream};

/// The configuration that a session is made from.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// "cpu", or "cuda:0" and so on.
    pub device: String,
    /// One of the plugin's models.
    pub model: String,
    /// JSON object: `[model]` options and `precision`.
    pub model_json: String,
    /// Kept for the life of the session.
    pub dataset: Arc<Data>,
    /// Samples of a full batch; at least 1.
    pub batch_size: u32,
    /// The plugin computes on at most so many threads at once; at least 1.
    pub thread_count: u32,
    /// The K trials; at least 1.
    pub lanes: Vec<Lane>,
}

/// One trial of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// JSON object: `"optimizer"`, its name, and its constants.
    pub options_json: Arc<str>,
    /// Decides initial weights and dropout.
    pub init_seed: u64,
    /// The seed of augmentation.
    pub data_seed: u64,
}

/// A configuration in C, with all that it points to. The boxes keep their contents where they are when this moves.
#[derive(Debug)]
pub(super) struct BorrowedConfig {
    raw: Box<RawConfig>,
    pub(super) data: Arc<Data>,
    _config: Box<SessionConfig>,
    _stream: Option<Box<Stream>>,
}

#[derive(Debug)]
struct RawConfig {
    config: clr_abi::SessionConfig,
    dataset: clr_abi::Dataset,
    transform: clr_abi::Transform,
    lanes: Vec<clr_abi::Lane>,
}

impl BorrowedConfig {
    /// Checks what a plugin may rely on; the error says what is wrong. `needs_images` for a session, and not for a footprint.
    pub(super) fn new(config: &SessionConfig, needs_images: bool) -> Result<BorrowedConfig, String> {
        let config = Box::new(config.clone());
        let data = Arc::clone(&config.dataset);
        data.check(needs_images)?;
        let lane_count = u32::try_from(config.lanes.len()).unwrap_or(0);
        if lane_count == 0 || config.batch_size == 0 || config.thread_count == 0 {
            let SessionConfig { batch_size, thread_count, .. } = *config;
            return Err(format!("{lane_count} lanes, batches of {batch_size}, {thread_count} threads"));
        }
        let stream = data.loader.clone().map(|loader| {
            Box::new(Stream {
                loader,
                image_size: data.height as usize * data.width as usize * data.channels as usize,
                counts: [0, 1, 2].map(|split: usize| data.splits[split].count),
            })
        });
        let lanes = config
            .lanes
            .iter()
            .map(|lane| clr_abi::Lane {
                options: clr_abi::Str::new(&lane.options_json),
                init_seed: lane.init_seed,
                data_seed: lane.data_seed,
                ..raw::sized()
            })
            .collect();
        let mut raw = Box::new(RawConfig {
            config: raw::sized(),
            dataset: raw_dataset(&data, stream.as_deref()),
            transform: raw_transform(&data),
            lanes,
        });
        raw.dataset.transform = &raw const raw.transform;
        raw.config = clr_abi::SessionConfig {
            device: clr_abi::Str::new(&config.device),
            model: clr_abi::Str::new(&config.model),
            options: clr_abi::Str::new(&config.model_json),
            dataset: &raw const raw.dataset,
            lanes: raw.lanes.as_ptr(),
            lane_count,
            batch_size: config.batch_size,
            thread_count: config.thread_count,
            ..raw::sized()
        };
        Ok(BorrowedConfig { raw, data, _config: config, _stream: stream })
    }

    pub(super) fn raw(&self) -> *const clr_abi::SessionConfig {
        &raw const self.raw.config
    }
}

fn raw_dataset(data: &Data, stream: Option<&Stream>) -> clr_abi::Dataset {
    let splits = [0, 1, 2].map(|index: usize| {
        let split = &data.splits[index];
        clr_abi::Split {
            count: split.count,
            images: split.images.as_ref().map_or(std::ptr::null(), |images| images.bytes().as_ptr()),
            labels: split.labels.as_ref().map_or(std::ptr::null(), |labels| labels.as_ptr()),
        }
    });
    clr_abi::Dataset {
        height: data.height,
        width: data.width,
        channels: data.channels,
        class_count: data.class_count,
        splits,
        load_context: stream
            .map_or(std::ptr::null_mut(), |stream| std::ptr::from_ref(stream).cast_mut().cast::<c_void>()),
        load: stream.map(|_| stream::load as clr_abi::LoadFunction),
        ..raw::sized()
    }
}

fn raw_transform(data: &Data) -> clr_abi::Transform {
    let transform = &data.transform;
    let [crop_height, crop_width] = transform.crop.unwrap_or([0, 0]);
    clr_abi::Transform {
        mean: transform.mean.as_ptr(),
        mean_count: transform.mean.len() as u64,
        scale: transform.scale.as_ptr(),
        scale_count: transform.scale.len() as u64,
        pad: transform.pad,
        crop_height,
        crop_width,
        flip: u32::from(transform.flip),
        min_area: transform.min_area,
        lighting: transform.lighting,
        ..raw::sized()
    }
}
