//! The canonical order and the digest of a dataset: the same for every format that holds it.
//!
//! The *key* of a sample is BLAKE3 over its pixels (uint8, HWC, red green blue), then its label as a 32-bit
//! little-endian integer. Each split is sorted by key. Equal keys are equal samples, so their order does not show;
//! they keep that of the files.
//!
//! The *digest* is BLAKE3 over, in this order: height, width, channels and class count (32-bit little-endian); the
//! number of training samples (64-bit little-endian) and their sorted keys; the same of the test samples. It is
//! written as 64 lowercase hexadecimal digits. Class names and the order of the files are not part of it.

use super::decoded::{Decoded, Split};
use super::error::DatasetError;
use super::key::{Key, keys};
use super::spool::Spool;
use super::{Dataset, Samples};

/// The dataset that was decoded, in canonical order.
///
/// # Errors
///
/// Where a set that is too large for memory cannot be written to a file.
pub fn dataset(name: &str, source: &str, decoded: Decoded) -> Result<Dataset, DatasetError> {
    let Decoded { height, width, channels, class_count, class_names, train, test, notes } = decoded;
    let image_bytes = height as usize * width as usize * channels as usize;
    let (train_keys, train) = sorted(train, image_bytes)?;
    let (test_keys, test) = sorted(test, image_bytes)?;
    let digest = digest([height, width, channels, class_count], &train_keys, &test_keys);
    Ok(Dataset {
        name: name.to_owned(),
        digest,
        height,
        width,
        channels,
        class_count,
        class_names: class_names.into(),
        source: source.to_owned(),
        cached: None,
        checked: None,
        notes: Vec::new(),
        remarks: notes,
        train,
        test,
    })
}

/// The digest of samples that are in canonical order.
pub fn digest_of(dataset: &Dataset) -> String {
    let keys_of = |samples: &Samples| keys(&samples.images, &samples.labels, dataset.image_bytes());
    let sizes = [dataset.height, dataset.width, dataset.channels, dataset.class_count];
    digest(sizes, &keys_of(&dataset.train), &keys_of(&dataset.test))
}

fn digest(sizes: [u32; 4], train_keys: &[Key], test_keys: &[Key]) -> String {
    let mut hasher = blake3::Hasher::new();
    for size in sizes {
        hasher.update(&size.to_le_bytes());
    }
    for keys in [train_keys, test_keys] {
        hasher.update(&(keys.len() as u64).to_le_bytes());
        hasher.update(keys.as_flattened());
    }
    hasher.finalize().to_hex().to_string()
}

/// The keys, sorted, and the samples in their order.
fn sorted(split: Split, image_bytes: usize) -> Result<(Vec<Key>, Samples), DatasetError> {
    let keys = keys(&split.images, &split.labels, image_bytes);
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_by_key(|&index| keys[index as usize]);

    let mut images = Spool::default();
    for &index in &order {
        images.extend(&split.images[index as usize * image_bytes..][..image_bytes])?;
    }
    let mut stored = vec![0; order.len()];
    for (canonical, &index) in order.iter().enumerate() {
        stored[index as usize] = canonical as u32;
    }
    let labels = order.iter().map(|&index| split.labels[index as usize]).collect();
    let keys = order.iter().map(|&index| keys[index as usize]).collect();
    Ok((keys, Samples { images: images.finish()?, labels, stored: stored.into() }))
}

impl Dataset {
    /// The digest computed anew from pixels and labels. It differs from [`Dataset::digest`] if memory was damaged, or the
    /// cache file since it was opened.
    pub fn computed_digest(&self) -> String {
        digest_of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(train: &[(u8, i32)]) -> Decoded {
        let split = |samples: &[(u8, i32)]| Split {
            images: samples.iter().flat_map(|&(value, _)| [value, 7]).collect::<Vec<u8>>().into(),
            labels: samples.iter().map(|&(_, label)| label).collect(),
        };
        let (train, test) = (split(train), split(&[(9, 1)]));
        Decoded {
            height: 1,
            width: 2,
            channels: 1,
            class_count: 3,
            class_names: Vec::new(),
            train,
            test,
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_order_of_the_files_does_not_show() {
        let one = dataset("set", "", decoded(&[(1, 0), (2, 1), (3, 2), (2, 1)])).unwrap();
        let other = dataset("set", "", decoded(&[(2, 1), (3, 2), (2, 1), (1, 0)])).unwrap();
        assert_eq!(one.digest, other.digest);
        assert_eq!((&*one.train.images, &one.train.labels), (&*other.train.images, &other.train.labels));
        assert_ne!(one.train.stored, other.train.stored);
        assert_eq!(one.computed_digest(), one.digest);
    }

    #[test]
    fn stored_leads_back_to_the_order_of_the_files() {
        let samples = [(5, 0), (200, 2), (17, 1), (90, 1), (3, 0)];
        let train = dataset("set", "", decoded(&samples)).unwrap().train;
        let stored = train.stored.iter().map(|&at| (train.images[2 * at as usize], train.labels[at as usize]));
        assert_eq!(stored.collect::<Vec<_>>(), samples);
    }

    #[test]
    fn whatever_changes_numbers_changes_the_digest() {
        let base = decoded(&[(1, 0), (2, 1)]);
        let digest = |decoded: Decoded| dataset("set", "", decoded).unwrap().digest;
        let expected = digest(base.clone());
        let mut pixel = base.clone();
        pixel.train.images = pixel.train.images.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
        let mut label = base.clone();
        label.test.labels[0] = 2;
        let classes = Decoded { class_count: 4, ..base.clone() };
        let shape = Decoded { height: 2, width: 1, ..base.clone() };
        let mut moved = base.clone();
        std::mem::swap(&mut moved.train, &mut moved.test);
        for other in [pixel, label, classes, shape, moved] {
            assert_ne!(digest(other), expected);
        }
        let named = Decoded { class_names: vec!["a".into(), "b".into(), "c".into()], ..base };
        assert_eq!(digest(named), expected);
    }

    /// The definition at the head of this file, followed by hand.
    #[test]
    fn the_digest_is_the_documented_one() {
        let key = |value: u8, label: i32| *blake3::hash(&[&[value, 7][..], &label.to_le_bytes()].concat()).as_bytes();
        let mut train = [key(1, 0), key(2, 1)];
        train.sort_unstable();
        let mut bytes: Vec<u8> = [1u32, 2, 1, 3].iter().flat_map(|size| size.to_le_bytes()).collect();
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(train.as_flattened());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(key(9, 1));
        let expected = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(dataset("set", "", decoded(&[(1, 0), (2, 1)])).unwrap().digest, expected);
    }
}
