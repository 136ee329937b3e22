//! The plan: what a spec resolves to, given the facts about plugins, data and devices.

mod build;
mod cell;
mod columns;
pub mod describe;
#[doc(hidden)]
pub mod example;
mod exclusions;
pub mod facts;
mod grid;
mod id;
mod identity;
pub mod json;
pub mod names;
mod options;
mod range_tests;
mod resolve;
mod schedules;
mod seeding;
pub mod settings;
pub mod source_file;
#[cfg(test)]
mod tests;
mod trial;
mod types;
mod warnings;
mod without_data;

pub use build::plan;
pub use columns::{OTHER_COLUMNS, ROW_COLUMNS};
pub use facts::{
    ClassCounts, DatasetFacts, Facts, ModelFacts, ModelQuery, NoDataset, OptimizerFacts, ParameterFacts, PluginFacts,
};
pub use id::{NoTrialId, TrialId};
pub use names::{Names, NoTrial};
pub use range_tests::{Bounds, Measurement, name_of as range_test_name_of};
pub use resolve::{NO_PLUGINS, models_with_groups};
pub use trial::{
    Axis, AxisKind, AxisValue, DataPlan, Divergence, Group, ParameterGroup, Plan, Shape, SharedText, Trial,
    TrialOptimizer,
};
pub use without_data::{ASSUMED, check, counts_epochs, unchecked};
