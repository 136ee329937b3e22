//! The file of a checkpoint: `.safetensors`, with what the format has no place for as JSON in its metadata.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use clr_host::{Role, TensorInfo};
use clr_plan::TrialId;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Tensor};

/// The key of the file's metadata. One, since the format does not keep several in order, and files of equal state shall
/// be equal.
const KEY: &str = "clr-run";

/// Raised when the metadata change their meaning.
const FORMAT: u32 = 1;

/// Why a file is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not of the format, or cut off.
    #[error("no sound .safetensors file")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// The archive could not be made.
    #[error("cannot make an .npz file")]
    Zip(#[source] zip::result::ZipError),
    /// Written by another program, or by another version of this one.
    #[error("its metadata are not those of a checkpoint: {0}")]
    Metadata(String),
    /// A tensor that no plugin could have saved.
    #[error("its tensor `{name}` {message}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    trial: TrialId,
    step: u64,
    evaluated: Option<u64>,
    numerics: String,
    roles: BTreeMap<String, String>,
}

impl Checkpoint {
    /// The bytes of its file. `numerics` is what else decides the trial's bits, such as `cifar/1 cpu-avx2`.
    pub fn to_bytes(&self, numerics: &str) -> Result<Vec<u8>, CheckpointError> {
        let roles =
            self.tensors.iter().map(|tensor| (tensor.info.name.clone(), role_name(tensor.info.role).to_owned()));
        let metadata = Metadata {
            format: FORMAT,
            trial: self.trial_id,
            step: self.step,
            evaluated: self.evaluated,
            numerics: numerics.to_owned(),
            roles: roles.collect(),
        };
        let metadata =
            serde_json::to_string(&metadata).map_err(|error| CheckpointError::Metadata(error.to_string()))?;
        to_safetensors(&self.tensors, Some((KEY, metadata)))
    }

    /// Reads a file back, and the numerics that it was written with. The bytes may be anything.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Checkpoint, String), CheckpointError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or_else(|| CheckpointError::Metadata(format!("there is no `{KEY}`")))?;
        let metadata: Metadata =
            serde_json::from_str(text).map_err(|error| CheckpointError::Metadata(error.to_string()))?;
        if metadata.format != FORMAT {
            let message = format!("format {}, and this program knows format {FORMAT}", metadata.format);
            return Err(CheckpointError::Metadata(message));
        }
        let mut tensors = Vec::new();
        for (name, view) in SafeTensors::deserialize(bytes)?.tensors() {
            let role = metadata.roles.get(&name).and_then(|role| role_of(role));
            tensors.push(read_tensor(name, role, &view)?);
        }
        tensors.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        let Metadata { trial, step, evaluated, numerics, .. } = metadata;
        Ok((Checkpoint { trial_id: trial, step, evaluated, tensors }, numerics))
    }
}

/// The bytes of a `.safetensors` file with these tensors.
pub(super) fn to_safetensors<'t>(
    tensors: impl IntoIterator<Item = &'t Tensor>,
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>, CheckpointError> {
    let metadata = metadata.map(|(key, text)| HashMap::from([(key.to_owned(), text)]));
    let views = tensors.into_iter().map(|tensor| Ok((tensor.info.name.as_str(), Values::new(tensor)?)));
    let views: Vec<(&str, Values<'_>)> = views.collect::<Result<_, CheckpointError>>()?;
    Ok(safetensors::serialize(views, metadata)?)
}

/// A tensor as the format's writer wants it.
struct Values<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl Values<'_> {
    fn new(tensor: &Tensor) -> Result<Values<'_>, CheckpointError> {
        let shape: Option<Vec<usize>> = tensor.info.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
        let product = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        match shape {
            Some(shape) if product(&shape) == Some(tensor.values.len()) => Ok(Values { shape, values: &tensor.values }),
            _ => Err(CheckpointError::Tensor {
                name: tensor.info.name.clone(),
                message: format!("is of shape {:?} and has {} values", tensor.info.shape, tensor.values.len()),
            }),
        }
    }
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

