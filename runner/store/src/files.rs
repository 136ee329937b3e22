//! Files that appear whole or not at all: written under a temporary name, closed, synced, renamed.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use clr_system::regular;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::StoreError;
use super::names::ASIDE;
use crate::holder::Holder;

/// A file's entry in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub rows: u64,
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub blake3: String,
    /// True in an excerpt, which tells of the file and does not hold it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
}

impl FileEntry {
    /// Of a file of these bytes that has no rows.
    pub fn of(bytes: &[u8]) -> FileEntry {
        FileEntry {
            rows: 0,
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
            left_out: false,
        }
    }
}

/// A Parquet file being written under a temporary name.
pub struct ParquetFile {
    writer: ArrowWriter<Digesting<File>>,
    temporary: TempPath,
    rows: u64,
}

/// A Parquet file that is complete and synced but has no name yet. Dropping it deletes it.
pub struct Unnamed {
    temporary: TempPath,
    pub entry: FileEntry,
}

impl ParquetFile {
    /// A file that will live in `directory`.
    pub fn create(
        directory: &Path,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<ParquetFile, StoreError> {
        let (file, temporary) = temporary(directory)?;
        let digesting = Digesting::new(file);
        let writer = ArrowWriter::try_new(digesting, schema, Some(properties))
            .map_err(|source| StoreError::parquet(&temporary, source))?;
        Ok(ParquetFile { writer, temporary, rows: 0 })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|source| StoreError::parquet(&self.temporary, source))
    }

    pub fn close(self) -> Result<Unnamed, StoreError> {
        let ParquetFile { writer, temporary, rows } = self;
        let digesting = writer.into_inner().map_err(|source| StoreError::parquet(&temporary, source))?;
        digesting.inner.sync_all().map_err(|source| StoreError::io("sync", &temporary, source))?;
        Ok(Unnamed { temporary, entry: digesting.entry(rows) })
    }
}

impl Unnamed {
    /// Gives the file its name, replacing what has it. The caller syncs the directory.
    pub fn rename(self, path: &Path) -> Result<FileEntry, StoreError> {
        rename(self.temporary, path)?;
        Ok(self.entry)
    }
}

/// The manifest's entry for a file that held `batches`. Writes nothing. None where a batch is none.
pub fn entry_of(
    schema: SchemaRef,
    properties: WriterProperties,
    batches: impl Iterator<Item = Option<RecordBatch>>,
) -> Result<Option<FileEntry>, ParquetError> {
    let mut writer = ArrowWriter::try_new(Digesting::new(io::sink()), schema, Some(properties))?;
    let mut rows = 0;
    for batch in batches {
        let Some(batch) = batch else { return Ok(None) };
        writer.write(&batch)?;
        rows += batch.num_rows() as u64;
    }
    Ok(Some(writer.into_inner()?.entry(rows)))
}

