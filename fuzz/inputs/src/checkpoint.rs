//! Files of checkpoints.

use clr_event::checkpoint::{Checkpoint, Format, Tensor};
use clr_host::{Role, TensorInfo};
use clr_plan::TrialId;

use super::Target;

pub(super) const CHECKPOINT: Target = Target { name: "checkpoint", read, seeds };

fn read(bytes: &[u8]) {
    let Ok((checkpoint, numerics)) = Checkpoint::from_bytes(bytes) else { return };
    for Tensor { info, values } in &checkpoint.tensors {
        assert_eq!(info.element_count, values.len());
        assert_eq!(values.len() as u128, info.shape.iter().map(|&size| u128::from(size)).product());
    }
    // Values may be no numbers, so bytes are compared.
    let again = checkpoint.to_bytes(&numerics).expect("what was read can be written");
    let (back, its_numerics) = Checkpoint::from_bytes(&again).expect("what was written can be read");
    assert_eq!(back.to_bytes(&its_numerics).expect("what was read can be written"), again);
    for format in [Format::Safetensors, Format::Npz] {
        // A name may be longer than an archive allows.
        let _ = checkpoint.export("label", format);
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let tensor = |name: &str, role, shape: &[u64], values: &[f32]| {
        let info = TensorInfo { name: name.into(), role, shape: shape.to_vec(), element_count: values.len() };
        Tensor { info, values: values.to_vec() }
    };
    let checkpoint = Checkpoint {
        trial_id: TrialId::of(b"a trial"),
        step: 1200,
        evaluated: Some(1000),
        tensors: vec![
            tensor("bias", Role::Weight, &[2], &[f32::NAN, -0.0]),
            tensor("bias.momentum", Role::OptimizerState, &[2, 1], &[f32::INFINITY, 1e-40]),
            tensor("empty", Role::Buffer, &[0, 3], &[]),
            tensor("mean", Role::Buffer, &[], &[0.1]),
        ],
    };
    let whole = checkpoint.to_bytes("cifar/1 cpu-avx2").expect("a sound checkpoint");
    let start = Checkpoint { step: 0, evaluated: None, tensors: Vec::new(), ..checkpoint };
    let start = start.to_bytes("").expect("a sound checkpoint");
    vec![("whole.safetensors".to_owned(), whole), ("start.safetensors".to_owned(), start)]
}
