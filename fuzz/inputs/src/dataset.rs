//! Dataset files of every format, and the cache of decoded sets.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clr_dataset::decoded::Decoded;
use clr_dataset::{
    Cifar, DatasetError, cache, canonical, cifar_binary, cifar_python, fixtures, idx, map, parquet_images,
};
use tempfile::TempDir;

use super::Target;

pub(super) const CIFAR_BINARY: Target =
    Target { name: "cifar_binary", read: |bytes| read(&BINARY, bytes), seeds: || seeds(&BINARY) };
pub(super) const CIFAR_PYTHON: Target =
    Target { name: "cifar_python", read: |bytes| read(&PYTHON, bytes), seeds: || seeds(&PYTHON) };
pub(super) const ARCHIVE: Target =
    Target { name: "archive", read: |bytes| read(&ARCHIVED, bytes), seeds: || seeds(&ARCHIVED) };
pub(super) const IDX: Target = Target { name: "idx", read: |bytes| read(&MNIST, bytes), seeds: || seeds(&MNIST) };
pub(super) const PARQUET_IMAGES: Target =
    Target { name: "parquet_images", read: |bytes| read(&PARQUET, bytes), seeds: || seeds(&PARQUET) };
pub(super) const CACHE: Target = Target { name: "dataset_cache", read: read_cache, seeds: seeds_of_cache };

/// A good set to write into a folder, and its reader. The first byte of an input says which file the rest replaces.
struct Format {
    name: &'static str,
    write: fn(&Path),
    load: fn(&Path) -> Result<Decoded, DatasetError>,
}

static BINARY: Format = Format {
    name: "cifar_binary",
    write: |folder| fixtures::cifar_binary(folder, &fixtures::cifar(Cifar::Ten, 5, 1), Cifar::Ten),
    load: |folder| cifar_binary::version(Cifar::Ten).load(folder),
};

static PYTHON: Format = Format {
    name: "cifar_python",
    write: |folder| fixtures::cifar_python(folder, &fixtures::cifar(Cifar::Hundred, 1, 1), Cifar::Hundred),
    load: |folder| cifar_python::version(Cifar::Hundred).load(folder),
};

static ARCHIVED: Format = Format {
    name: "archive",
    write: |folder| {
        let unpacked = folder.join("cifar-100-binary");
        fixtures::cifar_binary(&unpacked, &fixtures::cifar(Cifar::Hundred, 1, 1), Cifar::Hundred);
        fixtures::archive(&unpacked, &folder.join("set.tar.gz"));
        fs::remove_dir_all(&unpacked).expect("a folder of ours");
    },
    load: |folder| cifar_binary::version(Cifar::Hundred).load(&folder.join("set.tar.gz")),
};

static MNIST: Format = Format {
    name: "idx",
    write: |folder| {
        fixtures::idx(folder, &fixtures::random(4, 3, 1, 10, 6, 3), true);
        let plain = folder.join("train-labels-idx1-ubyte");
        fs::remove_file(plain.with_added_extension("gz")).expect("a file of ours");
        fs::write(plain, [0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 3, 4, 5]).expect("a folder of ours");
    },
    load: |folder| idx::load(folder, Some(10)),
};

static PARQUET: Format = Format {
    name: "parquet_images",
    write: |folder| fixtures::parquet(folder, &fixtures::random(4, 3, 3, 3, 4, 2), ["img", "label"]),
    load: |folder| parquet_images::load(folder, None, clr_spec::Fit::default()),
};

/// The good files of a format, one of which is replaced at a time.
struct Good {
    folder: TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Good {
    fn of(format: &Format) -> Good {
        let folder = tempfile::tempdir().expect("a temporary folder");
        (format.write)(folder.path());
        let entries = fs::read_dir(folder.path()).expect("a folder of ours");
        let mut files: Vec<(PathBuf, Vec<u8>)> = entries
            .map(|entry| entry.expect("a folder of ours").path())
            .map(|path| (path.clone(), fs::read(path).expect("a file of ours")))
            .collect();
        files.sort();
        Good { folder, files }
    }
}

fn read(format: &'static Format, bytes: &[u8]) {
    thread_local! {
        static GOOD: RefCell<HashMap<&'static str, Good>> = RefCell::default();
    }
    let Some((&which, bytes)) = bytes.split_first() else { return };
    GOOD.with_borrow_mut(|all| {
        let good = all.entry(format.name).or_insert_with(|| Good::of(format));
        let (path, original) = &good.files[usize::from(which) % good.files.len()];
        fs::write(path, bytes).expect("a file of ours");
        let decoded = (format.load)(good.folder.path());
        fs::write(path, original).expect("a file of ours");
        match decoded {
            Ok(decoded) => check(decoded),
            Err(error) => assert!(error.to_string().contains(&good.folder.path().display().to_string()), "{error}"),
        }
    });
}

/// What the rest of the program relies on.
fn check(decoded: Decoded) {
    let image_bytes = decoded.height as usize * decoded.width as usize * decoded.channels as usize;
    assert!(image_bytes > 0);
    for split in [&decoded.train, &decoded.test] {
        assert!(!split.labels.is_empty());
        assert_eq!(split.images.len(), split.labels.len() * image_bytes);
        assert!(split.labels.iter().all(|&label| (0..i64::from(decoded.class_count)).contains(&label.into())));
    }
    assert!([0, decoded.class_count as usize].contains(&decoded.class_names.len()));
    let dataset = canonical::dataset("set", "", decoded).expect("memory");
    assert_eq!(dataset.computed_digest(), dataset.digest);
}

fn seeds(format: &Format) -> Vec<(String, Vec<u8>)> {
    let files = Good::of(format).files.into_iter().enumerate();
    files
        .map(|(which, (path, bytes))| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, [&[which as u8][..], &bytes].concat())
        })
        .collect()
}

/// A file of the cache. Its check sum is made to fit, as a made-up one would not.
fn read_cache(bytes: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    let mut bytes = bytes.to_vec();
    cache::fit_checksum(&mut bytes);
    FOLDER.with(|folder| {
        let path = folder.path().join("set.clrdata");
        fs::write(&path, bytes).expect("a file of ours");
        let map = map::Map::new(&File::open(path).expect("a file of ours"));
        let Some(parsed) = map.ok().and_then(|map| cache::parse(&Arc::new(map)).ok()) else { return };
        // Whatever it finds, it comes to an end.
        let _ = parsed.check_images(false);
        let Some(dataset) = parsed.dataset() else { return };
        assert!(dataset.image_bytes() > 0);
        for samples in [&dataset.train, &dataset.test] {
            assert!(samples.count() > 0 && samples.is_sound(dataset.class_count));
            assert_eq!(samples.images.len(), samples.count() * dataset.image_bytes());
        }
        assert!([0, dataset.class_count as usize].contains(&dataset.class_names.len()));
        dataset.computed_digest();
    });
}

fn seeds_of_cache() -> Vec<(String, Vec<u8>)> {
    let set = |decoded| {
        let mut bytes = Vec::new();
        cache::write(&mut bytes, "set", &canonical::dataset("set", "here", decoded).expect("memory"), "content", None)
            .expect("memory");
        bytes
    };
    let grey = fixtures::random(2, 2, 1, 3, 5, 2);
    let unnamed = Decoded { class_names: Vec::new(), ..fixtures::random(1, 3, 3, 2, 2, 1) };
    vec![("grey".to_owned(), set(grey)), ("unnamed".to_owned(), set(unnamed))]
}
