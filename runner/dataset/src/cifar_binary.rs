//! CIFAR's binary version: records of label bytes, then 1024 red, 1024 green and 1024 blue bytes, row by row.
//!
//! CIFAR-10 has one label byte; CIFAR-100 has two, coarse and fine, and the fine one counts.

use super::cifar::{CHANNELS, Cifar, IMAGE_BYTES, Version};
use super::decoded::Growing;
use super::error::{DatasetError, Place};

pub fn version(set: Cifar) -> Version {
    let (train, test, class_names): (&[&str], _, _) = match set {
        Cifar::Ten => (
            &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
            "test_batch.bin",
            "batches.meta.txt",
        ),
        Cifar::Hundred => (&["train.bin"], "test.bin", "fine_label_names.txt"),
    };
    Version { set, train, test, class_names, append, parse_class_names: parse_names }
}

fn append(bytes: &[u8], file: &str, set: Cifar, split: &mut Growing) -> Result<(), DatasetError> {
    let label_bytes = match set {
        Cifar::Ten => 1,
        Cifar::Hundred => 2,
    };
    let record_bytes = label_bytes + IMAGE_BYTES;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record_bytes) {
        let expected = format!("whole records of {record_bytes} bytes");
        return Err(DatasetError::malformed(file, Place::File, expected, format!("{} bytes", bytes.len())));
    }
    split.images.reserve(bytes.len() / record_bytes * IMAGE_BYTES);
    for (number, record) in bytes.chunks_exact(record_bytes).enumerate() {
        let (labels, planes) = record.split_at(label_bytes);
        let label = labels[label_bytes - 1];
        if u32::from(label) >= set.class_count() {
            let expected = format!("a label below {}", set.class_count());
            return Err(DatasetError::malformed(file, Place::Record(number as u64), expected, label.to_string()));
        }
        split.labels.push(i32::from(label));
        split.push_planes(planes, CHANNELS);
    }
    Ok(())
}

/// One name a line; the published files end with empty lines.
fn parse_names(text: &[u8], file: &str, set: Cifar) -> Result<Vec<String>, DatasetError> {
    let text = String::from_utf8_lossy(text);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != set.class_count() as usize {
        let (expected, found) = (format!("{} names of classes", set.class_count()), names.len().to_string());
        return Err(DatasetError::malformed(file, Place::File, expected, found));
    }
    Ok(names)
}
