//! Opens an output: what is there is looked at without a lock, and where something is to be written, again under it.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{delete_unlisted, folder_name, forget_unused};
use super::manifest::{Manifest, RunHistory, RunRecord};
use super::schema::{Columns, FORMAT};
use super::trials::TrialsBatch;
use super::{KeptSpec, Limits, RunInfo, Store, StoreError, compact, files, notes, now, resume, trials};
use crate::plan::Plan;
use crate::plan::show::{Estimates, write_json};

/// The folder of the files of `table` schedules.
const TABLES: &str = "tables";

/// Digits of a digest before the name of each.
const TABLE_DIGITS: usize = 12;

/// The path in an output of a file of a `table` schedule: by its content, so that two files of one name are two.
pub fn table_path(file: &Path, text: &str) -> String {
    let digest = blake3::hash(text.as_bytes()).to_hex();
    let name = file.file_name().map_or_else(|| "table.csv".into(), |name| name.to_string_lossy());
    format!("{TABLES}/{}-{name}", &digest[..TABLE_DIGITS])
}

impl Store {
    pub(super) fn open_with(outputs: &Path, plan: &Plan, run: RunInfo, limits: Limits) -> Result<Store, StoreError> {
        let columns = Columns::of(plan)?;
        let numerics = numerics_of_trials(plan, &run)?;
        check_ids(plan)?;
        let opened = Instant::now();
        let mut store = Store {
            folder: outputs.join(folder_name(&plan.name)?),
            plan: plan.clone(),
            columns,
            limits,
            numerics,
            rerun_other_numerics: run.rerun_other_numerics,
            retry_failed: run.retry_failed,
            notes: Vec::new(),
            manifest: Manifest::new(&plan.name),
            resumable: HashMap::new(),
            flights: HashMap::new(),
            landed: Vec::new(),
            parked: Vec::new(),
            pending_rows: 0,
            replaced: BTreeSet::new(),
            has_news: false,
            has_new_checkpoints: false,
            opened,
            disturbed: opened,
            committed: opened,
            commit_cost: Duration::ZERO,
            sealed: opened,
            lock: None,
        };
        // Whoever has the lock may be replacing what this looks at: what is wrong here is looked at again under the lock.
        let seen = Manifest::load(&store.folder).map(|manifest| {
            let Some(manifest) = manifest else { return false };
            let failed = notes::failed(plan, &manifest).filter(|_| !run.retry_failed);
            store.notes = failed.into_iter().chain(notes::not_kept(plan, &manifest)).collect();
            store.manifest = manifest;
            true
        });
        let is_complete = store.is_complete();
        if is_complete && store.has_recipe(&run) {
            tracing::info!(folder = %store.folder.display(), "store complete: nothing to write");
            return Ok(store);
        }
        match store.begin(&run) {
            Ok(()) => Ok(store),
            Err(error) if !error.is_read_only() || store.lock.is_some() => Err(error),
            // Only the recipe is another: in the spec's comments, say. Or the tables are complete as an earlier version knew them.
            Err(_) if is_complete || (store.manifest.format < FORMAT && !store.has_wanted()) => Ok(store),
            Err(error) => match (seen?, error) {
                (true, StoreError::Io { source, .. }) => {
                    let left = store.unfinished().len();
                    Err(StoreError::ReadOnly { folder: store.folder, left, source })
                }
                (_, error) => Err(error),
            },
        }
    }

    /// Takes the lock and prepares the folder for writing.
    fn begin(&mut self, run: &RunInfo) -> Result<(), StoreError> {
        let (folder, plan) = (&self.folder, &self.plan);
        files::create_directory(folder)?;
        self.lock = Some(files::lock(folder)?);
        self.manifest = Manifest::new(&plan.name);
        let mut manifest = match Manifest::load(folder)? {
            Some(manifest) => {
                manifest.check_plan(folder, plan)?;
                manifest
            }
            None => {
                if let Some(found) = files::names(folder)?.into_iter().find(|name| !name.starts_with('.')) {
                    return Err(StoreError::Foreign { folder: folder.clone(), found });
                }
                Manifest::new(&plan.name)
            }
        };
        // Missing or not, the plan of the last command is only compared.
        let path = folder.join("plan.json");
        let is_changed = path.exists() && !files::holds(&path, write_plan(plan));
        let mut notes: Vec<String> = notes::uncovered(plan, &manifest).filter(|_| is_changed).into_iter().collect();
        if !run.retry_failed {
            notes.extend(notes::failed(plan, &manifest));
        }
        notes.extend(notes::not_kept(plan, &manifest));
        let (resumable, more) = resume::resumable(folder, plan, &self.numerics, &manifest);
        notes.extend(more);

        manifest.format = FORMAT;
        manifest.runs.push(RunRecord { started: now(), ended: None, info: RunHistory::of(run) });
        forget_unused(&mut manifest);
        manifest.save(folder)?;

        for name in ["parts", "metrics", "evals"] {
            files::create_directory(&folder.join(name))?;
        }
        delete_unlisted(folder, &manifest)?;
        write_spec(folder, &run.spec)?;
        files::write_atomically_with(&folder.join("plan.json"), write_plan(plan))?;
        (self.manifest, self.resumable, self.notes) = (manifest, resumable, notes);
        let (known, saved) = (self.manifest.trials.len(), self.resumable.len());
        tracing::info!(folder = %self.folder.display(), known, saved, took = ?self.opened.elapsed(), "store opened");
        self.manifest.make_room(&self.plan);
        Ok(())
    }

