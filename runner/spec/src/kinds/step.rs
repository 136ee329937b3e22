//! `step`: falls in equal steps.

use clr_schedule::{Schedule, Step};
use serde_json::{Value as Json, json};

use super::{BASE, GAMMA, STEP_SIZE, ScheduleKind, ahead, number};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "step",
    doc: "base_lr * gamma^floor(step / step_size). (Caffe)",
    keys: &[BASE, GAMMA, STEP_SIZE],
    examples: &[r#"[policies.step]
kind      = "step"
base_lr   = 0.1
gamma     = 0.1
step_size = "30 epochs""#],
    build: |fields| {
        Some(Schedule::Step(Step {
            base: fields.number(&BASE)?,
            gamma: fields.number(&GAMMA)?,
            step_size: fields.ticks(&STEP_SIZE)?,
        }))
    },
};

pub fn json(step: &Step) -> Json {
    let Step { base, gamma, step_size } = step;
    json!({ "kind": KIND.name, "base": base, "gamma": gamma, "step_size": number(step_size.period), "ahead": ahead(*step_size) })
}
