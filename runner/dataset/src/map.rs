//! A file mapped into memory, read-only: the one unsafe step of the dataset's cache.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A whole file in the address space, shared by every process that maps it.
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps a file of the cache.
    pub fn new(file: &File) -> io::Result<Map> {
        // SAFETY: a mapping is sound as long as nothing changes the file beneath it. Cache files are written under a
        // temporary name and renamed when complete, never written in place, and replaced by renaming another file over
        // them, which leaves a mapped one as it is. Only someone who edits the cache by hand could break this. The files of
        // [`super::spool`] have no name, and are complete before they are mapped.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Map(map))
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
