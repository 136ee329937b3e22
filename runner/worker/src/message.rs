//! Messages: what a supervisor asks of a worker, and what it answers.
//!
//! A message is its length in four bytes, a [`Request`] or a [`Reply`] in postcard, then its arrays as they lie in memory:
//! one stream of bytes, cut into as many frames as it takes. The lengths of arrays follow from the message and from the
//! session. What a worker says is kept as it comes, so a length that it claims takes no memory.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clr_host::{
    Data, Footprint, HostError, Lane, ParameterInfo, PluginInfo, SessionConfig, Split, SplitData, TensorInfo, Transform,
};
use clr_spec::DatasetQuery;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::{Encoder, Kind, MOST};
use crate::gpu::GpuInfo;

/// Raised by any change of frames or messages.
pub const PROTOCOL: u32 = 5;

/// No message is longer, its arrays aside: 64 MiB. It holds text (options, schemas, what went wrong) and names of tensors.
pub const LONGEST: usize = 1 << 26;

/// Bytes before a message that say how long it is.
const PREFIX: usize = 4;

/// A request of the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Open a dataset in place of the last, with the means and scales of its transform.
    Data(DataSource),
    /// Open a session in place of the last, on the dataset that is open.
    Open(Open),
    /// `Session::step`, with `first_steps`, `lane_steps`, `sample_counts`, `samples`, `epochs` and `hypers`.
    Step {
        /// The number of steps, S.
        step_count: u32,
        /// True if all lanes see the same samples.
        shared_samples: bool,
    },
    /// `Session::evaluate`.
    Evaluate {
        split: SplitName,
        first: u64,
        count: u64,
        /// `[K]`.
        active: Vec<bool>,
    },
    /// `Session::reset_lane`.
    ResetLane {
        lane: u32,
        trial: LaneText,
    },
    /// `Session::tensors`.
    Tensors {
        lane: u32,
    },
    /// `Session::save`.
    Save {
        lane: u32,
        tensor: u32,
    },
    /// `Session::load`, with the tensor's values.
    Load {
        lane: u32,
        tensor: u32,
    },
    Close,
    /// Load a plugin and say what it says of itself.
    Describe {
        plugin: FilePath,
        /// The BLAKE3 that the file must have.
        plugin_digest: String,
    },
    /// `host::Plugin::footprint`, of a session on data of these sizes, with the means and scales of the transform.
    Footprint(Open, DataSizes),
    /// `host::Plugin::parameters`, likewise.
    Parameters(Open, DataSizes),
    /// `gpu::gpus`, of these numbers.
    Gpus(Vec<u32>),
}

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The first answer, which nobody asked for.
    Hello {
        /// The worker's [`PROTOCOL`].
        protocol: u32,
        /// The program's version.
        version: String,
    },
    /// The answer to `Data`, `Open`, `ResetLane`, `Load` and `Close`.
    Done,
    /// The answer to `Step`, with `steps_done` and `metrics`; to `Evaluate`, with `metrics`.
    Ran {
        /// True if it was cut short.
        cancelled: bool,
    },
    /// The answer to `Tensors`.
    Tensors(Vec<TensorInfo>),
    /// The answer to `Save`, with the tensor's values.
    Saved,
    /// The answer to any request that `host` refused.
    Failed(HostError),
    /// The answer to `Describe`: a [`clr_host::PluginInfo`] in JSON, which postcard cannot hold: its schemas have any shape.
    Described(String),
    /// The answer to `Footprint`.
    Footprint(Footprint),
    /// The answer to `Parameters`.
    Parameters(Vec<ParameterInfo>),
    /// The answer to `Gpus`: what there is, or why there is none.
    Gpus(Result<Vec<GpuInfo>, String>),
}

impl Reply {
    /// True if arrays come with it, where there are any.
    pub fn has_arrays(&self) -> bool {
        matches!(self, Reply::Ran { .. } | Reply::Saved)
    }
}

/// The configuration of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub plugin: FilePath,
    /// The BLAKE3 that the file must have.
    pub plugin_digest: String,
    /// As [`clr_host::SessionConfig`] has them, here and below.
    pub device: String,
    /// One of the plugin's models.
    pub model: String,
    pub model_json: String,
    /// The number of images in a batch, B.
    pub batch_size: u32,
    /// At most so many threads.
    pub thread_count: u32,
    pub lanes: Vec<LaneText>,
}

/// A dataset of which nobody reads an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSizes {
    height: u32,
    width: u32,
    channels: u32,
    class_count: u32,
    /// Images of train, validation and test.
    counts: [u64; 3],
    pub transform: TransformSizes,
}

/// A [`Transform`] but for its means and scales, which come as arrays: there may be one for each pixel of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransformSizes {
    mean_count: u64,
    scale_count: u64,
    pad: u32,
    crop: Option<[u32; 2]>,
    flip: bool,
    min_area: f32,
    lighting: f32,
}

