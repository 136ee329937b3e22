//! One cell of the grid to everything that its trials have in common but their seeds.

mod groups;
mod measured;
mod optimizer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use clr_schedule::Schedule;
use clr_schedule::ratio::Ratio;
use clr_spec::duration::{Duration, Period, Unit};
use clr_spec::foreign::{self, Place};
use clr_spec::{DatasetQuery, Diagnostic, LastBatch, Normalize, Order, Problems, Setting, Spec, Value};
use clr_terminal::suggest;
use clr_terminal::words::{Number, thousands};
use serde_json::{Map, Value as Json};

pub use groups::{GROUPS, models_with_groups};

use self::groups::Pattern;
use self::optimizer::Updates;
use super::cell::{Cell, validation_count};
use super::facts::{DatasetFacts, Facts, ModelFacts, ModelQuery, NoDataset, OptimizerFacts, PluginFacts};
use super::options::{self, Schema};
use super::range_tests::{self, LONGEST, Measurement, Taken};
use super::schedules::{self, Clock};
use super::seeding::Seeding;
use super::{DataPlan, Divergence, Shape, TrialOptimizer, identity, source_file, warnings};

/// The option of a model that says of how many batches an update is; in a spec, it is a key of `[train]`.
const ACCUMULATE: &str = "accumulate";

/// Longer trainings are typing mistakes, and below this bound no product of counts leaves 64 bits.
const MOST_ITERATIONS: u64 = 1_000_000_000_000;

/// Optimizers among which an equal one is looked for, of each cell: few, since neighbours differ in little.
const RECENT_OPTIMIZERS: usize = 16;

const PLUGIN_PLACES: &str = "plugins are looked for where `--plugin PATH` says, beside the executable, in `../lib/clr-run/plugins` from \
                             there, and in `CLR_PLUGIN_PATH`";

/// What to do where not one plugin was found, as after `cargo install`, which leaves libraries out.
pub const NO_PLUGINS: &str = "no plugin at all was found: `cargo install` installs the program alone; `cargo build --release` builds the \
                              plugins, and `--plugin target/release`, or a copy of `target/release/libclr_*` in one of these \
                              places, lets it find them";

/// Keys of `[train]` that sessions are made with.
pub(super) const SHAPING: [&str; 2] = ["train.precision", "train.accumulate"];

/// The properties that the trials of a cell share.
pub struct Body {
    pub group: Arc<GroupBody>,
    pub optimizer: Arc<TrialOptimizer>,
    pub optimizer_constants: Map<String, Json>,
    pub iterations: u64,
    pub eval_every: Period,
    pub divergence: Divergence,
    pub lr: Schedule,
    pub clock: Clock,
    /// False if bounds of the learning rate are still to be measured.
    pub is_measured: bool,
    /// All but the seeds; see [`identity`].
    pub canonical: Vec<u8>,
}

/// The properties that the trials of a group share.
pub struct GroupBody {
    pub shape: Arc<Shape>,
    pub model_options: Map<String, Json>,
    canonical: Vec<u8>,
}

impl GroupBody {
    /// The question whose answer is the names of parameters.
    pub fn query(&self) -> ModelQuery {
        let Shape { plugin, architecture, data, .. } = &*self.shape;
        let mut options = self.model_options.clone();
        for computing in ["precision", ACCUMULATE] {
            options.shift_remove(computing);
        }
        let (plugin, architecture) = (plugin.clone(), architecture.clone());
        let options = Json::Object(options).to_string();
        ModelQuery { plugin, architecture, options, dataset: data.dataset.clone(), input_size: data.input_size }
    }
}

/// An architecture and the plugin that has it.
#[derive(Clone, Copy)]
pub struct Offer<'f> {
    pub plugin: &'f PluginFacts,
    pub model: &'f ModelFacts,
}

/// The findings about the `[model]` and `[data]` of a cell; the group only if all of it is right.
#[derive(Clone, Default)]
pub struct Found<'f> {
    pub offer: Option<Offer<'f>>,
    pub group: Option<Arc<GroupBody>>,
}

