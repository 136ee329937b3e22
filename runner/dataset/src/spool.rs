//! Pixels that come one image after the other: kept in memory up to a limit, and beyond it in a temporary file, so that a
//! set may be larger than the memory.
//!
//! The file has no name: it is gone when the last who reads it is done, also after a crash. It is in the folder of the cache,
//! where the set will be in the end, since a folder for temporary files may be memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::DatasetError;
use super::map::Map;
use super::{Bytes, places};

/// Bytes that one spool keeps in memory. In tests so few that they go both ways.
const MOST: usize = if cfg!(test) { 1 << 10 } else { 256 << 20 };

/// Grows by whole images.
#[derive(Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl Spool {
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), DatasetError> {
        if self.file.is_none() && self.memory.len() + bytes.len() > MOST {
            let mut file = BufWriter::with_capacity(1 << 20, temporary()?);
            file.write_all(&self.memory).map_err(failed)?;
            (self.memory, self.file) = (Vec::new(), Some(file));
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(failed),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// All that came.
    pub fn finish(self) -> Result<Bytes, DatasetError> {
        let Some(file) = self.file else { return Ok(self.memory.into()) };
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        let map = Arc::new(Map::new(&file).map_err(failed)?);
        let all = 0..map.len();
        Bytes::mapped(map, all).ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))
    }
}

fn temporary() -> Result<File, DatasetError> {
    let in_cache = places::cache_dir().and_then(|folder| {
        std::fs::create_dir_all(&folder).ok()?;
        tempfile::tempfile_in(folder).ok()
    });
    in_cache.map_or_else(tempfile::tempfile, Ok).map_err(failed)
}

fn failed(cause: io::Error) -> DatasetError {
    let folder = places::cache_dir();
    DatasetError::io(folder.as_deref().unwrap_or(Path::new("a temporary file")))(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_what_came_in_memory_or_in_a_file() {
        for images in [0usize, 3, 10, 11, 500] {
            let mut spool = Spool::default();
            let mut expected = Vec::new();
            for image in 0..images {
                let image = [image as u8; 100];
                spool.extend(&image).unwrap();
                expected.extend(image);
            }
            let found = spool.finish().unwrap();
            assert_eq!(*found, *expected, "{images}");
            assert_eq!(found.is_mapped(), images > 10, "{images}");
        }
    }
}
