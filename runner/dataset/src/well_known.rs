//! The datasets that are known by name, with their sizes built in, so that checking a spec needs no data.

use std::fmt::Display;

use super::decoded::{self, Decoded};
use super::error::DatasetError;

/// The facts about a dataset that are known before any file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// The name in the spec.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Rows of an image.
    pub height: u32,
    /// Columns of an image.
    pub width: u32,
    /// Bytes of a pixel.
    pub channels: u32,
    pub class_count: u32,
    pub train_count: u64,
    pub test_count: u64,
    /// [`Dataset::digest`](super::Dataset::digest) of the published set, where it was measured.
    pub digest: Option<&'static str>,
    /// Names for formats that carry none; empty where every format has them.
    pub class_names: &'static [&'static str],
}

static WELL_KNOWN: [WellKnown; 5] = [
    WellKnown {
        name: "cifar10",
        about: "colour photographs in ten classes (Krizhevsky 2009)",
        height: 32,
        width: 32,
        channels: 3,
        class_count: 10,
        train_count: 50_000,
        test_count: 10_000,
        digest: Some("d7a97fa6715c3d4cfbffd677a638b263e982aed2853ee2b6ff051b1ffa2d0c9f"),
        class_names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    },
    WellKnown {
        name: "cifar100",
        about: "colour photographs in a hundred (fine) classes (Krizhevsky 2009)",
        height: 32,
        width: 32,
        channels: 3,
        class_count: 100,
        train_count: 50_000,
        test_count: 10_000,
        digest: None,
        class_names: &[],
    },
    WellKnown {
        name: "mnist",
        about: "grey handwritten digits (LeCun, Cortes, Burges)",
        height: 28,
        width: 28,
        channels: 1,
        class_count: 10,
        train_count: 60_000,
        test_count: 10_000,
        digest: None,
        class_names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    },
    WellKnown {
        name: "fashion-mnist",
        about: "grey pictures of clothes in ten classes (Xiao, Rasul, Vollgraf 2017)",
        height: 28,
        width: 28,
        channels: 1,
        class_count: 10,
        train_count: 60_000,
        test_count: 10_000,
        digest: Some("5008fb5f762bdcb95a53a3955fe442f348e9ece3b6dff1e43f272ee7ddeff2cb"),
        class_names: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
    },
    WellKnown {
        name: "shapes",
        about: "built in: drawn shapes in ten classes, from a fixed seed; needs no file",
        height: super::shapes::SIZE,
        width: super::shapes::SIZE,
        channels: 3,
        class_count: super::shapes::CLASS_NAMES.len() as u32,
        train_count: super::shapes::TRAIN_COUNT,
        test_count: super::shapes::TEST_COUNT,
        digest: Some("0ff6fb450474628b8aa7b88dfb83b1562145da8cef3b6feb496e7df03602efdd"),
        class_names: &super::shapes::CLASS_NAMES,
    },
];

/// All datasets that are known by name.
pub fn well_known() -> &'static [WellKnown] {
    &WELL_KNOWN
}

/// The facts about the dataset `name`, if it is one of [`well_known`].
pub fn info(name: &str) -> Option<&'static WellKnown> {
    WELL_KNOWN.iter().find(|known| known.name == name)
}

impl WellKnown {
    /// Refuses a set that goes by this name but has other sizes: half a CIFAR-10 would train, and mislead.
    pub(super) fn check(&self, decoded: &Decoded, source: &impl Display) -> Result<(), DatasetError> {
        let expected = decoded::sizes(
            self.train_count as usize,
            self.test_count as usize,
            self.height,
            self.width,
            self.channels,
            self.class_count,
        );
        let found = decoded.sizes();
        if expected == found {
            return Ok(());
        }
        Err(DatasetError::OtherSet { name: self.name.to_owned(), found_in: source.to_string(), expected, found })
    }
}
