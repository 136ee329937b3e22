//! What a plugin offers, as checked values.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A plugin's description of itself, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// The name that specs use.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Raised by any change that changes bits.
    pub numerics_revision: u32,
    /// Major and minor version of the ABI it was built for.
    pub abi: (u32, u32),
    /// The library.
    pub path: PathBuf,
    /// BLAKE3 of the library's bytes, in hexadecimal.
    pub digest: String,
    /// Kinds of device that it was built for, such as "cpu" and "cuda".
    pub devices: Vec<String>,
    /// Whether lanes can be saved and loaded.
    pub has_state: bool,
    /// Architectures; at least one.
    pub models: Vec<ModelInfo>,
    /// At least one. Every optimizer works with every model.
    pub optimizers: Vec<OptimizerInfo>,
}

/// An architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The name that specs use.
    pub name: String,
    /// JSON Schema of the `[model]` options.
    pub options_schema: Map<String, Value>,
    /// Hyper-parameters and optimizer constants that the architecture was published with.
    pub defaults: Map<String, Value>,
    /// Columns that may be scheduled.
    pub hypers: Vec<String>,
    /// Columns per iteration; "loss" and "accuracy" are among them.
    pub metrics: Vec<String>,
}

/// An optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerInfo {
    /// The name that specs use.
    pub name: String,
    /// JSON Schema of its constants.
    pub options_schema: Map<String, Value>,
    /// Columns that it reads: some of every model's.
    pub hypers: Vec<String>,
}

impl PluginInfo {
    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&ModelInfo> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The optimizer of that name.
    pub fn optimizer(&self, name: &str) -> Option<&OptimizerInfo> {
        self.optimizers.iter().find(|optimizer| optimizer.name == name)
    }
}

/// What a session would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes on the device whatever the number of lanes.
    pub bytes_shared: u64,
    /// Bytes on the device for each lane.
    pub bytes_per_lane: u64,
    /// What decides the bits besides the numerics revision, such as "cpu-avx2".
    pub numerics: String,
}

/// A named part of a lane's state: float32, row major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Unique within the lane.
    pub name: String,
    /// What it is to the model.
    pub role: Role,
    /// At most six axes.
    pub shape: Vec<u64>,
    /// The product of the shape.
    pub element_count: usize,
}

/// A lane's tensors have no more values than this in all: 4 GiB, which are copied for every checkpoint. A plugin that says
/// more has a bug, or wants all memory.
pub const MOST_STATE_VALUES: usize = 1 << 30;

/// That a lane's tensors have as many values as their shapes say, and no more than can be copied.
pub(crate) fn check_sizes(tensors: &[TensorInfo]) -> Result<(), String> {
    let mut total = 0usize;
    for TensorInfo { name, shape, element_count, .. } in tensors {
        total = total.saturating_add(*element_count);
        if total > MOST_STATE_VALUES {
            return Err(format!(
                "with tensor `{name}` of shape {shape:?} a lane has more than {MOST_STATE_VALUES} values"
            ));
        }
        let product = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
        if product != Some(*element_count as u64) {
            return Err(format!("tensor `{name}` is of shape {shape:?} and has {element_count} values"));
        }
    }
    Ok(())
}

/// What a tensor is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Trained by the optimizer.
    Weight,
    /// Kept by the optimizer, such as momentum.
    OptimizerState,
    /// Kept by the model, such as running means.
    Buffer,
}
