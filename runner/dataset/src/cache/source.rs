//! Whether files still hold what was decoded from them.
//!
//! The truth is their *content*, a digest of every byte, which takes time for large files. So that it need not
//! be computed each time, the *state* stands for it: of each file the device, the inode, the size, and the times at which its content
//! and its entry in the file system were last changed. The system sets the last of these by its own clock whenever a file is
//! written, renamed or given another time, and no program can set it (`touch -r`, `cp -p` and `rsync -t` set the other one
//! back). Where states are equal, so is the content; where they differ (the files were copied, or a link to them was
//! made) the content is compared, and where it is the same, the new state is noted beside the cache file.
//!
//! A clock ticks some hundred times a second, and a file may be written twice within a tick. So files that were changed
//! within the last two seconds have no state yet, and neither has any file where there is no such time (on Windows): then it
//! is the content that is compared.

use std::cell::OnceCell;
use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clr_system::regular;
use rayon::prelude::*;

use super::super::error::DatasetError;
use super::temporary;

/// States that are noted of one cache file: as many machines may share it, each with a copy of the data.
const MOST_STATES: usize = 16;
/// Longer than so many lines.
const LONGEST_STATES: u64 = 1 << 13;

/// The files of a source.
pub(super) struct Origin {
    files: Vec<PathBuf>,
    /// Stands for the content of a set that has no files, and of one whose files' names matter, for these.
    published: String,
    state: Option<String>,
    content: OnceCell<String>,
}

impl Origin {
    /// Looks at the files' states, before anything is read.
    pub fn new(files: Vec<PathBuf>, published: String, now: SystemTime) -> Result<Origin, DatasetError> {
        let mut states = Some(published.clone());
        for path in &files {
            let metadata = std::fs::metadata(path).map_err(DatasetError::io(path))?;
            states = states.zip(state(&metadata, now)).map(|(all, one)| format!("{all}\n{one}"));
        }
        let state = states.map(|states| blake3::hash(states.as_bytes()).to_hex().to_string());
        Ok(Origin { files, published, state, content: OnceCell::new() })
    }

    /// The state of all files, where they have one.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// A digest of every byte. Read once.
    pub fn content(&self) -> Result<&str, DatasetError> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let files = &self.files;
        let digests: Vec<[u8; 32]> = clr_system::threads::install(|| {
            files.par_iter().map(|path| digest(path).map_err(DatasetError::io(path))).collect::<Result<_, _>>()
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.published.as_bytes()).update(digests.as_flattened());
        Ok(self.content.get_or_init(|| hasher.finalize().to_hex().to_string()))
    }
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = regular::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(count) => drop(hasher.update(&buffer[..count])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The state that a file is in `now`; none where it has none (see the head of this file).
#[cfg(unix)]
pub(super) fn state(metadata: &Metadata, now: SystemTime) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, UNIX_EPOCH};
    const SETTLED: Duration = Duration::from_secs(2);
    let settled = now.checked_sub(SETTLED)?.duration_since(UNIX_EPOCH).ok()?;
    let settled = (i64::try_from(settled.as_secs()).ok()?, i64::from(settled.subsec_nanos()));
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    (changed < settled).then(|| {
        let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.size());
        format!("{device} {inode} {size} {}.{} {}.{}", modified.0, modified.1, changed.0, changed.1)
    })
}

/// The state that a file is in `now`; none where it has none (see the head of this file).
#[cfg(not(unix))]
pub(super) fn state(_: &Metadata, _: SystemTime) -> Option<String> {
    None
}

/// True if files in this state are noted to have this content.
pub(super) fn is_known(states: &Path, state: Option<&str>, content: &str) -> bool {
    let Some(state) = state else { return false };
    noted(states).lines().any(|line| line.split_once(' ') == Some((state, content)))
}

/// Notes that files in this state have this content, in place of what is oldest.
pub(super) fn remember(states: &Path, state: &str, content: &str, name: &str) -> io::Result<()> {
    let folder = states.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let text = noted(states);
    let lines: Vec<&str> = text.lines().collect();
    let kept = &lines[lines.len().saturating_sub(MOST_STATES - 1)..];
    let mut temporary = temporary::create(folder, name)?;
    for line in kept {
        writeln!(temporary, "{line}")?;
    }
    writeln!(temporary, "{state} {content}")?;
    temporary.persist(states)?;
    Ok(())
}

/// The notes; empty if they cannot be read.
fn noted(states: &Path) -> String {
    regular::read_text(states, LONGEST_STATES).unwrap_or_default()
}