/// Resolves cells, and keeps what many of them share.
pub struct Resolver<'f> {
    pub(super) spec: &'f Spec,
    pub(super) facts: &'f Facts,
    /// By canonical form and dataset.
    groups: HashMap<(Vec<u8>, DatasetQuery), Arc<GroupBody>>,
    /// Of the pair at hand, by its choices of `model` and `data`.
    recent: HashMap<Vec<usize>, Found<'f>>,
    texts: HashMap<String, Arc<str>>,
    /// Some that came lately, the last one first.
    optimizers: VecDeque<Arc<TrialOptimizer>>,
    /// Of groups of parameters.
    pub(super) patterns: Vec<Pattern>,
    /// Range tests that bounds were taken from.
    pub measurements: Vec<Measurement>,
    pub(super) test_seedings: Vec<Seeding>,
    /// Of the cell at hand.
    pub(super) taken: Option<Taken>,
}

impl<'f> Resolver<'f> {
    pub fn new(spec: &'f Spec, facts: &'f Facts) -> Resolver<'f> {
        Resolver {
            spec,
            facts,
            groups: HashMap::new(),
            recent: HashMap::new(),
            texts: HashMap::new(),
            optimizers: VecDeque::new(),
            patterns: Vec::new(),
            measurements: Vec::new(),
            test_seedings: range_tests::seedings(spec),
            taken: None,
        }
    }

    /// To be called before the cells of another pair are resolved.
    pub fn start_pair(&mut self) {
        self.recent.clear();
    }

    /// Everything about a cell, or `None` where something is wrong that is, or was, reported.
    pub fn body(&mut self, cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<Body> {
        let Found { offer, group } = self.group(cell, problems);
        let divergence = divergence(cell, problems);
        let epoch = group.as_ref().map(|group| group.shape.data.iterations_per_epoch());
        let training = training(cell, epoch, problems);
        let clock = epoch.zip(training).map(|(epoch, training)| Clock::new(epoch, training));
        let eval_every = epoch.and_then(|epoch| eval_every(cell, epoch, training, problems));
        let needs_test = cell.pair.policy.needs_range_test();
        let taken = if needs_test { self.measured(cell, problems) } else { None };
        self.taken = taken;
        let updates = self.updates(cell, offer, clock, problems);
        let groups = self.groups(cell, offer, group.as_deref(), problems);
        // Everything was judged by itself, so that all problems are reported.
        let (group, divergence, eval_every, clock) = (group?, divergence?, eval_every?, clock?);
        let (Updates { kind, mut constants, mut schedules }, groups) = (updates?, groups?);
        constants.extend(groups.json.map(|json| (GROUPS.to_owned(), json)));

        let mut canonical = group.canonical.clone();
        identity::text(&kind, &mut canonical);
        identity::options(&constants, &mut canonical);
        canonical.extend((schedules.len() as u64).to_le_bytes());
        for (name, schedule) in &schedules {
            identity::text(name, &mut canonical);
            let mut bytes = Vec::new();
            schedule.canonical(&mut bytes);
            canonical.extend((bytes.len() as u64).to_le_bytes());
            canonical.append(&mut bytes);
        }
        canonical.extend(clock.steps.to_le_bytes());
        identity::period(eval_every, &mut canonical);
        identity::divergence(divergence, &mut canonical);

        let mut json = Map::new();
        json.insert("optimizer".to_owned(), Json::from(&*kind));
        json.extend(constants.clone());
        let hypers_before_lr = schedules.iter().position(|(name, _)| **name == *"lr")?;
        let (_, lr) = schedules.remove(hypers_before_lr);
        let json = self.shared(&Json::Object(json).to_string());
        let optimizer = TrialOptimizer { kind, json, hypers: schedules, hypers_before_lr, groups: groups.asked.into() };
        Some(Body {
            group,
            optimizer: self.shared_optimizer(optimizer),
            optimizer_constants: constants,
            iterations: clock.steps,
            eval_every,
            divergence,
            lr,
            clock,
            is_measured: taken.is_none_or(|taken| taken.is_measured),
            canonical,
        })
    }

    /// Resolves a cell of another pair.
    pub(super) fn apart<T>(&mut self, resolve: impl FnOnce(&mut Self) -> T) -> T {
        let recent = std::mem::take(&mut self.recent);
        let resolved = resolve(self);
        self.recent = recent;
        resolved
    }

    /// Many cells have the same few texts.
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.texts.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(text.to_owned(), Arc::clone(&shared));
        shared
    }

    fn shared_optimizer(&mut self, optimizer: TrialOptimizer) -> Arc<TrialOptimizer> {
        let known = self.optimizers.iter().position(|known| **known == optimizer);
        let shared = known.and_then(|index| self.optimizers.remove(index)).unwrap_or_else(|| Arc::new(optimizer));
        self.optimizers.truncate(RECENT_OPTIMIZERS - 1);
        self.optimizers.push_front(Arc::clone(&shared));
        shared
    }

    /// The plugin, the architecture, their options and the data.
    pub fn group(&mut self, cell: &Cell<'_, '_>, problems: &mut Problems) -> Found<'f> {
        let choices =
            cell.choices_of(|path| path.starts_with("model.") || path.starts_with("data.") || SHAPING.contains(&path));
        if let Some(found) = self.recent.get(&choices) {
            return found.clone();
        }
        let data = self.data(cell, problems);
        let offer = self.offer(cell, problems);
        let options = offer.and_then(|offer| self.model_options(cell, offer, problems));
        let group = match (offer, options, data) {
            (Some(offer), Some(options), Some((data, stored_digest))) => {
                Some(self.shared_group(offer, options, data, stored_digest))
            }
            _ => None,
        };
        let found = Found { offer, group };
        self.recent.insert(choices, found.clone());
        found
    }

    /// One allocation for equal shapes: groups of trials are told apart by it.
    fn shared_group(
        &mut self,
        offer: Offer<'f>,
        model_options: Map<String, Json>,
        data: DataPlan,
        stored_digest: Option<&str>,
    ) -> Arc<GroupBody> {
        let Offer { plugin, model } = offer;
        let schema = Schema(&model.options_schema);
        let is_asked = |name: &str| !schema.property(name).is_some_and(source_file::is_program);
        let asked = model_options.iter().filter(|(name, _)| is_asked(name));
        let asked = asked.map(|(name, value)| (name.clone(), value.clone())).collect();
        let canonical = identity::shape(&plugin.name, &model.name, &asked, &data, stored_digest);
        let key = (canonical.clone(), data.dataset.clone());
        if let Some(group) = self.groups.get(&key) {
            return Arc::clone(group);
        }
        let shape = Shape {
            plugin: plugin.name.clone(),
            architecture: model.name.clone(),
            model_json: Json::Object(model_options.clone()).to_string(),
            data,
            hypers: model.hypers.clone(),
            metrics: model.metrics.clone(),
        };
        let group = GroupBody { shape: Arc::new(shape), model_options, canonical };
        let group = Arc::new(group);
        self.groups.insert(key, Arc::clone(&group));
        group
    }

    fn offer(&self, cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<Offer<'f>> {
        let name = cell.text("model.plugin")?;
        let place = || cell.place("model.plugin");
        let plugin = match self.facts.plugins.get(name) {
            Some(Ok(plugin)) => plugin,
            Some(Err(reason)) => {
                problems.push(
                    Diagnostic::new("spec::plugin", place(), format!("the plugin `{name}` could not be loaded"))
                        .text(reason.as_str()),
                );
                return None;
            }
            None => {
                let problem = Diagnostic::new("spec::plugin", place(), format!("there is no plugin `{name}`"));
                let names = &self.facts.plugin_names;
                problems.push(match names.is_empty() {
                    true => problem.help(PLUGIN_PLACES).help(NO_PLUGINS),
                    false => problem.help(suggest::help(name, names.iter().map(String::as_str))).help(PLUGIN_PLACES),
                });
                return None;
            }
        };
        let name = cell.text("model.architecture")?;
        let Some(model) = plugin.models.iter().find(|model| model.name == name) else {
            problems.push(
                Diagnostic::new(
                    "spec::architecture",
                    cell.place("model.architecture"),
                    format!("there is no architecture `{name}`"),
                )
                .text(format!("not in the plugin `{}`", plugin.name))
                .help(suggest::help(name, plugin.models.iter().map(|model| model.name.as_str()))),
            );
            return None;
        };
        Some(Offer { plugin, model })
    }

    fn model_options(
        &self,
        cell: &Cell<'_, '_>,
        Offer { plugin, model }: Offer<'f>,
        problems: &mut Problems,
    ) -> Option<Map<String, Json>> {
        let schema = Schema(&model.options_schema);
        let own = ["plugin", "architecture", "precision", ACCUMULATE];
        let mut given = HashMap::new();
        let mut good = true;
        for (position, setting) in cell.pair.settings.iter().enumerate() {
            let Some(name) = setting.path.strip_prefix("model.") else { continue };
            if own[..2].contains(&name) {
                continue;
            }
            let (name, below) = name.split_once('.').map_or((name, None), |(name, below)| (name, Some(below)));
            let property = schema.property(name).filter(|_| !own.contains(&name));
            match (property, below) {
                (Some(property), Some(below)) if property.get("type").is_some_and(|kind| kind == "object") => {
                    let inner = Schema(property).property(below).unwrap_or(&Json::Null);
                    match self.check_option(cell, position, below, inner, problems) {
                        Some(json) => put(given.entry(name).or_insert_with(|| Json::Object(Map::new())), below, json),
                        None => good = false,
                    }
                }
                (Some(_), Some(_)) => {
                    good = false;
                    let title = format!("`{name}` cannot be a table");
                    problems.push(
                        Diagnostic::new("spec::option", cell.place(&setting.path), title)
                            .text("one value, or a list of values, is expected"),
                    );
                }
                (Some(property), None) => {
                    let checked = self.check_option(cell, position, name, property, problems);
                    good &= checked.is_some();
                    // A wrong one is not missing as well.
                    given.insert(name, checked.unwrap_or_default());
                }
                (None, _) => {
                    good = false;
                    let names = schema.properties().map(|(name, _)| name).filter(|name| !own.contains(name));
                    let names = names.chain(own[..2].iter().copied());
                    let owner = format!("`{}` of the plugin `{}` has no option `{name}`", model.name, plugin.name);
                    if name == ACCUMULATE
                        && let Some(span) = &setting.key_span
                    {
                        let diagnostic =
                            Diagnostic::new("spec::option", span.clone(), "`accumulate` belongs to `[train]`");
                        problems.push(diagnostic.help("write `train.accumulate`"));
                        continue;
                    }
                    unknown_option(setting, name, &owner, names, problems);
                }
            }
        }
        let mut options = self
            .filled(schema, given, &BTreeMap::new(), &own, cell.place("model.architecture"), problems)
            .filter(|_| good)?;
        options.insert("precision".to_owned(), Json::from(cell.text("train.precision")?));
        let accumulate = cell.integer("train.accumulate")?;
        if accumulate == 1 {
            return Some(options);
        }
        if schema.property(ACCUMULATE).is_none() {
            problems.push(
                Diagnostic::new(
                    "spec::option",
                    cell.place("train.accumulate"),
                    format!("`{}` cannot accumulate gradients", model.name),
                )
                .also(cell.span("model.architecture"), format!("not offered by the plugin `{}`", plugin.name))
                .help("remove `accumulate`, and multiply `data.batch_size` by it instead: the update is of as many images"),
            );
            return None;
        }
        options.insert(ACCUMULATE.to_owned(), Json::from(accumulate));
        Some(options)
    }

    /// One option as JSON, or `None` after reporting what is wrong with it.
    pub(super) fn check_option(
        &self,
        cell: &Cell<'_, '_>,
        position: usize,
        name: &str,
        property: &Json,
        problems: &mut Problems,
    ) -> Option<Json> {
        let (value, span) = cell.at(position)?;
        let place = || span.clone().unwrap_or_else(|| cell.pair.policy.name.span.clone());
        let json = match options::check(property, value) {
            Ok(json) => json,
            Err(expected) => {
                let title = format!("`{name}` cannot be `{value}`");
                problems.push(Diagnostic::new("spec::option", place(), title).text(expected));
                return None;
            }
        };
        let Some(path) = json.as_str().filter(|_| source_file::is_named_by(property)) else { return Some(json) };
        match self.facts.files.get(path) {
            Some(Ok(text)) => Some(source_file::json(path, text)),
            found => {
                let reason = found.and_then(|found| found.as_ref().err());
                problems.push(
                    Diagnostic::new("spec::file", place(), format!("the file of `{name}` could not be read"))
                        .text(reason.map_or("it was not looked for", String::as_str))
                        .help("a path is relative to the spec"),
                );
                None
            }
        }
    }

    /// The given options and the defaults of the others, as published or the schema's, in the schema's order.
    pub(super) fn filled(
        &self,
        schema: Schema<'_>,
        mut given: HashMap<&str, Json>,
        published: &BTreeMap<String, f64>,
        own: &[&str],
        place: clr_spec::Span,
        problems: &mut Problems,
    ) -> Option<Map<String, Json>> {
        let mut options = Map::new();
        for (name, property) in schema.properties().filter(|(name, _)| !own.contains(name)) {
            let published = || options::check(property, &Value::Number(*published.get(name)?)).ok();
            match given.remove(name).or_else(published).or_else(|| options::default(property)) {
                Some(json) => drop(options.insert(name.to_owned(), json)),
                None if schema.requires(name) => {
                    // Of an incomplete spec, the option may be the part that could not be read.
                    if self.spec.complete {
                        problems.push(
                            Diagnostic::new("spec::missing", place, format!("the option `{name}` is missing"))
                                .text("this needs it"),
                        );
                    }
                    return None;
                }
                None => {}
            }
        }
        Some(options)
    }

    fn data(&self, cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<(DataPlan, Option<&'f str>)> {
        let keys = DatasetQuery::KEYS.map(|key| (key, cell.get(&format!("data.{key}"))));
        let query = keys.into_iter().fold(DatasetQuery::default(), |query, (key, value)| query.with(key, value));
        // A spec that could not be read may have none.
        if query.name.is_empty() {
            return None;
        }
        let dataset = &*query.name;
        let facts = self.dataset(&query, cell, problems)?;
        warnings::data(facts, cell, problems);
        let (batch_size, accumulate) =
            (cell.integer("data.batch_size")? as u64, cell.integer("train.accumulate")? as u64);
        let validation_count = validation_count(cell, facts.train_count)?;
        if validation_count >= facts.train_count {
            problems.push(
                Diagnostic::new(
                    "spec::range",
                    cell.place("data.validation"),
                    "the validation split leaves nothing to train on",
                )
                .text(format!("`{dataset}` has {} training images", thousands(facts.train_count.into())))
                .help("hold out fewer"),
            );
            return None;
        }
        let train_count = facts.train_count - validation_count;
        if batch_size * accumulate > train_count {
            let there_are = format!("there are {} training images", thousands(train_count.into()));
            problems.push(if batch_size > train_count {
                let place = cell.place("data.batch_size");
                Diagnostic::new("spec::range", place, "a batch is larger than the training set")
                    .text(there_are)
                    .help("use a smaller batch")
            } else {
                let place = cell.place("train.accumulate");
                Diagnostic::new("spec::range", place, "an update is larger than the training set")
                    .text(format!("{accumulate} batches of {batch_size}, and {there_are}"))
                    .help("accumulate fewer batches, or smaller ones")
            });
            return None;
        }
        let plan = DataPlan {
            dataset: query.clone(),
            digest: facts.digest.clone(),
            batch_size: batch_size as u32,
            accumulate: accumulate as u32,
            train_count,
            validation_count,
            test_count: test_count(cell, facts, problems)?,
            order: if cell.text("data.order")? == "stored" { Order::Stored } else { Order::Shuffled },
            last_batch: match cell.text("data.last_batch")? {
                "drop" => LastBatch::Drop,
                "keep" => LastBatch::Keep,
                _ => LastBatch::Wrap,
            },
            normalize: match cell.text("data.normalize")? {
                "none" => Normalize::None,
                "channel_mean" => Normalize::ChannelMean,
                "channel_standard" => Normalize::ChannelStandard,
                _ => Normalize::PixelMean,
            },
            scale: cell.number("data.scale")?,
            flip: cell.boolean("data.flip")?,
            pad: cell.integer("data.pad")? as u32,
            input_size: cell.integer("data.input_size")? as u32,
            min_area: cell.number("data.min_area")?,
            lighting: cell.number("data.lighting")?,
        };
        images(&plan, facts, cell, problems).then_some((plan, facts.stored_digest.as_deref()))
    }

    fn dataset(&self, query: &DatasetQuery, cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<&'f DatasetFacts> {
        let name = &*query.name;
        match self.facts.datasets.get(query) {
            Some(Ok(facts)) => return Some(facts),
            Some(Err(NoDataset::Unreadable(reason))) => problems.push(
                Diagnostic::new(
                    "spec::dataset",
                    cell.place("data.dataset"),
                    format!("the dataset `{name}` could not be read"),
                )
                .text(reason.as_str()),
            ),
            Some(Err(NoDataset::Absent(looked))) => {
                let known: Vec<&str> = self.facts.dataset_names.iter().map(String::as_str).collect();
                let title = format!("there is no dataset `{name}` on this machine");
                let mut problem =
                    Diagnostic::new("spec::dataset", cell.place("data.dataset"), title).text(looked.as_str());
                if let Some(meant) = suggest::nearest(name, &known).filter(|meant| *meant != name) {
                    problem = problem.help(format!("did you mean `{meant}`?"));
                }
                problems.push(problem);
            }
            None => problems.push(
                Diagnostic::new("spec::dataset", cell.place("data.dataset"), format!("there is no dataset `{name}`"))
                    .help(suggest::help(name, self.facts.dataset_names.iter().map(String::as_str))),
            ),
        }
        None
    }
}