/// The arrays that come with a dataset or its sizes.
pub fn transform_arrays(transform: &Transform) -> [&[u8]; 2] {
    [bytemuck::cast_slice(&transform.mean), bytemuck::cast_slice(&transform.scale)]
}

impl From<&Transform> for TransformSizes {
    fn from(transform: &Transform) -> TransformSizes {
        let Transform { ref mean, ref scale, pad, crop, flip, min_area, lighting } = *transform;
        let (mean_count, scale_count) = (mean.len() as u64, scale.len() as u64);
        TransformSizes { mean_count, scale_count, pad, crop, flip, min_area, lighting }
    }
}

impl TransformSizes {
    /// With means and scales of zeroes, for arrays to fill; an error where there would be more than `most`.
    pub fn unfilled(&self, most: usize) -> Result<Transform, String> {
        let TransformSizes { mean_count, scale_count, pad, crop, flip, min_area, lighting } = *self;
        let zeroes = |count: u64| match usize::try_from(count) {
            Ok(count) if count <= most => Ok(vec![0.0; count]),
            _ => Err(format!("a transform with {count} values")),
        };
        let (mean, scale) = (zeroes(mean_count)?, zeroes(scale_count)?);
        Ok(Transform { mean, scale, pad, crop, flip, min_area, lighting })
    }
}

impl From<&Data> for DataSizes {
    fn from(data: &Data) -> DataSizes {
        let Data { height, width, channels, class_count, ref splits, ref transform, .. } = *data;
        let counts = splits.each_ref().map(|split| split.count);
        DataSizes { height, width, channels, class_count, counts, transform: transform.into() }
    }
}

impl DataSizes {
    /// The dataset, without an image.
    pub fn data(self, transform: Transform) -> Data {
        let DataSizes { height, width, channels, class_count, counts, .. } = self;
        let splits = counts.map(|count| SplitData { count, ..SplitData::default() });
        Data { height, width, channels, class_count, splits, transform, loader: None }
    }
}

/// A dataset by name: the worker opens it itself, so that its pages are shared through the cache file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// As the spec asks for it.
    pub query: DatasetQuery,
    /// Its path is relative to this.
    pub folder: FilePath,
    /// The digest that it must have.
    pub digest: Option<String>,
    pub roots: Vec<FilePath>,
    /// The folder of decoded datasets.
    pub cache: Option<FilePath>,
    /// States of the cached sets that need not be checked again.
    pub checked: Vec<String>,
    /// Images of train, validation and test.
    pub counts: [u64; 3],
    pub transform: TransformSizes,
}

impl Open {
    /// A session of `plugin`.
    pub fn new(plugin: &PluginInfo, config: &SessionConfig) -> Open {
        Open {
            plugin: plugin.path.as_path().into(),
            plugin_digest: plugin.digest.clone(),
            device: config.device.clone(),
            model: config.model.clone(),
            model_json: config.model_json.clone(),
            batch_size: config.batch_size,
            thread_count: config.thread_count,
            lanes: config.lanes.iter().map(Into::into).collect(),
        }
    }

    /// The session, but for where its plugin comes from.
    pub fn config(self, dataset: Arc<Data>) -> SessionConfig {
        SessionConfig {
            device: self.device,
            model: self.model,
            model_json: self.model_json,
            dataset,
            batch_size: self.batch_size,
            thread_count: self.thread_count,
            lanes: self.lanes.into_iter().map(Into::into).collect(),
        }
    }
}

/// A [`Lane`] that owns its texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneText {
    options_json: String,
    init_seed: u64,
    data_seed: u64,
}

impl From<&Lane> for LaneText {
    fn from(lane: &Lane) -> LaneText {
        let Lane { options_json, init_seed, data_seed } = lane;
        LaneText { options_json: options_json.to_string(), init_seed: *init_seed, data_seed: *data_seed }
    }
}

