//! `clr-run` as a library: the stages of a run, in the order in which data flows through them.
//!
//! spec (text to [`spec::Spec`]) -> gather (what it names) -> plan -> train (through host) -> [`event::Event`] -> store and
//! progress.

pub mod arguments;
pub mod checkpoint;
pub mod cli;
pub mod dataset;
pub mod device;
pub mod ensemble;
pub mod estimate;
pub mod event;
pub mod gather;
pub mod gpu;
pub mod holder;
pub mod journal;
pub mod logs;
pub mod manual;
pub mod plot;
pub mod progress;
pub mod recipe;
pub mod show;
pub mod signals;
pub mod status;
pub mod store;
pub mod train;
pub mod verify;
pub mod work;
pub mod worker;

// Where these were before they were crates.
pub use clr_host as host;
pub use clr_plan as plan;
pub use clr_schedule::{self as schedule, ratio};
pub use clr_spec::{self as spec, duration, table};
pub use clr_system::{contain, memory, regular, text, threads};
pub use clr_terminal::{columns, suggest, terminal, words};
pub use clr_vetted as vetted;
