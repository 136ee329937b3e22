//! Texts of commands, from what they found.

mod compare;
mod data;
mod evaluate;
mod plan;
mod plugin;
mod range_test;
mod results;
mod run;
mod status;
mod verify;

pub use compare::comparison;
pub use data::{DownloadBar, dataset, datasets, prepared, survey};
pub use evaluate::evaluated;
pub use plan::{plan, range_tests_ahead};
pub use plugin::{plugin, plugins};
pub use range_test::range_tests;
pub use results::{results, weights};
pub use run::{bounds_taken, interrupted, nothing_to_run, range_tests_first};
pub use status::status;
pub use verify::{checked, proof};
