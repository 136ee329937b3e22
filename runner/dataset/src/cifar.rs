//! What CIFAR's binary and Python versions have in common.

use std::path::Path;

use super::container::Container;
use super::decoded::{Decoded, Growing};
use super::error::DatasetError;

/// Appends the samples of a file, its bytes and (for messages) its name given.
type Append = fn(&[u8], &str, Cifar, &mut Growing) -> Result<(), DatasetError>;

/// Reads the names of the classes, from a file given likewise.
type ParseClassNames = fn(&[u8], &str, Cifar) -> Result<Vec<String>, DatasetError>;

/// One version of a set: its files, and how each is read.
pub struct Version {
    pub set: Cifar,
    pub train: &'static [&'static str],
    pub test: &'static str,
    /// Need not be there.
    pub class_names: &'static str,
    pub append: Append,
    pub parse_class_names: ParseClassNames,
}

impl Version {
    /// The files, all that may be read.
    pub fn names(&self) -> Vec<&'static str> {
        self.train.iter().copied().chain([self.test, self.class_names]).collect()
    }

    /// Reads the set from a folder or a `.tar.gz`.
    pub fn load(&self, path: &Path) -> Result<Decoded, DatasetError> {
        let mut files = Container::open(path, &self.names())?;
        let (mut train, mut test) = (Growing::default(), Growing::default());
        for name in self.train {
            (self.append)(&files.take(name)?, &files.label(name), self.set, &mut train)?;
        }
        (self.append)(&files.take(self.test)?, &files.label(self.test), self.set, &mut test)?;
        let class_names = match files.take_if_there(self.class_names)? {
            Some(bytes) => (self.parse_class_names)(&bytes, &files.label(self.class_names), self.set)?,
            None => Vec::new(),
        };
        let (train, test) = (train.into(), test.into());
        let (size, channels) = (SIZE as u32, CHANNELS as u32);
        let class_count = self.set.class_count();
        Ok(Decoded { height: size, width: size, channels, class_count, class_names, train, test, notes: Vec::new() })
    }
}

/// One of the two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cifar {
    Ten,
    /// CIFAR-100, by its fine labels.
    Hundred,
}

/// Rows and columns of an image.
pub const SIZE: usize = 32;
pub const CHANNELS: usize = 3;
/// Bytes of an image.
pub const IMAGE_BYTES: usize = CHANNELS * SIZE * SIZE;

impl Cifar {
    /// The set that a dataset's name means.
    pub fn named(name: &str) -> Option<Cifar> {
        match name {
            "cifar10" => Some(Cifar::Ten),
            "cifar100" => Some(Cifar::Hundred),
            _ => None,
        }
    }

    pub fn class_count(self) -> u32 {
        match self {
            Cifar::Ten => 10,
            Cifar::Hundred => 100,
        }
    }

    /// The folder in the binary version's archive.
    pub fn binary_folder(self) -> &'static str {
        match self {
            Cifar::Ten => "cifar-10-batches-bin",
            Cifar::Hundred => "cifar-100-binary",
        }
    }

    /// The folder in the Python version's archive.
    pub fn python_folder(self) -> &'static str {
        match self {
            Cifar::Ten => "cifar-10-batches-py",
            Cifar::Hundred => "cifar-100-python",
        }
    }
}
