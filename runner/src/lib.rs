//! `clr-run` as a library: the stages of a run, in the order in which data flows through them.
//!
//! spec (text to [`spec::Spec`]) -> gather (what it names) -> plan -> train (through host) -> [`event::Event`] -> store and
//! progress.

pub mod arguments;
pub mod cli;
pub mod commands;
pub mod console;
pub mod ensemble;
pub mod estimate;
pub mod gather;
pub mod logs;
pub mod manual;
pub mod plot;
pub mod progress;
pub mod ready;
pub mod recipe;
pub mod show;
pub mod signals;
pub mod status;
pub mod verify;

// Where these were before they were crates.
pub use clr_dataset as dataset;
pub use clr_event::{self as event, checkpoint, work};
pub use clr_host as host;
pub use clr_plan as plan;
pub use clr_schedule::{self as schedule, ratio};
pub use clr_spec::{self as spec, duration, table};
pub use clr_store::{self as store, holder, journal};
pub use clr_system::{contain, memory, regular, text, threads};
pub use clr_terminal::{columns, suggest, terminal, words};
pub use clr_train::{self as train, device};
pub use clr_vetted as vetted;
pub use clr_worker::{self as worker, gpu};
