//! Gathering: finds and opens what a spec names, once and before planning, so that planning does no I/O.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clr_dataset::{Dataset, DatasetError};
use clr_host::{HostError, Lane, ParameterInfo, PluginInfo, SearchPath, SessionConfig, SplitData};
use clr_plan::{
    ClassCounts, DatasetFacts, Facts, ModelFacts, ModelQuery, NoDataset, OptimizerFacts, ParameterFacts, PluginFacts,
};
use clr_spec::{DatasetQuery, Spec, table};
use clr_system::regular;
use clr_worker::{Isolation, Known};

/// The places to search for plugins and datasets.
#[derive(Clone, Debug)]
pub struct Search {
    pub plugins: SearchPath,
    /// Folders that hold datasets.
    pub data: Vec<PathBuf>,
    /// The folder of decoded datasets; with none, they are decoded each time.
    pub cache: Option<PathBuf>,
}

/// How much of a dataset a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All: the plan then knows their digests, and its trials can run.
    Open,
    /// Its sizes: those of well-known ones are built in, and only others are opened.
    Sizes,
    /// Nothing: its sizes are taken where they can be had.
    Nothing,
}

/// The findings, in the form that planning takes and in the form that training takes.
#[derive(Default)]
pub struct Gathered {
    /// The input of [`clr_plan::plan`].
    pub facts: Facts,
    /// By the name in the spec.
    pub plugins: BTreeMap<String, Known>,
    /// As the spec asks for them.
    pub datasets: BTreeMap<DatasetQuery, Dataset>,
    /// Notes for people: damage that was found and mended.
    pub notes: Vec<String>,
}

/// Looks for every plugin, dataset and table that `spec` names. What is missing or broken becomes a fact too, which the
/// plan reports at the place in the spec that asks for it, and so does a plugin that does not survive being asked what it
/// is: `isolation` says where that is done. Tables are read relative to `folder`, the spec's, and so are datasets that are
/// paths.
pub fn gather(spec: &Spec, folder: &Path, search: &Search, isolation: &Isolation, data: Data) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.facts.plugin_names = search.plugins.list().into_iter().map(|found| found.name).collect();
    gathered.facts.dataset_names = clr_dataset::well_known().iter().map(|known| known.name.to_owned()).collect();
    for name in spec.plugins() {
        match Known::find(&search.plugins, &name, isolation, spec.limits) {
            Ok(plugin) => {
                let info = plugin.info();
                tracing::info!(plugin = name, version = info.version, path = %info.path.display(), digest = info.digest, "plugin found");
                gathered.facts.plugins.insert(name.clone(), Ok(plugin_facts(info)));
                gathered.plugins.insert(name, plugin);
            }
            // Absent from the facts, so that the plan can say "did you mean".
            Err(HostError::NotFound { .. }) => {}
            Err(error) => {
                gathered.facts.plugins.insert(name, Err(error.to_string()));
            }
        }
    }
    for query in spec.datasets() {
        let name = &query.name;
        let facts = match (data, clr_dataset::info(name)) {
            (Data::Sizes | Data::Nothing, Some(known)) if query.is_as_it_is() => {
                if let Err(DatasetError::NotFound { hint, .. }) = clr_dataset::search::find(name, &search.data) {
                    let taken = format!("`{name}` is not on this machine: its published sizes were taken; {hint}");
                    gathered.notes.push(taken);
                }
                Ok(known_facts(known))
            }
            _ => match open(&query, folder, search) {
                Ok(dataset) => {
                    tracing::info!(dataset = name, source = dataset.source, digest = dataset.digest, "dataset opened");
                    let facts = dataset_facts(&dataset);
                    gathered.notes.extend(dataset.notes.iter().cloned());
                    gathered.datasets.insert(query.clone(), dataset);
                    Ok(facts)
                }
                Err(error @ DatasetError::NotFound { .. }) => Err(NoDataset::Absent(error.to_string())),
                Err(error) => Err(NoDataset::Unreadable(error.to_string())),
            },
        };
        gathered.facts.datasets.insert(query, facts);
    }
    for path in gathered.facts.file_options().iter().flat_map(|option| spec.option_texts(option)) {
        let file = folder.join(&path);
        tracing::info!(file = %file.display(), "file of an option read");
        let text = regular::read_text(&file, LARGEST_FILE).map_err(|error| format!("{}: {error}", file.display()));
        gathered.facts.files.insert(path, text);
    }
    let mut files: BTreeMap<&str, Result<String, String>> = BTreeMap::new();
    let tables = spec.tables();
    for wanted in &tables {
        let path = folder.join(&wanted.file);
        let text = files.entry(&wanted.file).or_insert_with(|| {
            tracing::info!(table = %path.display(), "table read");
            regular::read_text(&path, LARGEST_TABLE).map_err(|error| format!("{}: {error}", path.display()))
        });
        let values = text.as_deref().map_err(String::clone).and_then(|text| {
            table::parse(text, &wanted.hyper, wanted.column.as_deref())
                .map_err(|error| format!("{}: {error}", path.display()))
        });
        gathered.facts.tables.insert(wanted.clone(), values);
    }
    let facts = if data == Data::Open { gathered.facts.clone() } else { gathered.facts.assuming_enough() };
    for query in clr_plan::models_with_groups(spec, &facts) {
        let parameters = match gathered.facts.datasets.get(&query.dataset) {
            Some(Ok(dataset)) => parameters(&query, dataset, &gathered).map_err(|error| error.to_string()),
            // Sizes that suit the architecture are there, or nothing is known.
            _ => Ok(clr_plan::ASSUMED
                .iter()
                .find_map(|dataset| parameters(&query, dataset, &gathered).ok())
                .unwrap_or_default()),
        };
        gathered.facts.parameters.insert(query, parameters);
    }
    gathered
}

