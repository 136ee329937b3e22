//! `decay`: a line down, then level.

use clr_schedule::{Decay, Schedule};
use serde_json::{Value as Json, json};

use super::{BASE, MAX, STEP_SIZE, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "decay",
    doc: "From max_lr to base_lr over step_size, then base_lr. (Smith 2017, 4.1.1)",
    keys: &[BASE, MAX, STEP_SIZE],
    examples: &["[policies.decay]\nkind      = \"decay\"\nmax_lr    = 0.007\nbase_lr   = 0.001\nstep_size = 4000"],
    build: |fields| {
        let (base, max) = fields.bounds(&BASE, &MAX)?;
        Some(Schedule::Decay(Decay { base, max, step_size: fields.point(&STEP_SIZE)? }))
    },
};

pub fn json(decay: &Decay) -> Json {
    let Decay { base, max, step_size } = decay;
    json!({ "kind": KIND.name, "base": base, "max": max, "step_size": step_size })
}
