//! A lane's state as named tensors: the same names, order and shapes on every device, so that a checkpoint goes to any.

use std::ops::Range;

use clr_plugin::{Role, Tensor};

use crate::network::Network;
use crate::optimizer::LaneOptimizer;

/// The place of a tensor's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub storage: Storage,
    pub range: Range<usize>,
}

/// The flat buffers of a lane's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Weights,
    /// One of the tensors that the optimizer keeps for each parameter.
    Optimizer(usize),
    Buffers,
}

/// The tensors of a lane with this optimizer: the parameters, what the optimizer keeps of each, and what layers
/// remember.
pub(crate) fn tensors(network: &Network, optimizer: &LaneOptimizer) -> Vec<Tensor> {
    let parameters = network.parameters();
    let weights =
        parameters.iter().map(|slot| Tensor { name: slot.name.clone(), role: Role::Weight, shape: slot.shape.clone() });
    let state = optimizer.state_names().iter().flat_map(|state| {
        parameters.iter().map(move |slot| Tensor {
            name: format!("{}.{state}", slot.name),
            role: Role::OptimizerState,
            shape: slot.shape.clone(),
        })
    });
    let buffers = network.buffers().iter().map(|buffer| Tensor {
        name: buffer.name.clone(),
        role: Role::Buffer,
        shape: vec![buffer.range.len()],
    });
    weights.chain(state).chain(buffers).collect()
}

/// The place of number `tensor` of [`tensors`].
pub(crate) fn place(network: &Network, optimizer: &LaneOptimizer, tensor: usize) -> Option<Place> {
    let (parameters, buffers) = (network.parameters(), network.buffers());
    let copies = 1 + optimizer.state_names().len();
    if tensor < copies * parameters.len() {
        let range = parameters[tensor % parameters.len()].range.clone();
        let storage = match tensor / parameters.len() {
            0 => Storage::Weights,
            copy => Storage::Optimizer(copy - 1),
        };
        return Some(Place { storage, range });
    }
    let buffer = buffers.get(tensor - copies * parameters.len())?;
    Some(Place { storage: Storage::Buffers, range: buffer.range.clone() })
}
