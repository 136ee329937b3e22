//! The parts of the manifest that an output's state is told from. What is else in it is skipped, which is quick.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use clr_store::files::FileEntry;
use clr_store::manifest::NAME;
use clr_store::sound::{self, Depth};
use clr_store::{Numbers, Status, swap};
use clr_system::regular::{self, LARGEST_RECORD};
use serde::Deserialize;

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
    /// That of the output `folder`, none where it is not there, or why it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Option<ManifestFile>> {
        let bytes = match regular::read(&folder.join(NAME), LARGEST_RECORD) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
    }

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
