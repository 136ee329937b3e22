//! `clr.state/1`: a lane's tensors are its whole state.

use std::collections::HashSet;

use crate::history::{Bench, STEPS};
use crate::report::Verdict;

type Checked = Result<(), Verdict>;

fn need_state(bench: &Bench<'_>) -> Checked {
    if bench.rig.has_state() {
        return Ok(());
    }
    Err(Verdict::Skipped("no clr.state/1: trials of this plugin cannot be resumed".to_owned()))
}

/// Names are unique, roles known, and tables the same whatever the number of lanes.
pub(crate) fn tensors(bench: &Bench<'_>) -> Checked {
    need_state(bench)?;
    let trials = bench.all();
    let mut together = bench.start(&trials)?;
    for (lane, &trial) in trials.iter().enumerate() {
        let tensors = together.session.tensors(lane)?;
        let optimizer = &bench.trials[trial].optimizer;
        let mut names = HashSet::new();
        for tensor in &tensors {
            if tensor.name.is_empty() || !names.insert(&tensor.name) {
                return Err(format!("{optimizer}: a tensor's name is empty or there twice: {:?}", tensor.name).into());
            }
            if ![clr_abi::WEIGHT, clr_abi::OPTIMIZER_STATE, clr_abi::BUFFER].contains(&tensor.role) {
                return Err(format!("{optimizer}: tensor {} has the unknown role {}", tensor.name, tensor.role).into());
            }
        }
        if !tensors.iter().any(|tensor| tensor.role == clr_abi::WEIGHT) {
            return Err(format!("{optimizer}: no tensor is a weight").into());
        }
        if bench.start(&[trial])?.session.tensors(0)? != tensors {
            return Err(format!("{optimizer}: alone in its session it has other tensors").into());
        }
    }
    Ok(())
}

/// Each trial runs half its steps, and the rest in another lane of another session.
pub(crate) fn continue_elsewhere(bench: &Bench<'_>) -> Checked {
    need_state(bench)?;
    let half = STEPS / 2;
    let trials = bench.all();
    let mut first = bench.start(&trials)?;
    first.advance(&vec![half; trials.len()])?;
    // One lane more, in front, that runs something else.
    let mut moved = vec![trials[trials.len() - 1]];
    moved.extend(&trials);
    let mut second = bench.start(&moved)?;
    for lane in 0..trials.len() {
        let state = first.session.save(lane)?;
        second.session.load(lane + 1, &state)?;
        if lane == 0
            && second
                .session
                .save(lane + 1)?
                .concat()
                .iter()
                .map(|value| value.to_bits())
                .ne(state.concat().iter().map(|value| value.to_bits()))
        {
            return Err("what is saved after a load is not what was loaded".to_owned().into());
        }
        second.positions[lane + 1] = u64::from(half);
        second.first_rows[lane + 1] = half as usize;
    }
    let mut lane_steps = vec![STEPS - half; moved.len()];
    lane_steps[0] = STEPS;
    second.advance(&lane_steps)?;
    second.check()?;
    // The saved session goes on as if nothing had happened.
    first.advance(&vec![STEPS - half; trials.len()])?;
    first.check()
}
