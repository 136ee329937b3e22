//! `poly`: falls to 0 by a power of what is left.

use clr_schedule::{Poly, Schedule};
use serde_json::{Value as Json, json};

use super::{BASE, POWER, STEPS, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "poly",
    doc: "base_lr * (1 - step / steps)^power. (Caffe)",
    keys: &[BASE, POWER, STEPS],
    examples: &[
        "[policies.poly]\nkind    = \"poly\"\nbase_lr = 0.01\npower   = 0.5\nsteps   = 20_000    # absent: all of the training",
    ],
    build: |fields| {
        Some(Schedule::Poly(Poly {
            base: fields.number(&BASE)?,
            power: fields.number(&POWER)?,
            steps: fields.steps(&STEPS)?,
        }))
    },
};

pub fn json(poly: &Poly) -> Json {
    let Poly { base, power, steps } = poly;
    json!({ "kind": KIND.name, "base": base, "power": power, "steps": steps })
}
