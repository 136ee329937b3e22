//! Parquet shards of images, in the layout of dataset hubs: a column `img` or `image` (struct of `bytes` and `path`, or
//! the bytes themselves) with PNG images, and an integer column `label` or, for CIFAR-100, `fine_label`.
//!
//! The file's name says the split: `train*`, `test*`, or `val*` where there is no test split. Class names are in the
//! hub's metadata (key `huggingface`), where they are at all.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, downcast_integer_array};
use arrow_schema::DataType;
use clr_system::contain::contain;
use clr_vetted::{Fault, Vetted};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::SchemaDescriptor;
use rayon::prelude::*;
use serde::Deserialize;

use super::decoded::{Decoded, Split};
use super::error::{DatasetError, Place};
use super::png_image::{self, Refusal};

const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 2] = ["label", "fine_label"];
/// No set has so many classes (ImageNet has 21,841); a number above is no class but a mistake, and a model of that many
/// outputs would fill the memory.
const CLASSES: i32 = 1 << 20;
/// Rows decoded at a time, in parallel.
const ROWS: usize = 512;
/// Rows that any file may have, and for each byte of it: an image takes 67 bytes at least, but for those that are equal.
const FILE_ROWS: (u64, u64) = (1 << 16, 1);
/// Bytes that the images of a batch may take before they are decoded, in any file, and for each byte of it.
const BATCH_BYTES: (u64, u64) = (8 << 20, 64);
/// Pixels that any file may have, and for each byte of it: as many as deflate, at its best, makes of a byte.
const FILE_PIXELS: (u64, u64) = (4 << 20, 1032);

/// True if a folder has Parquet shards.
pub fn is_in(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| is_parquet(&entry.path()))
}

/// The shards of a folder that are read: those of the training split, then those of the test split.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let (train, test) = splits(folder)?;
    Ok([train, test].concat())
}

/// Reads a folder. Without a `class_count` it is the number of class names; where there are none, labels must number the
/// classes from 0 without a gap.
pub fn load(folder: &Path, class_count: Option<u32>) -> Result<Decoded, DatasetError> {
    let (train_files, test_files) = splits(folder)?;
    let mut images = Images::default();
    let mut train = images.read(&train_files)?;
    let train_shape = images.shape;
    let test = images.read(&test_files)?;
    if images.shape != train_shape {
        train = grey_to_rgb(train);
    }

    for (split, name) in [(&train, "training"), (&test, "test")] {
        if split.labels.is_empty() {
            let expected = format!("at least one image in the {name} split");
            return Err(DatasetError::malformed(folder.display().to_string(), Place::File, expected, "none"));
        }
    }
    let labels = || train.labels.iter().chain(&test.labels).copied();
    let largest = labels().max().unwrap_or(0);
    let class_names = images.class_names;
    // Where the largest label alone tells how many classes there are, one that is mistyped would make hundreds.
    if class_count.is_none() && class_names.is_empty() {
        check_no_gap(labels, largest, &images.rows)?;
    }
    let class_count = match class_count {
        Some(count) => count,
        None if class_names.is_empty() => largest as u32 + 1,
        None => class_names.len() as u32,
    };
    let file = || folder.display().to_string();
    if let Some(index) = labels().position(|label| label as u32 >= class_count) {
        let (expected, found) = (format!("a label below {class_count}, the number of classes"), labels().nth(index));
        let (name, place) = place_of(index, &images.rows);
        return Err(DatasetError::malformed(name, place, expected, found.unwrap_or_default().to_string()));
    }
    if !class_names.is_empty() && class_names.len() != class_count as usize {
        let expected = format!("{class_count} names of classes");
        return Err(DatasetError::malformed(file(), Place::File, expected, class_names.len().to_string()));
    }
    let Some((height, width, channels)) = images.shape else {
        return Err(DatasetError::malformed(file(), Place::File, "at least one image", "none"));
    };
    Ok(Decoded { height, width, channels, class_count, class_names, train, test })
}

/// Labels count the classes from 0. Where some are missing below the largest, they were numbered otherwise (from 1, or as
/// a larger set has them), or one of them is a mistake.
fn check_no_gap<I: Iterator<Item = i32>>(
    labels: impl Fn() -> I,
    largest: i32,
    rows: &[(String, u64)],
) -> Result<(), DatasetError> {
    let mut is_there = vec![false; largest as usize + 1];
    labels().for_each(|label| is_there[label as usize] = true);
    let Some(first) = is_there.iter().position(|there| !there) else { return Ok(()) };
    // The largest label is there, so the gap ends before it.
    let next = first + is_there[first..].iter().position(|&there| there).unwrap_or(0);
    let index = labels().position(|label| label as usize == next).unwrap_or(0);
    let (name, place) = place_of(index, rows);
    let gap =
        if next - first == 1 { format!("label {first}") } else { format!("a label from {first} to {}", next - 1) };
    let count = is_there.iter().filter(|&&there| there).count();
    let expected = format!(
        "labels that count the {count} classes from 0, without a gap (or names of all classes in the metadata, as dataset hubs write them)"
    );
    Err(DatasetError::malformed(name, place, expected, format!("label {next}, and no image with {gap}")))
}

