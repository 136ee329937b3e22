//! `manifest.json`: the truth about which files count, which trials are done, and where their rows are.
//!
//! It is replaced atomically. A file that it does not list does not exist, whatever the folder shows; a trial's rows are
//! those of its segments and no others. So no crash, at any instant, leaves a gap or a duplicate.
//!
//! Its last line is its own digest, so that no damage passes for numbers, and `manifest.backup.json` is a copy of it, written
//! before files are deleted of which the copy still speaks. Where one of the two is damaged, the other counts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use clr_plan::{Plan, Trial, TrialId};
use clr_system::regular::{self, LARGEST_RECORD};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::files::{self, Digesting, FileEntry};
use super::names::is_checkpoint;
use super::result::{Numbers, Status, TrialResult};
use super::schema::Table;
use super::{RunInfo, StoreError};
use crate::names::{FAILED, FORMAT, OLDEST_FORMAT};
use crate::unsound::{Damage, Unsound};

pub const NAME: &str = "manifest.json";

/// The name of its copy.
pub const BACKUP: &str = "manifest.backup.json";

/// The content of `manifest.json`, but for its last line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub name: String,
    /// Every command that wrote here, oldest first.
    pub runs: Vec<RunRecord>,
    /// A hash of what `metrics/` and `evals/` were made from; null before the first compaction.
    pub layout: Option<String>,
    /// The number of the next sealed part.
    pub next_part: u64,
    /// By path in the folder, with `/`.
    pub files: BTreeMap<String, FileEntry>,
    /// By trial id. Holds trials of earlier specs too.
    pub trials: BTreeMap<TrialId, Box<TrialRecord>>,
    /// By trial id: what trials that were saved and are not over go on from.
    #[serde(default)]
    pub unfinished: BTreeMap<TrialId, UnfinishedRecord>,
}

/// By what it is known whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: serde_json::Value,
    /// A seal that is not the last line.
    #[serde(default)]
    blake3: Option<IgnoredAny>,
}

/// The beginning and end of the last line, which holds the digest of all before it.
const SEAL: (&str, &str) = (",\n  \"blake3\": \"", "\"\n}\n");

/// True if a manifest's bytes are those of its digest. None where there is none: earlier versions wrote none.
fn is_as_written(bytes: &[u8]) -> Option<bool> {
    let seal = SEAL.0.len() + 2 * blake3::OUT_LEN + SEAL.1.len();
    let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(seal)?)?;
    let digest = seal.strip_prefix(SEAL.0.as_bytes())?.strip_suffix(SEAL.1.as_bytes())?;
    Some(digest == blake3::hash(body).to_hex().as_bytes())
}

/// The manifest of a folder, wherever it was found.
pub struct Recovered {
    pub manifest: Manifest,
    /// The damage to `manifest.json`, whose copy counts then, or to the copy.
    pub damage: Option<Damage>,
}

/// One command that wrote here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    pub started: Timestamp,
    /// Null if it was cut off.
    pub ended: Option<Timestamp>,
    #[serde(flatten)]
    pub info: RunHistory,
}

/// The part of [`RunInfo`] that a run's record keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunHistory {
    pub command: Vec<String>,
    pub directory: String,
    /// The folder of the spec, in which tables of values are looked for where `spec.toml` is not whole.
    #[serde(default)]
    pub spec_folder: PathBuf,
    /// The arguments of `--set`.
    #[serde(default)]
    pub sets: Vec<String>,
    /// True if `spec.toml` has in it what `--set` changed, and names tables in the output.
    #[serde(default)]
    pub spec_is_whole: bool,
    /// The folders in which datasets were looked for.
    #[serde(default)]
    pub data: Vec<PathBuf>,
    pub jobs: usize,
    pub devices: Vec<String>,
    pub versions: BTreeMap<String, String>,
    /// The distinct numerics of the groups.
    pub numerics: BTreeSet<String>,
}

