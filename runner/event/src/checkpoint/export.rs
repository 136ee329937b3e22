//! A trial's weights for other programs: `.safetensors`, or `.npz` for NumPy.

use std::io::{Cursor, Write};

use clr_host::Role;
use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::file::to_safetensors;
use super::{Checkpoint, CheckpointError, Tensor};

/// The format of a file of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `safetensors.numpy.load_file`, `safetensors.torch.load_file` and others read.
    Safetensors,
    /// What `numpy.load` reads: an uncompressed ZIP archive of `.npy` files.
    Npz,
}

impl Checkpoint {
    /// What the model computes with: weights and buffers, under the plugin's names. The optimizer's state is left out.
    pub fn weights(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|tensor| tensor.info.role != Role::OptimizerState)
    }

    /// The bytes of a file of [`weights`](Checkpoint::weights).
    pub fn export(&self, label: &str, format: Format) -> Result<Vec<u8>, CheckpointError> {
        match format {
            Format::Safetensors => {
                let about = json!({ "trial": self.trial_id, "label": label, "step": self.step });
                to_safetensors(self.weights(), Some(("clr-run", about.to_string())))
            }
            Format::Npz => to_npz(self.weights()).map_err(CheckpointError::Zip),
        }
    }
}

fn to_npz<'t>(tensors: impl Iterator<Item = &'t Tensor>) -> Result<Vec<u8>, zip::result::ZipError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for tensor in tensors {
        let large = tensor.values.len() as u64 >= u64::from(u32::MAX) / 8;
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        archive.start_file(format!("{}.npy", tensor.info.name), options)?;
        archive.write_all(&npy_header(&tensor.info.shape))?;
        let bytes: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        archive.write_all(&bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// The start of a `.npy` file of float32, version 1.0, padded so that the values begin at a multiple of 64 bytes.
fn npy_header(shape: &[u64]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64);
    text += &" ".repeat(length - 10 - text.len() - 1);
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // A shape has at most six axes, so the text is far shorter than the 65,535 bytes that this can count.
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_headers_are_as_numpy_writes_them() {
        for (shape, expected) in [(&[][..], "()"), (&[3][..], "(3, )"), (&[32, 3, 5, 5][..], "(32, 3, 5, 5, )")] {
            let header = npy_header(shape);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(header[..8], *b"\x93NUMPY\x01\x00");
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
            let text = std::str::from_utf8(&header[10..]).unwrap();
            let start = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {expected}, }}");
            assert!(text.starts_with(&start) && text.ends_with('\n'), "{text:?}");
        }
    }
}