    fn has_wanted(&self) -> bool {
        self.plan.trials.iter().enumerate().any(|(index, trial)| self.is_wanted(index, trial))
    }

    /// Whether the folder has all that a run of the plan would leave.
    fn is_complete(&self) -> bool {
        let is_there = |name: &str, batch: TrialsBatch| {
            let entry = self.entry_of_trials(batch);
            entry.is_some() && self.manifest.files.get(name) == entry.as_ref() && self.folder.join(name).exists()
        };
        if self.has_wanted() {
            return false;
        }
        let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
        compact::is_compacted(&self.plan, &digest, &self.manifest)
            && is_there("trials.parquet", trials::trials_batch)
            && is_there("timings.parquet", trials::timings_batch)
    }

    /// Whether the folder's spec and plan are those of `run`.
    fn has_recipe(&self, run: &RunInfo) -> bool {
        let sets = self.manifest.runs.last().map(|record| &record.info.sets);
        sets == Some(&run.sets)
            && files::holds(&self.folder.join("spec.toml"), |out| out.write_all(run.spec.text.as_bytes()))
            && run
                .spec
                .tables
                .iter()
                .all(|(path, text)| files::holds(&self.folder.join(path), |out| out.write_all(text.as_bytes())))
            && files::holds(&self.folder.join("plan.json"), write_plan(&self.plan))
    }
}

/// Writes `spec.toml`, after the tables that it names, and deletes those that it does not.
fn write_spec(folder: &Path, spec: &KeptSpec) -> Result<(), StoreError> {
    let directory = folder.join(TABLES);
    if !spec.tables.is_empty() {
        files::create_directory(&directory)?;
    }
    for (path, text) in &spec.tables {
        files::write_atomically(&folder.join(path), text.as_bytes())?;
    }
    files::write_atomically(&folder.join("spec.toml"), spec.text.as_bytes())?;
    if directory.exists() {
        for name in files::names(&directory)? {
            let is_ours = name.get(..TABLE_DIGITS).is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
                && name[TABLE_DIGITS..].starts_with('-');
            if is_ours && !spec.tables.contains_key(&format!("{TABLES}/{name}")) {
                files::remove(directory.join(name))?;
            }
        }
    }
    Ok(())
}

/// The content of `plan.json`.
fn write_plan(plan: &Plan) -> impl Fn(&mut dyn Write) -> io::Result<()> {
    move |out| write_json(plan, &Estimates::default(), out)
}

fn numerics_of_trials(plan: &Plan, run: &RunInfo) -> Result<Vec<Arc<str>>, StoreError> {
    if run.numerics.len() != plan.groups.len() {
        return Err(StoreError::Numerics { found: run.numerics.len(), expected: plan.groups.len() });
    }
    let mut numerics: Vec<Arc<str>> = vec!["".into(); plan.trials.len()];
    for (group, name) in plan.groups.iter().zip(&run.numerics) {
        let name: Arc<str> = name.as_str().into();
        for &trial in &group.trials {
            if let Some(slot) = numerics.get_mut(trial) {
                *slot = Arc::clone(&name);
            }
        }
    }
    Ok(numerics)
}

fn check_ids(plan: &Plan) -> Result<(), StoreError> {
    let mut labels = HashMap::new();
    for trial in plan.trials.iter() {
        if let Some(first) = labels.insert(trial.id, &trial.label) {
            return Err(StoreError::Duplicate { first: first.to_string(), second: trial.label.to_string() });
        }
    }
    Ok(())
}