fn open(query: &DatasetQuery, folder: &Path, search: &Search) -> Result<Dataset, DatasetError> {
    let places = clr_dataset::Places { folder, roots: &search.data, cache: search.cache.as_deref() };
    clr_dataset::open_query(query, places, clr_dataset::Check::All)
}

/// A plugin's answer about a model's parameters. It needs no pixel for that, and no device.
fn parameters(
    query: &ModelQuery,
    dataset: &DatasetFacts,
    gathered: &Gathered,
) -> Result<Arc<[ParameterFacts]>, HostError> {
    // A model is asked for only where its plugin is there.
    let Some(plugin) = gathered.plugins.get(&query.plugin) else { return Ok([].into()) };
    let count = |count| SplitData { count, ..SplitData::default() };
    let data = clr_host::Data {
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        splits: [count(dataset.train_count), count(0), count(dataset.test_count)],
        transform: clr_host::Transform {
            crop: (query.input_size > 0).then_some([query.input_size; 2]),
            ..clr_host::Transform::default()
        },
        loader: None,
    };
    let optimizer = plugin.info().optimizers.first().map_or("", |optimizer| &optimizer.name);
    let config = SessionConfig {
        device: "cpu".to_owned(),
        model: query.architecture.clone(),
        model_json: query.options.clone(),
        dataset: Arc::new(data),
        batch_size: 1,
        thread_count: 1,
        lanes: vec![Lane {
            options_json: serde_json::json!({ "optimizer": optimizer }).to_string().into(),
            init_seed: 0,
            data_seed: 0,
        }],
    };
    let found = plugin.parameters(&[config])?.into_iter().flatten();
    let facts = |ParameterInfo { name, value_count, lr_mult, decay_mult }| ParameterFacts {
        name,
        value_count,
        lr_mult,
        decay_mult,
    };
    Ok(found.map(facts).collect())
}

pub fn plugin_facts(info: &PluginInfo) -> PluginFacts {
    let models = info.models.iter().map(|model| ModelFacts {
        name: model.name.clone(),
        options_schema: model.options_schema.clone().into(),
        defaults: model.defaults.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
        hypers: model.hypers.clone(),
        metrics: model.metrics.clone(),
    });
    let optimizers = info.optimizers.iter().map(|optimizer| OptimizerFacts {
        name: optimizer.name.clone(),
        options_schema: optimizer.options_schema.clone().into(),
        hypers: optimizer.hypers.clone(),
    });
    PluginFacts {
        name: info.name.clone(),
        version: info.version.clone(),
        numerics_revision: info.numerics_revision,
        models: models.collect(),
        optimizers: optimizers.collect(),
    }
}

fn known_facts(known: &clr_dataset::WellKnown) -> DatasetFacts {
    DatasetFacts {
        height: known.height,
        width: known.width,
        channels: known.channels,
        class_count: known.class_count,
        train_count: known.train_count,
        test_count: known.test_count,
        class_counts: None,
        digest: known.digest.map(str::to_owned),
        stored_digest: None,
    }
}

fn dataset_facts(dataset: &Dataset) -> DatasetFacts {
    DatasetFacts {
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        train_count: dataset.train.count() as u64,
        test_count: dataset.test.count() as u64,
        class_counts: Some(ClassCounts {
            train: dataset.train.class_counts(dataset.class_count),
            test: dataset.test.class_counts(dataset.class_count),
        }),
        digest: Some(dataset.digest.clone()),
        stored_digest: Some(dataset.train.stored_digest()),
    }
}

/// Of source code, as options name it, this is a great deal.
const LARGEST_FILE: u64 = 1 << 22;

/// More than a value for each of ten million iterations, or a few million rows of columns.
pub(crate) const LARGEST_TABLE: u64 = 1 << 28;
