//! Opens an output: what is there is looked at without a lock, and where something is to be written, again under it.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clr_plan::Plan;
use clr_plan::json::{Estimates, write_json};

use super::now;
use crate::KeptSpec;
use crate::Limits;
use crate::RunInfo;
use crate::Store;
use crate::StoreError;
use crate::compact;
use crate::damage::{self, QUICK_BYTES};
use crate::files::{self, FileEntry, set_aside};
use crate::folder::{
    delete_unlisted, folder_name, forget_unused, is_output_without_manifest, set_all_aside, set_intruders_aside,
};
use crate::manifest::{BACKUP, Manifest, NAME, Recovered, RunHistory, RunRecord};
use crate::names::{ASIDE, FORMAT, PLAN, SPEC, TABLES, is_of_recipe, is_summary};
use crate::notes;
use crate::resume;
use crate::schema::Columns;
use crate::swap;
use crate::trials::{self, TrialsBatch};
use crate::unsound::Damage;

/// Digits of a digest before the name of each file of a `table` schedule.
const TABLE_DIGITS: usize = 12;

/// The path in an output of a file of a `table` schedule: by its content, so that two files of one name are two.
pub fn table_path(file: &Path, text: &str) -> String {
    let digest = blake3::hash(text.as_bytes()).to_hex();
    let name = file.file_name().map_or_else(|| "table.csv".into(), |name| name.to_string_lossy());
    format!("{TABLES}/{}-{name}", &digest[..TABLE_DIGITS])
}

/// The findings of a look at a folder.
pub(crate) struct Seen {
    /// The manifest tells of all that a run of the plan would leave.
    is_complete: bool,
    pub damage: Vec<Damage>,
}

