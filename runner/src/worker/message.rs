//! Messages: what a supervisor asks of a worker, and what it answers.
//!
//! A message is a [`Request`] or a [`Reply`] in postcard, then its arrays as they lie in memory. Their lengths follow from
//! the message and from the session, and are never taken from the other end's word.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::{Encoder, Kind, MOST};
use crate::device::GpuInfo;
use crate::event::Split;
use crate::host::{Data, Footprint, HostError, Lane, PluginInfo, SessionConfig, SplitData, TensorInfo, Transform};

/// Raised by any change of frames or messages.
pub const PROTOCOL: u32 = 3;

/// What a supervisor asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Open a dataset in place of the last.
    Data(DataSource),
    /// Open a session in place of the last, on the dataset that is open.
    Open(Open),
    /// `host::Session::step`, with `first_steps`, `lane_steps`, `sample_counts`, `samples`, `epochs` and `hypers`.
    Step {
        /// S.
        step_count: u32,
        /// Whether all lanes see the same samples.
        shared_samples: bool,
    },
    /// `host::Session::evaluate`.
    Evaluate {
        /// On what.
        split: SplitName,
        /// The first sample.
        first: u64,
        /// How many.
        count: u64,
        /// `[K]`.
        active: Vec<bool>,
    },
    /// `host::Session::reset_lane`.
    ResetLane {
        /// Which.
        lane: u32,
        /// What it is to train.
        trial: LaneText,
    },
    /// `host::Session::tensors`.
    Tensors {
        /// Of which lane.
        lane: u32,
    },
    /// `host::Session::save`.
    Save {
        /// From which lane.
        lane: u32,
        /// Which tensor.
        tensor: u32,
    },
    /// `host::Session::load`, with the tensor's values.
    Load {
        /// Into which lane.
        lane: u32,
        /// Which tensor.
        tensor: u32,
    },
    /// End the session.
    Close,
    /// Load a plugin and say what it says of itself.
    Describe {
        /// The plugin's file.
        plugin: FilePath,
        /// The BLAKE3 that the file must have.
        plugin_digest: String,
    },
    /// `host::Plugin::footprint`, of a session on data of these sizes.
    Footprint(Open, DataSizes),
    /// `device::gpus`, of these numbers.
    Gpus(Vec<u32>),
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The first, unasked.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Of the program.
        version: String,
    },
    /// To `Data`, `Open`, `ResetLane`, `Load` and `Close`.
    Done,
    /// To `Step`, with `steps_done` and `metrics`; to `Evaluate`, with `metrics`.
    Ran {
        /// Whether it was cut short.
        cancelled: bool,
    },
    /// To `Tensors`.
    Tensors(Vec<TensorInfo>),
    /// To `Save`, with the tensor's values.
    Saved,
    /// To any: what `host` said.
    Failed(HostError),
    /// To `Describe`: a [`crate::host::PluginInfo`] in JSON, which postcard cannot hold: its schemas have any shape.
    Described(String),
    /// To `Footprint`.
    Footprint(Footprint),
    /// To `Gpus`: what there is, or why there is none.
    Gpus(Result<Vec<GpuInfo>, String>),
}

impl Reply {
    /// Whether arrays come with it, where there are any.
    pub fn has_arrays(&self) -> bool {
        matches!(self, Reply::Ran { .. } | Reply::Saved)
    }
}

/// What a session is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The plugin's file.
    pub plugin: FilePath,
    /// The BLAKE3 that the file must have.
    pub plugin_digest: String,
    /// As [`crate::host::SessionConfig`] has them, here and below.
    pub device: String,
    /// One of the plugin's models.
    pub model: String,
    /// Its options.
    pub model_json: String,
    /// B.
    pub batch_size: u32,
    /// At most so many threads.
    pub thread_count: u32,
    /// The K trials.
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
    transform: Transform,
}

impl From<&Data> for DataSizes {
    fn from(data: &Data) -> DataSizes {
        let Data { height, width, channels, class_count, ref splits, ref transform, .. } = *data;
        let counts = splits.each_ref().map(|split| split.count);
        DataSizes { height, width, channels, class_count, counts, transform: transform.clone() }
    }
}

impl From<DataSizes> for Data {
    fn from(sizes: DataSizes) -> Data {
        let DataSizes { height, width, channels, class_count, counts, transform } = sizes;
        let splits = counts.map(|count| SplitData { count, ..SplitData::default() });
        Data { height, width, channels, class_count, splits, transform, loader: None }
    }
}

/// A dataset by name: the worker opens it itself, so that its pages are shared through the cache file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// The name in the spec.
    pub name: String,
    /// The digest that it must have.
    pub digest: Option<String>,
    /// Where to look.
    pub roots: Vec<FilePath>,
    /// Where decoded sets are kept.
    pub cache: Option<FilePath>,
    /// Images of train, validation and test.
    pub counts: [u64; 3],
    /// What is done to each image.
    pub transform: Transform,
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

/// [`Lane`], owned.
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

/// [`Split`].
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

/// A message as the payload of its first frame; arrays come after it.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, String> {
    let bytes = postcard::to_stdvec(message).map_err(|error| error.to_string())?;
    if bytes.len() > MOST { Err(format!("a message of {} bytes, more than {MOST}", bytes.len())) } else { Ok(bytes) }
}

/// The message at the start of a payload, and the part of its arrays that came with it.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, &[u8]), String> {
    postcard::take_from_bytes(payload).map_err(|error| format!("a message that cannot be read: {error}"))
}

/// Hands the frames of a message to `write`, one after the other.
pub fn write_frames<E>(
    encoder: &mut Encoder,
    message: &[u8],
    arrays: &[&[u8]],
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut kind = Kind::Message;
    let mut payload = vec![message];
    let mut room = MOST - message.len();
    for &array in arrays {
        let mut rest = array;
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
    reply: Option<Reply>,
    filling: Filling<'a, 'b>,
}

impl<'a, 'b> Receiving<'a, 'b> {
    /// The reply's arrays, if it has any, are to fill these.
    pub fn new(arrays: &'a mut [&'b mut [u8]]) -> Receiving<'a, 'b> {
        Receiving { reply: None, filling: Filling::new(arrays) }
    }

    /// Takes the next frame; the reply, once it is there with its arrays.
    pub fn take(&mut self, kind: Kind, payload: &[u8]) -> Result<Option<Reply>, String> {
        let rest = match (kind, &self.reply) {
            (Kind::Message, None) => {
                let (message, rest) = decode::<Reply>(payload)?;
                self.reply = Some(message);
                rest
            }
            (Kind::Continuation, Some(_)) => payload,
            (kind, _) => return Err(format!("a frame of kind {kind:?}, out of turn")),
        };
        self.filling.take(rest)?;
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

    /// Whether all arrays are full.
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
