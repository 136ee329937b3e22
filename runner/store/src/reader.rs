//! What an output holds, for a reader: its trials, how far each got, its evaluations, and its rows as a stream. No lock is taken
//! and nothing is written; a run may be going on, and files may be missing or damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{DataType, Field};
use clr_event::Evaluation;
use clr_host::Split;
use clr_plan::names::SEEDS;
use clr_plan::{Axis, AxisValue, TrialId};
use clr_schedule::ratio::Ratio;
use clr_system::regular::{self, LARGEST_RECORD};
use clr_terminal::words;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::StoreError;
use super::kept::load;
use super::looks::look_again;
use super::manifest::{self, Manifest, RunRecord, Segment};
use super::plan_file::{self, PlanFile, PlannedAxis, PlannedSchedules, PlannedTrial};
use super::result::{Numbers, Status};
use super::schema::{Table, text_type};
use super::source::Sources;

/// What an output holds.
#[derive(Clone, Debug)]
pub struct Output {
    pub folder: PathBuf,
    pub axes: Vec<Axis>,
    /// Every trial of the plan, in its order.
    pub trials: Vec<OutputTrial>,
    /// The files that could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
}

/// A trial of an output.
#[derive(Clone, Debug)]
pub struct OutputTrial {
    pub id: TrialId,
    pub label: String,
    /// One for each axis of the output.
    pub axes: Vec<Option<AxisValue>>,
    pub init_seed: u64,
    pub data_seed: u64,
    pub plugin: String,
    /// True if it has a validation split.
    pub is_validated: bool,
    /// The number of updates that were planned.
    pub iterations: u64,
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// Wall time of all attempts.
    pub seconds: Option<f64>,
    pub attempts: u32,
    pub started: Option<Timestamp>,
    /// Of one that is not over: the updates behind what it goes on from, whose rows are stored.
    pub saved: u64,
    /// As of [`super::TrialResult`].
    pub numerics: Option<String>,
    /// As of [`super::TrialResult`].
    pub build: Option<String>,
    pub numbers: Numbers,
    /// All that are stored; none where they could not be read.
    pub evaluations: Option<Vec<Evaluation>>,
}

/// Reads the output `folder`. Where a file of evaluations cannot be read, the rest still is.
///
/// # Errors
///
/// Where there is no output, or its plan or manifest cannot be read.
pub fn read(folder: &Path) -> Result<Output, StoreError> {
    let look = || Ok(Reader { manifest: load(folder)?, plan: plan(folder)?, ..Reader::of(folder) }.output());
    Ok(look_again(folder, look, |output: &Output| output.unreadable.is_empty())?.found)
}

/// An output at one moment: its plan and its manifest, by which all else is found.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    manifest: Manifest,
    plan: PlanFile,
    /// What could not be read of the two, in sentences.
    notes: Vec<String>,
}

impl Reader {
    fn of(folder: &Path) -> Reader {
        let (folder, plan) = (folder.to_owned(), PlanFile::default());
        Reader { folder, manifest: Manifest::new(""), plan, notes: Vec::new() }
    }

    /// The output `folder`, whatever state it is in: without its plan, the trials are those that the manifest knows; without its
    /// manifest, those of the plan, of which nothing more is known.
    ///
    /// # Errors
    ///
    /// Where it has neither.
    pub fn lenient(folder: &Path) -> Result<Reader, StoreError> {
        let mut reader = Reader::of(folder);
        let planned = plan(folder);
        match (Manifest::load(folder), &planned) {
            (Ok(Some(manifest)), _) => reader.manifest = manifest,
            (Ok(None), Err(_)) => return Err(StoreError::NoOutput { folder: folder.to_owned() }),
            (Err(error), Err(_)) => return Err(error),
            (Ok(None), Ok(_)) => reader.notes.push(format!(
                "{} is missing, so no row counts and nothing is known of what the trials came to",
                folder.join(manifest::NAME).display()
            )),
            (Err(error), Ok(_)) => reader.notes.push(format!(
                "{}; so no row counts and nothing is known of what the trials came to",
                words::chain(&error)
            )),
        }
        match planned {
            Ok(plan) => reader.plan = plan,
            Err(error) => {
                reader.notes.push(format!(
                    "{}; so only trials that began are known, and of their settings what their labels say",
                    words::chain(&error)
                ));
                reader.plan = plan_of_labels(&reader.manifest);
            }
        }
        Ok(reader)
    }

    /// What could not be read of the plan and the manifest.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The name of the experiment.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Every command that wrote here, oldest first.
    pub fn runs(&self) -> &[RunRecord] {
        &self.manifest.runs
    }

