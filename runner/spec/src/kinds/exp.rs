//! `exp`: falls by a factor at each step.

use clr_schedule::{Exp, Schedule};
use serde_json::{Value as Json, json};

use super::{BASE, GAMMA, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "exp",
    doc: "base_lr * gamma^step. (Caffe)",
    keys: &[BASE, GAMMA],
    examples: &["[policies.exp]\nkind    = \"exp\"\nbase_lr = 0.001\ngamma   = 0.9999"],
    build: |fields| Some(Schedule::Exp(Exp { base: fields.number(&BASE)?, gamma: fields.number(&GAMMA)? })),
};

pub fn json(exp: &Exp) -> Json {
    let Exp { base, gamma } = exp;
    json!({ "kind": KIND.name, "base": base, "gamma": gamma })
}