fn read_tensor(name: String, role: Option<Role>, view: &TensorView<'_>) -> Result<Tensor, CheckpointError> {
    let Some(role) = role else {
        return Err(CheckpointError::Tensor { name, message: "has no known role in the metadata".to_owned() });
    };
    if view.dtype() != Dtype::F32 {
        return Err(CheckpointError::Tensor { name, message: format!("is of type {:?}, not F32", view.dtype()) });
    }
    let axis_count = view.shape().len();
    if axis_count > clr_abi::MAX_RANK {
        let message = format!("has {axis_count} axes, more than {}", clr_abi::MAX_RANK);
        return Err(CheckpointError::Tensor { name, message });
    }
    // The reader has checked that there are as many bytes as the shape says.
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let shape = view.shape().iter().map(|&size| size as u64).collect();
    Ok(Tensor { info: TensorInfo { name, role, shape, element_count: values.len() }, values })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Weight => "weight",
        Role::OptimizerState => "optimizer_state",
        Role::Buffer => "buffer",
    }
}

fn role_of(name: &str) -> Option<Role> {
    [Role::Weight, Role::OptimizerState, Role::Buffer].into_iter().find(|&role| role_name(role) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, role: Role, shape: &[u64], values: &[f32]) -> Tensor {
        let info = TensorInfo { name: name.into(), role, shape: shape.to_vec(), element_count: values.len() };
        Tensor { info, values: values.to_vec() }
    }

    fn example() -> Checkpoint {
        Checkpoint {
            trial_id: "0123".repeat(8).parse().unwrap(),
            step: 1200,
            evaluated: Some(1000),
            tensors: vec![
                tensor("conv1.bias", Role::Weight, &[2], &[f32::MIN_POSITIVE / 2.0, -0.0]),
                tensor("conv1.bias.m", Role::OptimizerState, &[2], &[f32::INFINITY, f32::NEG_INFINITY]),
                tensor("empty", Role::Buffer, &[0, 3], &[]),
                tensor("mean", Role::Buffer, &[], &[0.1]),
            ],
        }
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let bytes = example().to_bytes("cifar/1 cpu-avx2").unwrap();
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), (example(), "cifar/1 cpu-avx2".to_owned()));
        assert_eq!(bytes, example().to_bytes("cifar/1 cpu-avx2").unwrap(), "equal state, equal bytes");
    }

    #[test]
    fn bits_that_are_no_numbers_are_kept() {
        let bits = [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff];
        let values = bits.map(f32::from_bits);
        let checkpoint = Checkpoint { tensors: vec![tensor("w", Role::Weight, &[3], &values)], ..example() };
        let (back, _) = Checkpoint::from_bytes(&checkpoint.to_bytes("").unwrap()).unwrap();
        assert_eq!(back.tensors[0].values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], expected: &str) {
        let error = Checkpoint::from_bytes(bytes).expect_err("an error");
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let bytes = example().to_bytes("").unwrap();
        for length in [0, 7, 8, 9, bytes.len() / 2, bytes.len() - 1] {
            check_refused(&bytes[..length], "no sound .safetensors file");
        }
        check_refused(&[&bytes[..], b"more"].concat(), "no sound .safetensors file");
        check_refused(&[0xff; 64], "no sound .safetensors file");
        check_refused(&to_safetensors(&example().tensors, None).unwrap(), "there is no `clr-run`");
        let with = |text: &str| to_safetensors(&example().tensors, Some((KEY, text.to_owned()))).unwrap();
        check_refused(&with("{}"), "missing field `format`");
        let other = r#"{"format":2,"trial":"00112233445566778899aabbccddeeff","step":0,"evaluated":null,"numerics":"","roles":{}}"#;
        check_refused(&with(other), "format 2, and this program knows format 1");
        check_refused(&with(&other.replace(":2", ":1")), "has no known role");
        check_refused(&with(&other.replace("0011", "00l1")), "it is not 32 hexadecimal digits");
        let other = other.replace(":2", ":1").replace("{}", r#"{"conv1.bias":"ghost"}"#);
        check_refused(&with(&other), "has no known role");
        let many_axes = Checkpoint { tensors: vec![tensor("w", Role::Weight, &[1; 7], &[1.0])], ..example() };
        check_refused(&many_axes.to_bytes("").unwrap(), "its tensor `w` has 7 axes, more than 6");
    }

    /// Every byte of the file in turn: an error or a checkpoint, never a panic.
    #[test]
    fn flipped_bytes_do_no_harm() {
        let bytes = example().to_bytes("numerics").unwrap();
        for index in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] ^= flip;
                drop(Checkpoint::from_bytes(&changed));
            }
        }
    }
}
