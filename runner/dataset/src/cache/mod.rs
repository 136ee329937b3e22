//! The cache: a dataset decoded once into one file, which every process maps into memory and shares.
//!
//! ```text
//! bytes
//!  0.. 8   magic "clr-data"
//!  8..12   version of this layout
//! 12..16   size of the metadata
//! 16..48   BLAKE3 of metadata and tables
//! 48..     metadata: JSON, with names, sizes, digest and what the source was
//!          tables: labels of the training set, then of the test set (i32)
//!                  stored order of the training set, then of the test set (u32)
//!                  BLAKE3 of each block of the images
//!          zeros up to a multiple of 4096
//!          images of the training set, then of the test set (uint8, NHWC), in blocks of 1 MiB
//! ```
//!
//! All integers are little-endian. A file that does not fit in any respect is as good as none: the set is decoded again and
//! the file replaced. Where it was damaged, that is said ([`Dataset::notes`]).
//!
//! **Every byte is checked on opening**: the length of the file, the check sum over everything before the images, that labels
//! are classes and stored orders permutations, and each block of images by its digest. Workers open
//! the file that the process which started them has checked, and do not check that very file again ([`Check`]).
//!
//! **Whether the source is still what was decoded** is told by its content ([`source`]).
//!
//! Whoever writes a temporary file holds its lock. One without a lock was left by a process that was killed, and the
//! next that opens a dataset deletes it ([`temporary`]).

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clr_spec::DatasetQuery;
use clr_system::regular;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DatasetError;
use super::map::Map;
use super::search::Source;
use super::{Bytes, Dataset, Samples};

mod source;
mod temporary;

use source::Origin;

const MAGIC: &[u8; 8] = b"clr-data";
/// Raised when the layout, the canonical order, the digest or what is checked of a decoded set changes.
const VERSION: u32 = 2;
const HEADER: usize = 48;
/// Images start on a page, so that they are aligned for any kernel and any device's copy engine.
const PAGE: usize = 4096;
/// Bytes of images that have a digest of their own.
const BLOCK: usize = 1 << 20;
const DIGEST: usize = 32;

/// The images that are checked when a cached set is opened.
#[derive(Clone, Copy, Debug)]
pub enum Check<'a> {
    /// All, on all cores.
    All,
    /// All, on one core, but for files of these states ([`Dataset::checked`]), of which another process has checked all.
    Unless(&'a [String]),
}

/// The place of a source's cached set, and what the file must say to be that source's.
pub struct Entry {
    path: PathBuf,
    name: String,
    origin: Origin,
    now: SystemTime,
}

/// Why a set is not taken from the cache.
pub enum Unusable {
    /// There is none, or one of another source, or in the layout of another version.
    Absent,
    /// The file is damaged, in these words.
    Damaged(String),
    /// The process lacks memory or file descriptors, which is no fault of the file: to decode takes more of them.
    NoRoom(io::Error),
}

impl Unusable {
    /// Tells what the process lacks from what is wrong with the file at `path`.
    pub fn of(error: io::Error, path: &Path) -> Unusable {
        // ENFILE and EMFILE: no descriptor is left.
        let is_room = cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24));
        match error.kind() {
            io::ErrorKind::NotFound => Unusable::Absent,
            io::ErrorKind::OutOfMemory => Unusable::NoRoom(error),
            _ if is_room => Unusable::NoRoom(error),
            _ => Unusable::Damaged(format!("{}: {error}", path.display())),
        }
    }
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
    /// The content that was decoded: [`Origin::content`].
    content: String,
    /// The state that it was in: [`Origin::state`].
    state: Option<String>,
    train_count: u64,
    test_count: u64,
    /// [`Dataset::remarks`].
    #[serde(default)]
    remarks: Vec<String>,
}

