//! Write a clr-run model plugin in safe Rust.
//!
//! A plugin is a dynamic library that trains K trials ("lanes") of one model at once. It implements [`Plugin`] and
//! [`Session`] and names itself to [`export!`]; the rest of the C ABI (`clr_plugin.h`) is done here: sizes of structs,
//! statuses, error texts, caught panics.
//!
//! The rules that the types cannot state, and that the conformance suite (`clr-run plugin check`) tests:
//!
//! - A lane's numbers do not depend on the number of lanes, on its neighbours, on how steps are cut into calls, or on
//!   `thread_count`.
//! - A lane's state is its tensors, its seeds and the step that the host passes: nothing else may be remembered.
//! - Divergence is data: a non-finite loss is a row like any other.
//! - A plugin computes on at most `thread_count` threads at once, and prints nothing.

#![warn(missing_docs)]

/// The items that [`export!`] expands to.
#[doc(hidden)]
pub mod entry;

mod augment;
mod data;
mod described;
mod description;
mod error;
mod ffi;
mod handle;
mod session;
mod step;

pub use clr_abi as abi;
pub use data::{Augment, Dataset, Loader, Split, SplitData, Transform};
pub use description::{Description, Footprint, Model, Optimizer, ParameterInfo};
pub use error::{Error, Status};
pub use session::{Lane, ListParameters, Plugin, Role, Session, SessionConfig, Tensor, parse_options};
pub use step::{Evaluate, LaneSteps, Row, Scores, StepTable, StepTableParts};
