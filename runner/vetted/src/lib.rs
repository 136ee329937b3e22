//! Parquet files from outside, looked over before they are read.
//!
//! The Parquet library takes a file's word for how large things are: it makes room for a page of the size that the page's
//! header tells, for as many values as a dictionary says it has, for as many columns as the schema counts, and goes down
//! into a schema as deep as it is. A file of a kilobyte can so take gigabytes, or the whole stack. Here the footer and the
//! headers of all pages that will be read are read first, which is some bytes of each megabyte, and what no writer writes
//! is refused:
//!
//! - in [`Vetted::open`] a footer whose lists are not there, and a schema that is no tree of them;
//! - in [`Vetted::pages`] chunks outside the file or over one another; pages that hold other numbers of values than the
//!   row group has rows, or more bytes than such values need; columns of bytes that unpack to far more than the file has;
//!   dictionaries of more values than bytes; encodings whose first bytes say how much room to make.
//!
//! How many rows a file may have is for the caller to say: a thousand equal ones can take no more room than one.
//!
//! Decoding in a worker with a memory limit would not do the same. To start one takes 16 ms, where `verify --quick` is through
//! with a small output, every file of it looked over, in 4; the rows would be copied through a pipe; memory is limited on Linux
//! only; and a worker that died cannot say which byte of which file is wrong. `status`, `export` and `verify --quick`, which
//! read files that others wrote, start no process at all.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

#[doc(hidden)]
pub mod craft;
mod format;
#[cfg(test)]
mod tests;
mod thrift;

use clr_system::regular;
use format::{FILE, PAGE, file, page, schema_element};
use thrift::{Refusal, Value};

/// A file whose footer is sound.
pub struct Vetted {
    pub file: File,
    pub length: u64,
    pub metadata: ArrowReaderMetadata,
    /// The byte at which the footer begins.
    pub footer: u64,
}

/// The pages of some columns.
pub struct Pages {
    /// Bytes of the longest value of a dictionary, which each row may repeat.
    pub longest: usize,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("byte {at}: expected {expected}, found {found}")]
    Malformed { at: u64, expected: String, found: String },
    #[error("{0}")]
    Parquet(#[from] ParquetError),
}

/// The end of every file, after the length of the footer.
const MAGIC: &[u8; 4] = b"PAR1";

/// Deeper than any schema that has images or the store's tables.
const SCHEMA_DEPTH: usize = 32;

/// The bytes that columns of bytes may unpack to: in any file, and for each byte of it. Texts shrink to a tenth, images not
/// at all; repeated values are in dictionaries.
const UNPACKED: (u64, u64) = (8 << 20, 64);

/// The bytes that a page may take for each number: twice the widest; in small pages, whole blocks of numbers.
const NUMBER_BYTES: (u64, u64) = (1024, 16);

/// Read of a page at once: more than a header, but for one with long statistics.
const HEADER_BYTES: u64 = 1024;

impl Vetted {
    /// Opens a file. Columns of text are given the type `text`, other columns what Parquet itself calls them: the Arrow
    /// schema that writers embed could be far larger in memory than in the file.
    pub fn open(path: &Path, text: &DataType) -> Result<Vetted, Fault> {
        let mut file = regular::open(path)?;
        let length = file.metadata()?.len();
        let mut end = [0; 8];
        let tail = length.saturating_sub(8);
        file.seek(SeekFrom::Start(tail))?;
        file.by_ref().take(8).read_exact(&mut end).map_err(|_| not_parquet(0, "fewer than 8 bytes".into()))?;
        let [a, b, c, d, magic @ ..] = end;
        if &magic != MAGIC {
            return Err(not_parquet(tail + 4, format!("`{}`", magic.escape_ascii())));
        }
        let footer_length = u32::from_le_bytes([a, b, c, d]);
        let footer = tail.checked_sub(footer_length.into()).ok_or_else(|| {
            malformed(tail, format!("the length of a footer, {tail} bytes at most"), footer_length.to_string())
        })?;
        file.seek(SeekFrom::Start(footer))?;
        let mut bytes = vec![0; footer_length as usize];
        file.read_exact(&mut bytes)?;
        check_footer(&bytes, footer)?;
        drop(bytes);
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut metadata = ArrowReaderMetadata::load(&file, options())?;
        if text != &DataType::Utf8 {
            let fields = metadata.schema().fields().iter().map(|field| {
                let is_text = field.data_type() == &DataType::Utf8;
                if is_text { field.as_ref().clone().with_data_type(text.clone()).into() } else { field.clone() }
            });
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options().with_schema(schema))?;
        }
        for group in metadata.metadata().row_groups() {
            if group.num_rows() < 0 {
                return Err(malformed(footer, "a row group of so many rows", group.num_rows().to_string()));
            }
        }
        Ok(Vetted { file, length, metadata, footer })
    }

    /// Rows of all row groups.
    pub fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().row_groups().iter().map(|group| group.num_rows() as u64);
        rows.fold(0, u64::saturating_add)
    }

    /// Looks at the headers of all pages of the columns `leaves`, which are numbers of leaves of the Parquet schema.
    pub fn pages(&self, leaves: &[usize]) -> Result<Pages, Fault> {
        let mut look = Look { vetted: self, stored: 0, unpacked: 0, longest: 0 };
        for group in self.metadata.metadata().row_groups() {
            for &leaf in leaves {
                look.chunk(group.column(leaf), group.num_rows() as u64)?;
            }
        }
        Ok(Pages { longest: look.longest })
    }

    /// The header of a page at byte `at`, of at most `most` bytes, and its length.
    fn header(&self, at: u64, most: u64) -> Result<(Value, u64), Fault> {
        let mut file = &self.file;
        let (mut bytes, mut wanted) = (Vec::new(), HEADER_BYTES.min(most));
        loop {
            file.seek(SeekFrom::Start(at + bytes.len() as u64))?;
            file.take(wanted - bytes.len() as u64).read_to_end(&mut bytes)?;
            match thrift::parse(&bytes, &PAGE) {
                Ok((header, length)) => return Ok((header, length as u64)),
                Err(Refusal::CutOff) if wanted < most && bytes.len() as u64 == wanted => {
                    wanted = most.min(wanted.saturating_mul(8));
                }
                Err(refusal) => return Err(refused(refusal, at, bytes.len(), "the header of a page")),
            }
        }
    }
}