impl Entry {
    /// None for a set of which neither files nor a published digest say what it is. A generated set is kept as well:
    /// so all processes share its pages, and a worker does not spend a quarter of a second on it.
    pub fn new(
        folder: &Path,
        query: &DatasetQuery,
        source: &Source,
        now: SystemTime,
    ) -> Result<Option<Entry>, DatasetError> {
        let files = source.files()?;
        let digest = super::info(&query.name).and_then(|known| known.digest);
        if files.is_empty() && digest.is_none() {
            return Ok(None);
        }
        // Each set of files has its own cache file, so that two copies of a set do not replace each other's. A folder of
        // images keeps its own when images are added.
        let mut place = blake3::Hasher::new();
        let root = source.labelling_folder().map(Path::to_owned);
        for path in root.iter().chain(files.iter().filter(|_| root.is_none())) {
            let absolute = std::path::absolute(path).map_err(DatasetError::io(path))?;
            let name = absolute.as_os_str().as_encoded_bytes();
            place.update(&(name.len() as u64).to_le_bytes()).update(name);
        }
        if !query.is_as_it_is() {
            place.update(format!("{:?} {:?}", query.fit, query.test_share).as_bytes());
        }
        let name = file_name(query);
        let path = folder.join(format!("{name}-{}.clrdata", &place.finalize().to_hex()[..16]));
        let published = match &root {
            // What folders and files are called says what is in them.
            Some(root) => names_digest(root, &files),
            None => digest.unwrap_or_default().to_owned(),
        };
        let origin = Origin::new(files, published, now)?;
        Ok(Some(Entry { path, name, origin, now }))
    }

    /// Looks at the source before it is decoded, so that what changes meanwhile is seen the next time.
    pub fn look(&self) -> Result<(), DatasetError> {
        self.origin.content().map(|_| ())
    }

    /// The cached set, if there is a sound file of this very source. Clears the folder of what killed processes left.
    pub fn read(&self, check: Check<'_>) -> Result<Dataset, Unusable> {
        if let Some(folder) = self.path.parent() {
            temporary::remove_abandoned(folder);
        }
        let damaged = |what: String| Unusable::Damaged(format!("{}: {what}", self.path.display()));
        let file = regular::open(&self.path).map_err(|error| Unusable::of(error, &self.path))?;
        let state = file.metadata().ok().and_then(|metadata| source::state(&metadata, self.now));
        let map = Arc::new(Map::new(&file).map_err(|error| Unusable::of(error, &self.path))?);
        let parsed = parse(&map).map_err(|unusable| match unusable {
            Unusable::Damaged(what) => damaged(what),
            other => other,
        })?;
        let metadata = &parsed.metadata;
        if metadata.name != self.name || !self.is_current(metadata) {
            return Err(Unusable::Absent);
        }
        let trusted = match check {
            Check::All => false,
            Check::Unless(checked) => state.as_ref().is_some_and(|state| checked.contains(state)),
        };
        if !trusted {
            parsed.check_images(matches!(check, Check::All)).map_err(damaged)?;
        }
        let dataset = parsed.dataset().ok_or_else(|| damaged("its labels or orders are not sound".to_owned()))?;
        Ok(Dataset { cached: Some(self.path.clone()), checked: state, ..dataset })
    }

    pub fn unreadable(&self, error: io::Error) -> DatasetError {
        DatasetError::io(&self.path)(error)
    }

    /// True if the source still has the content that was decoded.
    fn is_current(&self, metadata: &Metadata) -> bool {
        let states = self.path.with_extension("states");
        let state = self.origin.state();
        if state.is_some()
            && (state == metadata.state.as_deref() || source::is_known(&states, state, &metadata.content))
        {
            return true;
        }
        let is_same = self.origin.content().is_ok_and(|content| content == metadata.content);
        if let (true, Some(state)) = (is_same, state) {
            // Without it the content is compared again the next time.
            let _ = source::remember(&states, state, &metadata.content, &self.name);
        }
        is_same
    }

    /// Writes the set: to a temporary name, synced, renamed.
    pub fn write(&self, dataset: &Dataset) -> io::Result<()> {
        let folder = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        std::fs::create_dir_all(folder)?;
        let temporary = temporary::create(folder, &self.name)?;
        let mut out = BufWriter::with_capacity(1 << 20, &temporary);
        let content = self.origin.content().map_err(io::Error::other)?;
        write(&mut out, &self.name, dataset, content, self.origin.state())?;
        out.flush()?;
        drop(out);
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        Ok(())
    }
}

/// The name of a set in the cache: of a path, its last part.
fn file_name(query: &DatasetQuery) -> String {
    if !query.is_path() {
        return query.name.clone();
    }
    let last = query.name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("data");
    let kept = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    last.trim_start_matches('.').chars().map(|c| if kept(c) { c } else { '_' }).take(64).collect()
}