/// Hashes what it writes.
pub struct Digesting<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W> Digesting<W> {
    pub fn new(inner: W) -> Digesting<W> {
        Digesting { inner, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// The manifest's entry for the bytes written so far.
    pub fn entry(&self, rows: u64) -> FileEntry {
        FileEntry { rows, bytes: self.bytes, blake3: self.hasher.finalize().to_hex().to_string(), left_out: false }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes `bytes` to `path` so that a reader sees the old content or the new, even after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_whole(path, bytes)?;
    sync_directory(directory_of(path))
}

/// As [`write_atomically`], of what `write` writes, which need not be in memory at once. Returns what the manifest would say
/// of the file.
pub fn write_atomically_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<FileEntry, StoreError> {
    let (file, temporary) = temporary(directory_of(path))?;
    let mut out = Digesting::new(BufWriter::with_capacity(1 << 16, file));
    write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| out.inner.get_ref().sync_all())
        .map_err(|source| StoreError::io("write", path, source))?;
    rename(temporary, path)?;
    sync_directory(directory_of(path))?;
    Ok(out.entry(0))
}

/// As [`write_atomically_with`], of what `write` reads elsewhere: an error of its own is no fault of the file that is written.
pub fn write_atomically_from(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
) -> Result<FileEntry, StoreError> {
    let mut failure = None;
    let result = write_atomically_with(path, |out| {
        write(out).map_err(|error| {
            let at_writing = io::Error::other(error.to_string());
            failure = Some(error);
            at_writing
        })
    });
    failure.map_or(result, Err)
}

/// True if a file holds what `write` writes and nothing else. One that cannot be read does not.
pub fn holds(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> bool {
    let Ok(file) = regular::open(path) else { return false };
    let mut comparing = Comparing(BufReader::new(file));
    write(&mut comparing).is_ok() && comparing.0.fill_buf().is_ok_and(<[u8]>::is_empty)
}

/// Takes what its file holds, and nothing else.
struct Comparing(BufReader<File>);

impl Write for Comparing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let held = self.0.fill_buf()?;
        let count = held.len().min(bytes.len());
        if held[..count] != bytes[..count] {
            return Err(io::Error::other("other bytes"));
        }
        self.0.consume(count);
        // Where the file ends before, none: an error to whoever has more to write.
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `bytes` to `path` so that a reader sees the old content or the new. The caller syncs the directory.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (mut file, temporary) = temporary(directory_of(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| StoreError::io("write", path, source))?;
    rename(temporary, path)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Moves a file, or whatever has its place, to the folder of what is damaged. Returns whether there was something.
pub fn set_aside(folder: &Path, path: &str) -> Result<bool, StoreError> {
    let from = folder.join(path);
    if fs::symlink_metadata(&from).is_err() {
        return Ok(false);
    }
    create_directory(&folder.join(ASIDE))?;
    let name = path.replace('/', "-");
    let free = |name: &String| fs::symlink_metadata(folder.join(ASIDE).join(name)).is_err();
    let numbered = (2u32..).map(|number| format!("{name}-{number}"));
    let Some(name) = std::iter::once(name.clone()).chain(numbered).find(free) else { return Ok(false) };
    move_to(&from, &folder.join(ASIDE).join(name))?;
    Ok(true)
}

/// How a folder can take the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The two change places in one operation.
    Exchange,
    /// The one is moved away, then the other to its place.
    Renames,
    /// File by file.
    OneByOne,
}

/// Lets two folders change places in one operation. False: the system or the file system has none.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub fn exchange(one: &Path, other: &Path) -> Result<bool, StoreError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    operation().map_err(|source| StoreError::io("rename", other, source))?;
    let lacks = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::XDEV];
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(error) if lacks.contains(&error) => Ok(false),
        Err(error) => Err(StoreError::io("rename", other, error.into())),
    }
}

/// There is no such operation.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn exchange(_: &Path, _: &Path) -> Result<bool, StoreError> {
    Ok(false)
}

/// Moves what has one name to another, which is free.
pub fn move_to(from: &Path, to: &Path) -> Result<(), StoreError> {
    operation().and_then(|()| fs::rename(from, to)).map_err(|source| StoreError::io("move", from, source))
}

fn rename(temporary: TempPath, path: &Path) -> Result<(), StoreError> {
    operation().map_err(|source| StoreError::io("rename", path, source))?;
    temporary.persist(path).map_err(|error| StoreError::io("rename", path, error.error))
}

/// Called before everything that changes what names there are. Tests cut a run off here.
#[cfg(not(test))]
fn operation() -> io::Result<()> {
    Ok(())
}

/// The best that may be tried.
#[cfg(not(test))]
pub fn best_way() -> Way {
    Way::Exchange
}

#[cfg(test)]
pub use cut::best_way;
#[cfg(test)]
use cut::operation;

/// Makes renames and deletions in `directory` last.
pub fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    // Only Unix can open a directory; elsewhere the file system orders its metadata by itself.
    if cfg!(unix) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| StoreError::io("sync", directory, source))?;
    }
    Ok(())
}

