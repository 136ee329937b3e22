//! The cache: a dataset decoded once into one file, which every process maps into memory and shares.
//!
//! ```text
//! bytes
//!  0.. 8   magic "clr-data"
//!  8..12   version of this layout
//! 12..16   size of the metadata
//! 16..48   BLAKE3 of metadata, labels and stored orders
//! 48..     metadata: JSON, with names, sizes, digest and the fingerprint of the source
//!          labels of the training set, then of the test set (i32)
//!          stored order of the training set, then of the test set (u32)
//!          zeros up to a multiple of 4096
//!          images of the training set, then of the test set (uint8, NHWC)
//! ```
//!
//! All integers are little-endian. A file that does not fit in any respect (magic, version, length, check sum, another
//! source) is as good as none: the set is decoded again and the file replaced.
//!
//! What opening verifies is all but the images: the length of the file, the check sum over everything before them, that
//! labels are classes and stored orders permutations. So nothing can be indexed outside, and opening costs a
//! millisecond. Images are not read: a file is renamed into place only after it was written and synced whole, and
//! [`Dataset::computed_digest`] checks them for whoever suspects the disk.
//!
//! Whoever writes a temporary file holds its lock. One without a lock was left by a process that was killed, and the
//! next that opens a dataset deletes it ([`temporary`]).

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::error::DatasetError;
use super::search::Source;
use super::{Bytes, Dataset, Samples};
use crate::regular;

pub(super) mod map;
mod temporary;

const MAGIC: &[u8; 8] = b"clr-data";
/// Raised when the layout, the canonical order or the digest changes.
const VERSION: u32 = 1;
const HEADER: usize = 48;
/// Images start on a page, so that they are aligned for any kernel and any device's copy engine.
const PAGE: usize = 4096;

/// Where the cache of one source is, and what it must say to be that source's.
pub(super) struct Entry {
    path: PathBuf,
    name: String,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    name: String,
    digest: String,
    height: u32,
    width: u32,
    channels: u32,
    class_count: u32,
    class_names: Vec<String>,
    source: String,
    /// Of paths, sizes and modification times of the files that were decoded.
    fingerprint: String,
    train_count: u64,
    test_count: u64,
}

impl Entry {
    /// None for a set of which neither files nor a published digest say what it is. A generated set is kept as well:
    /// so all processes share its pages, and a worker does not spend a quarter of a second on it.
    pub fn new(folder: &Path, name: &str, source: &Source) -> Result<Option<Entry>, DatasetError> {
        let files = source.files()?;
        let digest = super::info(name).and_then(|known| known.digest);
        if files.is_empty() && digest.is_none() {
            return Ok(None);
        }
        // Each set of files has its own cache file, so that two copies of a set do not replace each other's; the
        // fingerprint within says whether they are still what was decoded.
        let mut place = blake3::Hasher::new();
        let mut state = blake3::Hasher::new();
        for path in &files {
            let absolute = std::path::absolute(path).map_err(DatasetError::io(path))?;
            let metadata = std::fs::metadata(path).map_err(DatasetError::io(path))?;
            let modified = metadata.modified().map_err(DatasetError::io(path))?;
            let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            let name = absolute.as_os_str().as_encoded_bytes();
            place.update(&(name.len() as u64).to_le_bytes()).update(name);
            state.update(&metadata.len().to_le_bytes()).update(&modified.to_le_bytes());
        }
        if files.is_empty() {
            state.update(digest.unwrap_or_default().as_bytes());
        }
        let place = place.finalize();
        let fingerprint = state.update(place.as_bytes()).finalize().to_hex().to_string();
        let path = folder.join(format!("{name}-{}.clrdata", &place.to_hex()[..16]));
        Ok(Some(Entry { path, name: name.to_owned(), fingerprint }))
    }

    /// The cached set, if there is a sound file of this very source. Clears the folder of what killed processes left.
    pub fn read(&self) -> Option<Dataset> {
        if let Some(folder) = self.path.parent() {
            temporary::remove_abandoned(folder);
        }
        let map = Arc::new(map::Map::new(&regular::open(&self.path).ok()?).ok()?);
        let dataset = parse(&map, &self.fingerprint)?;
        (dataset.name == self.name).then_some(dataset)
    }

    /// Writes the set: to a temporary name, synced, renamed.
    pub fn write(&self, dataset: &Dataset) -> io::Result<()> {
        let folder = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        std::fs::create_dir_all(folder)?;
        let temporary = temporary::create(folder, &self.name)?;
        let mut out = BufWriter::with_capacity(1 << 20, &temporary);
        write(&mut out, dataset, &self.fingerprint)?;
        out.flush()?;
        drop(out);
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        Ok(())
    }
}

