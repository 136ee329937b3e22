//! Which columns tell trials apart.
//!
//! First `policy`, `optimizer` and the seeds. Then each key that is an axis somewhere, or that takes two values among
//! the trials that have it: so `base_lr` is a column where policies differ in it and none where all agree. Axes count
//! wherever they stand; other keys only where they are a key of a policy, an optimizer, `[model]`, `[data]` or `[train]`
//! itself, not of a stage or of a scheduled hyper-parameter. A trial without the key has null there.
//!
//! A column's type follows from its key ([`super::types`]), and a value that is a schedule is null.
//!
//! A column is called by its key, `max_lr`; with its section, `optimizer.momentum`, where that alone would be the name of
//! two columns, or of one that the tables have anyway, such as a scheduled hyper-parameter's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clr_schedule::Schedule;
use clr_spec::kinds::Naming;
use clr_spec::{Setting, Spec, Value};
use clr_terminal::words::Number;
use serde_json::Value as Json;

use super::cell::Cell;
use super::facts::Facts;
use super::grid::{Pair, SECTIONS};
use super::resolve::Body;
use super::seeding::seed_names;
use super::settings::{self, from_json};
use super::types;
use super::{Axis, AxisKind, AxisValue, Trial, source_file};

/// Columns that come first, where there are any.
const FIRST: [&str; 5] = ["policy", "optimizer", "seed", "init_seed", "data_seed"];

/// Columns that each row of a run's tables has, whatever the spec.
pub const ROW_COLUMNS: [&str; 4] = ["trial", "iteration", "epoch", "diverged"];

/// Other columns of a run's tables that an axis must leave free.
pub const OTHER_COLUMNS: [&str; 24] = [
    "label",
    "split",
    "loss",
    "accuracy",
    "status",
    "error",
    "numerics",
    "plugin_digest",
    "rows",
    "diverged_at",
    "final_train_loss",
    "final_validation_loss",
    "final_validation_accuracy",
    "final_test_loss",
    "final_test_accuracy",
    "non_finite_losses",
    "first_non_finite_loss",
    "best_iteration",
    "best_split",
    "best_validation_accuracy",
    "best_test_accuracy",
    "started",
    "seconds",
    "attempts",
];

/// True if a column for the key at `path` cannot be called `name`: another key has that column.
fn is_reserved(name: &str, path: &str) -> bool {
    FIRST.iter().chain(&ROW_COLUMNS).chain(&OTHER_COLUMNS).any(|reserved| *reserved == name)
        || settings::FIXED.iter().any(|setting| setting.name == name && setting.path != Some(path))
}

/// A key that may become a column.
pub struct Column {
    path: Arc<str>,
    pub name: String,
    axis: bool,
    kind: AxisKind,
}