impl RunHistory {
    pub fn of(info: &RunInfo) -> RunHistory {
        RunHistory {
            command: info.command.clone(),
            directory: std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
            spec_folder: info.spec.folder.clone(),
            sets: info.sets.clone(),
            spec_is_whole: info.spec.is_whole,
            data: info.data.clone(),
            jobs: info.jobs,
            devices: info.devices.clone(),
            versions: info.versions.clone(),
            numerics: info.numerics.iter().cloned().collect(),
        }
    }
}

/// More rows than a file or a trial has (the most iterations of a trial are 10^12), so that sums of them fit.
const MOST_ROWS: u64 = 1 << 40;

/// More parts than are ever written.
const MOST_PARTS: u64 = 1 << 53;

/// A trial's outcome and the places of its rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TrialRecord {
    pub status: Status,
    /// As in the spec that ran it.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub label: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerics: Option<Arc<str>>,
    /// The digest of its plugin's file. None where that is not known, as in trials of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Arc<str>>,
    pub attempts: u32,
    /// When the attempt that counts began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    #[serde(default)]
    pub numbers: Numbers,
    /// The checkpoint that is kept: its path in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<str>>,
    /// The states at the ends of cycles, where they are kept: path and step, in order.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub cycles: Box<[(String, u64)]>,
    #[serde(default)]
    pub metrics: Segments,
    #[serde(default)]
    pub evals: Segments,
}

/// Of a trial of which nothing is known yet.
static UNKNOWN: LazyLock<TrialRecord> = LazyLock::new(TrialRecord::default);

/// Of most trials there is one, which so takes no allocation of its own.
pub type Segments = SmallVec<[Segment; 1]>;

impl TrialRecord {
    /// Wall time, whatever the file says.
    pub fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds.unwrap_or(0.0)).unwrap_or_default()
    }

    /// The record of a trial whose rows are lost: it was trained, no more is known.
    pub fn without_rows(&self) -> TrialRecord {
        TrialRecord {
            label: Arc::clone(&self.label),
            attempts: self.attempts,
            seconds: self.seconds,
            ..TrialRecord::default()
        }
    }

    /// True if anything is known of the trial.
    fn is_known(&self) -> bool {
        self.attempts > 0 || self.status != Status::Unfinished
    }

    /// Its name for people, where it may be of an earlier spec, or of a version that noted no labels.
    pub fn label_or(&self, id: TrialId) -> String {
        if self.label.is_empty() { id.to_string() } else { self.label.to_string() }
    }

    /// As the result of trial number `trial` of the plan.
    pub fn result(&self, trial: usize) -> TrialResult<'_> {
        TrialResult {
            trial,
            status: self.status,
            error: self.error.as_deref(),
            numerics: self.numerics.as_deref(),
            build: self.build.as_deref(),
            seconds: self.seconds,
            attempts: self.attempts,
            started: self.started,
            numbers: &self.numbers,
        }
    }

    pub fn segments(&self, table: Table) -> &[Segment] {
        match table {
            Table::Metrics => &self.metrics,
            Table::Evals => &self.evals,
        }
    }

    pub fn segments_mut(&mut self, table: Table) -> &mut Segments {
        match table {
            Table::Metrics => &mut self.metrics,
            Table::Evals => &mut self.evals,
        }
    }
}

/// The saved state that a trial goes on from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnfinishedRecord {
    /// Its path in the folder.
    pub checkpoint: String,
    /// The updates behind the checkpoint.
    pub step: u64,
    /// All evaluations that are due up to this step are in `evals`.
    pub evaluated: Option<u64>,
    pub numerics: String,
    /// As of a trial's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The path of the state at the best evaluation so far, where that is to be kept, and its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<(String, u64)>,
    /// The states at the ends of cycles so far, where they are to be kept: path and step, in order.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub cycles: Box<[(String, u64)]>,
    /// When the trial's first attempt began.
    pub started: Timestamp,
    /// Wall time up to the checkpoint.
    pub seconds: f64,
    /// `step` rows.
    pub metrics: Vec<Segment>,
    pub evals: Vec<Segment>,
}

impl UnfinishedRecord {
    pub fn segments(&self, table: Table) -> &[Segment] {
        match table {
            Table::Metrics => &self.metrics,
            Table::Evals => &self.evals,
        }
    }

    /// Wall time, whatever the file says.
    pub fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }
}

