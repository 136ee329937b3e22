//! `cosine`: half a cosine down.

use clr_schedule::{Cosine, Schedule};
use serde_json::{Value as Json, json};

use super::{MAX, MIN, STEPS, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "cosine",
    doc: "Half a cosine from max_lr to min_lr, then min_lr.",
    keys: &[MAX, MIN, STEPS],
    examples: &["[policies.cosine]\nkind   = \"cosine\"\nmax_lr = 0.1\nmin_lr = 0.001\nsteps  = \"50%\""],
    build: |fields| {
        let (min, max) = fields.bounds(&MIN, &MAX)?;
        Some(Schedule::Cosine(Cosine { max, min, steps: fields.steps(&STEPS)? }))
    },
};

pub fn json(cosine: &Cosine) -> Json {
    let Cosine { max, min, steps } = cosine;
    json!({ "kind": KIND.name, "max": max, "min": min, "steps": steps })
}
