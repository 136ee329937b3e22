//! The store: events to Parquet, so that a run can be cut off at any instant and lose nothing that was finished.
//!
//! ```text
//! outputs/NAME/
//!   spec.toml  plan.json        what was asked, and what it resolved to
//!   manifest.json               which files count, which trials are done, where their rows are, who wrote when
//!   manifest.backup.json        a copy of it
//!   trials.parquet              one row per trial
//!   metrics/*.parquet           one row per trial and iteration
//!   evals/*.parquet             one row per trial and evaluation
//!   timings.parquet             the only table that may differ between two runs
//!   failed/*.parquet            rows of trials that failed, up to there
//!   parts/                      sealed parts of a run that goes on; rows of trials that the spec no longer covers
//!   checkpoints/                what unfinished trials go on from; what was asked to be kept of others
//!   damaged/                    files that were not as they were written, if there were any
//! ```
//!
//! The life of a row: it waits in its trial's `Flight`; every so many rows or seconds all that wait are sealed as
//! a part, which holds rows of many trials and is readable at once; a commit replaces the manifest, and a trial is
//! finished when the manifest says so; at the end `compact` merges parts and earlier tables into tables in the spec's
//! order. All columns are in [`schema`].
//!
//! The life of a checkpoint: a commit seals the rows behind it, writes its file, and says in the manifest that the trial
//! goes on from there; the file of the one before is deleted after that. So at every instant the manifest names a state
//! and exactly the rows up to it ([`resume`] reads them back), whichever operation was the last.

mod compact;
mod csv;
pub mod damage;
pub mod derived;
mod error;
mod excerpt;
pub mod files;
pub mod flight;
mod folder;
pub mod holder;
pub mod journal;
mod json_lines;
mod kept;
pub mod looks;
pub mod manifest;
pub mod names;
mod notes;
pub mod origins;
pub mod plan_file;
pub mod reader;
pub mod result;
mod resume;
mod run;
mod saved;
pub mod schema;
pub mod sound;
pub mod source;
mod store;
pub mod summary;
pub mod swap;
pub mod sweeps;
mod table;
mod tensorboard;
#[cfg(test)]
mod tests;
mod trials;
mod unsound;
pub mod verify;

pub use self::csv::{CsvRows, TrialCsv, Written, csv, csv_of_all};
pub use self::error::StoreError;
pub use self::excerpt::{Excerpt, excerpt};
pub use self::json_lines::json_lines;
pub use self::kept::{Kept, Snapshots, kept, write};
pub use self::result::{Numbers, Status, TrialResult};
pub use self::run::{BUILDS, KeptSpec, RunInfo};
pub use self::store::{Limits, Store, table_path};
pub use self::summary::Summary;
pub use self::table::Cut;
pub use self::tensorboard::tensorboard;