/// The findings so far, of all row groups.
struct Look<'a> {
    vetted: &'a Vetted,
    /// The bytes of chunks.
    stored: u64,
    /// Bytes of values of bytes.
    unpacked: u64,
    longest: usize,
}

impl Look<'_> {
    fn chunk(&mut self, chunk: &ColumnChunkMetaData, rows: u64) -> Result<(), Fault> {
        let Vetted { length, footer, .. } = *self.vetted;
        let name = chunk.column_path().string();
        let in_footer = |expected: String, found: String| Err(malformed(footer, expected, found));
        if chunk.column_descr().max_rep_level() > 0 {
            return in_footer(format!("one value in each row of `{name}`"), "lists".into());
        }
        let is_bytes = match chunk.column_type() {
            Type::BYTE_ARRAY => true,
            Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE => false,
            other => return in_footer(format!("numbers or bytes in `{name}`"), other.to_string()),
        };
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let place = || format!("{} bytes from byte {start} on", chunk.compressed_size());
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let Some((start, size)) = range.filter(|&(start, size)| start.saturating_add(size) <= footer) else {
            return in_footer(format!("the values of `{name}` before the footer"), place());
        };
        self.stored = self.stored.saturating_add(size);
        if self.stored > length {
            return in_footer(format!("values of `{name}` that no others overlap"), place());
        }

        let (mut at, end) = (start, start + size);
        let (mut values, mut has_dictionary) = (0, false);
        while at < end {
            let (header, header_length) = self.vetted.header(at, end - at)?;
            let wrong = |expected: String, found: String| Err(malformed(at, expected, found));
            let number = |id: i16| header.number(id).and_then(|number| u64::try_from(number).ok());
            let (Some(size), Some(stored)) = (number(page::SIZE), number(page::STORED_SIZE)) else {
                return wrong("the sizes of a page".into(), "none, or less than nothing".into());
            };
            if stored > end - at - header_length {
                return wrong(format!("a page of at most {} bytes", end - at - header_length), stored.to_string());
            }
            // What is not compressed is taken as it is, and so are pages that say that they are an exception.
            let size = if chunk.compression() == Compression::UNCOMPRESSED { stored } else { size.max(stored) };
            let next = at + header_length + stored;
            let (part, encoding) = match header.number(page::TYPE) {
                Some(0) => (page::DATA, page::ENCODING),
                Some(2) => (page::DICTIONARY, page::ENCODING),
                Some(3) => (page::DATA_V2, page::ENCODING_V2),
                // An index, which nobody reads.
                Some(1) => {
                    at = next;
                    continue;
                }
                other => return wrong("the type of a page".into(), format!("{other:?}")),
            };
            let part_of_header = header.field(part);
            let count = part_of_header.and_then(|part| u64::try_from(part.number(page::VALUE_COUNT)?).ok());
            let Some(count) = count else {
                return wrong("a page's number of values".into(), "none, or less than none".into());
            };
            let encoding = part_of_header.and_then(|part| part.number(encoding)).unwrap_or(-1);
            if !may_be(encoding, is_bytes) {
                let expected = format!("values of `{name}` that are plain or in a dictionary");
                return wrong(expected, format!("encoding {encoding}"));
            }
            if is_bytes {
                self.unpacked = self.unpacked.saturating_add(size);
                let most = UNPACKED.0 + UNPACKED.1.saturating_mul(length);
                if self.unpacked > most {
                    let expected = format!("at most {most} bytes of `{name}` in a file of {length}");
                    return wrong(expected, format!("{} up to this page", self.unpacked));
                }
            } else {
                let most = NUMBER_BYTES.0 + NUMBER_BYTES.1 * count;
                if size > most {
                    return wrong(format!("at most {most} bytes for {count} values of `{name}`"), size.to_string());
                }
            }
            if part == page::DICTIONARY {
                // Each takes four bytes or more.
                if at != start || count > size / 4 {
                    let expected = "a dictionary before all else, of as many values as it has room for";
                    return wrong(expected.into(), format!("one of {count} in {size} bytes"));
                }
                has_dictionary = true;
            } else {
                values += count;
            }
            at = next;
        }
        if values != rows {
            return Err(malformed(start, format!("{rows} values of `{name}`, as many as rows"), values.to_string()));
        }
        if has_dictionary && is_bytes {
            let longest = self.longest_in_dictionary(chunk, rows)?;
            let longest = longest.ok_or_else(|| malformed(start, "a dictionary", "values longer than all of it"))?;
            self.longest = self.longest.max(longest);
        }
        Ok(())
    }

    /// Bytes of the longest value of a chunk's dictionary, which is its first page.
    fn longest_in_dictionary(&self, chunk: &ColumnChunkMetaData, rows: u64) -> Result<Option<usize>, Fault> {
        let file = Arc::new(self.vetted.file.try_clone()?);
        let page = SerializedPageReader::new(file, chunk, rows as usize, None)?.get_next_page()?;
        let Some(Page::DictionaryPage { buf, num_values, .. }) = page else { return Ok(None) };
        let (mut rest, mut longest) = (&buf[..], 0);
        for _ in 0..num_values {
            let Some((length, values)) = rest.split_first_chunk() else { return Ok(None) };
            let length = u32::from_le_bytes(*length) as usize;
            let Some(next) = values.get(length..) else { return Ok(None) };
            longest = longest.max(length);
            rest = next;
        }
        Ok(Some(longest))
    }
}