impl<'f> Offer<'f> {
    /// The hyper-parameters that an optimizer reads, in the model's order.
    pub fn hypers_of(&self, optimizer: &OptimizerFacts) -> Vec<&'f str> {
        self.model.hypers.iter().filter(|name| optimizer.hypers.contains(name)).map(String::as_str).collect()
    }
}

/// Puts a value into nested objects.
fn put(object: &mut Json, path: &str, value: Json) {
    match path.split_once('.') {
        Some((name, below)) => put(&mut object[name], below, value),
        None => object[path] = value,
    }
}

fn unknown_option<'a>(
    setting: &Setting,
    name: &str,
    title: &str,
    names: impl Iterator<Item = &'a str>,
    problems: &mut Problems,
) {
    if let Some(span) = &setting.key_span {
        problems.push(Diagnostic::new("spec::option", span.clone(), title).help(foreign::help(
            name,
            Place::Section,
            names,
        )));
    }
}

/// How many test images are evaluated on: `Some(None)` for all, `None` after reporting that there are fewer.
fn test_count(cell: &Cell<'_, '_>, facts: &DatasetFacts, problems: &mut Problems) -> Option<Option<u64>> {
    let asked = cell.integer("data.test").map(|count| count as u64);
    match (asked, cell.span("data.test")) {
        (Some(count), _) if count < facts.test_count => Some(Some(count)),
        (Some(count), Some(span)) if count > facts.test_count => {
            let there_are = format!("there are {}", thousands(facts.test_count.into()));
            let problem = Diagnostic::new("spec::range", span.clone(), "the test set has fewer images");
            problems.push(problem.text(there_are).help("remove it, to evaluate on all"));
            None
        }
        _ => Some(None),
    }
}

