//! Reads rows back from parts and tables, for compaction.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::{Field, SchemaRef};
use arrow_select::concat::concat_batches;
use clr_system::contain::contain;
use clr_system::regular;
use clr_vetted::{Fault, Vetted};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::manifest::{Manifest, Segment};
use super::schema::{is_value_type, text_type};
use super::{StoreError, files, swap};

/// Bytes of decoded row groups that are kept.
const CACHED_BYTES: usize = 64 << 20;

/// Rows of the largest row group that is written here.
const GROUP_ROWS: i64 = 1 << 17;

/// Longer than any text that is read back: ids of trials have 32 bytes, names of splits fewer.
const TEXT_BYTES: usize = 256;

/// The files of an output folder, opened and checked at first use.
///
/// Compaction asks for segments in the order of the trials, and every file holds its trials in that order too, so this is
/// a merge that decodes each row group once. A cache of groups stands for the merge's cursors: it needs no file to stay
/// open, and is right, if slower, when trials were reordered since.
pub struct Sources<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    files: HashMap<&'a str, Source>,
    groups: HashMap<(&'a str, usize), Group>,
    cached_bytes: usize,
    clock: u64,
}

/// A decoded row group.
struct Group {
    batch: RecordBatch,
    /// When it was last read from.
    used: u64,
    /// Rows that nobody has read yet. Whoever reads one again decodes the group again.
    left: u64,
}

struct Source {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Row group g holds the rows `starts[g]..starts[g + 1]`.
    starts: Vec<u64>,
    /// Rows that nobody has read yet. Whoever reads one again opens the file again.
    left: u64,
    /// The columns from `iteration` on: those before it come from the plan.
    values: SchemaRef,
    projection: ProjectionMask,
}