/// True if values are in an encoding that takes no more memory than its pages, apart from dictionaries and repetitions.
fn may_be(encoding: i64, is_bytes: bool) -> bool {
    let (bytes, numbers) = (
        [Encoding::PLAIN, Encoding::PLAIN_DICTIONARY, Encoding::RLE_DICTIONARY],
        [Encoding::RLE, Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT],
    );
    let is = |known: &Encoding| *known as i64 == encoding;
    bytes.iter().any(is) || (!is_bytes && numbers.iter().any(is))
}

/// Checks that the library may read the footer at byte `at`.
fn check_footer(bytes: &[u8], at: u64) -> Result<(), Fault> {
    let (footer, _) = thrift::parse(bytes, &FILE).map_err(|refusal| refused(refusal, at, bytes.len(), "a footer"))?;
    let schema = footer.list(file::SCHEMA);
    // Groups that lack children: how many, and bytes of their names.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut names = 0_usize;
    for (number, element) in schema.iter().enumerate() {
        let name = match element.field(schema_element::NAME) {
            Some(Value::Binary(length)) => *length,
            _ => 0,
        };
        let path = open.last().map_or(0, |(_, path)| *path) + name;
        let children = element.number(schema_element::CHILD_COUNT).unwrap_or(0);
        let children = usize::try_from(children).ok().filter(|&children| children < schema.len() - number);
        let Some(children) = children.filter(|_| open.len() < SCHEMA_DEPTH) else {
            let expected = format!("a schema of {} elements, at most {SCHEMA_DEPTH} deep", schema.len());
            return Err(malformed(at, expected, "one that is larger"));
        };
        // Every column is given the names of all groups that it is in.
        names = names.saturating_add(path);
        if names > 64 * bytes.len() {
            return Err(malformed(at, "a schema", "one of long names in one another"));
        }
        if let Some((missing, _)) = open.last_mut() {
            *missing -= 1;
        }
        open.push((children, path));
        while open.last().is_some_and(|(missing, _)| *missing == 0) {
            open.pop();
        }
    }
    Ok(())
}

fn not_parquet(at: u64, found: String) -> Fault {
    malformed(at, "a Parquet file, with `PAR1` at its end", found)
}

fn refused(refusal: Refusal, start: u64, length: usize, expected: &str) -> Fault {
    match refusal {
        Refusal::CutOff => malformed(start, expected, format!("one that goes on after its {length} bytes")),
        Refusal::Malformed(at, found) => malformed(start + at as u64, expected, found),
    }
}

fn malformed(at: u64, expected: impl Into<String>, found: impl Into<String>) -> Fault {
    Fault::Malformed { at, expected: expected.into(), found: found.into() }
}
