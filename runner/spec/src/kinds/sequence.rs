//! `sequence`: schedules one after another.

use clr_schedule::{Schedule, Stage};
use serde_json::{Value as Json, json};

use super::ScheduleKind;
use crate::keys::{Key, Kind};

/// The length of a stage.
pub static STAGE_LENGTH: Key = Key::new(
    "iterations",
    Kind::Duration { zero: false },
    "How long the stage lasts; the last stage may leave it out.",
);

const STAGES: Key = Key::new(
    "stages",
    Kind::Stages,
    "`[{ kind = \"..\", iterations = 16_000, .. }, ..]`; the last one goes on to the end.",
)
.required()
.no_axis();

pub const KIND: ScheduleKind = ScheduleKind {
    name: "sequence",
    doc: "Stages in a row, each counting from its own start.",
    keys: &[STAGES],
    examples: &[r#"[policies.staged]
kind   = "sequence"
stages = [
    { kind = "triangular2", base_lr = 0.001, max_lr = 0.005, step_size = 2000, iterations = 16_000 },
    { kind = "triangular2", base_lr = 0.0001, max_lr = 0.0005, step_size = 1000 },
]"#],
    build: |fields| Some(Schedule::Sequence(fields.stages(&STAGES)?)),
};

pub fn json(stages: &[Stage]) -> Json {
    let stage =
        |stage: &Stage| json!({ "kind": "stage", "steps": stage.steps, "schedule": super::json(&stage.schedule) });
    json!({ "kind": KIND.name, "stages": stages.iter().map(stage).collect::<Vec<_>>() })
}
