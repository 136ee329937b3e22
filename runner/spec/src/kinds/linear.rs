//! `linear`: a line.

use clr_schedule::{Linear, Schedule};
use serde_json::{Value as Json, json};

use super::{STEPS, ScheduleKind};
use crate::keys::{Key, Kind, Range};

const FROM: Key = Key::new("from_lr", Kind::Number(Range::NotNegative), "The first value.").required();
const TO: Key = Key::new("to_lr", Kind::Number(Range::NotNegative), "The last value.").required();

pub const KIND: ScheduleKind = ScheduleKind {
    name: "linear",
    doc: "A line from from_lr to to_lr, then to_lr.",
    keys: &[FROM, TO, STEPS],
    examples: &["[policies.linear]\nkind    = \"linear\"\nfrom_lr = 0.1\nto_lr   = 0.0\nsteps   = 20_000"],
    build: |fields| {
        Some(Schedule::Linear(Linear {
            from: fields.number(&FROM)?,
            to: fields.number(&TO)?,
            steps: fields.steps(&STEPS)?,
        }))
    },
};

pub fn json(linear: &Linear) -> Json {
    let Linear { from, to, steps } = linear;
    json!({ "kind": KIND.name, "from": from, "to": to, "steps": steps })
}