/// The keys that are axes, or are written differently for different pairs.
pub fn candidates(pairs: &[Pair<'_>], facts: &Facts) -> Vec<Column> {
    struct Seen<'a> {
        axis: bool,
        first: &'a Setting,
        differs: bool,
        pairs: usize,
    }
    let mut order: Vec<Arc<str>> = Vec::new();
    let mut seen: HashMap<Arc<str>, Seen<'_>> = HashMap::new();
    for setting in pairs.iter().flat_map(|pair| &pair.settings) {
        let key = Arc::clone(&setting.path);
        let entry = seen.entry(Arc::clone(&key)).or_insert_with(|| {
            order.push(key);
            Seen { axis: false, first: setting, differs: false, pairs: 0 }
        });
        entry.axis |= setting.axis;
        entry.differs |= entry.first.values[0].0 != setting.values[0].0;
        entry.pairs += 1;
    }
    let mut kinds: HashMap<Arc<str>, AxisKind> = HashMap::new();
    for setting in pairs.iter().flat_map(|pair| &pair.settings).filter(|setting| types::is_free(&setting.path)) {
        for kind in setting.values.iter().filter_map(|(value, _)| plain(value)).map(|value| types::of_value(&value)) {
            let known = kinds.entry(Arc::clone(&setting.path)).or_insert(kind);
            *known = types::joined(*known, kind);
        }
    }
    let columns = order.into_iter().filter_map(|path| {
        let seen = &seen[&path];
        let own = path.matches('.').count() == 1
            && !path.ends_with(".kind")
            && !matches!(seen.first.values[0].0, Value::Stages(_));
        // Where a plugin's option is not written it has a default, which may differ from what is written elsewhere.
        let defaulted = (path.starts_with("optimizer.") || path.starts_with("model.")) && seen.pairs < pairs.len();
        (seen.axis || (own && (seen.differs || defaulted))).then(|| Column {
            name: short(&path).to_owned(),
            axis: seen.axis,
            kind: if types::is_free(&path) { kinds[&path] } else { types::of(&path, facts) },
            path,
        })
    });
    let mut columns: Vec<Column> = columns.collect();
    columns.sort_by_key(|column| SECTIONS.iter().position(|section| column.path.starts_with(section)));

    let models = facts.plugins.values().flatten().flat_map(|plugin| &plugin.models);
    let taken: HashSet<&str> =
        models.flat_map(|model| model.hypers.iter().chain(&model.metrics)).map(String::as_str).collect();
    let mut count: HashMap<String, usize> = HashMap::new();
    for column in &columns {
        *count.entry(column.name.clone()).or_default() += 1;
    }
    for column in &mut columns {
        let ambiguous =
            count[&column.name] > 1 || is_reserved(&column.name, &column.path) || taken.contains(column.name.as_str());
        if ambiguous {
            column.name = column.path.to_string();
        }
    }
    columns
}

/// A value that is one in a spec and in a column.
fn plain(value: &Value) -> Option<AxisValue> {
    Some(match value {
        Value::Text(text) => AxisValue::Text((&**text).into()),
        Value::Integer(integer) => AxisValue::Integer(*integer),
        Value::Number(number) => AxisValue::Float(*number),
        Value::Boolean(boolean) => AxisValue::Boolean(*boolean),
        Value::List(_) => AxisValue::Text(value.to_string().into()),
        Value::Duration(_) | Value::Durations(_) | Value::Stages(_) | Value::Auto => return None,
    })
}

/// A path without its section.
fn short(path: &str) -> &str {
    path.split_once('.').map_or(path, |(_, rest)| rest)
}

impl Column {
    /// True if the key is an axis in this pair, and so belongs into a trial's label.
    pub fn varies(&self, pair: &Pair<'_>) -> bool {
        pair.position(&self.path).is_some_and(|position| pair.dimension_of[position].is_some())
    }

    /// The cell's value in this column, durations in iterations; none where that is a schedule.
    pub fn value(&self, cell: &Cell<'_, '_>, body: &Body) -> Option<AxisValue> {
        self.resolved(cell, body).and_then(|value| value.of_kind(self.kind))
    }

    fn resolved(&self, cell: &Cell<'_, '_>, body: &Body) -> Option<AxisValue> {
        if let Some(value) = cell.get(&self.path) {
            if let Some((name, _)) = self.option(body).and_then(source_file::of) {
                return Some(AxisValue::Text(name.into()));
            }
            return Some(match value {
                // A share comes to a number of images.
                Value::Number(_) if &*self.path == "data.validation" => {
                    AxisValue::Integer(i64::try_from(body.group.shape.data.validation_count).ok()?)
                }
                Value::Text(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_) | Value::List(_) => {
                    plain(value)?
                }
                Value::Duration(_) if &*self.path == "train.iterations" => {
                    AxisValue::Integer(i64::try_from(body.iterations).ok()?)
                }
                Value::Duration(_) if &*self.path == "train.eval_every" => {
                    AxisValue::Float(body.eval_every.iterations().to_f64())
                }
                Value::Duration(duration) => AxisValue::Float(body.clock.time(*duration)?.to_f64()),
                Value::Auto if !body.is_measured => return None,
                Value::Auto if self.path.starts_with("policy.") => {
                    return settings::of_schedule("policy", Naming::LearningRate, &body.lr, &self.path);
                }
                Value::Auto => return None,
                Value::Durations(_) | Value::Stages(_) => AxisValue::Text(value.to_string().into()),
            });
        }
        if self.path.starts_with("optimizer.") {
            let name = short(&self.path);
            let schedule = body.optimizer.hypers.iter().find(|(hyper, _)| **hyper == *name);
            if let Some((_, Schedule::Constant(value))) = schedule {
                return Some(AxisValue::Float(*value));
            }
        }
        self.option(body).and_then(from_json)
    }

