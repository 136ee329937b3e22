//! What a plugin offers, as checked values.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A plugin's description of itself, and where it came from.
///
/// What is written of it leaves out the library: who reads it knows which one was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginInfo {
    /// The name that specs use.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Raised by any change that changes bits.
    pub numerics_revision: u32,
    /// Major and minor version of the ABI it was built for.
    pub abi: (u32, u32),
    #[serde(skip)]
    pub path: PathBuf,
    /// BLAKE3 of the library's bytes, in hexadecimal.
    #[serde(skip)]
    pub digest: String,
    /// Kinds of device that it was built for, such as "cpu" and "cuda".
    pub devices: Vec<String>,
    /// True if lanes can be saved and loaded.
    pub has_state: bool,
    /// Architectures; at least one.
    pub models: Vec<ModelInfo>,
    /// At least one. Every optimizer works with every model.
    pub optimizers: Vec<OptimizerInfo>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// The resources that a session would use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes on the device whatever the number of lanes.
    pub bytes_shared: u64,
    /// Bytes on the device for each lane.
    pub bytes_per_lane: u64,
    /// The part of the numerics besides the revision, such as "cpu-avx2".
    pub numerics: String,
}

/// A named part of a lane's state: float32, row major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Unique within the lane.
    pub name: String,
    pub role: Role,
    /// At most six axes.
    pub shape: Vec<u64>,
    /// The product of the shape.
    pub element_count: usize,
}

/// A parameter of a model, and what the architecture multiplies its learning rate and its weight decay by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterInfo {
    /// Unique within the model.
    pub name: String,
    /// How many values it has.
    pub value_count: u64,
    /// Of the learning rate.
    pub lr_mult: f32,
    /// Of the weight decay.
    pub decay_mult: f32,
}

/// A lane's tensors have no more values than this in all: 4 GiB, which are copied for every checkpoint. A plugin that says
/// more has a bug, or wants all memory.
pub const MOST_STATE_VALUES: usize = 1 << 30;

/// The number of a tensor of a lane, which has so many values.
pub fn check_tensor(tensors: &[TensorInfo], tensor: usize, value_count: usize) -> Result<u32, String> {
    match tensors.get(tensor).map(|tensor| tensor.element_count) {
        Some(count) if count == value_count => Ok(tensor as u32),
        Some(count) => Err(format!("{value_count} values for a tensor of {count}")),
        None => Err(format!("tensor {tensor} of {}", tensors.len())),
    }
}

/// That a lane's tensors have as many values as their shapes say, and no more than can be copied.
pub fn check_sizes(tensors: &[TensorInfo]) -> Result<(), String> {
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

/// The role of a tensor in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Trained by the optimizer.
    Weight,
    /// Kept by the optimizer, such as momentum.
    OptimizerState,
    /// Kept by the model, such as running means.
    Buffer,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tensors by shape and number of values; the error, if there is one.
    #[track_caller]
    fn check(tensors: &[(&[u64], usize)], expected: Option<&str>) {
        let tensor = |(index, &(shape, element_count)): (usize, &(&[u64], usize))| TensorInfo {
            name: format!("t{index}"),
            role: Role::Weight,
            shape: shape.to_vec(),
            element_count,
        };
        let tensors: Vec<TensorInfo> = tensors.iter().enumerate().map(tensor).collect();
        assert_eq!(check_sizes(&tensors).err().as_deref(), expected);
    }

    #[test]
    fn a_lane_s_state_is_bounded() {
        const HALF: usize = MOST_STATE_VALUES / 2;
        check(&[], None);
        check(&[(&[], 1), (&[0, 7], 0), (&[2, 3], 6)], None);
        check(&[(&[HALF as u64], HALF), (&[2, HALF as u64 / 2], HALF)], None);
        check(&[(&[2, 3], 5)], Some("tensor `t0` is of shape [2, 3] and has 5 values"));
        let both = [(&[HALF as u64][..], HALF), (&[HALF as u64 + 1], HALF + 1)];
        check(&both, Some("with tensor `t1` of shape [536870913] a lane has more than 1073741824 values"));
        let overflow = "with tensor `t0` of shape [4294967296, 4294967296] a lane has more than 1073741824 values";
        check(&[(&[1 << 32, 1 << 32], usize::MAX)], Some(overflow));
    }
}
