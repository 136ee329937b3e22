//! A lane's state in and out of a session.

use clr_event::checkpoint::{Checkpoint, Tensor};
use clr_host::{HostError, Session};

/// Copies all tensors of a lane, by name.
pub fn save(session: &mut dyn Session, lane: usize) -> Result<Vec<Tensor>, HostError> {
    let infos = session.tensors(lane)?.to_vec();
    let mut tensors = Vec::with_capacity(infos.len());
    for (index, info) in infos.into_iter().enumerate() {
        let mut values = vec![0.0; info.element_count];
        session.save(lane, index, &mut values)?;
        tensors.push(Tensor { info, values });
    }
    tensors.sort_by(|a, b| a.info.name.cmp(&b.info.name));
    Ok(tensors)
}

/// Puts a checkpoint into a lane. False, and the lane is as it was, where the plugin has other tensors now: it was
/// changed without raising its numerics revision.
pub fn load(session: &mut dyn Session, lane: usize, checkpoint: &Checkpoint) -> Result<bool, HostError> {
    let Some(places) = checkpoint.places(session.tensors(lane)?) else { return Ok(false) };
    for (tensor, place) in checkpoint.tensors.iter().zip(places) {
        session.load(lane, place, &tensor.values)?;
    }
    Ok(true)
}