    /// The trials and their evaluations.
    pub fn output(&self) -> Output {
        let Reader { folder, manifest, plan, .. } = self;
        let axes: Vec<Axis> = plan.axes.iter().map(PlannedAxis::axis).collect();
        let mut sources = Sources::new(folder, manifest);
        let mut unreadable: BTreeMap<String, String> = BTreeMap::new();
        let mut trials = Vec::with_capacity(plan.trials.len());
        for (index, planned) in plan.trials.iter().enumerate() {
            let stored = segments(manifest, planned.id, Table::Evals);
            let (evaluations, is_whole) = evaluations_of(index, stored, &mut sources, &mut unreadable);
            let record = manifest.trials.get(&planned.id);
            let shape = planned.group.and_then(|group| plan.groups.get(group)).map(|group| &group.shape);
            trials.push(OutputTrial {
                id: planned.id,
                axes: axes.iter().map(|axis| planned.value(axis)).collect(),
                label: planned.label.clone(),
                init_seed: planned.init_seed,
                data_seed: planned.data_seed,
                plugin: shape.map(|shape| shape.plugin.clone()).unwrap_or_default(),
                is_validated: shape.is_some_and(|shape| shape.data.validation_count > 0),
                iterations: planned.iterations,
                status: record.map_or(Status::Unfinished, |record| record.status),
                error: record.and_then(|record| record.error.as_deref()).map(str::to_owned),
                seconds: record.and_then(|record| record.seconds),
                attempts: record.map_or(0, |record| record.attempts),
                started: record.and_then(|record| record.started),
                saved: manifest.unfinished.get(&planned.id).map_or(0, |record| record.step),
                numerics: record.and_then(|record| record.numerics.as_deref()).map(str::to_owned),
                build: record.and_then(|record| record.build.as_deref()).map(str::to_owned),
                numbers: record.map(|record| record.numbers).unwrap_or_default(),
                evaluations: is_whole.then_some(evaluations),
            });
        }
        Output { folder: folder.clone(), axes, trials, unreadable }
    }

    /// Hands on the rows of metrics of the trials that are wanted, in the plan's order and of each in order of its iterations.
    /// Returns the files that could not be read, and why: rows of a trial end before the first that cannot be read.
    pub fn metrics(
        &self,
        is_wanted: impl Fn(usize) -> bool,
        mut take: impl FnMut(usize, &Rows<'_>),
    ) -> BTreeMap<String, String> {
        let mut unreadable = BTreeMap::new();
        let mut sources = Sources::new(&self.folder, &self.manifest);
        let mut fields: BTreeMap<&str, Vec<Field>> = BTreeMap::new();
        for (index, planned) in self.plan.trials.iter().enumerate().filter(|&(index, _)| is_wanted(index)) {
            for segment in segments(&self.manifest, planned.id, Table::Metrics) {
                let file = &*segment.0;
                if unreadable.contains_key(file) {
                    break;
                }
                let read = match fields.get(file) {
                    Some(fields) => Ok(fields.clone()),
                    None => sources.values(file).inspect(|known| drop(fields.insert(file, known.clone()))),
                };
                let read = read.and_then(|fields| {
                    sources.read(segment, &fields, |columns| {
                        take(index, &Rows { fields: &fields, columns });
                        Ok(())
                    })
                });
                if let Err(error) = read {
                    unreadable.insert(file.to_owned(), words::chain(&error));
                    break;
                }
            }
        }
        unreadable
    }
}

/// Rows of metrics of one trial, one after another.
pub struct Rows<'r> {
    fields: &'r [Field],
    columns: &'r [ArrayRef],
}

