//! The spec: TOML text to a [`Spec`] and to diagnostics that say what is wrong, where, and what to try.
//!
//! Reading is tolerant: it reports every problem it finds and returns what could be read, so that the plan can go on to
//! check that against the plugins and datasets. Nothing here touches a file, a plugin or a clock.

mod diagnostic;
mod grid;
mod json_schema;
pub mod keys;
pub mod kinds;
mod read;
mod sections;
mod setting;
mod source;
mod spacing;
pub mod suggest;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use diagnostic::{Diagnostic, Problems, render, render_styled};
pub use grid::{Condition, Exclusion, Zip};
pub use json_schema::json_schema;
pub use setting::{Duration, Number, Setting, Unit, Value, thousands};
pub use source::{Origin, SourceFile, Span, Spanned};

use crate::checkpoint::Checkpointing;
use crate::limits::Limits;

/// Reads a spec, with the values of `--set KEY=VALUE` arguments in place of its own.
///
/// The diagnostics are in the order of the text, those of the command line last. Where there is any, the spec is not
/// [`complete`](Spec::complete) and no plan can be made of it, but [`crate::plan::plan`] still finds what else is wrong.
pub fn parse(source: &SourceFile, sets: &[String]) -> (Spec, Vec<Diagnostic>) {
    sections::parse(source, sets)
}

/// What a spec says, each value with its place in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Whether everything could be read.
    pub complete: bool,
    /// `[experiment] name`, which is a folder's name; empty where it could not be read.
    pub name: String,
    /// The seeds, already told apart.
    pub seeds: Seeds,
    /// `model.*`, `data.*` and `train.*`, defaults included.
    pub settings: Vec<Setting>,
    /// In the order of the text.
    pub policies: Vec<Policy>,
    /// In the order of the text.
    pub optimizers: Vec<Optimizer>,
    /// `[checkpoint]`.
    pub checkpointing: Checkpointing,
    /// `[grid] zip`.
    pub zip: Vec<Zip>,
    /// `[grid] exclude`.
    pub exclude: Vec<Exclusion>,
    /// `[limits]`.
    pub limits: Limits,
}

/// A learning-rate policy: its keys as `policy.*`, what it overrides as `train.*`, `optimizer.*` and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The user's name for it, and the place of the table's header.
    pub name: Spanned<Arc<str>>,
    /// The optimizers that it meets; `None` for all.
    pub optimizers: Option<Spanned<Vec<Spanned<String>>>>,
    /// Own keys with their defaults, and overrides.
    pub settings: Vec<Setting>,
}

/// An optimizer: its keys as `optimizer.*`, what it overrides as `train.*` and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// The user's name for it, and the place of the table's header.
    pub name: Spanned<Arc<str>>,
    /// Own keys and overrides.
    pub settings: Vec<Setting>,
}

/// The seeds of initial weights and of batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Seeds {
    /// `seeds`: decide whatever of the two others is not set apart.
    pub both: Vec<u64>,
    /// `init_seeds`.
    pub init: Option<Vec<u64>>,
    /// `data_seeds`.
    pub data: Option<Vec<u64>>,
}

impl Default for Seeds {
    fn default() -> Seeds {
        Seeds { both: vec![1], init: None, data: None }
    }
}

impl Seeds {
    /// How many trials each cell has.
    pub fn count(&self) -> usize {
        let apart = |seeds: &Option<Vec<u64>>| seeds.as_ref().map_or(1, Vec::len);
        self.both.len().saturating_mul(apart(&self.init)).saturating_mul(apart(&self.data))
    }
}

/// A column of a file of values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableColumn {
    /// As written: relative to the spec.
    pub file: String,
    /// The hyper-parameter that takes the values, `lr` being the policy's.
    pub hyper: String,
    /// The column's name, where the spec says it.
    pub column: Option<String>,
}

impl TableColumn {
    /// Of the schedule whose keys stand below the path `schedule`.
    pub fn new(file: &str, schedule: &str, column: Option<&str>) -> TableColumn {
        let hyper = schedule.strip_prefix("optimizer.").map_or("lr", |rest| rest.split('.').next().unwrap_or(rest));
        TableColumn { file: file.to_owned(), hyper: hyper.to_owned(), column: column.map(str::to_owned) }
    }
}

impl Spec {
    /// Names of the plugins that the plan needs to know of.
    pub fn plugins(&self) -> BTreeSet<String> {
        self.texts(|path| path == "model.plugin")
    }

    /// Names of the datasets that the plan needs to know of.
    pub fn datasets(&self) -> BTreeSet<String> {
        self.texts(|path| path == "data.dataset")
    }

    /// What `table` schedules read.
    pub fn tables(&self) -> BTreeSet<TableColumn> {
        let policies = self.policies.iter().map(|policy| &policy.settings);
        let optimizers = self.optimizers.iter().map(|optimizer| &optimizer.settings);
        let mut tables = BTreeSet::new();
        for settings in policies.chain(optimizers) {
            for setting in settings {
                // A key `file` of a schedule, that is of the policy, of a hyper-parameter or of a stage; never a plugin's option.
                let Some(schedule) = setting.path.strip_suffix(".file") else { continue };
                if schedule != "policy" && !schedule.contains('.') {
                    continue;
                }
                let column = format!("{schedule}.column");
                let columns = settings.iter().find(|setting| *setting.path == *column);
                let columns: Vec<Option<&str>> = match columns {
                    Some(columns) => columns.values.iter().map(|(value, _)| value.text()).collect(),
                    None => vec![None],
                };
                for file in setting.values.iter().filter_map(|(value, _)| value.text()) {
                    tables.extend(columns.iter().map(|column| TableColumn::new(file, schedule, *column)));
                }
            }
        }
        tables
    }

    fn texts(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let policies = self.policies.iter().flat_map(|policy| &policy.settings);
        let optimizers = self.optimizers.iter().flat_map(|optimizer| &optimizer.settings);
        self.settings
            .iter()
            .chain(policies)
            .chain(optimizers)
            .filter(|setting| wanted(&setting.path))
            .flat_map(|setting| &setting.values)
            .filter_map(|(value, _)| value.text().map(str::to_owned))
            .collect()
    }
}
