//! CIFAR's Python version: pickled dictionaries of a uint8 array (rows of 1024 red, 1024 green, 1024 blue bytes) and
//! a list of labels. Read by [`super::pickle`], which runs nothing.

use super::cifar::{CHANNELS, Cifar, IMAGE_BYTES, Version};
use super::decoded::Split;
use super::error::{DatasetError, Place};
use super::pickle::{self, Pickle};

/// The version's files.
pub(super) fn version(set: Cifar) -> Version {
    let (train, test, class_names): (&[&str], _, _) = match set {
        Cifar::Ten => (
            &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
            "test_batch",
            "batches.meta",
        ),
        Cifar::Hundred => (&["train"], "test", "meta"),
    };
    Version { set, train, test, class_names, append, parse_class_names: parse_names }
}

fn append(bytes: &[u8], file: &str, set: Cifar, split: &mut Split) -> Result<(), DatasetError> {
    let pickle = parse(bytes, file)?;
    let wrong = |place, expected: &str, found: String| DatasetError::malformed(file, place, expected, found);
    let labels_key = match set {
        Cifar::Ten => "labels",
        Cifar::Hundred => "fine_labels",
    };
    let labels = pickle.get(labels_key).and_then(|value| pickle.integers(value));
    let labels =
        labels.ok_or_else(|| wrong(Place::File, &format!("a list of integers `{labels_key}`"), "none".into()))?;
    if labels.is_empty() {
        return Err(wrong(Place::File, &format!("at least one label in `{labels_key}`"), "none".into()));
    }
    let array = pickle.get("data").and_then(|value| pickle.byte_array(value));
    let (shape, data) = array.ok_or_else(|| wrong(Place::File, "a uint8 array `data` in C order", "none".into()))?;
    if shape != [labels.len() as u64, IMAGE_BYTES as u64] {
        let expected = format!("`data` of {} rows of {IMAGE_BYTES} bytes, as many as labels", labels.len());
        return Err(wrong(Place::File, &expected, format!("shape {shape:?}")));
    }
    split.images.reserve(data.len());
    for (number, (label, planes)) in labels.into_iter().zip(data.chunks_exact(IMAGE_BYTES)).enumerate() {
        if !(0..i64::from(set.class_count())).contains(&label) {
            let expected = format!("a label in 0..{}", set.class_count());
            return Err(wrong(Place::Record(number as u64), &expected, label.to_string()));
        }
        split.labels.push(label as i32);
        split.push_planes(planes, CHANNELS);
    }
    Ok(())
}

fn parse_names(bytes: &[u8], file: &str, set: Cifar) -> Result<Vec<String>, DatasetError> {
    let pickle = parse(bytes, file)?;
    let key = match set {
        Cifar::Ten => "label_names",
        Cifar::Hundred => "fine_label_names",
    };
    let names = pickle.get(key).and_then(|value| pickle.strings(value)).unwrap_or_default();
    if names.len() != set.class_count() as usize {
        let expected = format!("a list `{key}` of {} names", set.class_count());
        return Err(DatasetError::malformed(file, Place::File, expected, names.len().to_string()));
    }
    Ok(names)
}

fn parse<'a>(bytes: &'a [u8], file: &str) -> Result<Pickle<'a>, DatasetError> {
    pickle::parse(bytes)
        .map_err(|error| DatasetError::malformed(file, Place::Byte(error.offset as u64), error.expected, error.found))
}
