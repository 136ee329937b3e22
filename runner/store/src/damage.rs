//! Damage to an output: found before anything is trained, and what it costs.
//!
//! A file that is not as the manifest says does not count. What had rows in it, or went on from it, is trained again, which
//! gives the same bytes; everything else stays. So no bad byte costs more than the trials whose bytes it is among.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clr_plan::{Names, Plan, TrialId};
use clr_spec::Keep;
use clr_terminal::words;

use super::files::FileEntry;
use super::manifest::{BACKUP, Manifest, NAME, Segment};
use super::names::is_checkpoint;
use super::schema::Table;
use super::sound::{Depth, check};
use super::{StoreError, swap};
use crate::unsound::{Damage, Unsound};

/// Files of so many bytes in all are read to their end where nothing is to be trained: a tenth of a second, once they are in
/// memory. What is beyond is known by its length and its footer.
pub const QUICK_BYTES: u64 = 256 << 20;

/// Threads that read files. More would wait for the disk.
const READERS: usize = 8;

/// Looks at all files that the manifest lists: their lengths, or with `digested` the digests of so many bytes, smallest files
/// first, and the footers of all other tables.
///
/// # Errors
///
/// Where a file cannot be looked at for reasons that are not its own.
pub fn survey(folder: &Path, manifest: &Manifest, digested: Option<u64>) -> Result<Vec<Damage>, StoreError> {
    let mut files: Vec<(&str, &FileEntry)> =
        manifest.files.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
    files.sort_by_key(|(name, entry)| (entry.bytes, *name));
    let mut sum = 0u64;
    let files: Vec<(&str, &FileEntry, Depth)> = files
        .into_iter()
        .map(|(name, entry)| {
            sum = sum.saturating_add(entry.bytes);
            let depth = match digested {
                None => Depth::Length,
                Some(bytes) if sum > bytes => Depth::Footer,
                Some(_) => Depth::Digest,
            };
            (name, entry, depth)
        })
        .collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        // The largest first, so that the threads end together.
        while let Some(&(name, entry, depth)) = files.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(unsound) = check(&swap::locate(folder, name), entry, depth) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((name, unsound));
            }
        }
    };
    let threads = match digested {
        Some(_) => thread::available_parallelism().map_or(1, usize::from).min(READERS).min(files.len()),
        None => 1,
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where there is no thread to be had, this one does it all.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(name, _)| *name);
    let damage = found.into_iter().map(|(name, unsound)| match unsound {
        Unsound::Damaged(what) => Ok(Damage { file: name.to_owned(), what }),
        Unsound::Unreadable(source) => Err(StoreError::io("read", &folder.join(name), source)),
    });
    damage.collect()
}

/// The trials that a manifest loses with a file.
#[derive(Debug, Default)]
struct Loss {
    /// Trials of the plan that had rows in it, or were kept in it.
    again: Vec<TrialId>,
    /// Those of them whose bits may be others, since they are trained where arithmetic is another.
    otherwise: usize,
    /// Trials of the plan that were saved, and start over.
    over: Vec<TrialId>,
    /// Trials that the plan does not cover.
    others: Vec<TrialId>,
}

/// Takes what lies in damaged files out of the manifest, and says so, a note for each file. `numerics` are those of the plan's
/// trials in this run.
pub fn forget(manifest: &mut Manifest, damage: &[Damage], plan: &Plan, numerics: &[Arc<str>]) -> Vec<String> {
    if damage.is_empty() {
        return Vec::new();
    }
    let planned: BTreeMap<TrialId, usize> =
        plan.trials.iter().enumerate().map(|(index, trial)| (trial.id, index)).collect();
    let keeps = plan.checkpointing.keep != Keep::Nothing;
    let mut owners = owners(manifest);
    let mut notes = Vec::new();
    for Damage { file, what } in damage {
        let mut loss = Loss::default();
        for id in owners.remove(file.as_str()).unwrap_or_default() {
            let index = planned.get(&id).copied();
            let mut is_lost = false;
            if let Some(record) = manifest.trials.get_mut(&id) {
                let has_rows =
                    [Table::Metrics, Table::Evals].iter().any(|&table| lies_in(record.segments(table), file));
                let is_kept =
                    record.checkpoint.as_deref() == Some(file) || record.cycles.iter().any(|(path, _)| path == file);
                let here = index.map(|index| &numerics[index]);
                let is_otherwise = here.is_some_and(|here| record.numerics.as_ref().is_some_and(|there| there != here));
                // A state that was asked for is as good as a row, where the same one can be had again.
                if has_rows || (is_kept && keeps && index.is_some() && !is_otherwise) {
                    **record = record.without_rows();
                    is_lost = true;
                    match index {
                        Some(_) => loss.again.push(id),
                        None => loss.others.push(id),
                    }
                    loss.otherwise += usize::from(is_otherwise);
                } else if is_kept {
                    record.checkpoint = record.checkpoint.take().filter(|path| **path != *file);
                    let cycles = record.cycles.iter().filter(|(path, _)| path != file);
                    record.cycles = cycles.cloned().collect();
                }
            }
            let goes_on = manifest.unfinished.get(&id).is_some_and(|record| {
                let has_rows =
                    [Table::Metrics, Table::Evals].iter().any(|&table| lies_in(record.segments(table), file));
                let kept = record.best.iter().chain(&record.cycles);
                has_rows || record.checkpoint == *file || kept.map(|(path, _)| path).any(|path| path == file)
            });
            if goes_on {
                manifest.unfinished.remove(&id);
                match index {
                    Some(_) if is_lost => {}
                    Some(_) => loss.over.push(id),
                    None => loss.others.push(id),
                }
            }
        }
        manifest.files.remove(file);
        notes.push(format!("{file}: {what}; {}", consequence(file, loss, manifest, plan, &planned)));
    }
    notes
}