/// A column of rows of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowColumn<'r> {
    /// A scheduled hyper-parameter.
    Hyper(&'r str),
    /// What the model measured.
    Metric(&'r str),
}

impl<'r> Rows<'r> {
    /// The columns besides `iteration` and `epoch`, each with its number.
    pub fn columns(&self) -> impl Iterator<Item = (usize, RowColumn<'r>)> {
        let of = |(number, field): (usize, &'r Field)| match field.data_type() {
            DataType::Float64 if field.name() != "epoch" => Some((number, RowColumn::Hyper(field.name()))),
            DataType::Float32 => Some((number, RowColumn::Metric(field.name()))),
            _ => None,
        };
        self.fields.iter().enumerate().filter_map(of)
    }

    /// Hands on a column: each iteration, and the value, which is not a number where it was not finite or there is none.
    pub fn each(&self, column: usize, mut take: impl FnMut(u64, f64)) {
        let iterations = self.columns.first().and_then(|it| it.as_primitive_opt::<Int64Type>());
        let (Some(iterations), Some(column)) = (iterations, self.columns.get(column)) else { return };
        let iterations = iterations.values().iter().map(|&iteration| u64::try_from(iteration).unwrap_or_default());
        if let Some(column) = column.as_primitive_opt::<Float32Type>() {
            let values = column.iter().map(|value| value.map_or(f64::NAN, f64::from));
            iterations.zip(values).for_each(|(iteration, value)| take(iteration, value));
        } else if let Some(column) = column.as_primitive_opt::<Float64Type>() {
            let values = column.iter().map(|value| value.unwrap_or(f64::NAN));
            iterations.zip(values).for_each(|(iteration, value)| take(iteration, value));
        }
    }
}

/// What the trials of a manifest are called, for want of a plan: their labels without the seeds are one axis.
fn plan_of_labels(manifest: &Manifest) -> PlanFile {
    let axis = |name: &str, kind: &str| PlannedAxis { name: name.to_owned(), kind: kind.to_owned() };
    let mut trials: Vec<PlannedTrial> = Vec::with_capacity(manifest.trials.len());
    for (&id, record) in &manifest.trials {
        let label = record.label_or(id);
        let is_seed =
            |word: &&str| SEEDS.iter().any(|seed| word.split_once('=').is_some_and(|(name, _)| name == *seed));
        let (seeds, words): (Vec<&str>, Vec<&str>) = label.split(' ').partition(is_seed);
        let seed = |name: &str| {
            let given = seeds.iter().filter_map(|word| word.split_once('='));
            given.filter(|(key, _)| *key == name || *key == "seed").find_map(|(_, value)| value.parse().ok())
        };
        let (init_seed, data_seed): (Option<u64>, Option<u64>) = (seed("init_seed"), seed("data_seed"));
        let mut axes = Map::new();
        axes.insert("label".to_owned(), Json::from(words.join(" ")));
        axes.insert("seed".to_owned(), seed("seed").map_or(Json::Null, Json::from));
        trials.push(PlannedTrial {
            id,
            label,
            group: None,
            init_seed: init_seed.unwrap_or_default(),
            data_seed: data_seed.unwrap_or_default(),
            iterations: record.numbers.rows,
            eval_every: Ratio::ZERO,
            axes,
            schedules: PlannedSchedules::default(),
        });
    }
    trials.sort_by(|a, b| (&a.label, a.id).cmp(&(&b.label, b.id)));
    PlanFile { axes: vec![axis("label", "text"), axis("seed", "integer")], trials, ..PlanFile::default() }
}

/// A trial's evaluations as far as they can be read, and true if that is all of them. A file that cannot be read is tried once,
/// and goes to `unreadable` with the reason.
pub(super) fn evaluations_of<'a>(
    index: usize,
    segments: &'a [Segment],
    sources: &mut Sources<'a>,
    unreadable: &mut BTreeMap<String, String>,
) -> (Vec<Evaluation>, bool) {
    let (mut evaluations, mut is_whole) = (Vec::new(), true);
    for segment in segments {
        let of_segment = match unreadable.contains_key(&*segment.0) {
            true => None,
            false => read_evaluations(index, std::slice::from_ref(segment), sources)
                .map_err(|error| unreadable.insert(segment.0.to_string(), words::chain(&error)))
                .ok(),
        };
        match of_segment {
            Some(more) => evaluations.extend(more),
            None => is_whole = false,
        }
    }
    (evaluations, is_whole)
}

/// The plan of the output `folder`.
pub(super) fn plan(folder: &Path) -> Result<PlanFile, StoreError> {
    PlanFile::read(folder).map_err(|source| unreadable_plan(folder, source))
}

fn unreadable_plan(folder: &Path, source: io::Error) -> StoreError {
    let path = folder.join(plan_file::NAME);
    match source.kind() {
        io::ErrorKind::InvalidData => StoreError::Corrupt { path, what: source.to_string() },
        _ => StoreError::io("read", &path, source),
    }
}

/// What was set for a trial, by key: all that decides its numbers but its seeds. `model.KEY`, `optimizer.KEY`, and of the
/// data and the training the keys themselves; `schedule.KEY` is a whole schedule.
pub type Settings = BTreeMap<String, String>;

