//! What a user should know of an output before the run goes on.

use super::manifest::{Manifest, TrialRecord};
use crate::plan::{Plan, TrialId};

/// More labels than this are not listed.
const LISTED: usize = 5;

/// Trials with results or a checkpoint here that the plan no longer covers.
pub(crate) fn uncovered(plan: &Plan, manifest: &Manifest) -> Option<String> {
    let is_kept =
        |(id, record): &(TrialId, &TrialRecord)| record.status.is_done() || manifest.unfinished.contains_key(id);
    let kept = manifest.uncovered(plan).filter(is_kept);
    let labels: Vec<String> = kept.map(|(id, record)| record.label_or(id)).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let (trials, them) = if labels.len() == 1 { ("trial", "it") } else { ("trials", "them") };
    (!labels.is_empty()).then(|| {
        let (count, list) = (labels.len(), some_of(&labels));
        format!(
            "the spec no longer covers {count} {trials} of this output, kept for when it covers {them} again: {list}"
        )
    })
}

/// Trials of the plan that failed before.
pub(crate) fn failed(plan: &Plan, manifest: &Manifest) -> Option<String> {
    let has_failed = |id: &TrialId| manifest.trials.get(id).is_some_and(|record| record.status.is_failure());
    let labels: Vec<&str> =
        plan.trials.iter().filter(|trial| has_failed(&trial.id)).map(|trial| &*trial.label).collect();
    let (trials, them) = if labels.len() == 1 { ("trial", "it") } else { ("trials", "them") };
    (!labels.is_empty()).then(|| {
        let (count, list) = (labels.len(), some_of(&labels));
        format!("{count} {trials} failed before; --retry-failed runs {them} again: {list}")
    })
}

/// The first few of many labels.
pub(crate) fn some_of(labels: &[&str]) -> String {
    let mut text = labels.iter().take(LISTED).map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    if labels.len() > LISTED {
        text += &format!(" and {} more", labels.len() - LISTED);
    }
    text
}