impl<'a> Sources<'a> {
    pub fn new(folder: &'a Path, manifest: &'a Manifest) -> Sources<'a> {
        Sources { folder, manifest, files: HashMap::new(), groups: HashMap::new(), cached_bytes: 0, clock: 0 }
    }

    /// The value columns that a file has.
    pub fn values(&mut self, file: &'a str) -> Result<Vec<Field>, StoreError> {
        let source = self.open(file)?;
        Ok(source.values.fields().iter().map(|field| field.as_ref().clone()).collect())
    }

    /// Reads a segment's columns `values`, handing them on in pieces. Columns that the file lacks are null.
    pub fn read(
        &mut self,
        segment: &'a Segment,
        values: &[Field],
        take: impl FnMut(&[ArrayRef]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Segment(file, first, count) = segment;
        self.read_rows(file, *first..first + count, values, take)
    }

    /// Reads `rows` of a file as [`read`](Sources::read) does.
    pub fn read_rows(
        &mut self,
        file: &'a str,
        rows: Range<u64>,
        values: &[Field],
        mut take: impl FnMut(&[ArrayRef]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Range { start: mut first, end } = rows;
        while first < end {
            let source = self.open(file)?;
            let group = source.starts.partition_point(|&start| start <= first) - 1;
            let (start, stop) = (source.starts[group], source.starts[group + 1].min(end));
            let path = source.path.clone();
            let batch = self.group(file, group)?;
            let (offset, rows) = ((first - start) as usize, (stop - first) as usize);
            let mut columns = Vec::with_capacity(values.len());
            for field in values {
                columns.push(match batch.column_by_name(field.name()) {
                    Some(column) if column.data_type() == field.data_type() => column.slice(offset, rows),
                    Some(column) => {
                        let what =
                            format!("`{}` is {} instead of {}", field.name(), column.data_type(), field.data_type());
                        return Err(StoreError::Corrupt { path, what });
                    }
                    None => new_null_array(field.data_type(), rows),
                });
            }
            self.forget(file, group, stop - first);
            take(&columns)?;
            first = stop;
        }
        Ok(())
    }

    fn open(&mut self, file: &'a str) -> Result<&Source, StoreError> {
        if !self.files.contains_key(file) {
            let path = swap::locate(self.folder, file);
            if self.manifest.files.get(file).is_some_and(|entry| entry.left_out) {
                return Err(StoreError::LeftOut { path });
            }
            // The file is read to its end here and decoded after, so no damage can pass for numbers.
            let expected = self.manifest.files.get(file).map(|entry| &entry.blake3);
            let found = files::digest(&path).map_err(|source| StoreError::io("read", &path, source))?;
            if Some(&found) != expected {
                return Err(StoreError::Corrupt { path, what: "its digest is not the manifest's".to_owned() });
            }
            let source = contain(|| Source::open(path.clone())).unwrap_or_else(|| Err(unreadable(&path)))?;
            // A manifest that does not fit its files is damage too.
            let (rows, listed) = (source.rows(), self.manifest.files.get(file).map_or(0, |entry| entry.rows));
            if rows != listed {
                return Err(StoreError::Corrupt { path, what: format!("{rows} rows instead of {listed}") });
            }
            self.files.insert(file, source);
        }
        Ok(&self.files[file])
    }

    /// A decoded row group.
    fn group(&mut self, file: &'a str, group: usize) -> Result<RecordBatch, StoreError> {
        self.clock += 1;
        if let Some(group) = self.groups.get_mut(&(file, group)) {
            group.used = self.clock;
            return Ok(group.batch.clone());
        }
        let source = self.open(file)?;
        let batch = contain(|| source.decode(group)).unwrap_or_else(|| Err(unreadable(&source.path)))?;
        self.cached_bytes += batch.get_array_memory_size();
        while self.cached_bytes > CACHED_BYTES {
            let Some(oldest) = self.groups.iter().min_by_key(|(_, group)| group.used).map(|(key, _)| *key) else {
                break;
            };
            self.evict(oldest);
        }
        let left = batch.num_rows() as u64;
        self.groups.insert((file, group), Group { batch: batch.clone(), used: self.clock, left });
        Ok(batch)
    }

    /// Notes that so many rows of a group were read, and drops it and its file after the last.
    fn forget(&mut self, file: &'a str, group: usize, rows: u64) {
        if let Some(read) = self.groups.get_mut(&(file, group)) {
            read.left = read.left.saturating_sub(rows);
            if read.left == 0 {
                self.evict((file, group));
            }
        }
        if let Some(source) = self.files.get_mut(file) {
            source.left = source.left.saturating_sub(rows);
            if source.left == 0 {
                self.files.remove(file);
            }
        }
    }

    fn evict(&mut self, key: (&'a str, usize)) {
        if let Some(evicted) = self.groups.remove(&key) {
            self.cached_bytes -= evicted.batch.get_array_memory_size();
        }
    }
}

impl Source {
    fn open(path: PathBuf) -> Result<Source, StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt { path: path.clone(), what: what.to_owned() };
        let faulty = |fault: Fault| match fault {
            Fault::Io(source) => StoreError::io("open", &path, source),
            Fault::Parquet(source) => StoreError::parquet(&path, source),
            Fault::Malformed { .. } => corrupt(&fault.to_string()),
        };
        let vetted = open_table(&path).map_err(faulty)?;
        let metadata = &vetted.metadata;
        let mut starts = vec![0];
        for group in metadata.metadata().row_groups() {
            starts.push(starts[starts.len() - 1] + group.num_rows() as u64);
        }
        let schema = metadata.schema();
        let first = schema.index_of("iteration").map_err(|_| corrupt("it has no column `iteration`"))?;
        let indices: Vec<usize> = (first..schema.fields().len()).collect();
        let values = schema.project(&indices).map_err(|source| StoreError::arrow(&path, source))?;
        if let Some(field) = values.fields().iter().find(|field| !is_value_type(field.data_type())) {
            return Err(corrupt(&format!("its column `{}` is {}", field.name(), field.data_type())));
        }
        let projection = project(&vetted, indices).map_err(faulty)?;
        let metadata = vetted.metadata;
        let left = starts[starts.len() - 1];
        Ok(Source { path, metadata, starts, left, values: values.into(), projection })
    }

    fn rows(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    fn decode(&self, group: usize) -> Result<RecordBatch, StoreError> {
        let file = regular::open(&self.path).map_err(|source| StoreError::io("open", &self.path, source))?;
        let rows = (self.starts[group + 1] - self.starts[group]) as usize;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(self.projection.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows)
            .build()
            .map_err(|source| StoreError::parquet(&self.path, source))?;
        let batches = reader.collect::<Result<Vec<_>, _>>().and_then(|batches| concat_batches(&self.values, &batches));
        let batch = batches.map_err(|source| StoreError::arrow(&self.path, source))?;
        if batch.num_rows() == rows {
            Ok(batch)
        } else {
            let what = format!("row group {group} has {} rows instead of {rows}", batch.num_rows());
            Err(StoreError::Corrupt { path: self.path.clone(), what })
        }
    }
}

/// Opens a table of an output to be read.
pub fn open_table(path: &Path) -> Result<Vetted, Fault> {
    let table = Vetted::open(path, &text_type())?;
    // Decoding makes room for a whole group.
    match table.metadata.metadata().row_groups().iter().map(|group| group.num_rows()).max() {
        Some(rows) if rows > GROUP_ROWS => {
            let expected = format!("row groups of at most {GROUP_ROWS} rows");
            Err(Fault::Malformed { at: table.footer, expected, found: format!("one of {rows}") })
        }
        _ => Ok(table),
    }
}

/// The columns of these numbers, once the pages of all of them have been looked at.
pub fn project(table: &Vetted, columns: impl IntoIterator<Item = usize>) -> Result<ProjectionMask, Fault> {
    let schema = table.metadata.parquet_schema();
    let projection = ProjectionMask::roots(schema, columns);
    let leaves: Vec<usize> = (0..schema.num_columns()).filter(|&leaf| projection.leaf_included(leaf)).collect();
    let longest = table.pages(&leaves)?.longest;
    if longest > TEXT_BYTES {
        let (expected, found) = (format!("texts of at most {TEXT_BYTES} bytes"), format!("one of {longest}"));
        return Err(Fault::Malformed { at: table.footer, expected, found });
    }
    Ok(projection)
}

fn unreadable(path: &Path) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: "it breaks the Parquet reader".to_owned() }
}
