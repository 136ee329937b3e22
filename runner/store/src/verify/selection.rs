//! The selection of an output's trials: those that are asked for and can be trained again to the same bits.

use std::collections::HashSet;
use std::path::Path;

use clr_plan::{Plan, TrialId, names};

use super::VerifyError;
use super::found::Checked;
use crate::Status;
use crate::manifest::{Manifest, TrialRecord};

/// Trials to train again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Indices into the plan's trials, in its order.
    pub trials: Vec<usize>,
    /// Those that were asked for and cannot be proven: the label, and why not.
    pub unproven: Vec<(String, String)>,
}

/// Chooses trials of the output `folder`: all that are done or, if any are `asked` for, by label, id or the first digits of
/// an id, those. `plan` is what the output's recipe gives now, and `numerics` are those of its groups here.
///
/// # Errors
///
/// Where the recipe does not give the trials that it gave then, or none or several are what is asked for.
pub fn select(
    folder: &Path,
    plan: &Plan,
    numerics: &[String],
    checked: &Checked,
    asked: &[String],
) -> Result<Selection, VerifyError> {
    let manifest = Manifest::load(folder)?.ok_or_else(|| VerifyError::NoOutput { folder: folder.to_owned() })?;
    check_ids(folder, plan, &manifest)?;
    let mut wanted = vec![asked.is_empty(); plan.trials.len()];
    for asked in asked {
        wanted[names::find(asked, plan.trials.iter().map(|trial| (trial.id, &*trial.label)))?] = true;
    }
    let mut numerics_of = vec![""; plan.trials.len()];
    for (group, numerics) in plan.groups.iter().zip(numerics) {
        group.trials.iter().for_each(|&trial| numerics_of[trial] = numerics);
    }
    let mut selection = Selection::default();
    for (index, trial) in plan.trials.iter().enumerate().filter(|&(index, _)| wanted[index]) {
        match obstacle(manifest.trials.get(&trial.id).map(|record| &**record), numerics_of[index], checked) {
            None => selection.trials.push(index),
            Some(why) => selection.unproven.push((trial.label.to_string(), why)),
        }
    }
    Ok(selection)
}

/// Why a trial cannot be proven here.
fn obstacle(record: Option<&TrialRecord>, numerics: &str, checked: &Checked) -> Option<String> {
    let Some(record) = record.filter(|record| record.status.is_done()) else {
        let status = record.map_or(Status::Unfinished, |record| record.status);
        let rows = if status.is_failure() { "its rows are of an attempt that came to nothing" } else { "has no rows" };
        return Some(format!("it is {}, and {rows}", status.name()));
    };
    let stored = record.numerics.as_deref().unwrap_or("unknown numerics");
    if stored != numerics {
        return Some(format!("its rows are of {stored}, and this is {numerics}, whose last bits differ"));
    }
    let mut files = record.metrics.iter().chain(&record.evals).map(|segment| &segment.0);
    files.find(|file| checked.damaged.contains(&***file)).map(|file| format!("{file} is damaged"))
}

/// Every trial that the output's own plan has must be planned again, with the same id.
fn check_ids(folder: &Path, plan: &Plan, manifest: &Manifest) -> Result<(), VerifyError> {
    let planned: HashSet<TrialId> = plan.trials.iter().map(|trial| trial.id).collect();
    let recipe = |message: String| VerifyError::Recipe { folder: folder.to_owned(), message };
    for (id, label) in super::quick::planned_ids(folder).map_err(recipe)? {
        if planned.contains(&id) {
            continue;
        }
        let was_run = if manifest.trials.contains_key(&id) { "was run" } else { "was planned" };
        let now = plan.trials.iter().find(|trial| *trial.label == *label);
        let now = now.map_or("does not give it".to_owned(), |trial| format!("gives {}", trial.id));
        let message = format!(
            "trial `{label}` {was_run} as {id}, and spec.toml {now}; the data, the plugin or a table of values is another"
        );
        return Err(VerifyError::Recipe { folder: folder.to_owned(), message });
    }
    Ok(())
}