pub(super) fn write(out: &mut impl Write, dataset: &Dataset, fingerprint: &str) -> io::Result<()> {
    let metadata = serde_json::to_vec(&Metadata {
        name: dataset.name.clone(),
        digest: dataset.digest.clone(),
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        class_names: dataset.class_names.to_vec(),
        source: dataset.source.clone(),
        fingerprint: fingerprint.to_owned(),
        train_count: dataset.train.count() as u64,
        test_count: dataset.test.count() as u64,
    })?;
    let mut tables = Vec::new();
    for samples in [&dataset.train, &dataset.test] {
        tables.extend(samples.labels.iter().flat_map(|label| label.to_le_bytes()));
    }
    for samples in [&dataset.train, &dataset.test] {
        tables.extend(samples.stored.iter().flat_map(|index| index.to_le_bytes()));
    }
    let checksum = *blake3::Hasher::new().update(&metadata).update(&tables).finalize().as_bytes();
    let used = HEADER + metadata.len() + tables.len();
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&u32::try_from(metadata.len()).map_err(io::Error::other)?.to_le_bytes())?;
    out.write_all(&checksum)?;
    out.write_all(&metadata)?;
    out.write_all(&tables)?;
    out.write_all(&vec![0; used.next_multiple_of(PAGE) - used])?;
    out.write_all(&dataset.train.images)?;
    out.write_all(&dataset.test.images)
}

/// The dataset in a mapped file, or none if anything about the file is not as it should be.
pub(super) fn parse(map: &Arc<map::Map>, fingerprint: &str) -> Option<Dataset> {
    let (header, rest) = map.split_at_checked(HEADER)?;
    let (magic, header) = header.split_at(MAGIC.len());
    let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    if magic != MAGIC || word(0)? != VERSION {
        return None;
    }
    let metadata_bytes = rest.get(..word(4)? as usize)?;
    let metadata: Metadata = serde_json::from_slice(metadata_bytes).ok()?;
    if metadata.fingerprint != fingerprint {
        return None;
    }

    let (train_count, test_count) =
        (usize::try_from(metadata.train_count).ok()?, usize::try_from(metadata.test_count).ok()?);
    let count = train_count.checked_add(test_count)?;
    let table_bytes = count.checked_mul(8)?;
    let image_bytes = [metadata.height, metadata.width, metadata.channels]
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size as usize))?;
    let names = metadata.class_names.len();
    if image_bytes == 0 || train_count == 0 || test_count == 0 || (names > 0 && names != metadata.class_count as usize)
    {
        return None;
    }
    let used = HEADER.checked_add(metadata_bytes.len())?.checked_add(table_bytes)?;
    let images = used.checked_next_multiple_of(PAGE)?;
    if images.checked_add(count.checked_mul(image_bytes)?)? != map.len() {
        return None;
    }
    let tables = &map[used - table_bytes..used];
    if blake3::Hasher::new().update(metadata_bytes).update(tables).finalize().as_bytes()[..] != header[8..] {
        return None;
    }

    let (words, []) = tables.as_chunks::<4>() else { return None };
    let (labels, stored) = words.split_at(count);
    let samples = |first: usize, count: usize| {
        let range = first..first + count;
        Some(Samples {
            images: Bytes::mapped(map.clone(), images + first * image_bytes..images + (first + count) * image_bytes)?,
            labels: labels[range.clone()].iter().map(|&bytes| i32::from_le_bytes(bytes)).collect(),
            stored: stored[range].iter().map(|&bytes| u32::from_le_bytes(bytes)).collect(),
        })
        .filter(|samples| samples.is_sound(metadata.class_count))
    };
    Some(Dataset {
        train: samples(0, train_count)?,
        test: samples(train_count, test_count)?,
        name: metadata.name,
        digest: metadata.digest,
        height: metadata.height,
        width: metadata.width,
        channels: metadata.channels,
        class_count: metadata.class_count,
        class_names: metadata.class_names.into(),
        source: metadata.source,
    })
}

/// Makes the check sum right for whatever metadata, labels and orders there are, so that a fuzzer gets past it.
#[cfg(any(test, fuzzing))]
pub(super) fn fit_checksum(bytes: &mut [u8]) -> Option<()> {
    let (header, rest) = bytes.split_at_mut_checked(HEADER)?;
    let size = u32::from_le_bytes(header[12..16].try_into().ok()?) as usize;
    let metadata: Metadata = serde_json::from_slice(rest.get(..size)?).ok()?;
    let tables = metadata.train_count.checked_add(metadata.test_count)?.checked_mul(8)?;
    let used = rest.get(..size.checked_add(usize::try_from(tables).ok()?)?)?;
    header[16..].copy_from_slice(blake3::hash(used).as_bytes());
    Some(())
}