    /// The option of the optimizer or of the model that this is, as the plugin gets it.
    fn option<'b>(&self, body: &'b Body) -> Option<&'b Json> {
        match self.path.split_once('.')? {
            ("optimizer", name) => body.optimizer_constants.get(name),
            ("model", name) => body.group.model_options.get(name),
            _ => None,
        }
    }
}

/// The first columns, before those of [`candidates`].
pub fn fixed(spec: &Spec) -> Vec<Axis> {
    let mut axes: Vec<Axis> =
        ["policy", "optimizer"].map(|name| Axis { name: name.to_owned(), kind: AxisKind::Text }).into();
    axes.extend(seed_names(spec).into_iter().map(|name| Axis { name: name.to_owned(), kind: AxisKind::Integer }));
    axes
}

/// Drops the columns that turned out to hold one value.
pub fn finish(fixed: Vec<Axis>, candidates: &[Column], trials: &mut [Trial]) -> Vec<Axis> {
    let mut axes = fixed;
    let mut kept: Vec<bool> = vec![true; axes.len()];
    for column in candidates {
        let position = kept.len();
        let values = || trials.iter().filter_map(|trial| trial.axes[position].as_ref());
        let mut present = values();
        let first = present.next();
        let keep = column.axis && first.is_some() || present.any(|value| Some(value) != first);
        kept.push(keep);
        if !keep {
            continue;
        }
        axes.push(Axis { name: column.name.clone(), kind: column.kind });
    }
    if kept.contains(&false) {
        for trial in trials {
            let mut kept = kept.iter();
            trial.axes.retain(|_| *kept.next().unwrap_or(&true));
            trial.axes.shrink_to_fit();
        }
    }
    axes
}

impl AxisValue {
    /// The value in a column of `kind`; none where it cannot stand there.
    pub fn of_kind(self, kind: AxisKind) -> Option<AxisValue> {
        Some(match (self, kind) {
            (value @ AxisValue::Text(_), AxisKind::Text) => value,
            (value @ AxisValue::Integer(_), AxisKind::Integer) => value,
            (value @ AxisValue::Float(_), AxisKind::Float) => value,
            (value @ AxisValue::Boolean(_), AxisKind::Boolean) => value,
            (value, AxisKind::Text) => AxisValue::Text(value.to_string().into()),
            (AxisValue::Integer(integer), AxisKind::Float) => AxisValue::Float(integer as f64),
            // Beyond 2^53 a float says nothing of the integer that was meant.
            (AxisValue::Float(float), AxisKind::Integer) if float.fract() == 0.0 && float.abs() < 9e15 => {
                AxisValue::Integer(float as i64)
            }
            _ => return None,
        })
    }
}

impl std::fmt::Display for AxisValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AxisValue::Text(text) => f.write_str(text),
            AxisValue::Integer(integer) => write!(f, "{integer}"),
            AxisValue::Float(float) => write!(f, "{}", Number(*float)),
            AxisValue::Boolean(boolean) => write!(f, "{boolean}"),
        }
    }
}