/// Whose rows and states are in each file.
fn owners(manifest: &Manifest) -> BTreeMap<String, BTreeSet<TrialId>> {
    let mut owners: BTreeMap<String, BTreeSet<TrialId>> = BTreeMap::new();
    for (id, segment) in manifest.segments() {
        match owners.get_mut(&*segment.0) {
            Some(ids) => _ = ids.insert(id),
            None => _ = owners.insert(segment.0.to_string(), BTreeSet::from([id])),
        }
    }
    for &id in manifest.trials.keys().chain(manifest.unfinished.keys()) {
        for path in manifest.checkpoints_of(id) {
            owners.entry(path).or_default().insert(id);
        }
    }
    owners
}

fn lies_in(segments: &[Segment], file: &str) -> bool {
    segments.iter().any(|segment| *segment.0 == *file)
}

/// A sentence on the consequence of a damaged file for the trials that it held.
fn consequence(file: &str, loss: Loss, manifest: &Manifest, plan: &Plan, planned: &BTreeMap<TrialId, usize>) -> String {
    let Loss { again, otherwise, over, others } = loss;
    let names = Names::of(plan);
    let count = |ids: &[TrialId], one: &str, many: &str| {
        format!("{} {}", words::counted(ids.len(), "trial"), if ids.len() == 1 { one } else { many })
    };
    let list = |mut ids: Vec<TrialId>| {
        ids.sort_by_key(|id| planned.get(id));
        let label = |id: &TrialId| match (planned.get(id), manifest.trials.get(id)) {
            (Some(&index), _) => plan.trials[index].label.to_string(),
            (None, Some(record)) => record.label_or(*id),
            (None, None) => id.to_string(),
        };
        words::some_of(&ids.iter().map(|id| format!("{} ({})", names.handle(*id), label(id))).collect::<Vec<_>>())
    };
    let mut parts = Vec::new();
    if !again.is_empty() {
        let mut part = match is_checkpoint(file) {
            true => count(&again, "whose state it kept is trained again", "whose states it kept are trained again"),
            false => count(&again, "with rows in it is trained again", "with rows in it are trained again"),
        };
        if otherwise > 0 {
            part += &format!(" ({otherwise} under other arithmetic than before, which may change last digits)");
        }
        parts.push(format!("{part}: {}", list(again)));
    }
    if !over.is_empty() {
        parts.push(format!("{}: {}", count(&over, "starts over", "start over"), list(over)));
    }
    if !others.is_empty() {
        let count =
            count(&others, "that is not in the spec is lost with it", "that are not in the spec are lost with it");
        parts.push(format!("{count}: {}", list(others)));
    }
    match (parts.is_empty(), file) {
        (false, _) => parts.join("; "),
        (true, NAME) => format!("its copy, {BACKUP}, is used instead"),
        (true, _) if is_checkpoint(file) => "the state that it kept is lost".to_owned(),
        (true, _) => "it is written again".to_owned(),
    }
}

/// Forgets trials of the plan whose records cannot be true, and says so.
pub fn forget_impossible(manifest: &mut Manifest, plan: &Plan) -> Vec<String> {
    let (names, mut notes) = (Names::of(plan), Vec::new());
    for trial in plan.trials.iter() {
        let Some(what) = manifest.record_problem(trial) else { continue };
        if let Some(record) = manifest.trials.get_mut(&trial.id) {
            **record = record.without_rows();
        }
        let (handle, label) = (names.handle(trial.id), &trial.label);
        notes.push(format!("{NAME}: {handle} ({label}) is trained again, as the manifest says that {what}"));
    }
    notes
}
