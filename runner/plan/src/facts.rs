//! What a plan needs to know of the world, gathered before so that planning does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clr_spec::table::Values;
use clr_spec::{DatasetQuery, TableColumn};

use super::options::Schema;
use super::{Bounds, TrialId};

/// Facts about everything that a spec names; see [`clr_spec::Spec::plugins`], `datasets` and `tables`.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By name as in the spec; the error says why it could not be loaded. A plugin that was not found is absent.
    pub plugins: BTreeMap<String, Result<PluginFacts, String>>,
    /// Names of all plugins that were found, for "did you mean".
    pub plugin_names: Vec<String>,
    /// By name as in the spec.
    pub datasets: BTreeMap<DatasetQuery, Result<DatasetFacts, NoDataset>>,
    /// Names of all datasets that are known, for "did you mean".
    pub dataset_names: Vec<String>,
    /// Values of `table` schedules; the error says why they could not be read.
    pub tables: BTreeMap<TableColumn, Result<Values, String>>,
    /// Texts of the files that options name, by the path as it is written; the error says why one could not be read.
    pub files: BTreeMap<String, Result<String, String>>,
    /// Parameters of the models that [`super::models_with_groups`] names; the error says why they could not be listed. Of
    /// a model that has none, nothing is known.
    pub parameters: BTreeMap<ModelQuery, Result<Arc<[ParameterFacts]>, String>>,
    /// What range tests show, by the ids of their trials, each of which stands for its test; the error says why there are no
    /// bounds. One that is absent is still to be made.
    pub range_tests: BTreeMap<TrialId, Result<Bounds, String>>,
}

impl Facts {
    /// Paths of the options that name files, such as `model.file`, of all plugins.
    pub fn file_options(&self) -> BTreeSet<String> {
        let plugins = || self.plugins.values().flatten();
        let models = plugins().flat_map(|plugin| &plugin.models).map(|model| ("model", &model.options_schema));
        let optimizers =
            plugins().flat_map(|plugin| &plugin.optimizers).map(|optimizer| ("optimizer", &optimizer.options_schema));
        let options = models
            .chain(optimizers)
            .flat_map(|(section, schema)| Schema(schema).files().map(move |name| format!("{section}.{name}")));
        options.collect()
    }
}

/// Why nothing is known of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDataset {
    /// It is not on this machine; the text says where it was looked for.
    Absent(String),
    /// It is there and could not be read, for this reason.
    Unreadable(String),
}

/// A model, as far as its parameters depend on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelQuery {
    pub plugin: String,
    /// One of its models.
    pub architecture: String,
    /// JSON for the plugin: `[model]` options alone, with defaults filled in.
    pub options: String,
    /// The dataset as the spec asks for it: images and classes have a say in how large a network is.
    pub dataset: DatasetQuery,
    /// Height and width of what it sees; 0: those of the dataset's images.
    pub input_size: u32,
}

/// A parameter of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterFacts {
    /// Its name, such as `conv1.weight`.
    pub name: String,
    /// How many values it has.
    pub value_count: u64,
    /// The architecture's factor of its learning rate.
    pub lr_mult: f32,
    /// And its weight decay.
    pub decay_mult: f32,
}

/// A plugin's description of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginFacts {
    /// As in the spec.
    pub name: String,
    /// The plugin's own version, for people.
    pub version: String,
    /// Raised by any change that changes bits.
    pub numerics_revision: u32,
    /// The architectures that it offers.
    pub models: Vec<ModelFacts>,
    /// The optimizers that it offers.
    pub optimizers: Vec<OptimizerFacts>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// Its name, such as `cifar10_full`.
    pub name: String,
    /// JSON Schema of the `[model]` options.
    pub options_schema: serde_json::Value,
    /// Hyper-parameters that the architecture was published with, such as its weight decay.
    pub defaults: BTreeMap<String, f64>,
    /// Names of the hyper-parameter columns, all of them.
    pub hypers: Vec<String>,
    /// Names of the metric columns.
    pub metrics: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerFacts {
    /// Its name, such as `nesterov`.
    pub name: String,
    /// JSON Schema of its constants; may also give defaults and ranges of its hyper-parameters.
    pub options_schema: serde_json::Value,
    /// The hyper-parameters that it reads.
    pub hypers: Vec<String>,
}

/// The facts about a dataset. The sizes of well-known datasets are built in, so that `check` needs no data.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetFacts {
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// Bytes of a pixel.
    pub channels: u32,
    /// Labels are below this.
    pub class_count: u32,
    /// Training images, before a validation split is taken off.
    pub train_count: u64,
    /// Images of the test set.
    pub test_count: u64,
    /// Images of each class; `None` until the data was read.
    pub class_counts: Option<ClassCounts>,
    /// Over the canonical order; `None` until the data was read.
    pub digest: Option<String>,
    /// Over the order of the files, which decides the batches where `order = "stored"`; `None` until the data was read.
    pub stored_digest: Option<String>,
}

/// How many images each class has, by its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts {
    /// In the training set, before a validation split is taken off.
    pub train: Vec<u64>,
    /// In the test set.
    pub test: Vec<u64>,
}
