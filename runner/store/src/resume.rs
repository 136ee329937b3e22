//! Reopening an output: what its unfinished trials go on from.
//!
//! The manifest says where the rows up to the checkpoint lie. What else a flight holds at that step is read back from
//! them: the evaluations, and the losses of the last epoch.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use clr_event::Evaluation;
use clr_event::checkpoint::Checkpoint;
use clr_plan::{Names, Plan, Trial};
use clr_terminal::words;

use super::derived::rows_per_epoch;
use super::manifest::{Manifest, UnfinishedRecord};
use super::reader::{read_evaluations, single_at};
use super::result::NonFinite;
use super::schema::Table;
use super::source::Sources;
use super::{StoreError, saved};

/// An unfinished trial that can go on.
pub struct Resumable {
    pub record: UnfinishedRecord,
    pub checkpoint: Arc<Checkpoint>,
    /// All up to the checkpoint.
    pub evaluations: Vec<Evaluation>,
    /// The last epoch's, up to the checkpoint.
    pub recent_losses: VecDeque<f32>,
    /// Those up to the checkpoint that were not finite.
    pub non_finite: NonFinite,
}

/// The trials of the plan that can go on, by index, and why others that were saved cannot.
///
/// `numerics` has one for each trial, and so have `builds`, where a trial is not to go on under another build of its plugin. What a trial cannot go on from is no reason to stop: it starts over.
pub fn resumable(
    folder: &Path,
    plan: &Plan,
    numerics: &[Arc<str>],
    builds: Option<&[Option<Arc<str>>]>,
    manifest: &Manifest,
) -> (HashMap<usize, Resumable>, Vec<String>) {
    let mut sources = Sources::new(folder, manifest);
    let (mut found, mut notes) = (HashMap::new(), Vec::new());
    let names = Names::of(plan);
    let called = |trial: &Trial| format!("{} ({})", names.handle(trial.id), trial.label);
    let (mut others, mut rebuilt): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, trial) in plan.trials.iter().enumerate() {
        let Some(record) = manifest.unfinished.get(&trial.id) else { continue };
        if *record.numerics != *numerics[index] {
            others.push(called(trial));
            continue;
        }
        if builds.is_some_and(|builds| builds[index].as_deref() != record.build.as_deref()) {
            rebuilt.push(called(trial));
            continue;
        }
        match load(folder, index, trial, record, manifest, &mut sources) {
            // At step 0 there is nothing to go on from.
            Ok(resumable) if record.step > 0 => drop(found.insert(index, resumable)),
            Ok(_) => {}
            Err(error) => {
                let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
                notes.push(format!("{} starts over: {error}{source}", called(trial)));
            }
        }
    }
    if !rebuilt.is_empty() {
        let (trials, list) = (words::counted(rebuilt.len(), "trial"), words::some_of(&rebuilt));
        let starts = if rebuilt.len() == 1 { "starts over, as another build" } else { "start over, as other builds" };
        notes.push(format!("{trials} {starts} of the plugin saved them: {list}"));
    }
    if !others.is_empty() {
        let (trials, list) = (words::counted(others.len(), "trial"), words::some_of(&others));
        let (starts, was) = if others.len() == 1 { ("starts", "it was") } else { ("start", "they were") };
        notes.push(format!(
            "{trials} {starts} over, as {was} saved under other arithmetic (another plugin revision, instruction set or \
             GPU): {list}"
        ));
    }
    (found, notes)
}

fn load<'a>(
    folder: &Path,
    index: usize,
    trial: &Trial,
    record: &'a UnfinishedRecord,
    manifest: &'a Manifest,
    sources: &mut Sources<'a>,
) -> Result<Resumable, StoreError> {
    let (checkpoint, numerics) = saved::read(folder, manifest, &record.checkpoint, trial.id)?;
    let found = (checkpoint.step, checkpoint.evaluated, numerics.as_str());
    let expected = (record.step, record.evaluated, record.numerics.as_str());
    let rows = record.metrics.iter().map(|segment| u128::from(segment.2)).sum::<u128>();
    if found != expected || record.step > trial.iterations || rows != u128::from(record.step) {
        let what = format!("{found:?} and {rows} rows instead of {expected:?}");
        return Err(StoreError::Corrupt { path: folder.join(&record.checkpoint), what });
    }
    let (recent_losses, non_finite) = losses(trial, record, sources)?;
    Ok(Resumable {
        checkpoint: Arc::new(checkpoint),
        evaluations: read_evaluations(index, record.segments(Table::Evals), sources)?,
        recent_losses,
        non_finite,
        record: record.clone(),
    })
}

/// The last epoch's losses, and which of all were not finite.
fn losses<'a>(
    trial: &Trial,
    record: &'a UnfinishedRecord,
    sources: &mut Sources<'a>,
) -> Result<(VecDeque<f32>, NonFinite), StoreError> {
    let (mut recent, mut non_finite) = (VecDeque::new(), NonFinite::default());
    if trial.shape.metric("loss").is_none() {
        return Ok((recent, non_finite));
    }
    let (window, mut row) = (rows_per_epoch(&trial.shape.data), 0);
    let field = [Field::new("loss", DataType::Float32, true)];
    for segment in record.segments(Table::Metrics) {
        sources.read(segment, &field, |columns| {
            let losses = || (0..columns[0].len()).map(|row| single_at(columns[0].as_ref(), row));
            non_finite.add(row, losses());
            row += columns[0].len() as u64;
            recent.extend(losses());
            recent.drain(..recent.len().saturating_sub(window));
            Ok(())
        })?;
    }
    Ok((recent, non_finite))
}
