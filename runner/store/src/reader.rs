//! What an output holds, for a reader: its trials, how far each got, and its evaluations. No lock is taken and nothing is
//! written; a run may be going on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, StringArray};
use arrow_schema::{DataType, Field};
use clr_event::Evaluation;
use clr_host::Split;
use clr_plan::{Axis, AxisValue, TrialId};
use clr_system::regular::{self, LARGEST_RECORD};
use clr_terminal::words;
use serde_json::Value as Json;

use super::StoreError;
use super::kept::load;
use super::looks::look_again;
use super::manifest::{Manifest, Segment};
use super::plan_file::{self, PlanFile, PlannedAxis};
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
    pub status: Status,
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
    Ok(look_again(folder, || look(folder), |output| output.unreadable.is_empty())?.found)
}

fn look(folder: &Path) -> Result<Output, StoreError> {
    let manifest = load(folder)?;
    let plan = plan(folder)?;
    let axes: Vec<Axis> = plan.axes.iter().map(PlannedAxis::axis).collect();
    let mut sources = Sources::new(folder, &manifest);
    let mut unreadable: BTreeMap<String, String> = BTreeMap::new();
    let mut trials = Vec::with_capacity(plan.trials.len());
    for (index, planned) in plan.trials.into_iter().enumerate() {
        let stored = segments(&manifest, planned.id, Table::Evals);
        let (evaluations, is_whole) = evaluations_of(index, stored, &mut sources, &mut unreadable);
        let record = manifest.trials.get(&planned.id);
        let shape = planned.group.and_then(|group| plan.groups.get(group)).map(|group| &group.shape);
        trials.push(OutputTrial {
            id: planned.id,
            axes: axes.iter().map(|axis| planned.value(axis)).collect(),
            label: planned.label,
            init_seed: planned.init_seed,
            data_seed: planned.data_seed,
            plugin: shape.map(|shape| shape.plugin.clone()).unwrap_or_default(),
            is_validated: shape.is_some_and(|shape| shape.data.validation_count > 0),
            status: record.map_or(Status::Unfinished, |record| record.status),
            numerics: record.and_then(|record| record.numerics.as_deref()).map(str::to_owned),
            build: record.and_then(|record| record.build.as_deref()).map(str::to_owned),
            numbers: record.map(|record| record.numbers).unwrap_or_default(),
            evaluations: is_whole.then_some(evaluations),
        });
    }
    Ok(Output { folder: folder.to_owned(), axes, trials, unreadable })
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
    let read = || -> io::Result<Json> {
        let bytes = regular::read(&folder.join(plan_file::NAME), LARGEST_RECORD)?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let plan = read().map_err(|source| unreadable_plan(folder, source))?;
    let trials = plan["trials"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(trials
        .iter()
        .map(|trial| {
            let group = trial["group"].as_u64().and_then(|group| usize::try_from(group).ok());
            let shape = group.map_or(&Json::Null, |group| &plan["groups"][group]["shape"]);
            let mut settings = Settings::new();
            let mut add = |prefix: &str, fields: &Json| {
                let fields = fields.as_object().into_iter().flatten();
                settings.extend(fields.map(|(key, value)| (format!("{prefix}{key}"), plain(value))));
            };
            add("", &shape["data"]);
            add("model.", &shape["options"]);
            add("optimizer.", &trial["optimizer"]);
            add("schedule.", &trial["schedules"]);
            let own = [("plugin", shape), ("architecture", shape), ("iterations", trial), ("parameter_groups", trial)];
            settings.extend(own.map(|(key, of)| (key.to_owned(), plain(&of[key]))));
            settings
        })
        .collect())
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
