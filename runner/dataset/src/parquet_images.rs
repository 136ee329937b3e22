//! Parquet files of images, in the layout of dataset hubs: a column `img` or `image` (struct of `bytes` and `path`, or
//! the bytes themselves) with PNG or JPEG images, and a column `label` or, for CIFAR-100, `fine_label`, of integers or of
//! texts. Where columns have other names, they are found if there is only one of the kind.
//!
//! The file's name says the split: `train*`, `test*`, or `val*` where there is no test split. Class names are in the
//! hub's metadata (key `huggingface`), or are the labels where these are texts.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, downcast_integer_array};
use arrow_schema::{DataType, Field};
use clr_spec::Fit;
use clr_system::contain::contain;
use clr_vetted::{Fault, Vetted};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::SchemaDescriptor;
use serde::Deserialize;

use super::assemble::{self, Assembly, Encoded, Label, Part, Wrong};
use super::decoded::Decoded;
use super::error::{DatasetError, Place};

const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 2] = ["label", "fine_label"];
/// Rows decoded at a time, in parallel.
const ROWS: usize = 512;
/// Rows that any file may have, and for each byte of it: an image takes 67 bytes at least, but for those that are equal.
const FILE_ROWS: (u64, u64) = (1 << 16, 1);
/// Bytes that the images of a batch may take before they are decoded, in any file, and for each byte of it.
const BATCH_BYTES: (u64, u64) = (8 << 20, 64);
/// Pixels that any file may have, and for each byte of it: as many as deflate, at its best, makes of a byte.
const FILE_PIXELS: (u64, u64) = (4 << 20, 1032);

/// True if a folder has Parquet shards, or the path is that of a Parquet file.
pub fn is_in(path: &Path) -> bool {
    if is_parquet(path) && path.is_file() {
        return true;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| is_parquet(&entry.path()))
}

/// The files that are read: those of the training split, then those of the test split.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let (train, test) = splits(path)?;
    Ok([train, test].concat())
}

/// Reads a folder or a file. Without a `class_count` it is the number of class names; where there are none, labels must
/// number the classes from 0 without a gap. There is no test split where no file is named so.
pub fn load(path: &Path, class_count: Option<u32>, fit: Fit) -> Result<Decoded, DatasetError> {
    assemble::load(fill, path, class_count, fit)
}

