//! What a spec says.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::checkpointing::Checkpointing;
use super::data::DatasetQuery;
use super::grid::{Condition, Exclusion, Zip};
use super::limits::Limits;
use super::range_tests::RangeTests;
use super::setting::{Setting, Value};
use super::source::{Span, Spanned};

/// A spec as it was read: each value with its place in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// True if everything could be read.
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
    pub range_test: RangeTests,
    pub checkpointing: Checkpointing,
    pub zip: Vec<Zip>,
    pub exclude: Vec<Exclusion>,
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
    pub init: Option<Vec<u64>>,
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

    /// The datasets that the plan needs to know of, in all sizes that any cell may ask for.
    pub fn datasets(&self) -> BTreeSet<DatasetQuery> {
        let values = |path: &str| -> Vec<Option<&Value>> {
            let policies = self.policies.iter().flat_map(|policy| &policy.settings);
            let optimizers = self.optimizers.iter().flat_map(|optimizer| &optimizer.settings);
            let all = self.settings.iter().chain(policies).chain(optimizers);
            let of_path = all.filter(|setting| &*setting.path == path).flat_map(|setting| &setting.values);
            let mut found: Vec<Option<&Value>> = of_path.map(|(value, _)| Some(value)).collect();
            // Others may override it where nothing is said in common.
            if !self.settings.iter().any(|setting| &*setting.path == path) {
                found.push(None);
            }
            found
        };
        let mut queries = vec![DatasetQuery::default()];
        for key in DatasetQuery::KEYS {
            let values = values(&format!("data.{key}"));
            queries =
                queries.iter().flat_map(|query| values.iter().map(|value| query.clone().with(key, *value))).collect();
        }
        queries.into_iter().filter(|query| !query.name.is_empty()).collect()
    }

    /// The columns of files that `table` schedules read.
    pub fn tables(&self) -> BTreeSet<TableColumn> {
        let policies = self.policies.iter().map(|policy| &policy.settings);
        let optimizers = self.optimizers.iter().map(|optimizer| &optimizer.settings);
        let mut tables = BTreeSet::new();
        for settings in policies.chain(optimizers) {
            for setting in settings {
                let Some(schedule) = schedule_of_table(&setting.path) else { continue };
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

    /// The texts that an option of a plugin, such as `model.file`, is anywhere set to.
    pub fn option_texts(&self, path: &str) -> BTreeSet<String> {
        self.texts(|other| other == path)
    }

    fn texts(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.text_values(wanted).map(|(text, _)| text.to_owned()).collect()
    }

    /// Every place that names a file: of a `table` schedule, or of an option at one of these paths.
    pub(super) fn file_values(&self, options: &BTreeSet<String>) -> impl Iterator<Item = (&str, Option<&Span>)> {
        self.text_values(|path| schedule_of_table(path).is_some() || options.contains(path))
    }

    fn text_values(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, Option<&Span>)> {
        let policies = self.policies.iter().flat_map(|policy| &policy.settings);
        let optimizers = self.optimizers.iter().flat_map(|optimizer| &optimizer.settings);
        self.settings
            .iter()
            .chain(policies)
            .chain(optimizers)
            .filter(move |setting| wanted(&setting.path))
            .flat_map(|setting| &setting.values)
            .filter_map(|(value, span)| Some((value.text()?, span.as_ref())))
    }

    /// True if two specs give the same plan, wherever in their texts the values stand.
    pub(super) fn says_the_same(&self, other: &Spec) -> bool {
        let settings = |settings: &[Setting]| -> Vec<(Arc<str>, bool, Vec<Value>)> {
            let values = |setting: &Setting| setting.values.iter().map(|(value, _)| value.clone()).collect();
            settings.iter().map(|setting| (Arc::clone(&setting.path), setting.axis, values(setting))).collect()
        };
        let policy = |policy: &Policy| {
            let optimizers = policy.optimizers.as_ref().map(|names| &names.value).into_iter().flatten();
            let names: Vec<String> = optimizers.map(|name| name.value.clone()).collect();
            (policy.name.value.clone(), policy.optimizers.is_some(), names, settings(&policy.settings))
        };
        let optimizer = |optimizer: &Optimizer| (optimizer.name.value.clone(), settings(&optimizer.settings));
        let zip = |zip: &Zip| zip.axes.iter().map(|axis| axis.value.clone()).collect::<Vec<_>>();
        let exclusion = |exclusion: &Exclusion| {
            let values = |condition: &Condition| condition.values.iter().map(|value| value.value.clone()).collect();
            let conditions = exclusion.conditions.iter();
            conditions.map(|condition| (condition.key.value.clone(), values(condition))).collect::<Vec<(_, Vec<_>)>>()
        };
        (&self.name, &self.seeds, &self.range_test.seeds, self.checkpointing, self.limits)
            == (&other.name, &other.seeds, &other.range_test.seeds, other.checkpointing, other.limits)
            && settings(&self.range_test.settings) == settings(&other.range_test.settings)
            && settings(&self.settings) == settings(&other.settings)
            && self.policies.iter().map(policy).eq(other.policies.iter().map(policy))
            && self.optimizers.iter().map(optimizer).eq(other.optimizers.iter().map(optimizer))
            && self.zip.iter().map(zip).eq(other.zip.iter().map(zip))
            && self.exclude.iter().map(exclusion).eq(other.exclude.iter().map(exclusion))
    }
}

/// The path of the schedule, which is the policy's, a hyper-parameter's or a stage's, whose key `file` is at `path`; never a
/// plugin's option.
fn schedule_of_table(path: &str) -> Option<&str> {
    let schedule = path.strip_suffix(".file").filter(|schedule| *schedule == "policy" || schedule.contains('.'));
    schedule.filter(|schedule| !schedule.starts_with("model."))
}

impl Spec {
    /// The spec of its range tests alone.
    pub fn range_tests_alone(&self) -> Spec {
        let mut alone = self.clone();
        let only = alone.range_test.settings.iter_mut().filter(|setting| &*setting.path == "range_test.only");
        only.for_each(|setting| setting.values = vec![(Value::Boolean(true), None)]);
        alone
    }

    /// True if a range test has to be made before the policies are known.
    pub fn needs_range_tests(&self) -> bool {
        self.policies.iter().any(Policy::needs_range_test)
    }
}

impl Policy {
    /// True if a bound of its learning rate is `"auto"`.
    pub fn needs_range_test(&self) -> bool {
        let is_bound = |path: &str| path.starts_with("policy.") && path.ends_with("_lr");
        let mut bounds = self.settings.iter().filter(|setting| is_bound(&setting.path));
        bounds.any(|setting| setting.values.iter().any(|(value, _)| *value == Value::Auto))
    }
}
