//! `range_test`: from low to high, to find the bounds of a learning rate.

use clr_schedule::{RangeTest, Schedule};
use serde_json::{Value as Json, json};

use super::{STEPS, ScheduleKind, Words};
use crate::Diagnostic;
use crate::keys::{Key, Kind, Range};

const MIN: Key = Key::new("min_lr", Kind::Number(Range::NotNegative), "The first value.").required();
const MAX: Key = Key::new("max_lr", Kind::Number(Range::NotNegative), "The value after the last step.").required();
const IS_GEOMETRIC: Words<bool, 2> = Words([("linear", false), ("geometric", true)]);
const SPACINGS: &[&str] = &IS_GEOMETRIC.names();
const SPACING: Key = Key::new("spacing", Kind::OneOf(SPACINGS), "Whether each step adds or multiplies.").text("linear");

pub const KIND: ScheduleKind = ScheduleKind {
    name: "range_test",
    doc: "From min_lr to max_lr over the whole training, to see where it learns and where it diverges. (Smith 2017, 3.3)",
    keys: &[MIN, MAX, STEPS, SPACING],
    examples: &[r#"[policies.range_test]
kind    = "range_test"
min_lr  = 1e-5
max_lr  = 1.0
spacing = "geometric"
steps   = 25_000"#],
    build: |fields| {
        let (min, max) = fields.bounds(&MIN, &MAX)?;
        let geometric = IS_GEOMETRIC.of(&SPACING, fields);
        if geometric && min == 0.0 {
            let title = "a geometric range cannot start at 0";
            let problem = Diagnostic::new("spec::bounds", fields.place(&MIN), title).help("use a small number above 0");
            fields.report(problem);
            return None;
        }
        Some(Schedule::RangeTest(RangeTest { min, max, steps: fields.steps(&STEPS)?, geometric }))
    },
};

pub fn json(range_test: &RangeTest) -> Json {
    let RangeTest { min, max, steps, geometric } = range_test;
    json!({ "kind": KIND.name, "min": min, "max": max, "steps": steps, "spacing": IS_GEOMETRIC.name(*geometric) })
}
