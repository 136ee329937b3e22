//! `inv`: falls by a power of the step.

use clr_schedule::{Inv, Schedule};
use serde_json::{Value as Json, json};

use super::{BASE, GAMMA, POWER, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "inv",
    doc: "base_lr * (1 + gamma * step)^-power. (Caffe)",
    keys: &[BASE, GAMMA, POWER],
    examples: &["[policies.inv]\nkind    = \"inv\"\nbase_lr = 0.01\ngamma   = 0.0001\npower   = 0.75"],
    build: |fields| {
        Some(Schedule::Inv(Inv {
            base: fields.number(&BASE)?,
            gamma: fields.number(&GAMMA)?,
            power: fields.number(&POWER)?,
        }))
    },
};

pub fn json(inv: &Inv) -> Json {
    let Inv { base, gamma, power } = inv;
    json!({ "kind": KIND.name, "base": base, "gamma": gamma, "power": power })
}