fn names_digest(root: &Path, files: &[PathBuf]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(file).as_os_str().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
    }
    hasher.finalize().to_hex().to_string()
}

pub fn write(
    out: &mut impl Write,
    name: &str,
    dataset: &Dataset,
    content: &str,
    state: Option<&str>,
) -> io::Result<()> {
    let metadata = serde_json::to_vec(&Metadata {
        name: name.to_owned(),
        digest: dataset.digest.clone(),
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        class_names: dataset.class_names.to_vec(),
        source: dataset.source.clone(),
        content: content.to_owned(),
        state: state.map(str::to_owned),
        train_count: dataset.train.count() as u64,
        test_count: dataset.test.count() as u64,
        remarks: dataset.remarks.clone(),
    })?;
    let mut tables = Vec::new();
    for samples in [&dataset.train, &dataset.test] {
        tables.extend(samples.labels.iter().flat_map(|label| label.to_le_bytes()));
    }
    for samples in [&dataset.train, &dataset.test] {
        tables.extend(samples.stored.iter().flat_map(|index| index.to_le_bytes()));
    }
    let mut digests = Blocks::default();
    for samples in [&dataset.train, &dataset.test] {
        digests.update(&samples.images);
    }
    tables.extend(digests.finish());
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

/// Digests of the blocks of what comes in pieces.
#[derive(Default)]
struct Blocks {
    hasher: blake3::Hasher,
    /// Bytes of the block at hand.
    filled: usize,
    digests: Vec<u8>,
}

impl Blocks {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.hasher.update(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        self.digests.extend(self.hasher.finalize().as_bytes());
        self.hasher.reset();
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.end_block();
        }
        self.digests
    }
}

/// A file whose metadata and tables are as they were written, and fit its length.
pub struct Parsed {
    map: Arc<Map>,
    metadata: Metadata,
    train_count: usize,
    test_count: usize,
    image_bytes: usize,
    /// The bytes of the tables in the file.
    tables: Range<usize>,
    /// The bytes of the images in the file.
    images: Range<usize>,
}

/// Looks at all but the images.
pub fn parse(map: &Arc<Map>) -> Result<Parsed, Unusable> {
    let damaged = |what: &str| Unusable::Damaged(what.to_owned());
    let (header, rest) = map.split_at_checked(HEADER).ok_or_else(|| damaged("it is cut off"))?;
    let (magic, header) = header.split_at(MAGIC.len());
    let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
    if magic != MAGIC {
        return Err(damaged("it does not begin like a file of the cache"));
    }
    if word(0) != VERSION {
        return Err(Unusable::Absent);
    }
    let changed = || damaged("its bytes have changed since they were written");
    let metadata_bytes = rest.get(..word(4) as usize).ok_or_else(changed)?;
    let metadata: Metadata = serde_json::from_slice(metadata_bytes).map_err(|_| changed())?;
    let layout = Layout::of(&metadata, metadata_bytes.len()).ok_or_else(changed)?;
    if layout.images.end != map.len() {
        let what = if map.len() < layout.images.end { "cut off" } else { "too long" };
        return Err(damaged(&format!("it is {what}: {} bytes instead of {}", map.len(), layout.images.end)));
    }
    let tables = &map[layout.tables.clone()];
    if blake3::Hasher::new().update(metadata_bytes).update(tables).finalize().as_bytes()[..] != header[8..] {
        return Err(changed());
    }
    let Layout { train_count, test_count, image_bytes, tables, images } = layout;
    Ok(Parsed { map: map.clone(), metadata, train_count, test_count, image_bytes, tables, images })
}

/// The places of a file's parts.
struct Layout {
    train_count: usize,
    test_count: usize,
    image_bytes: usize,
    tables: Range<usize>,
    images: Range<usize>,
}