impl Store {
    /// As [`Store::open`], with other limits.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(outputs: &Path, plan: &Plan, run: RunInfo, limits: Limits) -> Result<Store, StoreError> {
        let mut store = Store::unopened(outputs, plan, &run, limits)?;
        // Whoever has the lock may be replacing what this looks at: what is wrong here is looked at again under the lock.
        let seen = store.look(run.retry_failed);
        let has_all = matches!(&seen, Ok(Some(seen)) if seen.is_complete && seen.damage.is_empty());
        if has_all && swap::is_settled(&store.folder) && store.has_recipe(&run) {
            tracing::info!(folder = %store.folder.display(), "store complete: nothing to write");
            return Ok(store);
        }
        let source = match store.begin(&run) {
            Ok(()) => return Ok(store),
            Err(StoreError::Io { source, .. }) if store.lock.is_none() && is_read_only(&source) => source,
            Err(error) => return Err(error),
        };
        match seen? {
            Some(Seen { damage, .. }) => store.only_read(damage, source),
            None => Err(StoreError::io("write", &store.folder, source)),
        }
    }

    /// A store that has not looked at its folder.
    pub(crate) fn unopened(outputs: &Path, plan: &Plan, run: &RunInfo, limits: Limits) -> Result<Store, StoreError> {
        let columns = Columns::of(plan)?;
        let numerics = numerics_of_trials(plan, run)?;
        let builds = builds_of_trials(plan, run);
        check_ids(plan)?;
        let opened = Instant::now();
        Ok(Store {
            folder: outputs.join(folder_name(&plan.name)?),
            plan: plan.clone(),
            columns,
            limits,
            numerics,
            builds,
            rerun_other_numerics: run.rerun_other_numerics,
            rerun_other_builds: run.rerun_other_builds,
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
            backed_up: opened,
            commit_cost: Duration::ZERO,
            sealed: opened,
            lock: None,
        })
    }

    /// Looks at the folder without a lock, and takes its manifest, if it has one.
    pub(crate) fn look(&mut self, retry_failed: bool) -> Result<Option<Seen>, StoreError> {
        let Some(Recovered { manifest, damage }) = Manifest::recover(&self.folder)? else { return Ok(None) };
        let failed = notes::failed(&self.plan, &manifest).filter(|_| !retry_failed);
        self.notes = failed.into_iter().chain(notes::not_kept(&self.plan, &manifest)).collect();
        self.notes.extend(notes::other_builds(&self.plan, &manifest, &self.builds));
        self.manifest = manifest;
        forget_unused(&mut self.manifest);
        let is_complete = self.is_complete();
        let mut found: Vec<Damage> = damage.into_iter().collect();
        found.extend(damage::survey(&self.folder, &self.manifest, is_complete.then_some(QUICK_BYTES))?);
        Ok(Some(Seen { is_complete, damage: found }))
    }

    /// The store of a folder that cannot be written, because of `source`: where no row is lost or missing, what is there does.
    pub(crate) fn only_read(mut self, damage: Vec<Damage>, source: io::Error) -> Result<Store, StoreError> {
        let folder = self.folder.clone();
        if let Some(Damage { file, what }) = damage.iter().find(|damage| damage.costs_rows()).cloned() {
            return Err(StoreError::DamagedReadOnly { folder, file, what, source });
        }
        let left = self.unfinished().len();
        if left > 0 {
            return Err(StoreError::ReadOnly { folder, left, source });
        }
        let folder = folder.display();
        let note =
            |Damage { file, what }| format!("{file}: {what}; {folder} cannot be written, so it is left as it is");
        self.notes.extend(damage.into_iter().map(note));
        Ok(self)
    }

    /// Takes the lock and prepares the folder for writing.
    fn begin(&mut self, run: &RunInfo) -> Result<(), StoreError> {
        let folder = self.folder.clone();
        files::create_directory(&folder)?;
        if folder.join(files::LOCK).is_dir() {
            set_aside(&folder, files::LOCK)?;
        }
        self.lock = Some(files::lock(&folder)?);
        self.notes = self.recover()?;
        // Missing or not, the plan of the last command is only compared.
        let path = folder.join("plan.json");
        let is_changed = path.is_file() && !files::holds(&path, write_plan(&self.plan));
        self.notes.extend(notes::uncovered(&self.plan, &self.manifest).filter(|_| is_changed));
        if !run.retry_failed {
            self.notes.extend(notes::failed(&self.plan, &self.manifest));
        }
        self.notes.extend(notes::not_kept(&self.plan, &self.manifest));
        if !run.rerun_other_builds {
            self.notes.extend(notes::other_builds(&self.plan, &self.manifest, &self.builds));
        }
        let builds = Some(&self.builds[..]).filter(|_| run.rerun_other_builds);
        let (resumable, more) = resume::resumable(&folder, &self.plan, &self.numerics, builds, &self.manifest);
        self.resumable = resumable;
        self.notes.extend(more);

        self.manifest.format = FORMAT;
        self.manifest.runs.push(RunRecord { started: now(), ended: None, info: RunHistory::of(run) });
        // What these hold from here on is not what the last command wrote, whenever this one is cut off.
        self.manifest.files.retain(|name, _| !is_of_recipe(name) && !is_summary(name));
        forget_unused(&mut self.manifest);
        self.manifest.save(&folder)?;
        self.back_up()?;

        for name in ["parts", "metrics", "evals"] {
            files::create_directory(&folder.join(name))?;
        }
        delete_unlisted(&folder, &self.manifest, true)?;
        self.manifest.files.extend(write_spec(&folder, &run.spec)?);
        let plan = files::write_atomically_with(&folder.join(PLAN), write_plan(&self.plan))?;
        self.manifest.files.insert(PLAN.to_owned(), plan);
        let (known, saved) = (self.manifest.trials.len(), self.resumable.len());
        tracing::info!(folder = %self.folder.display(), known, saved, took = ?self.opened.elapsed(), "store opened");
        self.manifest.make_room(&self.plan);
        Ok(())
    }

    /// Takes the folder's manifest, without what is damaged, and moves that aside. Says what it costs.
    ///
    /// Whatever is to be trained or compacted makes use of all files, so then each is read to its end.
    fn recover(&mut self) -> Result<Vec<String>, StoreError> {
        let folder = self.folder.clone();
        let (mut notes, mut aside) = (Vec::new(), false);
        self.manifest = Manifest::new(&self.plan.name);
        let lost = match Manifest::recover(&folder) {
            Ok(Some(Recovered { manifest, damage })) => {
                if manifest.is_excerpt() {
                    return Err(StoreError::Excerpt { folder });
                }
                self.manifest = manifest;
                forget_unused(&mut self.manifest);
                swap::settle(&folder, &self.manifest)?;
                let mut damage: Vec<Damage> = damage.into_iter().collect();
                damage.extend(damage::survey(&folder, &self.manifest, None)?);
                notes.extend(self.forget(&damage));
                let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
                let is_at_rest = !self.wants_any() && compact::is_compacted(&self.plan, &digest, &self.manifest);
                let depth = if is_at_rest { QUICK_BYTES } else { u64::MAX };
                let hidden = damage::survey(&folder, &self.manifest, Some(depth))?;
                notes.extend(self.forget(&hidden));
                notes.extend(damage::forget_impossible(&mut self.manifest, &self.plan));
                for Damage { file, .. } in damage.iter().chain(&hidden) {
                    aside |= set_aside(&folder, file)?;
                }
                None
            }
            Ok(None) if is_output_without_manifest(&folder) => Some("it is missing".to_owned()),
            Ok(None) => match files::names(&folder)?.into_iter().find(|name| !name.starts_with('.')) {
                Some(found) => return Err(StoreError::Foreign { folder, found }),
                None => None,
            },
            Err(StoreError::Manifest { message, .. }) => Some(message),
            Err(error) => return Err(error),
        };
        if let Some(what) = lost {
            notes.push(format!(
                "{NAME}: {what}, and there is no sound copy of it in {BACKUP}: nothing is known of what was trained here, \
                 and all is trained again"
            ));
            aside |= set_all_aside(&folder)?;
        }
        for Damage { file, what } in set_intruders_aside(&folder)? {
            notes.push(format!("{file}: {what}; it is made again"));
            aside = true;
        }
        if aside {
            notes.push(format!("what is left of damaged files is in {}", folder.join(ASIDE).display()));
        }
        Ok(notes)
    }

    fn forget(&mut self, damage: &[Damage]) -> Vec<String> {
        damage::forget(&mut self.manifest, damage, &self.plan, &self.numerics)
    }

    fn wants_any(&self) -> bool {
        self.plan.trials.iter().enumerate().any(|(index, trial)| self.is_wanted(index, trial))
    }

    /// Replaces the copy of the manifest.
    pub(crate) fn back_up(&mut self) -> Result<(), StoreError> {
        self.backed_up = Instant::now();
        self.manifest.back_up(&self.folder)
    }

    /// True if the folder has all that a run of the plan would leave.
    fn is_complete(&self) -> bool {
        let is_there = |name: &str, batch: TrialsBatch| {
            let entry = self.entry_of_trials(batch);
            entry.is_some() && self.manifest.files.get(name) == entry.as_ref()
        };
        if self.wants_any() {
            return false;
        }
        let digest = compact::layout_digest(&self.plan, &self.columns, &self.manifest);
        compact::is_compacted(&self.plan, &digest, &self.manifest)
            && is_there("trials.parquet", trials::trials_batch)
            && is_there("timings.parquet", trials::timings_batch)
    }

    /// True if the folder's spec and plan are those of `run`.
    fn has_recipe(&self, run: &RunInfo) -> bool {
        let sets = self.manifest.runs.last().map(|record| &record.info.sets);
        sets == Some(&run.sets)
            && files::holds(&self.folder.join(SPEC), |out| out.write_all(run.spec.text.as_bytes()))
            && run
                .spec
                .tables
                .iter()
                .all(|(path, text)| files::holds(&self.folder.join(path), |out| out.write_all(text.as_bytes())))
            && files::holds(&self.folder.join(PLAN), write_plan(&self.plan))
    }
}

