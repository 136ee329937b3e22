//! The spec: TOML text to a [`Spec`] and to diagnostics that say what is wrong, where, and what to try.
//!
//! Reading is tolerant: it reports every problem it finds and returns what could be read, so that the plan can go on to
//! check that against the plugins and datasets. Nothing here touches a file, a plugin or a clock.

mod checkpointing;
mod data;
mod diagnostic;
pub mod duration;
#[doc(hidden)]
pub mod example;
pub mod foreign;
mod format;
mod grid;
mod groups;
mod json_schema;
pub mod keys;
pub mod kinds;
mod limits;
mod range_tests;
mod read;
mod reference;
mod sections;
mod setting;
mod source;
pub mod spacing;
mod spec;
mod standalone;
pub mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use checkpointing::{Checkpointing, Every, Keep};
pub use data::{DatasetQuery, Fit, LastBatch, Normalize, Order};
pub use diagnostic::{Diagnostic, Problems, Severity, render, render_for};
pub use grid::{Condition, Exclusion, Zip};
pub use json_schema::json_schema;
pub use limits::{Limits, OnError};
pub use range_tests::RangeTests;
pub use reference::reference;
pub use sections::parse;
pub use setting::{Setting, Value};
pub use source::{LARGEST_SPEC, Origin, SourceFile, Span, Spanned};
pub use spec::{Optimizer, Policy, Seeds, Spec, TableColumn};
pub use standalone::standalone;