impl Layout {
    /// None where no set has such sizes.
    fn of(metadata: &Metadata, metadata_bytes: usize) -> Option<Layout> {
        let (train_count, test_count) =
            (usize::try_from(metadata.train_count).ok()?, usize::try_from(metadata.test_count).ok()?);
        let count = train_count.checked_add(test_count)?;
        let image_bytes = [metadata.height, metadata.width, metadata.channels]
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size as usize))?;
        let names = metadata.class_names.len();
        let named = names == 0 || names == metadata.class_count as usize;
        if image_bytes == 0 || train_count == 0 || test_count == 0 || !named {
            return None;
        }
        let all_images = count.checked_mul(image_bytes)?;
        let table_bytes = count.checked_mul(8)?.checked_add(all_images.div_ceil(BLOCK).checked_mul(DIGEST)?)?;
        let tables_start = HEADER.checked_add(metadata_bytes)?;
        let tables_end = tables_start.checked_add(table_bytes)?;
        let images_start = tables_end.checked_next_multiple_of(PAGE)?;
        let images = images_start..images_start.checked_add(all_images)?;
        Some(Layout { train_count, test_count, image_bytes, tables: tables_start..tables_end, images })
    }
}

/// As they are in the file, for both splits.
struct Tables<'m> {
    labels: &'m [[u8; 4]],
    stored: &'m [[u8; 4]],
    /// Of the blocks of images.
    digests: &'m [[u8; DIGEST]],
}

impl Parsed {
    fn tables(&self) -> Tables<'_> {
        let count = self.train_count + self.test_count;
        let (words, digests) = self.map[self.tables.clone()].split_at(8 * count);
        let (labels, stored) = words.as_chunks().0.split_at(count);
        Tables { labels, stored, digests: digests.as_chunks().0 }
    }

    /// Checks the images, and names the blocks that are not as they were written.
    pub fn check_images(&self, on_all_cores: bool) -> Result<(), String> {
        let Tables { digests, .. } = self.tables();
        let blocks = self.map[self.images.clone()].chunks(BLOCK).zip(digests);
        let is_damaged = |(block, digest): (&[u8], &[u8; DIGEST])| blake3::hash(block).as_bytes() != digest;
        let damaged = if on_all_cores {
            let blocks: Vec<_> = blocks.collect();
            clr_system::threads::install(|| blocks.into_par_iter().filter(|block| is_damaged(*block)).count())
        } else {
            blocks.filter(|block| is_damaged(*block)).count()
        };
        if damaged == 0 {
            return Ok(());
        }
        Err(format!("the images in {damaged} of its {} blocks have changed since they were written", digests.len()))
    }

    /// The set, its images as they are in the file; none where labels are no classes or orders no permutations.
    pub fn dataset(self) -> Option<Dataset> {
        let Tables { labels, stored, .. } = self.tables();
        let samples = |first: usize, count: usize| {
            let range = first..first + count;
            let images = self.images.start + first * self.image_bytes;
            Some(Samples {
                images: Bytes::mapped(self.map.clone(), images..images + count * self.image_bytes)?,
                labels: labels[range.clone()].iter().map(|&bytes| i32::from_le_bytes(bytes)).collect(),
                stored: stored[range].iter().map(|&bytes| u32::from_le_bytes(bytes)).collect(),
            })
            .filter(|samples| samples.is_sound(self.metadata.class_count))
        };
        let (train, test) = (samples(0, self.train_count)?, samples(self.train_count, self.test_count)?);
        let metadata = self.metadata;
        Some(Dataset {
            train,
            test,
            name: metadata.name,
            digest: metadata.digest,
            height: metadata.height,
            width: metadata.width,
            channels: metadata.channels,
            class_count: metadata.class_count,
            class_names: metadata.class_names.into(),
            source: metadata.source,
            cached: None,
            checked: None,
            notes: Vec::new(),
            remarks: metadata.remarks,
        })
    }
}

/// Makes the check sum right for whatever metadata and tables there are, so that a fuzzer gets past it.
#[doc(hidden)]
pub fn fit_checksum(bytes: &mut [u8]) -> Option<()> {
    let (header, rest) = bytes.split_at_mut_checked(HEADER)?;
    let size = u32::from_le_bytes(header[12..16].try_into().ok()?) as usize;
    let metadata: Metadata = serde_json::from_slice(rest.get(..size)?).ok()?;
    let used = rest.get(..Layout::of(&metadata, size)?.tables.end - HEADER)?;
    header[16..].copy_from_slice(blake3::hash(used).as_bytes());
    Some(())
}
