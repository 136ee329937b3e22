//! `manifest.json`: the truth about which files count, which trials are done, and where their rows are.
//!
//! It is replaced atomically. A file that it does not list does not exist, whatever the folder shows; a trial's rows are
//! those of its segments and no others. So no crash, at any instant, leaves a gap or a duplicate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, FileEntry};
use super::result::{Numbers, Status};
use super::schema::{FORMAT, Table};
use super::{RunInfo, StoreError};

/// The content of `manifest.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
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
    pub trials: BTreeMap<String, TrialRecord>,
}

/// One command that wrote here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// RFC 3339, UTC.
    pub started: String,
    /// Null if it was cut off.
    pub ended: Option<String>,
    #[serde(flatten)]
    pub info: RunHistory,
}

/// What a run's record keeps of [`RunInfo`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunHistory {
    pub command: Vec<String>,
    pub directory: String,
    pub jobs: usize,
    pub devices: Vec<String>,
    pub versions: BTreeMap<String, String>,
    /// The distinct numerics of the groups.
    pub numerics: BTreeSet<String>,
}

impl RunHistory {
    pub(crate) fn of(info: &RunInfo) -> RunHistory {
        RunHistory {
            command: info.command.clone(),
            directory: std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
            jobs: info.jobs,
            devices: info.devices.clone(),
            versions: info.versions.clone(),
            numerics: info.numerics.iter().cloned().collect(),
        }
    }
}

/// What became of a trial.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TrialRecord {
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerics: Option<String>,
    pub attempts: u32,
    /// RFC 3339, UTC: when the attempt that counts began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    #[serde(default)]
    pub numbers: Numbers,
    #[serde(default)]
    pub metrics: Vec<Segment>,
    #[serde(default)]
    pub evals: Vec<Segment>,
}

impl TrialRecord {
    pub(crate) fn segments(&self, table: Table) -> &[Segment] {
        match table {
            Table::Metrics => &self.metrics,
            Table::Evals => &self.evals,
        }
    }

    pub(crate) fn segments_mut(&mut self, table: Table) -> &mut Vec<Segment> {
        match table {
            Table::Metrics => &mut self.metrics,
            Table::Evals => &mut self.evals,
        }
    }
}

/// Consecutive rows of one file: (path, first row, row count).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment(pub String, pub u64, pub u64);

impl Segment {
    /// Whether the rows are in a compacted file of `table`, not in a part.
    pub(crate) fn is_compacted(&self, table: Table) -> bool {
        self.0.strip_prefix(table.name()).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl Manifest {
    pub(crate) fn new(name: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            name: name.to_owned(),
            runs: Vec::new(),
            layout: None,
            next_part: 0,
            files: BTreeMap::new(),
            trials: BTreeMap::new(),
        }
    }

    /// Reads the manifest of `folder`, if it has one, and checks that what it lists is there.
    pub(crate) fn load(folder: &Path) -> Result<Option<Manifest>, StoreError> {
        let path = folder.join("manifest.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let malformed = |message: String| StoreError::Manifest { path: path.clone(), message };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(StoreError::Format { path, found: format }),
            None => return Err(malformed("it has no `format`".to_owned())),
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        manifest.check(folder).map(|()| Some(manifest))
    }

    /// Every segment must lie within a listed file, and every such file be there at its length.
    fn check(&self, folder: &Path) -> Result<(), StoreError> {
        for (id, record) in &self.trials {
            for Segment(file, first, count) in record.metrics.iter().chain(&record.evals) {
                let rows = self.files.get(file).map_or(0, |entry| entry.rows);
                if first.checked_add(*count).is_none_or(|end| end > rows) {
                    return Err(StoreError::Manifest {
                        path: folder.join("manifest.json"),
                        message: format!("trial {id} has rows {first}..+{count} in `{file}`, which it does not list"),
                    });
                }
            }
        }
        for file in self.used_files() {
            let path = folder.join(file);
            let found = fs::metadata(&path).map_err(|source| StoreError::Missing { path: path.clone(), source })?.len();
            let entry = &self.files[file];
            if found != entry.bytes {
                return Err(StoreError::Corrupt { path, what: format!("{found} bytes instead of {}", entry.bytes) });
            }
        }
        Ok(())
    }

    /// The files that hold rows of some trial.
    pub(crate) fn used_files(&self) -> BTreeSet<&str> {
        let records = self.trials.values();
        records.flat_map(|record| record.metrics.iter().chain(&record.evals)).map(|segment| &*segment.0).collect()
    }

    /// Replaces the manifest of `folder`.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join("manifest.json");
        let text = self.to_text().map_err(|error| StoreError::io("write", &path, error.into()))?;
        files::write_atomically(&path, text.as_bytes())
    }

    /// JSON with a line for each file and each trial, so that it can be read, searched and compared.
    fn to_text(&self) -> serde_json::Result<String> {
        fn lines<V: Serialize>(map: &BTreeMap<String, V>) -> serde_json::Result<String> {
            let mut lines = Vec::with_capacity(map.len());
            for (key, value) in map {
                lines.push(format!("\n    {}: {}", serde_json::to_string(key)?, serde_json::to_string(value)?));
            }
            Ok(if lines.is_empty() { "{}".to_owned() } else { format!("{{{}\n  }}", lines.join(",")) })
        }
        let runs: Vec<String> = self.runs.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        Ok(format!(
            "{{\n  \"format\": {},\n  \"name\": {},\n  \"layout\": {},\n  \"next_part\": {},\n  \"runs\": [\n    {}\n  ],\n  \"files\": {},\n  \"trials\": {}\n}}\n",
            self.format,
            serde_json::to_string(&self.name)?,
            serde_json::to_string(&self.layout)?,
            self.next_part,
            runs.join(",\n    "),
            lines(&self.files)?,
            lines(&self.trials)?,
        ))
    }
}
