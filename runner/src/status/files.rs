//! The parts of an output's files that its state is told from. What is else in them is skipped, which is quick: the plan of
//! ten thousand trials is 10 MB.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use clr_plan::{Axis, AxisKind, AxisValue};
use clr_store::files::FileEntry;
use clr_store::sound::{self, Depth};
use clr_store::{Numbers, Status, swap};
use clr_system::regular::{self, LARGEST_RECORD};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The fields of `plan.json` that are read.
#[derive(Debug, Deserialize)]
pub struct PlanFile {
    #[serde(default)]
    pub axes: Vec<PlannedAxis>,
    #[serde(default)]
    pub trials: Vec<PlannedTrial>,
}

/// An axis of `plan.json`.
#[derive(Debug, Deserialize)]
pub struct PlannedAxis {
    pub name: String,
    #[serde(default)]
    pub kind: String,
}

/// A trial of `plan.json`.
#[derive(Debug, Deserialize)]
pub struct PlannedTrial {
    pub id: String,
    pub label: String,
    pub iterations: u64,
    /// By name of the axis.
    #[serde(default)]
    pub axes: HashMap<String, serde_json::Value>,
}

impl PlannedAxis {
    /// As in a plan.
    pub fn axis(&self) -> Axis {
        let kind = match self.kind.as_str() {
            "integer" => AxisKind::Integer,
            "float" => AxisKind::Float,
            "boolean" => AxisKind::Boolean,
            _ => AxisKind::Text,
        };
        Axis { name: self.name.clone(), kind }
    }
}

impl PlannedTrial {
    /// Its value of an axis.
    pub fn value(&self, axis: &Axis) -> Option<AxisValue> {
        let value = self.axes.get(&axis.name)?;
        match axis.kind {
            AxisKind::Integer => value.as_i64().map(AxisValue::Integer),
            AxisKind::Float => value.as_f64().map(AxisValue::Float),
            AxisKind::Boolean => value.as_bool().map(AxisValue::Boolean),
            AxisKind::Text => value.as_str().map(|text| AxisValue::Text(text.into())),
        }
    }
}

/// The fields of `manifest.json` that are read.
#[derive(Debug, Default, Deserialize)]
pub struct ManifestFile {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub trials: HashMap<String, KnownTrial>,
    #[serde(default)]
    pub unfinished: HashMap<String, SavedTrial>,
    /// By path in the folder.
    #[serde(default)]
    pub files: BTreeMap<String, FileEntry>,
}

impl ManifestFile {
    /// The damage of the files that it lists in `folder`, as far as that shows without reading them to their ends: of each
    /// its presence, its length and, of a table, its footer.
    pub fn damage(&self, folder: &Path) -> Vec<String> {
        let problem = |(file, entry): (&String, &FileEntry)| {
            let what = sound::check(&swap::locate(folder, file), entry, Depth::Footer).err()?;
            Some(format!("{file}: {what}"))
        };
        self.files.iter().filter_map(problem).collect()
    }
}

/// A trial of `manifest.json`.
#[derive(Debug, Deserialize)]
pub struct KnownTrial {
    pub status: Status,
    #[serde(default)]
    pub label: String,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub numbers: Numbers,
}

/// The checkpoint of an unfinished trial, in `manifest.json`.
#[derive(Debug, Deserialize)]
pub struct SavedTrial {
    pub step: u64,
}

/// A file of JSON, none where it is not there, or why it cannot be read.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let bytes = match regular::read(path, LARGEST_RECORD) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}
