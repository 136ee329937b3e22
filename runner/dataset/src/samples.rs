//! The samples of one part of a dataset, shared without copying.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;

use super::map::Map;

/// A dataset in memory (or mapped), its samples in canonical order: sorted by a hash of (pixels, label).
///
/// So every format of one set gives the same samples at the same indices, and one digest. [`super::canonical`] has the details.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name in the spec, such as `cifar10`.
    pub name: String,
    /// 64 hexadecimal digits over the canonical order of both splits, sizes and class count.
    pub digest: String,
    /// Rows of an image.
    pub height: u32,
    /// Columns of an image.
    pub width: u32,
    /// Bytes of a pixel: 3 is red, green, blue; 1 is grey.
    pub channels: u32,
    /// Labels are in `0..class_count`.
    pub class_count: u32,
    /// One name a class, or none at all where neither the files nor [`super::well_known`] have them.
    pub class_names: Arc<[String]>,
    /// The source in words: `Parquet shards in /data/cifar10`.
    pub source: String,
    /// The file of the cache that it is mapped from.
    pub cached: Option<PathBuf>,
    /// The state of the cache file that it is mapped from, by which a worker knows that all of it has been checked.
    pub checked: Option<String>,
    /// Notes for people: damage that was found and mended on opening, and the remarks where it was decoded just now.
    pub notes: Vec<String>,
    /// Sentences on what is special about its images, and on a test set that was taken off the others.
    pub remarks: Vec<String>,
    /// The images to train on.
    pub train: Samples,
    /// The images on which accuracy is measured.
    pub test: Samples,
}

impl Dataset {
    /// Bytes of one image: height x width x channels.
    pub fn image_bytes(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
    }
}

/// Images and labels in canonical order, and the order in which the files had them.
#[derive(Clone, Debug)]
pub struct Samples {
    /// uint8, NHWC, `count * height * width * channels` bytes.
    pub images: Bytes,
    /// One label a sample, in `0..class_count`.
    pub labels: Arc<[i32]>,
    /// `stored[i]` is the canonical index of the i-th sample of the files: the order that Caffe would read.
    pub stored: Arc<[u32]>,
}

impl Samples {
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// How many samples each of `class_count` classes has, by its label.
    pub fn class_counts(&self, class_count: u32) -> Vec<u64> {
        let mut counts = vec![0; class_count as usize];
        for &label in self.labels.iter() {
            if let Some(count) = usize::try_from(label).ok().and_then(|label| counts.get_mut(label)) {
                *count += 1;
            }
        }
        counts
    }

    /// The samples `range` of the canonical order, their images shared with `self`: a validation split is
    /// `slice(train_count..count)`. Stored order is kept among those that remain.
    ///
    /// # Panics
    ///
    /// If the range is not within `0..count`.
    pub fn slice(&self, range: Range<usize>) -> Samples {
        let image_bytes = self.images.len().checked_div(self.count()).unwrap_or(0);
        let stored = self.stored.iter().filter(|&&index| range.contains(&(index as usize)));
        Samples {
            images: self.images.slice(range.start * image_bytes..range.end * image_bytes),
            labels: self.labels[range.clone()].into(),
            stored: stored.map(|&index| index - range.start as u32).collect(),
        }
    }

    /// 64 hexadecimal digits over the stored order (BLAKE3 of the canonical indices as u32, little-endian): what
    /// tells two files of one set apart when a run asks for `order = "stored"`.
    pub fn stored_digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for index in self.stored.iter() {
            hasher.update(&index.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// True if labels are classes and the stored order is a permutation, so that nothing downstream indexes outside.
    pub fn is_sound(&self, class_count: u32) -> bool {
        let mut seen = vec![false; self.count()];
        self.stored.len() == self.count()
            && self.labels.iter().all(|&label| u32::try_from(label).is_ok_and(|label| label < class_count))
            && self
                .stored
                .iter()
                .all(|&index| seen.get_mut(index as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
    }
}

/// Shared bytes: owned, or a range of a memory-mapped file. Cloning and slicing copy nothing.
#[derive(Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone)]
enum Owner {
    Memory(Arc<Vec<u8>>),
    File(Arc<Map>),
}

impl Bytes {
    pub fn mapped(map: Arc<Map>, range: Range<usize>) -> Option<Bytes> {
        map.get(range.clone())?;
        Some(Bytes { owner: Owner::File(map), range })
    }

    /// The bytes `range` of these, which must be within them.
    fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.range.len(), "{range:?} is outside of the bytes");
        Bytes { owner: self.owner.clone(), range: self.range.start + range.start..self.range.start + range.end }
    }

    /// True if they lie in a mapped file, not in memory of their own.
    pub fn is_mapped(&self) -> bool {
        matches!(self.owner, Owner::File(_))
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Vec::new().into()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes { range: 0..bytes.len(), owner: Owner::Memory(Arc::new(bytes)) }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.owner {
            Owner::Memory(bytes) => bytes,
            Owner::File(map) => map,
        };
        &all[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes{}", self.len(), if self.is_mapped() { ", mapped" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_shares_images_and_keeps_the_stored_order() {
        let samples = Samples {
            images: (0..8).collect::<Vec<u8>>().into(),
            labels: [0, 1, 2, 3].into(),
            stored: [2, 0, 3, 1].into(),
        };
        let train = samples.slice(0..3);
        assert_eq!((&*train.images, &*train.labels), (&[0, 1, 2, 3, 4, 5][..], &[0, 1, 2][..]));
        assert_eq!(&*train.stored, [2, 0, 1]);
        let validation = samples.slice(3..4);
        assert_eq!((&*validation.images, &*validation.labels, &*validation.stored), (&[6, 7][..], &[3][..], &[0][..]));
        assert_eq!(samples.slice(4..4).count(), 0);
    }

    #[test]
    fn every_class_is_counted_those_without_samples_too() {
        let samples = Samples { images: vec![0; 4].into(), labels: [1, 3, 1, 0].into(), stored: [0, 1, 2, 3].into() };
        assert_eq!(samples.class_counts(5), [1, 2, 0, 1, 0]);
    }

    #[track_caller]
    fn check_sound(labels: &[i32], stored: &[u32], expected: bool) {
        let samples = Samples { images: vec![0; labels.len()].into(), labels: labels.into(), stored: stored.into() };
        assert_eq!(samples.is_sound(3), expected);
    }

    #[test]
    fn unsound_tables_are_seen() {
        check_sound(&[0, 2], &[1, 0], true);
        check_sound(&[0, 3], &[1, 0], false);
        check_sound(&[0, -1], &[1, 0], false);
        check_sound(&[0, 1], &[1, 1], false);
        check_sound(&[0, 1], &[0, 2], false);
        check_sound(&[0, 1], &[0], false);
    }
}