/// The settings of every trial of the output `folder`, in the order of its plan: what tells trials of several outputs apart
/// that no axis of one of them does.
///
/// # Errors
///
/// Where the plan cannot be read.
pub fn settings(folder: &Path) -> Result<Vec<Settings>, StoreError> {
    let invalid = |error| unreadable_plan(folder, io::Error::new(io::ErrorKind::InvalidData, error));
    let bytes = regular::read(&folder.join(plan_file::NAME), LARGEST_RECORD);
    let bytes = bytes.map_err(|source| unreadable_plan(folder, source))?;
    let SettingsFile { trials, groups } = serde_json::from_slice(&bytes).map_err(invalid)?;
    let of = |TrialSettings { group, mut settings }: TrialSettings| {
        let shape = group.and_then(|group| groups.get(group)).map_or(&Json::Null, |group| &group["shape"]);
        add(&mut settings, "", &shape["data"]);
        add(&mut settings, "model.", &shape["options"]);
        settings.extend(["plugin", "architecture"].map(|key| (key.to_owned(), plain(&shape[key]))));
        settings
    };
    Ok(trials.into_iter().map(of).collect())
}

/// `plan.json` as settings are read from it.
#[derive(Deserialize)]
struct SettingsFile {
    #[serde(default)]
    trials: Vec<TrialSettings>,
    #[serde(default)]
    groups: Vec<Json>,
}

/// Those of a trial that its group does not say.
#[derive(Deserialize)]
#[serde(from = "WrittenTrial")]
struct TrialSettings {
    group: Option<usize>,
    settings: Settings,
}

/// A trial as it is written, of which only text is kept: a tree of values of ten thousand trials takes 200 MB.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenTrial {
    group: Option<usize>,
    optimizer: Json,
    schedules: Json,
    iterations: Json,
    parameter_groups: Json,
}

impl From<WrittenTrial> for TrialSettings {
    fn from(trial: WrittenTrial) -> TrialSettings {
        let WrittenTrial { group, optimizer, schedules, iterations, parameter_groups } = trial;
        let own = [("iterations", iterations), ("parameter_groups", parameter_groups)];
        let mut settings: Settings = own.into_iter().map(|(key, value)| (key.to_owned(), plain(&value))).collect();
        add(&mut settings, "optimizer.", &optimizer);
        add(&mut settings, "schedule.", &schedules);
        TrialSettings { group, settings }
    }
}

fn add(settings: &mut Settings, prefix: &str, fields: &Json) {
    let fields = fields.as_object().into_iter().flatten();
    settings.extend(fields.map(|(key, value)| (format!("{prefix}{key}"), plain(value))));
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The rows of a trial: those that it ended with, or those up to what it goes on from.
pub(super) fn segments(manifest: &Manifest, id: TrialId, table: Table) -> &[Segment] {
    let known = manifest.trials.get(&id).filter(|record| record.status != Status::Unfinished);
    let saved = || manifest.unfinished.get(&id).map(|record| record.segments(table));
    known.map(|record| record.segments(table)).or_else(saved).unwrap_or_default()
}

/// The evaluations of trial number `trial`.
pub(super) fn read_evaluations<'a>(
    trial: usize,
    segments: &'a [Segment],
    sources: &mut Sources<'a>,
) -> Result<Vec<Evaluation>, StoreError> {
    let single = |name: &str| Field::new(name, DataType::Float32, true);
    let fields = [
        Field::new("iteration", DataType::Int64, false),
        Field::new("split", text_type(), true),
        single("loss"),
        single("accuracy"),
    ];
    let mut evaluations = Vec::new();
    for segment in segments {
        let corrupt = |what: &str| StoreError::Corrupt { path: (&*segment.0).into(), what: what.to_owned() };
        sources.read(segment, &fields, |columns| {
            // Sources has checked the types.
            let iterations = columns[0].as_primitive::<Int64Type>();
            let splits = columns[1].as_dictionary::<Int32Type>();
            let Some(splits) = splits.downcast_dict::<StringArray>() else {
                return Err(corrupt("`split` is not text"));
            };
            for (row, (&iteration, split)) in iterations.values().iter().zip(splits).enumerate() {
                let iteration = u64::try_from(iteration).map_err(|_| corrupt("a negative iteration"))?;
                let split = split.and_then(Split::named).ok_or_else(|| corrupt("an unknown split"))?;
                let value = |column: usize| single_at(columns[column].as_ref(), row);
                evaluations.push(Evaluation { trial, iteration, split, loss: value(2), accuracy: value(3) });
            }
            Ok(())
        })?;
    }
    Ok(evaluations)
}

/// A value of a column of f32. What was not finite is null in the tables; which of those it was decides no number.
pub(super) fn single_at(column: &dyn Array, row: usize) -> f32 {
    if column.is_null(row) { f32::NAN } else { column.as_primitive::<Float32Type>().value(row) }
}
