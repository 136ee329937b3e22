//! `multistep`: falls at milestones.

use clr_schedule::{MultiStep, Schedule};
use serde_json::{Value as Json, json};

use super::{BASE, GAMMA, ScheduleKind};
use crate::keys::{Key, Kind};

const MILESTONES: Key = Key::new("milestones", Kind::Durations, "When the value falls.").required();

pub const KIND: ScheduleKind = ScheduleKind {
    name: "multistep",
    doc: "base_lr * gamma^(milestones reached). (Caffe)",
    keys: &[BASE, GAMMA, MILESTONES],
    examples: &[r#"[policies.multistep]
kind       = "multistep"
base_lr    = 0.001
gamma      = 0.1
milestones = [16_000, 22_000]"#],
    build: |fields| {
        Some(Schedule::MultiStep(MultiStep {
            base: fields.number(&BASE)?,
            gamma: fields.number(&GAMMA)?,
            milestones: fields.points(&MILESTONES)?,
        }))
    },
};

pub fn json(multistep: &MultiStep) -> Json {
    let MultiStep { base, gamma, milestones } = multistep;
    json!({ "kind": KIND.name, "base": base, "gamma": gamma, "milestones": milestones })
}