/// Writes `spec.toml`, after the tables that it names, and deletes those that it does not. Returns what the manifest is to say
/// of them.
fn write_spec(folder: &Path, spec: &KeptSpec) -> Result<Vec<(String, FileEntry)>, StoreError> {
    let directory = folder.join(TABLES);
    if !spec.tables.is_empty() {
        files::create_directory(&directory)?;
    }
    let mut written = Vec::new();
    for (path, text) in &spec.tables {
        let entry = files::write_atomically_with(&folder.join(path), |out| out.write_all(text.as_bytes()))?;
        written.push((path.clone(), entry));
    }
    let entry = files::write_atomically_with(&folder.join(SPEC), |out| out.write_all(spec.text.as_bytes()))?;
    written.push((SPEC.to_owned(), entry));
    if directory.exists() {
        for name in files::names(&directory)? {
            let is_ours = name.get(..TABLE_DIGITS).is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
                && name[TABLE_DIGITS..].starts_with('-');
            if is_ours && !spec.tables.contains_key(&format!("{TABLES}/{name}")) {
                files::remove(directory.join(name))?;
            }
        }
    }
    Ok(written)
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
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

fn builds_of_trials(plan: &Plan, run: &RunInfo) -> Vec<Option<Arc<str>>> {
    let mut builds = vec![None; plan.trials.len()];
    for (group, build) in plan.groups.iter().zip(&run.builds) {
        let build: Arc<str> = build.as_str().into();
        for &trial in &group.trials {
            if let Some(slot) = builds.get_mut(trial) {
                *slot = Some(Arc::clone(&build));
            }
        }
    }
    builds
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