/// Whether what is done to images suits these.
fn images(plan: &DataPlan, facts: &DatasetFacts, cell: &Cell<'_, '_>, problems: &mut Problems) -> bool {
    let (dataset, DataPlan { pad, input_size, min_area, lighting, .. }) = (&plan.dataset.name, plan);
    let DatasetFacts { height, width, channels, .. } = *facts;
    let mut fits = true;
    let mut problem = |key: &str, title: &str, text: String, help: &str| {
        fits = false;
        problems.push(Diagnostic::new("spec::range", cell.place(key), title).text(text).help(help));
    };
    if *input_size > height.min(width) + 2 * pad {
        let padded = if *pad > 0 { format!(", and {pad} of padding on each side") } else { String::new() };
        let text = format!("`{dataset}` has images of {height} x {width}{padded}");
        problem("data.input_size", "the model would see more than the images are", text, "take less, or larger images");
    }
    if *min_area > 0.0 && *pad > 0 {
        let text = format!("and `pad` is {pad}");
        problem("data.min_area", "areas of images are not padded", text, "leave out `pad`, or `min_area`");
    }
    if *lighting > 0.0 && channels != 3 {
        let text = format!("an image of `{dataset}` has {channels} channel{}", if channels == 1 { "" } else { "s" });
        problem("data.lighting", "lighting is for images in colour", text, "leave out `lighting`");
    }
    fits
}

