//! `table`: values from a file.

use clr_schedule::Points;
use serde_json::{Value as Json, json};

use super::{ScheduleKind, Words};
use crate::keys::{Key, Kind};

const FILE: Key = Key::new(
    "file",
    Kind::Text,
    "A CSV file, its path relative to the spec: bare numbers, one an iteration, or columns with names, one of them `iteration`, `step` or `epoch`.",
)
.required();
const COLUMN: Key = Key::new(
    "column",
    Kind::Text,
    "The column with the values; absent: the one named after the hyper-parameter (`lr`), or `value`.",
);
const IS_LINEAR: Words<bool, 2> = Words([("hold", false), ("linear", true)]);
const BETWEENS: &[&str] = &IS_LINEAR.names();
const BETWEEN: Key = Key::new(
    "between",
    Kind::OneOf(BETWEENS),
    "Between two rows: the value of the first, or a line from one to the other.",
)
.text("hold");

pub const KIND: ScheduleKind = ScheduleKind {
    name: "table",
    doc: "Values from a file; the last one stays.",
    keys: &[FILE, COLUMN, BETWEEN],
    examples: &[r#"[policies.replayed]
kind    = "table"
file    = "tensorboard.csv"   # Wall time,Step,Value
column  = "Value"
between = "linear""#],
    build: |fields| {
        let linear = IS_LINEAR.of(&BETWEEN, fields);
        fields.table(&FILE, &COLUMN, linear)
    },
};

pub fn json(values: &[f64]) -> Json {
    json!({ "kind": KIND.name, "values": values })
}

pub fn json_of_points(Points { points, linear }: &Points) -> Json {
    let (steps, values): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    json!({ "kind": KIND.name, "steps": steps, "values": values, "between": IS_LINEAR.name(*linear) })
}