/// Consecutive rows of one file: (path, first row, row count).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment(pub Arc<str>, pub u64, pub u64);

impl Segment {
    /// True if the rows are in a compacted file of `table`, not in a part.
    pub fn is_compacted(&self, table: Table) -> bool {
        let below = |folder: &str, next: char| self.0.strip_prefix(folder).is_some_and(|rest| rest.starts_with(next));
        below(table.name(), '/') || below(&format!("{FAILED}/{}", table.name()), '-')
    }
}

impl Manifest {
    pub fn new(name: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            name: name.to_owned(),
            runs: Vec::new(),
            layout: None,
            next_part: 0,
            files: BTreeMap::new(),
            trials: BTreeMap::new(),
            unfinished: BTreeMap::new(),
        }
    }

    /// Reads the manifest of `folder`, if it has one, or the copy of one that is damaged. The files that it lists may be
    /// missing.
    ///
    /// # Errors
    ///
    /// Where neither can be read ([`StoreError::Manifest`]), or is of another format.
    pub fn recover(folder: &Path) -> Result<Option<Recovered>, StoreError> {
        let read = |name: &str| -> Result<Option<Manifest>, StoreError> {
            let Some(manifest) = Manifest::read(folder, name)? else { return Ok(None) };
            manifest.check(&folder.join(name))?;
            Ok(Some(manifest))
        };
        let damaged = |file: &str, what: String| Damage { file: file.to_owned(), what };
        let missing = || "it is missing".to_owned();
        match read(NAME) {
            Ok(Some(manifest)) => {
                let damage = manifest.backup_problem(folder).map(|what| damaged(BACKUP, what));
                Ok(Some(Recovered { manifest, damage }))
            }
            Ok(None) => Ok(read(BACKUP)?.map(|manifest| {
                let damage = Some(damaged(NAME, missing()));
                Recovered { manifest, damage }
            })),
            Err(StoreError::Manifest { path, message }) => match read(BACKUP) {
                Ok(Some(manifest)) => Ok(Some(Recovered { manifest, damage: Some(damaged(NAME, message)) })),
                _ => Err(StoreError::Manifest { path, message }),
            },
            Err(error) => Err(error),
        }
    }

    /// As [`recover`](Manifest::recover), for a reader.
    pub fn load(folder: &Path) -> Result<Option<Manifest>, StoreError> {
        Ok(Manifest::recover(folder)?.map(|recovered| recovered.manifest))
    }

    /// The problem with the copy of this manifest, which is that of `folder`. While a run goes on, the copy lags behind.
    pub fn backup_problem(&self, folder: &Path) -> Option<String> {
        let ours = read_file(&folder.join(NAME)).ok().flatten()?;
        let copy = match read_file(&folder.join(BACKUP)) {
            Ok(Some(copy)) => copy,
            // Earlier versions made none.
            Ok(None) => return is_as_written(&ours).map(|_| "it is missing".to_owned()),
            Err(unsound) => return Some(unsound.to_string()),
        };
        let may_lag = self.runs.last().is_some_and(|run| run.ended.is_none());
        match is_as_written(&copy) {
            _ if copy == ours => None,
            Some(true) if may_lag => None,
            Some(true) => Some("it is the copy of another manifest".to_owned()),
            _ => Some("its bytes have changed".to_owned()),
        }
    }

    /// Reads the manifest of `folder`, if it has one, and not its copy. Its paths may lead anywhere.
    pub fn parse(folder: &Path) -> Result<Option<Manifest>, StoreError> {
        Manifest::read(folder, NAME)
    }

    fn read(folder: &Path, name: &str) -> Result<Option<Manifest>, StoreError> {
        let path = folder.join(name);
        let malformed = |message: String| StoreError::Manifest { path: path.clone(), message };
        let bytes = match read_file(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(Unsound::Damaged(what)) => return Err(malformed(what)),
            Err(Unsound::Unreadable(error)) => return Err(StoreError::io("read", &path, error)),
        };
        let seal = is_as_written(&bytes);
        if seal == Some(false) {
            return Err(malformed(
                "its bytes have changed: they are not those of the digest in its last line".to_owned(),
            ));
        }
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if seal.is_none() && head.blake3.is_some() {
            return Err(malformed("its bytes have changed: its digest is not in its last line".to_owned()));
        }
        match head.format.as_u64() {
            Some(format) if (u64::from(OLDEST_FORMAT)..=u64::from(FORMAT)).contains(&format) => {}
            Some(format) => return Err(StoreError::Format { path, found: format }),
            None => return Err(malformed("it has no `format`".to_owned())),
        }
        let mut manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        manifest.infer_builds();
        manifest.share_names();
        Ok(Some(manifest))
    }

    /// Versions before format 2 noted the builds of plugins for each command alone: where those of all commands are one, it is
    /// that of all trials.
    fn infer_builds(&mut self) {
        if self.format >= 2 {
            return;
        }
        let mut builds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, version) in self.runs.iter().flat_map(|run| &run.info.versions) {
            if let (Some(plugin), Some((_, build))) = (name.strip_prefix("plugin "), version.split_once("blake3:")) {
                builds.entry(plugin).or_default().insert(build);
            }
        }
        let only = |numerics: &str| -> Option<String> {
            let mut builds = builds.get(numerics.split('/').next()?)?.iter();
            Some((*builds.next()?).to_owned()).filter(|_| builds.next().is_none())
        };
        for record in self.trials.values_mut() {
            record.build = record.numerics.as_deref().and_then(only).map(Arc::from);
        }
        for record in self.unfinished.values_mut() {
            record.build = only(&record.numerics);
        }
    }

    /// Gives equal names of files, numerics and builds one allocation.
    fn share_names(&mut self) {
        let mut known: HashSet<Arc<str>> = HashSet::new();
        let mut share = |name: &mut Arc<str>| match known.get(name) {
            Some(same) => *name = Arc::clone(same),
            None => drop(known.insert(Arc::clone(name))),
        };
        for record in self.trials.values_mut() {
            let segments = record.metrics.iter_mut().chain(&mut record.evals);
            segments
                .map(|segment| &mut segment.0)
                .chain(&mut record.numerics)
                .chain(&mut record.build)
                .for_each(&mut share);
        }
        for record in self.unfinished.values_mut() {
            record.metrics.iter_mut().chain(&mut record.evals).for_each(|segment| share(&mut segment.0));
        }
    }

    /// Names must stay in the folder, numbers be such that nothing listed is ever overwritten, every segment lie within a
    /// listed file and beside all others, and every checkpoint in its folder.
    fn check(&self, path: &Path) -> Result<(), StoreError> {
        let wrong = |message: String| StoreError::Manifest { path: path.to_owned(), message };
        for (name, entry) in &self.files {
            if !is_inside(name) {
                return Err(wrong(format!("it lists `{name}`, which is no file of this folder")));
            }
            if entry.rows > MOST_ROWS {
                return Err(wrong(format!("`{name}` has {} rows, more than there can be", entry.rows)));
            }
            if part_number(name).is_some_and(|number| number >= self.next_part) || self.next_part > MOST_PARTS {
                return Err(wrong(format!("the next part is {}, and it lists `{name}`", self.next_part)));
            }
        }
        let mut segments: Vec<(TrialId, &Segment)> = self.segments().collect();
        for (id, Segment(file, first, count)) in &segments {
            // No rows of a file that is not listed are too many as well.
            let rows = self.files.get(&**file).map(|entry| entry.rows);
            if first.checked_add(*count).is_none_or(|end| rows.is_none_or(|rows| end > rows)) {
                return Err(wrong(format!(
                    "trial {id} has rows {first}..+{count} in `{file}`, which it does not list"
                )));
            }
        }
        for (id, record) in &self.trials {
            let rows: u64 = record.metrics.iter().map(|segment| segment.2).sum();
            if record.numbers.rows > MOST_ROWS || (record.status.has_rows() && rows != record.numbers.rows) {
                let status = record.status.name();
                return Err(wrong(format!("trial {id}, {status}, has {rows} rows instead of {}", record.numbers.rows)));
            }
        }
        segments.sort_by_key(|(_, Segment(file, first, _))| (file, *first));
        // A trial that failed has its rows, and the first of them once more as those that it may go on from.
        let mut before: Option<(TrialId, &str, u64)> = None;
        for (next_id, Segment(file, next, count)) in &segments {
            let end = next + count;
            match before {
                Some((id, same, last)) if same == &**file && last > *next => {
                    if id != *next_id {
                        let both = format!("row {next} of `{file}` belongs to trial {id} and to trial {next_id}");
                        return Err(wrong(both));
                    }
                    before = Some((id, same, last.max(end)));
                }
                _ => before = Some((*next_id, file, end)),
            }
        }
        let ids = self.trials.keys().chain(self.unfinished.keys());
        for (id, path) in ids.flat_map(|id| self.checkpoints_of(*id).into_iter().map(move |path| (id, path))) {
            if !is_checkpoint(&path) {
                return Err(wrong(format!("trial {id} has a checkpoint `{path}`")));
            }
        }
        Ok(())
    }

    /// The problem with the record of a trial of the plan: one that is done has the rows that it should.
    pub fn record_problem(&self, trial: &Trial) -> Option<String> {
        let record = self.trials.get(&trial.id)?;
        let expected = match (record.status, record.numbers.diverged_at) {
            (Status::Finished, None) => trial.iterations,
            (Status::Diverged, Some(iteration)) if iteration < trial.iterations => iteration + 1,
            (Status::Finished | Status::Diverged, diverged_at) => {
                return Some(format!("it is {} and diverged at {diverged_at:?}", record.status.name()));
            }
            _ => return None,
        };
        let rows = record.numbers.rows;
        (rows != expected).then(|| format!("it has {rows} rows instead of {expected}"))
    }

    /// The results of `trials`, the first of which is number `first` of the plan.
    pub fn results<'m>(
        &'m self,
        trials: &'m [Trial],
        first: usize,
    ) -> impl Iterator<Item = TrialResult<'m>> + Clone + use<'m> {
        let record = |trial: &Trial| self.trials.get(&trial.id).map_or(&*UNKNOWN, |record| record);
        trials.iter().zip(first..).map(move |(trial, index)| record(trial).result(index))
    }

    /// Makes a record for every trial of `plan`, all at once, so that they lie side by side in memory: made one by one, each
    /// would stay behind alone where rows have come and gone, and the holes would be three times as large as the records.
    /// Those of trials that never started are not written.
    pub fn make_room(&mut self, plan: &Plan) {
        let mut trials: BTreeMap<_, _> = plan.trials.iter().map(|trial| (trial.id, Box::default())).collect();
        trials.append(&mut self.trials);
        self.trials = trials;
    }

    /// The trials that are known and that `plan` does not cover.
    pub fn uncovered(&self, plan: &Plan) -> impl Iterator<Item = (TrialId, &TrialRecord)> + use<'_> {
        let covered = plan.trials.iter().filter(|trial| self.trials.contains_key(&trial.id)).count();
        // Mostly there are none, and no set of ids need be made.
        let ids: Option<HashSet<TrialId>> =
            (covered < self.trials.len()).then(|| plan.trials.iter().map(|trial| trial.id).collect());
        let is_other = move |id: &TrialId| ids.as_ref().is_some_and(|ids| !ids.contains(id));
        self.trials.iter().filter(move |(id, _)| is_other(id)).map(|(id, record)| (*id, &**record))
    }

    /// True if files that it lists were left out on purpose.
    pub fn is_excerpt(&self) -> bool {
        self.files.values().any(|entry| entry.left_out)
    }

    /// True if rows of these segments were left out.
    pub fn leaves_out(&self, segments: &[Segment]) -> bool {
        segments.iter().any(|segment| self.files.get(&*segment.0).is_some_and(|entry| entry.left_out))
    }

    /// The files that hold rows of some trial.
    pub fn used_files(&self) -> BTreeSet<&str> {
        self.segments().map(|(_, segment)| &*segment.0).collect()
    }

    /// All segments, each with its trial's id.
    pub fn segments(&self) -> impl Iterator<Item = (TrialId, &Segment)> {
        let trials = self.trials.iter().map(|(id, record)| (id, &*record.metrics, &*record.evals));
        let unfinished = self.unfinished.iter().map(|(id, record)| (id, &*record.metrics, &*record.evals));
        trials
            .chain(unfinished)
            .flat_map(|(id, metrics, evals)| metrics.iter().chain(evals).map(move |segment| (*id, segment)))
    }

    /// The paths of a trial's checkpoints, kept and to go on from.
    pub fn checkpoints_of(&self, id: TrialId) -> BTreeSet<String> {
        let (record, unfinished) = (self.trials.get(&id), self.unfinished.get(&id));
        let kept = record.and_then(|record| record.checkpoint.as_deref().map(str::to_owned));
        let last = unfinished.map(|record| record.checkpoint.clone());
        let best = unfinished.and_then(|record| record.best.as_ref()).map(|(path, _)| path.clone());
        let cycles = record.map(|record| &record.cycles).into_iter().chain(unfinished.map(|record| &record.cycles));
        let cycles = cycles.flat_map(|cycles| cycles.iter().map(|(path, _)| path.clone()));
        [kept, last, best].into_iter().flatten().chain(cycles).collect()
    }

    /// Replaces the manifest of `folder`.
    pub fn save(&self, folder: &Path) -> Result<(), StoreError> {
        files::write_atomically_with(&folder.join(NAME), |out| self.write_sealed(out)).map(drop)
    }

    pub fn back_up(&self, folder: &Path) -> Result<(), StoreError> {
        files::write_atomically_with(&folder.join(BACKUP), |out| self.write_sealed(out)).map(drop)
    }

    fn write_sealed(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut digesting = Digesting::new(&mut *out);
        self.write(&mut digesting)?;
        let digest = digesting.entry(0).blake3;
        write!(out, "{}{digest}{}", SEAL.0, SEAL.1)
    }

    /// JSON with a line for each file and each trial, so that it can be read, searched and compared. Its end is the seal's.
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        fn lines<'m, K: Serialize + 'm, V: Serialize + 'm>(
            out: &mut dyn Write,
            name: &str,
            map: impl Iterator<Item = (&'m K, &'m V)>,
        ) -> io::Result<()> {
            write!(out, ",\n  \"{name}\": {{")?;
            let mut is_empty = true;
            for (key, value) in map {
                out.write_all(if is_empty { b"\n    " } else { b",\n    " })?;
                serde_json::to_writer(&mut *out, key)?;
                out.write_all(b": ")?;
                serde_json::to_writer(&mut *out, value)?;
                is_empty = false;
            }
            out.write_all(if is_empty { b"}" } else { b"\n  }" })
        }
        let [name, layout] = [serde_json::to_string(&self.name)?, serde_json::to_string(&self.layout)?];
        let runs: Vec<String> = self.runs.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        write!(out, "{{\n  \"format\": {},\n  \"name\": {name},\n  \"layout\": {layout},\n", self.format)?;
        write!(out, "  \"next_part\": {},\n  \"runs\": [\n    {}\n  ]", self.next_part, runs.join(",\n    "))?;
        lines(out, "files", self.files.iter())?;
        lines(out, "trials", self.trials.iter().filter(|(_, record)| record.is_known()))?;
        lines(out, "unfinished", self.unfinished.iter())
    }
}

/// The bytes of a file; none where there is none.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Unsound> {
    // What is read from a pipe would never end.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Unsound::Damaged("it is no file".to_owned())),
        Ok(_) => regular::read(path, LARGEST_RECORD).map(Some).map_err(Unsound::of),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unsound::of(error)),
    }
}

/// True if a path is that of a file in the output folder or in one of its folders.
fn is_inside(name: &str) -> bool {
    let components: Vec<Component<'_>> = Path::new(name).components().collect();
    (1..=2).contains(&components.len())
        && components.iter().all(|component| matches!(component, Component::Normal(_)))
        && !name.ends_with('/')
}

fn part_number(name: &str) -> Option<u64> {
    name.strip_prefix("parts/")?.strip_suffix(".parquet")?.rsplit_once('-')?.1.parse().ok()
}
