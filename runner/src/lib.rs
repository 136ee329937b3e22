//! `clr-run` as a library: the stages of a run, in the order in which data flows through them.

pub mod dataset;
pub mod event;
pub mod host;
pub mod plan;
pub mod progress;
pub mod schedule;
pub mod spec;
pub mod store;
