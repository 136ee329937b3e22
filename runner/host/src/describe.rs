//! Reads what a plugin says of itself and checks it: every problem at once.
#![allow(unsafe_code)]

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::info::{ModelInfo, OptimizerInfo};
use super::raw;

/// The checked part of a [`super::PluginInfo`] that the plugin itself tells.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) numerics_revision: u32,
    pub(super) devices: Vec<String>,
    pub(super) models: Vec<ModelInfo>,
    pub(super) optimizers: Vec<OptimizerInfo>,
}

/// Longer names fit no column's head and no file's name.
const LONGEST_NAME: usize = 100;

/// Reads a description; else all that is wrong with it.
///
/// # Safety
/// Pointers in it that are not null point to what the header says.
pub(super) unsafe fn read(plugin: &clr_abi::Plugin) -> Result<Described, Vec<String>> {
    let mut problems = Problems(Vec::new());
    // SAFETY: the caller's, here and below.
    let described = unsafe {
        Described {
            name: problems.take(raw::text(plugin.name, "name")),
            version: problems.take(raw::text(plugin.version, "version")),
            numerics_revision: plugin.numerics_revision,
            devices: problems.take(raw::texts(plugin.devices, plugin.device_count, "devices")),
            models: problems
                .take(raw::structs(plugin.models, plugin.model_count, "models"))
                .iter()
                .enumerate()
                .map(|(index, model)| read_model(model, index, &mut problems))
                .collect(),
            optimizers: problems
                .take(raw::structs(plugin.optimizers, plugin.optimizer_count, "optimizers"))
                .iter()
                .enumerate()
                .map(|(index, optimizer)| read_optimizer(optimizer, index, &mut problems))
                .collect(),
        }
    };
    // What could not be read needs no second complaint.
    if problems.0.is_empty() {
        check(&described, &mut problems);
    }
    if problems.0.is_empty() { Ok(described) } else { Err(problems.0) }
}

/// # Safety
/// As for [`read`].
unsafe fn read_model(model: &clr_abi::Model, index: usize, problems: &mut Problems) -> ModelInfo {
    let what = format!("models[{index}]");
    // SAFETY: the caller's.
    unsafe {
        ModelInfo {
            name: problems.take(raw::text(model.name, &format!("{what}.name"))),
            options_schema: problems.object(model.options_schema, &format!("{what}.options_schema")),
            defaults: problems.object(model.defaults, &format!("{what}.defaults")),
            hypers: problems.take(raw::texts(model.hypers, model.hyper_count, &format!("{what}.hypers"))),
            metrics: problems.take(raw::texts(model.metrics, model.metric_count, &format!("{what}.metrics"))),
        }
    }
}

/// # Safety
/// As for [`read`].
unsafe fn read_optimizer(optimizer: &clr_abi::Optimizer, index: usize, problems: &mut Problems) -> OptimizerInfo {
    let what = format!("optimizers[{index}]");
    // SAFETY: the caller's.
    unsafe {
        OptimizerInfo {
            name: problems.take(raw::text(optimizer.name, &format!("{what}.name"))),
            options_schema: problems.object(optimizer.options_schema, &format!("{what}.options_schema")),
            hypers: problems.take(raw::texts(optimizer.hypers, optimizer.hyper_count, &format!("{what}.hypers"))),
        }
    }
}

fn check(described: &Described, problems: &mut Problems) {
    problems.name("the plugin's name", &described.name);
    problems.names("devices", described.devices.iter());
    problems.names("models", described.models.iter().map(|model| &model.name));
    problems.names("optimizers", described.optimizers.iter().map(|optimizer| &optimizer.name));
    for optimizer in &described.optimizers {
        problems.names(&format!("optimizer `{}`: hypers", optimizer.name), optimizer.hypers.iter());
    }
    for model in &described.models {
        let what = format!("model `{}`", model.name);
        problems.names(&format!("{what}: hypers"), model.hypers.iter());
        problems.names(&format!("{what}: metrics"), model.metrics.iter());
        for metric in ["loss", "accuracy"] {
            if !model.metrics.iter().any(|name| name == metric) {
                problems.0.push(format!("{what}: metrics have no `{metric}`"));
            }
        }
        for optimizer in &described.optimizers {
            for hyper in optimizer.hypers.iter().filter(|hyper| !model.hypers.contains(hyper)) {
                problems.0.push(format!("optimizer `{}` reads `{hyper}`, which {what} does not have", optimizer.name));
            }
        }
    }
}

struct Problems(Vec<String>);

impl Problems {
    fn take<T: Default>(&mut self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|problem| {
            self.0.push(problem);
            T::default()
        })
    }

    /// A JSON object; no text is one without members.
    ///
    /// # Safety
    /// As for [`read`].
    unsafe fn object(&mut self, text: clr_abi::Str, what: &str) -> Map<String, Value> {
        // SAFETY: the caller's.
        let text = self.take(unsafe { raw::text(text, what) });
        if text.is_empty() {
            return Map::new();
        }
        self.take(serde_json::from_str(&text).map_err(|error| format!("{what} is not a JSON object: {error}")))
    }

    /// Names become columns, keys in specs and parts of file names.
    fn name(&mut self, what: &str, name: &str) {
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
        if name.is_empty() || !name.chars().all(is_word) {
            self.0.push(format!("{what}: {name:?} is not a name of letters, digits, `_` and `-`"));
        } else if name.len() > LONGEST_NAME {
            self.0.push(format!("{what}: a name of {} letters, more than {LONGEST_NAME}", name.len()));
        }
    }

    fn names<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = HashSet::new();
        for name in names {
            self.name(what, name);
            if !seen.insert(name) {
                self.0.push(format!("{what}: `{name}` is there twice"));
            }
        }
        if seen.is_empty() && !what.ends_with("hypers") {
            self.0.push(format!("{what}: there are none"));
        }
    }
}