impl From<LaneText> for Lane {
    fn from(lane: LaneText) -> Lane {
        let LaneText { options_json, init_seed, data_seed } = lane;
        Lane { options_json: options_json.into(), init_seed, data_seed }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitName {
    Train,
    Validation,
    Test,
}

impl From<Split> for SplitName {
    fn from(split: Split) -> SplitName {
        match split {
            Split::Train => SplitName::Train,
            Split::Validation => SplitName::Validation,
            Split::Test => SplitName::Test,
        }
    }
}

impl From<SplitName> for Split {
    fn from(split: SplitName) -> Split {
        match split {
            SplitName::Train => Split::Train,
            SplitName::Validation => Split::Validation,
            SplitName::Test => Split::Test,
        }
    }
}

/// A path, which need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePath(Vec<u8>);

impl From<&Path> for FilePath {
    fn from(path: &Path) -> FilePath {
        FilePath(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<FilePath> for PathBuf {
    fn from(path: FilePath) -> PathBuf {
        OsString::from_vec(path.0).into()
    }
}

/// A message, after its length; arrays come after it.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut bytes = postcard::to_extend(message, vec![0; PREFIX]).map_err(|error| error.to_string())?;
    let length = bytes.len() - PREFIX;
    if length > LONGEST {
        return Err(format!("a message of {length} bytes, more than {LONGEST}"));
    }
    bytes[..PREFIX].copy_from_slice(&(length as u32).to_ne_bytes());
    Ok(bytes)
}

/// The message at the start of what came so far, and how many bytes it takes: its arrays are behind it. None where it is
/// not there whole.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, String> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_ne_bytes(*prefix) as usize;
    if length > LONGEST {
        return Err(format!("a message of {length} bytes, more than {LONGEST}"));
    }
    let Some(message) = rest.get(..length) else { return Ok(None) };
    match postcard::take_from_bytes(message) {
        Ok((message, [])) => Ok(Some((message, PREFIX + length))),
        Ok((_, more)) => Err(format!("a message with {} bytes too many", more.len())),
        Err(error) => Err(format!("a message that cannot be read: {error}")),
    }
}

/// Hands the frames of a message to `write`, one after the other.
pub fn write_frames<E>(
    encoder: &mut Encoder,
    message: &[u8],
    arrays: &[&[u8]],
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut kind = Kind::Message;
    let mut payload = Vec::new();
    let mut room = MOST;
    for &part in [message].iter().chain(arrays) {
        let mut rest = part;
        while !rest.is_empty() {
            if room == 0 {
                write(encoder.frame(kind, &payload))?;
                payload.clear();
                (kind, room) = (Kind::Continuation, MOST);
            }
            let (part, after) = rest.split_at(rest.len().min(room));
            payload.push(part);
            room -= part.len();
            rest = after;
        }
    }
    write(encoder.frame(kind, &payload))
}

/// Puts a reply together from frames.
#[derive(Debug)]
pub struct Receiving<'a, 'b> {
    has_begun: bool,
    /// The bytes of the message itself that have come, until it is there whole.
    beginning: Vec<u8>,
    reply: Option<Reply>,
    filling: Filling<'a, 'b>,
}

impl<'a, 'b> Receiving<'a, 'b> {
    /// The reply's arrays, if it has any, are to fill these.
    pub fn new(arrays: &'a mut [&'b mut [u8]]) -> Receiving<'a, 'b> {
        Receiving { has_begun: false, beginning: Vec::new(), reply: None, filling: Filling::new(arrays) }
    }

    /// Takes the next frame; the reply, once it is there with its arrays.
    pub fn take(&mut self, kind: Kind, payload: &[u8]) -> Result<Option<Reply>, String> {
        match (kind, self.has_begun) {
            (Kind::Message, false) => self.has_begun = true,
            (Kind::Continuation, true) => {}
            (kind, _) => return Err(format!("a frame of kind {kind:?}, out of turn")),
        }
        if self.reply.is_some() {
            self.filling.take(payload)?;
        } else {
            self.beginning.extend_from_slice(payload);
            let Some((reply, length)) = decode::<Reply>(&self.beginning)? else { return Ok(None) };
            self.reply = Some(reply);
            self.filling.take(&self.beginning[length..])?;
            self.beginning.clear();
        }
        let is_filled = self.filling.is_done();
        Ok(self.reply.take_if(|reply| is_filled || !reply.has_arrays()))
    }
}

/// Fills arrays from payloads, in order.
#[derive(Debug)]
pub struct Filling<'a, 'b> {
    arrays: &'a mut [&'b mut [u8]],
    /// The array that is filled now, and how far.
    at: (usize, usize),
}

impl<'a, 'b> Filling<'a, 'b> {
    pub fn new(arrays: &'a mut [&'b mut [u8]]) -> Filling<'a, 'b> {
        let mut filling = Filling { arrays, at: (0, 0) };
        filling.skip_full();
        filling
    }

    /// True if all arrays are full.
    pub fn is_done(&self) -> bool {
        self.at.0 == self.arrays.len()
    }

    /// Takes a payload; an error where there is more than there is room for.
    pub fn take(&mut self, mut payload: &[u8]) -> Result<(), String> {
        while !payload.is_empty() {
            let Some(array) = self.arrays.get_mut(self.at.0) else {
                return Err(format!("{} bytes too many", payload.len()));
            };
            let target = &mut array[self.at.1..];
            let (part, rest) = payload.split_at(payload.len().min(target.len()));
            target[..part.len()].copy_from_slice(part);
            self.at.1 += part.len();
            payload = rest;
            self.skip_full();
        }
        Ok(())
    }

    fn skip_full(&mut self) {
        while self.arrays.get(self.at.0).is_some_and(|array| array.len() == self.at.1) {
            self.at = (self.at.0 + 1, 0);
        }
    }
}
