//! `fixed`: one value.

use clr_schedule::Schedule;

use super::{BASE, ScheduleKind};

pub const KIND: ScheduleKind = ScheduleKind {
    name: "fixed",
    doc: "The same value at every step. (Caffe)",
    keys: &[BASE],
    examples: &["[policies.fixed]\nkind    = \"fixed\"\nbase_lr = [0.001, 0.01]    # two values: an axis"],
    build: |fields| Some(Schedule::Constant(fields.number(&BASE)?)),
};