/// The exact length of the training, in iterations.
fn training(cell: &Cell<'_, '_>, epoch: Option<Ratio>, problems: &mut Problems) -> Option<Ratio> {
    let duration = cell.duration("train.iterations")?;
    if duration.unit == Unit::Training {
        let place = cell.place("train.iterations");
        problems.push(
            Diagnostic::new("spec::range", place, "`iterations` cannot be a share of the training")
                .text("this is how long the training is")
                .help("write how many there are, or \"10 epochs\""),
        );
        return None;
    }
    let mut training = in_iterations(cell, "iterations", duration, epoch?, Ratio::ZERO, problems)?;
    if let Some(longest) = cell.duration(LONGEST) {
        training = training.min(longest.in_iterations(epoch?, training)?);
    }
    let text = if training < Ratio::from(1) {
        "this is less than one iteration".to_owned()
    } else if training > Ratio::from(MOST_ITERATIONS) {
        format!("expected at most {}", Number(MOST_ITERATIONS as f64))
    } else {
        return Some(training);
    };
    problems.push(
        Diagnostic::new("spec::range", cell.place("train.iterations"), "`iterations` is out of range").text(text),
    );
    None
}

fn eval_every(cell: &Cell<'_, '_>, epoch: Ratio, training: Option<Ratio>, problems: &mut Problems) -> Option<Period> {
    let duration = cell.duration("train.eval_every")?;
    // Of how long a training nobody knows, a share cannot be judged.
    let training = if duration.unit == Unit::Training { training? } else { Ratio::ZERO };
    let every = in_iterations(cell, "eval_every", duration, epoch, training, problems)?;
    // What is shorter than an iteration is one: a range test shorter than it has evaluations is evaluated after each.
    let is_written = cell.span("train.eval_every").is_some();
    if is_written && every > Ratio::ZERO && every < Ratio::from(1) {
        problems.push(
            Diagnostic::new("spec::range", cell.place("train.eval_every"), "`eval_every` is out of range")
                .text("this is less than one iteration"),
        );
        return None;
    }
    Some(Period::new(every.min(MOST_ITERATIONS.into())))
}

/// A duration of `[train]`.
fn in_iterations(
    cell: &Cell<'_, '_>,
    name: &str,
    duration: Duration,
    epoch: Ratio,
    training: Ratio,
    problems: &mut Problems,
) -> Option<Ratio> {
    let iterations = duration.in_iterations(epoch, training);
    if iterations.is_none() {
        problems.push(schedules::too_fine(name, cell.place(&format!("train.{name}"))));
    }
    iterations
}

fn divergence(cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<Divergence> {
    let stop = cell.boolean("train.stop_on_divergence")?;
    let loss_above = cell.number("train.max_loss");
    if let (false, Some(_)) = (stop, loss_above) {
        problems.push(
            Diagnostic::new("spec::unused", cell.place("train.max_loss"), "`max_loss` has no effect here")
                .text("nothing is stopped")
                .also(cell.span("train.stop_on_divergence"), "because of this")
                .help("remove one of the two"),
        );
        return None;
    }
    Some(Divergence { non_finite: stop, loss_above })
}