/// The lock of an output folder, until it is dropped or the process ends, however it ends.
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process between its fork and its exec has a copy of it.
        let _ = self.0.unlock();
    }
}

/// The name of a lock's file.
pub const LOCK: &str = ".lock";

/// Takes the lock of an output folder.
///
/// The file says who has it, for the message of whoever comes second; only the lock itself counts.
pub fn lock(folder: &Path) -> Result<Lock, StoreError> {
    let path = folder.join(LOCK);
    let mut file = regular::open_with(File::options().create(true).truncate(false).read(true).write(true), &path)
        .map_err(|source| StoreError::io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {
            let holder = serde_json::to_vec(&Holder::this()).unwrap_or_default();
            // Without it the lock is as good.
            let _ = file.set_len(0).and_then(|()| file.write_all(&holder));
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Locked { folder: folder.to_owned(), holder: holder(&file).map(Box::new) })
        }
        Err(TryLockError::Error(source)) => Err(StoreError::io("lock", &path, source)),
    }
}

/// Whom the file of a lock names, unless that is being written.
fn holder(file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.take(1 << 16).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The BLAKE3 hash of a file, in hexadecimal.
pub fn digest(path: &Path) -> io::Result<String> {
    regular::digest(path, u64::MAX)
}

/// The names of the files in a folder, sorted.
pub fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let wrap = |source| StoreError::io("list", directory, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrap)? {
        names.extend(entry.map_err(wrap)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

pub fn create_directory(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| StoreError::io("create", path, source))
}

pub fn remove(path: PathBuf) -> Result<(), StoreError> {
    operation().map_err(|source| StoreError::io("delete", &path, source))?;
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::io("delete", &path, source)),
        _ => Ok(()),
    }
}

/// Deletes a folder that is empty, or a link to one.
pub fn remove_directory(path: &Path) -> Result<(), StoreError> {
    operation()
        .and_then(|()| match fs::remove_dir(path) {
            Err(source) if source.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
            removed => removed,
        })
        .map_err(|source| StoreError::io("delete", path, source))
}

/// The end of temporary names; no reader's `*.parquet` matches it.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

fn temporary(directory: &Path) -> Result<(File, TempPath), StoreError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(TEMPORARY_SUFFIX);
    // The crate's default is for secrets (0600); results are as readable as any other file the user makes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file =
        builder.tempfile_in(directory).map_err(|source| StoreError::io("create a file in", directory, source))?;
    Ok(file.into_parts())
}

/// A run that is watched, or cut off after so many operations on files, in the thread of a test.
#[cfg(test)]
pub mod cut {
    use std::cell::{Cell, RefCell};
    use std::io;

    use super::Way;

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
        static BEST_WAY: Cell<Way> = const { Cell::new(Way::Exchange) };
        static WATCH: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    }

    /// Calls `watch` before each operation.
    pub fn watch(watch: Option<Box<dyn FnMut()>>) {
        WATCH.set(watch);
    }

    /// No better way is tried.
    pub fn only(way: Way) {
        BEST_WAY.set(way);
    }

    pub fn best_way() -> Way {
        BEST_WAY.get()
    }

    /// In this thread, all but the next `count` operations fail.
    pub fn after(count: usize) {
        LEFT.set(count);
    }

    pub(super) fn operation() -> io::Result<()> {
        WATCH.with_borrow_mut(|watch| watch.iter_mut().for_each(|watch| watch()));
        let left = LEFT.get().checked_sub(1).ok_or_else(|| io::Error::other("cut off"))?;
        LEFT.set(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_though_a_forked_child_still_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(StoreError::Locked { .. })));
        // What a child has between its fork and its exec: another descriptor of the same open file.
        let of_child = held.0.try_clone().unwrap();
        drop(held);
        lock(folder.path()).unwrap();
        drop(of_child);
    }
}
