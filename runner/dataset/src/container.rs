//! Named files out of a folder or a `.tar.gz`: CIFAR's archives are read as they were downloaded.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clr_system::regular;
use flate2::bufread::MultiGzDecoder;

use super::error::{DatasetError, Place};

/// More than any file of a published archive has (the largest is CIFAR-100's training set, 154 MB).
const LARGEST_FILE: u64 = 1 << 28;
/// More than any of the archives unpacks to (CIFAR-100's, 186 MB).
const LARGEST_ARCHIVE: u64 = 1 << 30;

/// A folder, or an archive whose wanted files were read into memory.
pub(super) enum Container {
    Folder(PathBuf),
    Archive { path: PathBuf, files: HashMap<String, Vec<u8>> },
}

impl Container {
    /// Opens a folder, or reads the files `wanted` out of an archive, whatever folder of it they are in.
    pub fn open(path: &Path, wanted: &[&str]) -> Result<Container, DatasetError> {
        if path.is_dir() {
            return Ok(Container::Folder(path.to_owned()));
        }
        let file = regular::open(path).map_err(DatasetError::io(path))?;
        let mut unpacked = MultiGzDecoder::new(BufReader::new(file)).take(LARGEST_ARCHIVE);
        let files = unpack(&mut unpacked, wanted).and_then(|files| {
            // The check sum follows the archive's last block.
            std::io::copy(&mut unpacked, &mut std::io::sink())?;
            Ok(files)
        });
        let at = LARGEST_ARCHIVE - unpacked.limit();
        let files = files.map_err(|error| {
            let file = path.display().to_string();
            DatasetError::malformed(file, Place::Byte(at), "a gzip-compressed tar archive", error.to_string())
        })?;
        Ok(Container::Archive { path: path.to_owned(), files })
    }

    /// The whole of a file.
    pub fn take(&mut self, name: &str) -> Result<Vec<u8>, DatasetError> {
        match self {
            Container::Folder(folder) => read(&folder.join(name)),
            Container::Archive { path, files } => files.remove(name).ok_or_else(|| {
                let file = path.display().to_string();
                DatasetError::malformed(file, Place::File, format!("a file `{name}` in the archive"), "none")
            }),
        }
    }

    /// A file that need not be there.
    pub fn take_if_there(&mut self, name: &str) -> Result<Option<Vec<u8>>, DatasetError> {
        let there = match self {
            Container::Folder(folder) => folder.join(name).exists(),
            Container::Archive { files, .. } => files.contains_key(name),
        };
        if there { self.take(name).map(Some) } else { Ok(None) }
    }

    /// The name of a file in messages.
    pub fn label(&self, name: &str) -> String {
        match self {
            Container::Folder(folder) => folder.join(name).display().to_string(),
            Container::Archive { path, .. } => format!("{}: {name}", path.display()),
        }
    }
}

/// Reads a file that is not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular::read(path, LARGEST_FILE).map_err(DatasetError::io(path))
}

fn unpack(archive: &mut impl Read, wanted: &[&str]) -> std::io::Result<HashMap<String, Vec<u8>>> {
    let mut files = HashMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let Some(name) = entry.path()?.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if !entry.header().entry_type().is_file() || !wanted.contains(&name.as_str()) {
            continue;
        }
        let size = entry.size();
        if size > LARGEST_FILE {
            return Err(std::io::Error::other(format!("a file `{name}` of {size} bytes")));
        }
        // Grown as bytes arrive: a size in a header is no reason to allocate it.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(std::io::Error::other(format!("{} of {size} bytes of `{name}`", bytes.len())));
        }
        files.insert(name, bytes);
    }
    Ok(files)
}
