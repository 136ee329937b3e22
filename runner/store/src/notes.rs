//! Notes on an output, for the user, before the run goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use clr_plan::{Names, Plan, TrialId};
use clr_spec::Keep;
use clr_terminal::words;

use super::BUILDS;
use super::manifest::{Manifest, TrialRecord};
use super::result::Status;

/// Trials with results or a checkpoint here that the plan no longer covers.
pub fn uncovered(plan: &Plan, manifest: &Manifest) -> Option<String> {
    let is_kept =
        |(id, record): &(TrialId, &TrialRecord)| record.status.is_done() || manifest.unfinished.contains_key(id);
    let kept = manifest.uncovered(plan).filter(is_kept);
    let names = Names::of(plan);
    let trials: Vec<String> =
        kept.map(|(id, record)| format!("{} ({})", names.handle(id), record.label_or(id))).collect();
    let count = trials.len();
    let (are, they, them) = if count == 1 { ("is", "it is", "it") } else { ("are", "they are", "them") };
    (count > 0).then(|| {
        let (counted, list) = (words::counted(count, "trial"), words::some_of(&trials));
        format!("{counted} of this output {are} no longer in the spec; {they} kept for when the spec has {them} again: {list}")
    })
}

/// Trials of the plan that failed before.
pub fn failed(plan: &Plan, manifest: &Manifest) -> Option<String> {
    let has_failed = |id: &TrialId| manifest.trials.get(id).is_some_and(|record| record.status.is_failure());
    let names = Names::of(plan);
    let failed = plan.trials.iter().filter(|trial| has_failed(&trial.id));
    let trials: Vec<String> =
        failed.map(|trial| format!("{} ({})", names.handle(trial.id), names.words(&trial.axes))).collect();
    let them = if trials.len() == 1 { "it" } else { "them" };
    (!trials.is_empty()).then(|| {
        let (counted, list) = (words::counted(trials.len(), "trial"), words::some_of(&trials));
        format!("{counted} failed before; --retry-failed runs {them} again: {list}")
    })
}

/// Trials of the plan of which nothing was kept, though the plan asks for it.
pub fn not_kept(plan: &Plan, manifest: &Manifest) -> Option<String> {
    if plan.checkpointing.keep == Keep::Nothing {
        return None;
    }
    let lacks = |id: &TrialId| {
        let record = manifest.trials.get(id);
        record.is_some_and(|record| record.status == Status::Finished && record.checkpoint.is_none())
    };
    let names = Names::of(plan);
    let lacking = plan.trials.iter().filter(|trial| lacks(&trial.id));
    let trials: Vec<String> =
        lacking.map(|trial| format!("{} ({})", names.handle(trial.id), names.words(&trial.axes))).collect();
    let they = if trials.len() == 1 { "it was" } else { "they were" };
    (!trials.is_empty()).then(|| {
        let (counted, list) = (words::counted(trials.len(), "finished trial"), words::some_of(&trials));
        format!(
            "`checkpoint.keep` is set, and {counted} of this output left no weights: {they} trained before it was set, or \
             by a plugin that cannot save: {list}"
        )
    })
}

/// Trials of the plan that another build of their plugin trained, of the same revision. One that is not known is said beside
/// one that is.
pub fn other_builds(plan: &Plan, manifest: &Manifest, builds: &[Option<Arc<str>>]) -> Option<String> {
    let mut others: Vec<String> = Vec::new();
    let names = Names::of(plan);
    let mut plugins: BTreeSet<String> = BTreeSet::new();
    for (trial, build) in plan.trials.iter().zip(builds) {
        let record = manifest.trials.get(&trial.id).filter(|record| record.status.is_done());
        let trained = match (record, manifest.unfinished.get(&trial.id)) {
            (Some(record), _) => record.build.as_deref(),
            (None, Some(record)) => record.build.as_deref(),
            (None, None) => continue,
        };
        if let (Some(build), Some(trained)) = (build, trained)
            && trained != &**build
        {
            others.push(format!("{} ({})", names.handle(trial.id), names.words(&trial.axes)));
            plugins.insert(format!("`{}` (now {})", trial.shape.plugin, short_build(Some(build))));
        }
    }
    (!others.is_empty()).then(|| {
        let (counted, list) = (words::counted(others.len(), "trial"), words::some_of(&others));
        let plugins = plugins.into_iter().collect::<Vec<_>>().join(", ");
        format!(
            "{counted} here were trained by another build of {plugins} that says it is of the same revision, and are kept; \
             --rerun-other-builds trains all such again: {list}"
        )
    })
}

/// A build as people read it.
pub fn short_build(build: Option<&str>) -> String {
    let builds = build.map(|build| build.split(BUILDS).map(|digest| format!("{digest:.8}")).collect::<Vec<_>>());
    builds.map_or_else(|| "unknown".to_owned(), |builds| builds.join("+"))
}