pub(super) fn fill(path: &Path, assembly: &mut Assembly) -> Result<(), DatasetError> {
    let (train, test) = splits(path)?;
    for (part, files, name) in [(Part::Train, train, "training"), (Part::Test, test, "test")] {
        let mut rows = 0;
        for file in &files {
            rows += contain(|| read_file(file, part, assembly)).unwrap_or_else(|| {
                let found = "one that breaks the Parquet reader";
                Err(DatasetError::malformed(file.display().to_string(), Place::File, "a Parquet file", found))
            })?;
        }
        if rows == 0 && !files.is_empty() {
            let expected = format!("at least one image in the {name} split");
            return Err(DatasetError::malformed(path.display().to_string(), Place::File, expected, "none"));
        }
    }
    Ok(())
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Shards of the training and the test split, each sorted by name and complete. Where no name says a split, all are one.
fn splits(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DatasetError> {
    if path.is_file() {
        return Ok((vec![path.to_owned()], Vec::new()));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(DatasetError::io(path))? {
        let entry = entry.map_err(DatasetError::io(path))?;
        // A name that is no UTF-8 starts with none of the splits either.
        if let (true, Some(name)) = (is_parquet(&entry.path()), entry.file_name().to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let with_prefix =
        |prefix: &str| -> Vec<String> { names.iter().filter(|name| name.starts_with(prefix)).cloned().collect() };
    let mut train = with_prefix("train");
    let test = Some(with_prefix("test")).filter(|test| !test.is_empty()).unwrap_or_else(|| with_prefix("val"));
    let missing = |expected: String| {
        let found = format!("only {}", names.join(", "));
        Err(DatasetError::malformed(path.display().to_string(), Place::File, expected, found))
    };
    if train.is_empty() && test.is_empty() {
        train = names.clone();
    }
    if train.is_empty() {
        return missing("a training split `train*.parquet`".into());
    }
    if test.is_empty() && train.len() < names.len() {
        return missing("a test split `test*.parquet` or `val*.parquet`".into());
    }
    for shards in [&train, &test] {
        if let Some(shard) = missing_shard(shards) {
            return missing(format!("a shard `{shard}`"));
        }
    }
    let paths = |names: Vec<String>| names.iter().map(|name| path.join(name)).collect();
    Ok((paths(train), paths(test)))
}

/// The first shard that is not there although another one's name, such as `train-00001-of-00003.parquet`, counts it.
fn missing_shard(names: &[String]) -> Option<String> {
    names.iter().find_map(|name| {
        let (stem, total) = name.strip_suffix(".parquet")?.rsplit_once("-of-")?;
        let (split, number) = stem.rsplit_once('-')?;
        let count: u64 = total.parse().ok().filter(|_| number.parse::<u64>().is_ok())?;
        let width = number.len();
        // Stops at the first that is missing, so a large count costs no more than the shards that are there.
        (0..count)
            .map(|shard| format!("{split}-{shard:0width$}-of-{total}.parquet"))
            .find(|shard| !names.contains(shard))
    })
}

/// An image of a table.
struct Row<'b> {
    file: &'b str,
    row: u64,
    /// None where the table has null.
    bytes: Option<&'b [u8]>,
    label: Result<Label<'b>, Wrong>,
}

impl Encoded for Row<'_> {
    fn place(&self) -> (String, Place) {
        (self.file.to_owned(), Place::Row(self.row))
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, Wrong> {
        self.bytes.map(Cow::Borrowed).ok_or_else(|| Wrong::no_image("null"))
    }

    fn label(&self) -> Result<Label<'_>, Wrong> {
        self.label.clone()
    }
}

/// Reads a file, and says how many rows it has.
fn read_file(path: &Path, part: Part, assembly: &mut Assembly) -> Result<u64, DatasetError> {
    let name = path.display().to_string();
    let wrong = |place, expected: String, found: String| DatasetError::malformed(name.as_str(), place, expected, found);
    let unreadable = |row: u64, error: String| {
        let place = if row == 0 { Place::File } else { Place::Row(row) };
        wrong(place, "a readable Parquet file".to_owned(), error)
    };
    let refused = |fault: Fault| match fault {
        Fault::Io(cause) => DatasetError::Io { path: path.to_owned(), cause },
        Fault::Malformed { at, expected, found } => wrong(Place::Byte(at), expected, found),
        Fault::Parquet(error) => unreadable(0, error.to_string()),
    };
    let vetted = Vetted::open(path, &DataType::Utf8).map_err(refused)?;
    let (schema, parquet_schema) = (vetted.metadata.schema(), vetted.metadata.parquet_schema());
    let column = |names: [&str; 2], is_one: fn(&Field) -> bool| {
        let fields = schema.fields();
        let named = fields.iter().position(|field| names.contains(&field.name().as_str()));
        let mut only = fields.iter().enumerate().filter(|(_, field)| is_one(field)).map(|(index, _)| index);
        let only = only.next().filter(|_| only.next().is_none());
        named.or(only).ok_or_else(|| {
            let found: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            wrong(Place::File, format!("a column `{}` or `{}`", names[0], names[1]), found.join(", "))
        })
    };
    let image_index = column(IMAGE_COLUMNS, |field| match field.data_type() {
        DataType::Binary => true,
        DataType::Struct(fields) => fields.iter().any(|field| field.name() == "bytes"),
        _ => false,
    })?;
    let label_index =
        column(LABEL_COLUMNS, |field| field.data_type().is_integer() || *field.data_type() == DataType::Utf8)?;
    let label_column = schema.field(label_index).name();
    let metadata = vetted.metadata.metadata().file_metadata().key_value_metadata();
    let hub = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface")?.value.clone());
    if let Some(names) = hub.and_then(|json| class_names(&json, label_column)) {
        assembly.labels.names = names;
    }

    let image = image_leaf(parquet_schema, image_index);
    let image = image
        .ok_or_else(|| wrong(Place::File, IMAGES.to_owned(), schema.field(image_index).data_type().to_string()))?;
    let label_type = schema.field(label_index).data_type();
    let label = leaves(parquet_schema, label_index).next().filter(|_| !label_type.is_nested());
    let labels_wanted = format!("integers or texts in the column `{label_column}`");
    let label = label.ok_or_else(|| wrong(Place::File, labels_wanted.clone(), label_type.to_string()))?;
    let of_length = |(fixed, per_byte): (u64, u64)| fixed + per_byte.saturating_mul(vetted.length);
    if vetted.rows() > of_length(FILE_ROWS) {
        let expected = format!("at most {} rows in {} bytes", of_length(FILE_ROWS), vetted.length);
        return Err(wrong(Place::File, expected, vetted.rows().to_string()));
    }
    let pages = vetted.pages(&[image, label]).map_err(refused)?;
    // A few rows of a dictionary's long value are as long as many of it.
    let rows = of_length(BATCH_BYTES) / (pages.longest as u64).max(1);
    let mut pixels_left = of_length(FILE_PIXELS);

    let mask = ProjectionMask::leaves(parquet_schema, [image, label]);
    let image_column = schema.field(image_index).name();
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(vetted.file, vetted.metadata.clone());
    let reader = builder.with_projection(mask).with_batch_size(rows.clamp(1, ROWS as u64) as usize).build();
    let mut first = 0;
    for batch in reader.map_err(|error| unreadable(0, error.to_string()))? {
        let batch: RecordBatch = batch.map_err(|error| unreadable(first, error.to_string()))?;
        let column = |name: &str| batch.column_by_name(name);
        let images = column(image_column).and_then(image_bytes);
        let images = images.ok_or_else(|| {
            let found = column(image_column).map(|column| column.data_type().to_string());
            wrong(Place::Row(first), IMAGES.to_owned(), found.unwrap_or_default())
        })?;
        let labels = column(label_column).and_then(Labels::of);
        let labels = labels.ok_or_else(|| wrong(Place::Row(first), labels_wanted.clone(), "others".to_owned()))?;
        let rows: Vec<Row<'_>> = (0..batch.num_rows())
            .map(|row| Row {
                file: &name,
                row: first + row as u64,
                bytes: (!images.is_null(row)).then(|| images.value(row)),
                label: labels.at(row).ok_or_else(|| Wrong::new(format!("a class in `{label_column}`"), "null")),
            })
            .collect();
        // A few bytes can say that they are a huge image, and a dictionary has one a thousand times.
        let pixels = assembly.pixels(&rows);
        let room = pixels_left;
        pixels_left = room.checked_sub(pixels).ok_or_else(|| {
            let expected = format!("at most {room} more pixels in a file of its length");
            wrong(Place::Row(first), expected, format!("{} images of {pixels} pixels", rows.len()))
        })?;
        assembly.append(part, &rows);
        first += rows.len() as u64;
    }
    Ok(first)
}

const IMAGES: &str = "an image column: struct of binary `bytes` and `path`, or binary";

/// The numbers of the leaves of a column.
fn leaves(schema: &SchemaDescriptor, root: usize) -> impl Iterator<Item = usize> + '_ {
    (0..schema.num_columns()).filter(move |&leaf| schema.get_column_root_idx(leaf) == root)
}

/// The leaf with the images: `path` is not read.
fn image_leaf(schema: &SchemaDescriptor, root: usize) -> Option<usize> {
    let is_image = |leaf: &usize| match schema.column(*leaf).path().parts() {
        [_] => true,
        [_, name] => name == "bytes",
        _ => false,
    };
    leaves(schema, root).find(is_image)
}

/// The labels of a batch.
enum Labels {
    Numbers(Vec<Option<i128>>),
    Texts(StringArray),
}

impl Labels {
    /// Of a column of any integer type or of texts; none for other types.
    fn of(column: &ArrayRef) -> Option<Labels> {
        if let Some(texts) = column.as_string_opt::<i32>() {
            return Some(Labels::Texts(texts.clone()));
        }
        downcast_integer_array! {
            column => Some(Labels::Numbers(column.iter().map(|value| value.map(i128::from)).collect())),
            _ => None,
        }
    }

    /// None where the table has null.
    fn at(&self, row: usize) -> Option<Label<'_>> {
        match self {
            Labels::Numbers(numbers) => numbers[row].map(Label::Number),
            Labels::Texts(texts) => (!texts.is_null(row)).then(|| Label::Text(texts.value(row))),
        }
    }
}

/// The images of a batch, null where an image is.
fn image_bytes(column: &ArrayRef) -> Option<BinaryArray> {
    let bytes = match column.as_struct_opt() {
        Some(images) => {
            let bytes = images.column_by_name("bytes")?.as_binary_opt::<i32>()?;
            // An image is null where the struct is, whatever its bytes are.
            let nulls = arrow_buffer::NullBuffer::union(images.nulls(), bytes.nulls());
            BinaryArray::try_new(bytes.offsets().clone(), bytes.values().clone(), nulls).ok()?
        }
        None => column.as_binary_opt::<i32>()?.clone(),
    };
    Some(bytes)
}

/// The part of the hub's metadata that names classes: `info.features.COLUMN.names`.
fn class_names(json: &str, label_column: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Hub {
        info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        features: serde_json::Map<String, serde_json::Value>,
    }
    let hub: Hub = serde_json::from_str(json).ok()?;
    let names = hub.info.features.get(label_column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_splits(names: &[&str], expected: Result<(&[&str], &[&str]), &str>) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let strip = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        match (splits(folder.path()), expected) {
            (Ok((train, test)), Ok(expected)) => {
                assert_eq!(strip(train), expected.0);
                assert_eq!(strip(test), expected.1);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_name_of_a_shard_says_its_split() {
        check_splits(&["train.parquet", "test.parquet", "README.md"], Ok((&["train.parquet"], &["test.parquet"])));
        check_splits(
            &["validation-0.parquet", "train-b.parquet", "train-a.parquet"],
            Ok((&["train-a.parquet", "train-b.parquet"], &["validation-0.parquet"])),
        );
        check_splits(&["train.parquet", "val.parquet", "test.parquet"], Ok((&["train.parquet"], &["test.parquet"])));
        check_splits(&["test.parquet"], Err("expected a training split"));
        check_splits(&["train.parquet", "other.parquet"], Err("expected a test split"));
        check_splits(&["train-1.parquet", "train-0.parquet"], Ok((&["train-0.parquet", "train-1.parquet"], &[])));
        check_splits(&["b.parquet", "a.parquet"], Ok((&["a.parquet", "b.parquet"], &[])));
    }

    #[test]
    fn a_missing_shard_is_no_smaller_set() {
        check_splits(
            &["train-00000-of-00003.parquet", "train-00002-of-00003.parquet", "test.parquet"],
            Err("expected a shard `train-00001-of-00003.parquet`"),
        );
        check_splits(
            &["train-00000-of-99999999999.parquet", "test.parquet"],
            Err("expected a shard `train-00001-of-99999999999.parquet`"),
        );
    }
}
