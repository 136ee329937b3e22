//! `sigmoid`: from one level to another.

use clr_schedule::{Schedule, Sigmoid};
use serde_json::{Value as Json, json};

use super::{BASE, STEP_SIZE, ScheduleKind};
use crate::keys::{Key, Kind, Range};

const GAMMA: Key = Key::new("gamma", Kind::Number(Range::Any), "The steepness; below 0 the value falls.").required();

pub const KIND: ScheduleKind = ScheduleKind {
    name: "sigmoid",
    doc: "base_lr / (1 + exp(-gamma * (step - step_size))). (Caffe)",
    keys: &[BASE, GAMMA, STEP_SIZE],
    examples: &[
        "[policies.sigmoid]\nkind      = \"sigmoid\"\nbase_lr   = 0.01\ngamma     = -0.001\nstep_size = 12_000",
    ],
    build: |fields| {
        Some(Schedule::Sigmoid(Sigmoid {
            base: fields.number(&BASE)?,
            gamma: fields.number(&GAMMA)?,
            step_size: fields.point(&STEP_SIZE)?,
        }))
    },
};

pub fn json(sigmoid: &Sigmoid) -> Json {
    let Sigmoid { base, gamma, step_size } = sigmoid;
    json!({ "kind": KIND.name, "base": base, "gamma": gamma, "step_size": step_size })
}