/// The file and row of a sample, by its number among all that were read.
fn place_of(index: usize, rows: &[(String, u64)]) -> (&str, Place) {
    let mut row = index as u64;
    for (name, count) in rows {
        match row.checked_sub(*count) {
            Some(rest) => row = rest,
            None => return (name, Place::Row(row)),
        }
    }
    ("", Place::File)
}

fn grey_to_rgb(split: Split) -> Split {
    Split { images: split.images.iter().flat_map(|&grey| [grey; 3]).collect(), labels: split.labels }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

/// Shards of the training and the test split, each sorted by name and complete.
fn splits(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DatasetError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DatasetError::io(folder))? {
        let entry = entry.map_err(DatasetError::io(folder))?;
        // A name that is no UTF-8 starts with none of the splits either.
        if let (true, Some(name)) = (is_parquet(&entry.path()), entry.file_name().to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let with_prefix =
        |prefix: &str| -> Vec<String> { names.iter().filter(|name| name.starts_with(prefix)).cloned().collect() };
    let train = with_prefix("train");
    let test = Some(with_prefix("test")).filter(|test| !test.is_empty()).unwrap_or_else(|| with_prefix("val"));
    let missing = |expected: String| {
        let found = format!("only {}", names.join(", "));
        Err(DatasetError::malformed(folder.display().to_string(), Place::File, expected, found))
    };
    if train.is_empty() {
        return missing("a training split `train*.parquet`".into());
    }
    if test.is_empty() {
        return missing("a test split `test*.parquet` or `val*.parquet`".into());
    }
    for shards in [&train, &test] {
        if let Some(shard) = missing_shard(shards) {
            return missing(format!("a shard `{shard}`"));
        }
    }
    let paths = |names: Vec<String>| names.iter().map(|name| folder.join(name)).collect();
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

/// The properties that all shards read so far have in common.
#[derive(Default)]
struct Images {
    /// Height, width and channels. Where grey images are among coloured ones (as in ImageNet), all become coloured;
    /// nothing else may differ.
    shape: Option<(u32, u32, u32)>,
    class_names: Vec<String>,
    /// The files, and how many rows each has.
    rows: Vec<(String, u64)>,
}

impl Images {
    fn read(&mut self, files: &[PathBuf]) -> Result<Split, DatasetError> {
        let mut split = Split::default();
        for file in files {
            contain(|| self.read_file(file, &mut split)).unwrap_or_else(|| {
                let found = "one that breaks the Parquet reader";
                Err(DatasetError::malformed(file.display().to_string(), Place::File, "a Parquet file", found))
            })?;
        }
        Ok(split)
    }

    fn read_file(&mut self, path: &Path, split: &mut Split) -> Result<(), DatasetError> {
        let name = path.display().to_string();
        let unreadable = |row: u64, error: String| {
            let place = if row == 0 { Place::File } else { Place::Row(row) };
            DatasetError::malformed(name.as_str(), place, "a readable Parquet file", error)
        };
        let refused = |fault: Fault| match fault {
            Fault::Io(cause) => DatasetError::Io { path: path.to_owned(), cause },
            Fault::Malformed { at, expected, found } => {
                DatasetError::malformed(name.as_str(), Place::Byte(at), expected, found)
            }
            Fault::Parquet(error) => unreadable(0, error.to_string()),
        };
        let vetted = Vetted::open(path, &DataType::Utf8).map_err(refused)?;
        let (schema, parquet_schema) = (vetted.metadata.schema(), vetted.metadata.parquet_schema());
        let column = |names: [&str; 2]| {
            let index = schema.fields().iter().position(|field| names.contains(&field.name().as_str()));
            index.ok_or_else(|| {
                let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let expected = format!("a column `{}` or `{}`", names[0], names[1]);
                DatasetError::malformed(name.as_str(), Place::File, expected, found.join(", "))
            })
        };
        let (image_index, label_index) = (column(IMAGE_COLUMNS)?, column(LABEL_COLUMNS)?);
        let label_column = schema.field(label_index).name();
        let metadata = vetted.metadata.metadata().file_metadata().key_value_metadata();
        let hub = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface")?.value.clone());
        if let Some(names) = hub.and_then(|json| class_names(&json, label_column)) {
            self.class_names = names;
        }

        let image = image_leaf(parquet_schema, image_index).ok_or_else(|| {
            let found = schema.field(image_index).data_type().to_string();
            DatasetError::malformed(name.as_str(), Place::File, IMAGES, found)
        })?;
        let label =
            leaves(parquet_schema, label_index).next().filter(|_| !schema.field(label_index).data_type().is_nested());
        let label = label.ok_or_else(|| {
            let found = schema.field(label_index).data_type().to_string();
            DatasetError::malformed(
                name.as_str(),
                Place::File,
                format!("integers in the column `{label_column}`"),
                found,
            )
        })?;
        let of_length = |(fixed, per_byte): (u64, u64)| fixed + per_byte.saturating_mul(vetted.length);
        if vetted.rows() > of_length(FILE_ROWS) {
            let expected = format!("at most {} rows in {} bytes", of_length(FILE_ROWS), vetted.length);
            return Err(DatasetError::malformed(name.as_str(), Place::File, expected, vetted.rows().to_string()));
        }
        let pages = vetted.pages(&[image, label]).map_err(refused)?;
        // A few rows of a dictionary's long value are as long as many of it.
        let rows = of_length(BATCH_BYTES) / (pages.longest as u64).max(1);
        let mut pixels = of_length(FILE_PIXELS);

        let mask = ProjectionMask::leaves(parquet_schema, [image, label]);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(vetted.file, vetted.metadata.clone());
        let reader = builder.with_projection(mask).with_batch_size(rows.clamp(1, ROWS as u64) as usize).build();
        let mut row = 0;
        for batch in reader.map_err(|error| unreadable(0, error.to_string()))? {
            let batch = batch.map_err(|error| unreadable(row, error.to_string()))?;
            self.append(&batch, label_column, &name, row, &mut pixels, split)?;
            row += batch.num_rows() as u64;
        }
        self.rows.push((name, row));
        Ok(())
    }

    fn append(
        &mut self,
        batch: &RecordBatch,
        label_column: &str,
        file: &str,
        first_row: u64,
        pixels_left: &mut u64,
        split: &mut Split,
    ) -> Result<(), DatasetError> {
        let wrong = |row: usize, expected: String, found: String| {
            DatasetError::malformed(file, Place::Row(first_row + row as u64), expected, found)
        };
        let bytes = IMAGE_COLUMNS.iter().find_map(|name| batch.column_by_name(name)).and_then(image_bytes);
        let bytes = bytes.ok_or_else(|| {
            let found = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>();
            wrong(0, IMAGES.into(), found.join(", "))
        })?;
        let labels = batch.column_by_name(label_column).and_then(integers);
        let labels =
            labels.ok_or_else(|| wrong(0, format!("integers in the column `{label_column}`"), "others".into()))?;

        // All images have the size of the first. Sizes are looked at before anything is decoded: a few bytes can say that
        // they are a huge image.
        let is_image = |row: usize| row < batch.num_rows() && !bytes.is_null(row);
        let first = || is_image(0).then(|| png_image::size(bytes.value(0)).ok())?;
        let size = self.shape.map(|(height, width, _)| (height, width)).or_else(first);
        let pixels = size.map_or(0, |(height, width)| u64::from(height) * u64::from(width));
        let room = *pixels_left;
        *pixels_left = room.checked_sub(pixels.saturating_mul(batch.num_rows() as u64)).ok_or_else(|| {
            let (height, width) = size.unwrap_or_default();
            let found = format!("{} images of {height}x{width}", batch.num_rows());
            wrong(0, format!("at most {room} more pixels in a file of its length"), found)
        })?;
        let decode = |row: usize| match size {
            _ if !is_image(row) => Err(Refusal::NotPng("null".to_owned())),
            Some(size) => png_image::decode(bytes.value(row), size),
            // Of no consequence but for the message, which is about the first.
            None => png_image::size(bytes.value(row)).and(Err(Refusal::NotPng("no first image".to_owned()))),
        };
        let decoded: Vec<_> = (0..batch.num_rows()).into_par_iter().map(decode).collect();
        for (row, image) in decoded.into_iter().enumerate() {
            let image = image.map_err(|refusal| match (refusal, size) {
                (Refusal::OtherSize(found), Some((height, width))) => {
                    wrong(row, format!("an image of {height}x{width}"), format!("{}x{}", found.0, found.1))
                }
                (Refusal::OtherSize(found), None) => {
                    wrong(row, "the size of the first image".into(), format!("{}x{}", found.0, found.1))
                }
                (Refusal::NotPng(found), _) => wrong(row, "the bytes of a PNG image in the table".into(), found),
            })?;
            let label = labels[row].and_then(|label| i32::try_from(label).ok());
            let Some(label) = label.filter(|label| (0..CLASSES).contains(label)) else {
                let found = labels[row].map_or_else(|| "null".into(), |label| label.to_string());
                return Err(wrong(row, format!("a class number in `{label_column}`"), found));
            };
            let (_, _, channels) = *self.shape.get_or_insert((image.height, image.width, image.channels));
            if channels == 1 && image.channels == 3 {
                *split = grey_to_rgb(std::mem::take(split));
                self.shape = Some((image.height, image.width, 3));
            }
            if channels == 3 && image.channels == 1 {
                split.images.extend(image.pixels.iter().flat_map(|&grey| [grey; 3]));
            } else {
                split.images.extend_from_slice(&image.pixels);
            }
            split.labels.push(label);
        }
        Ok(())
    }
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

/// The values of a column of any integer type; none for other types.
fn integers(column: &ArrayRef) -> Option<Vec<Option<i128>>> {
    downcast_integer_array! {
        column => Some(column.iter().map(|value| value.map(i128::from)).collect()),
        _ => None,
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
