//! All formats against each other, malformed files, the cache, and the real CIFAR-10 where it is at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::{ArrayRef, Int64Array, UInt8Array};
use clr_rng::{Philox, Stream, below};
use clr_vetted::craft::Craft;
use md5::{Digest, Md5};

use super::cifar::Cifar;
use super::decoded::{Decoded, Split};
use super::fixtures::{self, Python};
use super::transforms::statistics;
use super::*;

type Write = fn(&Path);
type Load = fn(&Path) -> Result<Decoded, DatasetError>;

const COLUMNS: [&str; 2] = ["img", "label"];

fn cifar_10() -> Decoded {
    fixtures::cifar(Cifar::Ten, 25, 6)
}

fn cifar_100() -> Decoded {
    fixtures::cifar(Cifar::Hundred, 12, 6)
}

fn grey() -> Decoded {
    fixtures::random(6, 5, 1, 10, 20, 8)
}

fn binary_folder(folder: &Path) {
    fixtures::cifar_binary(folder, &cifar_10(), Cifar::Ten);
}

fn python_folder(folder: &Path) {
    fixtures::cifar_python(folder, &cifar_10(), Cifar::Ten);
}

fn packed(write: Write, folder: &Path) {
    let unpacked = tempfile::tempdir().unwrap();
    let name = unpacked.path().join("cifar-10");
    write(&name);
    std::fs::create_dir_all(folder).unwrap();
    fixtures::archive(&name, &folder.join("set.tar.gz"));
}

/// Every format: how to write it into a folder, how to read that, and whether every truncation can be told.
const FORMATS: [(&str, Write, Load); 9] = [
    (
        "parquet",
        |folder| fixtures::parquet(folder, &cifar_10(), COLUMNS),
        |folder| parquet_images::load(folder, Some(10), Fit::default()),
    ),
    ("binary", binary_folder, |folder| cifar_binary::version(Cifar::Ten).load(folder)),
    ("python", python_folder, |folder| cifar_python::version(Cifar::Ten).load(folder)),
    (
        "binary archive",
        |folder| packed(binary_folder, folder),
        |folder| cifar_binary::version(Cifar::Ten).load(&folder.join("set.tar.gz")),
    ),
    (
        "python archive",
        |folder| packed(python_folder, folder),
        |folder| cifar_python::version(Cifar::Ten).load(&folder.join("set.tar.gz")),
    ),
    (
        "binary, 100 classes",
        |folder| fixtures::cifar_binary(folder, &cifar_100(), Cifar::Hundred),
        |folder| cifar_binary::version(Cifar::Hundred).load(folder),
    ),
    (
        "python, 100 classes",
        |folder| fixtures::cifar_python(folder, &cifar_100(), Cifar::Hundred),
        |folder| cifar_python::version(Cifar::Hundred).load(folder),
    ),
    ("idx", |folder| fixtures::idx(folder, &grey(), false), |folder| idx::load(folder, None)),
    ("idx, compressed", |folder| fixtures::idx(folder, &grey(), true), |folder| idx::load(folder, Some(10))),
];

#[track_caller]
fn check_same(found: Decoded, expected: &Decoded) {
    assert_eq!(found.train, expected.train);
    assert_eq!(found.test, expected.test);
    let digest = |decoded| canonical::dataset("set", "", decoded).unwrap().digest;
    assert_eq!(digest(found), digest(expected.clone()));
}

#[test]
fn every_format_of_a_set_is_the_same_set() {
    for (name, write, load) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let expected = match name {
            name if name.starts_with("idx") => grey(),
            name if name.ends_with("100 classes") => cifar_100(),
            _ => cifar_10(),
        };
        let found = load(folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        if !name.starts_with("idx") {
            assert_eq!(found.class_names, expected.class_names, "{name}");
        }
        check_same(found, &expected);
    }
}

#[test]
fn the_hubs_columns_have_two_names_each() {
    let folder = tempfile::tempdir().unwrap();
    for (number, columns) in [["image", "label"], ["img", "fine_label"]].into_iter().enumerate() {
        let folder = folder.path().join(number.to_string());
        fixtures::parquet(&folder, &cifar_100(), columns);
        check_same(parquet_images::load(&folder, None, Fit::default()).unwrap(), &cifar_100());
    }
    // A grey set is the same from PNG as from IDX.
    fixtures::parquet(folder.path(), &grey(), COLUMNS);
    check_same(parquet_images::load(folder.path(), Some(10), Fit::default()).unwrap(), &grey());
}

/// Names and contents of the files of a folder.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A truncated file is an error of that file. (But text of class names, and CIFAR's binary version cut between
/// records, are whole files; the counts of a well-known set tell.)
#[test]
fn truncated_files_are_refused() {
    for (name, write, load) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        for (path, bytes) in contents(folder.path()) {
            if path.extension().is_some_and(|extension| extension == "txt") {
                continue;
            }
            let ends = (0..40).map(|tenth| bytes.len() * tenth / 40);
            let record = if name.contains("100") { 3074 } else { 3073 };
            for size in ends
                .chain((0..20).filter(|&size| size < bytes.len()))
                .chain((1..20).map(|left| bytes.len().saturating_sub(left)))
            {
                if size > 0 && size % record == 0 && name.starts_with("binary") {
                    continue;
                }
                std::fs::write(&path, &bytes[..size]).unwrap();
                let error = load(folder.path()).map(|_| ()).expect_err(&format!("{name}: {size} bytes of {path:?}"));
                let message = error.to_string();
                let file = path.file_name().unwrap().to_str().unwrap();
                // Labels and images are two files; either may be said to disagree with the other.
                assert!(message.contains(file) || name.starts_with("idx"), "{name}, {file}: {message}");
                assert!(message.contains("expected") && message.contains("found"), "{message}");
            }
            std::fs::write(&path, &bytes).unwrap();
        }
        load(folder.path()).unwrap();
    }
}

/// With any byte changed a file is refused or read; no panic, no hang.
#[test]
fn changed_bytes_do_no_harm() {
    let mut words = Philox::new(3, Stream::Dataset).words(0);
    let mut draw = |bound: usize| below(words.next().unwrap(), bound as u32) as usize;
    for (name, write, load) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let mut refused = 0;
        for (path, bytes) in contents(folder.path()) {
            // The beginning and the end, where lengths are, and places all over.
            let mut places: Vec<usize> =
                (0..bytes.len().min(24)).chain(bytes.len().saturating_sub(24)..bytes.len()).collect();
            places.extend((0..60).map(|_| draw(bytes.len())));
            for place in places {
                let mut changed = bytes.clone();
                changed[place] ^= [0xff, 0x80, 1][draw(3)];
                std::fs::write(&path, &changed).unwrap();
                refused += usize::from(load(folder.path()).is_err());
            }
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(refused > 0, "{name}");
    }
}

#[track_caller]
fn check_message(error: DatasetError, folder: &Path, expected: &str) {
    assert_eq!(error.to_string().replace(&format!("{}/", folder.display()), ""), expected);
}

#[test]
fn messages_say_which_file_where_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    binary_folder(folder);
    let path = folder.join("data_batch_2.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2 * 3073] = 200;
    std::fs::write(&path, &bytes).unwrap();
    let error = cifar_binary::version(Cifar::Ten).load(folder).unwrap_err();
    check_message(error, folder, "data_batch_2.bin, record 2: expected a label below 10, found 200");
    std::fs::remove_file(&path).unwrap();
    let error = cifar_binary::version(Cifar::Ten).load(folder).unwrap_err();
    check_message(error, folder, "data_batch_2.bin: No such file or directory (os error 2)");

    packed(binary_folder, folder);
    let error = cifar_python::version(Cifar::Ten).load(&folder.join("set.tar.gz")).unwrap_err();
    check_message(error, folder, "set.tar.gz: expected a file `data_batch_1` in the archive, found none");

    python_folder(folder);
    std::fs::write(folder.join("test_batch"), b"\x80\x02}q\x01cos\nsystem\nq\x02\x93.").unwrap();
    let error = cifar_python::version(Cifar::Ten).load(folder).unwrap_err();
    check_message(error, folder, "test_batch, byte 18: expected the texts of a module and a name, found other values");
    let items = vec![
        ("labels", Python::List(vec![Python::Integer(3)])),
        ("data", Python::Array { rows: 2, columns: 3072, bytes: vec![0; 6144] }),
    ];
    std::fs::write(folder.join("test_batch"), fixtures::pickled(&Python::Dict(items))).unwrap();
    let error = cifar_python::version(Cifar::Ten).load(folder).unwrap_err();
    check_message(
        error,
        folder,
        "test_batch: expected `data` of 1 rows of 3072 bytes, as many as labels, found shape [2, 3072]",
    );

    fixtures::idx(folder, &grey(), false);
    std::fs::write(folder.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1]).unwrap();
    let error = idx::load(folder, Some(10)).unwrap_err();
    check_message(
        error,
        folder,
        "t10k-labels-idx1-ubyte, byte 4: expected 8 labels, as many as images in t10k-images-idx3-ubyte, found 9",
    );
    std::fs::write(folder.join("t10k-labels-idx1-ubyte"), [0, 0, 13, 1, 0, 0, 0, 0]).unwrap();
    let error = idx::load(folder, Some(10)).unwrap_err();
    check_message(
        error,
        folder,
        "t10k-labels-idx1-ubyte, byte 0: expected 00 00 08 01: bytes in 1 dimensions, found 00 00 0d 01",
    );
    std::fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).unwrap();
    let error = idx::load(folder, Some(10)).unwrap_err().to_string();
    assert!(error.ends_with("expected a file `t10k-labels-idx1-ubyte`, plain or `.gz`, found none"), "{error}");
}

/// Writes a training shard of these images and labels beside a sound test shard, and gives the message of reading both.
#[track_caller]
fn check_parquet(images: Vec<Option<Vec<u8>>>, labels: ArrayRef, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fixtures::parquet(folder, &cifar_10(), COLUMNS);
    std::fs::remove_file(folder.join("train-00001-of-00002.parquet")).unwrap();
    std::fs::remove_file(folder.join("train-00000-of-00002.parquet")).unwrap();
    fixtures::parquet_shard(&folder.join("train.parquet"), COLUMNS, images, labels, None);
    check_message(parquet_images::load(folder, Some(10), Fit::default()).unwrap_err(), folder, expected);
}

#[test]
fn parquet_messages_name_the_row() {
    let image = |size: u32| Some(fixtures::png(&vec![7; (size * size * 3) as usize], size, size, png::ColorType::Rgb));
    let labels = |labels: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(labels.to_vec())) };
    let png = "train.parquet, row 1: expected a PNG or JPEG image, found";
    check_parquet(vec![image(32), None], labels(&[1, 2]), &format!("{png} null"));
    let start = Some(b"\xff\xd8\xff\xe0".to_vec());
    check_parquet(vec![image(32), start], labels(&[1, 2]), &format!("{png} a truncated JPEG image"));
    check_parquet(vec![image(32), Some(vec![])], labels(&[1, 2]), &format!("{png} no bytes"));
    let size =
        "train.parquet, row 1: expected an image of 32x32, found 8x8 (`resize` and `crop` bring images to one size)";
    check_parquet(vec![image(32), image(8)], labels(&[1, 2]), size);
    let class = "train.parquet, row 1: expected a class";
    check_parquet(vec![image(32), image(32)], labels(&[1, -1]), &format!("{class} number, found -1"));
    check_parquet(
        vec![image(32), image(32)],
        Arc::new(Int64Array::from(vec![Some(1), None])),
        &format!("{class} in `label`, found null"),
    );
    let floats: ArrayRef = Arc::new(arrow_array::Float32Array::from(vec![0.0, 1.0]));
    check_parquet(
        vec![image(32), image(32)],
        floats,
        "train.parquet, row 0: expected integers or texts in the column `label`, found others",
    );
}

/// One that says it is far larger than the others, which takes a few bytes, is not even unpacked.
#[test]
fn images_are_measured_before_they_are_decoded() {
    let mut huge = Vec::new();
    let mut encoder = png::Encoder::new(&mut huge, 60_000, 60_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, b"x").unwrap();
    let small = fixtures::png(&[7; 32 * 32 * 3], 32, 32, png::ColorType::Rgb);
    let labels = Arc::new(Int64Array::from(vec![0, 1]));
    let too_large = format!("expected an image that {} bytes can hold, found one of 60000x60000 pixels", huge.len());
    check_parquet(vec![Some(small), Some(huge.clone())], labels.clone(), &format!("train.parquet, row 1: {too_large}"));
    check_parquet(
        vec![Some(huge), None],
        labels,
        &format!(
            "2 of 8 images cannot be used:\n  train.parquet, row 0: {too_large}\n  train.parquet, row 1: expected a PNG or JPEG \
             image, found null"
        ),
    );
}

/// A file of some hundred bytes can have its one image a thousand million times.
#[test]
fn images_are_not_more_than_their_file_could_hold() {
    #[track_caller]
    fn check_repeated(size: u32, rows: i64, expected: fn(usize) -> String) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fixtures::parquet(folder, &cifar_10(), COLUMNS);
        std::fs::remove_file(folder.join("train-00001-of-00002.parquet")).unwrap();
        std::fs::remove_file(folder.join("train-00000-of-00002.parquet")).unwrap();
        let image = fixtures::png(&vec![7; (size * size) as usize], size, size, png::ColorType::Grayscale);
        let bytes = Craft::images(&image, rows).bytes();
        std::fs::write(folder.join("train.parquet"), &bytes).unwrap();
        let expected = format!("train.parquet{}", expected(bytes.len()));
        check_message(parquet_images::load(folder, Some(10), Fit::default()).unwrap_err(), folder, &expected);
    }
    check_repeated(1, 1 << 30, |length| {
        format!(": expected at most {} rows in {length} bytes, found 1073741824", (1 << 16) + length)
    });
    // Two batches of 512 take all that any file may have.
    check_repeated(64, 60_000, |length| {
        let left = 1032 * length;
        format!(
            ", row 1024: expected at most {left} more pixels in a file of its length, found 512 images of 2097152 pixels"
        )
    });
}

/// Writes 8 training images in two shards, without names of classes, and 4 test images, then opens the set.
fn open_labelled(train: [i64; 8], test: [i64; 4]) -> Result<Dataset, String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mine");
    std::fs::create_dir(&folder).unwrap();
    let shard = |name: &str, labels: &[i64]| {
        let image = |number: usize| Some(fixtures::png(&[number as u8; 3], 1, 1, png::ColorType::Rgb));
        let images = (0..labels.len()).map(image).collect();
        let labels: ArrayRef = Arc::new(Int64Array::from(labels.to_vec()));
        fixtures::parquet_shard(&folder.join(name), ["image", "label"], images, labels, None);
    };
    shard("train-0.parquet", &train[..5]);
    shard("train-1.parquet", &train[5..]);
    shard("test.parquet", &test);
    let found = open("mine", &[root.path().to_owned()], None);
    found.map_err(|error| {
        error.to_string().replace(&format!("{}/", folder.display()), "").replace(&*folder.to_string_lossy(), "mine")
    })
}

/// Zeros and ones and a 199 are three classes and a mistake, not two hundred classes.
#[test]
fn labels_with_a_gap_are_refused_with_the_file_and_row_of_the_first_beyond_it() {
    let counted = |count: u32| {
        format!(
            "expected labels that count the {count} classes from 0, without a gap (or names of all classes in the metadata, as dataset hubs write them)"
        )
    };
    let check = |train, test, place: &str, count, found: &str| {
        assert_eq!(open_labelled(train, test).unwrap_err(), format!("{place}: {}, found {found}", counted(count)));
    };
    let few = [0, 1, 2, 3];
    check(
        [0, 1, 2, 3, 0, 1, 199, 3],
        few,
        "train-1.parquet, row 1",
        5,
        "label 199, and no image with a label from 4 to 198",
    );
    check([0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 5], "test.parquet, row 3", 5, "label 5, and no image with label 4");
    // Numbered from 1, as in MATLAB.
    check([4, 3, 2, 1, 1, 2, 3, 4], [1, 2, 3, 4], "train-0.parquet, row 3", 4, "label 1, and no image with label 0");
    let sound = open_labelled([0, 1, 2, 3, 0, 1, 2, 3], few).unwrap();
    assert_eq!((sound.class_count, sound.train.class_counts(4)), (4, vec![2; 4]));
    // A class that only the test set has is no gap.
    assert_eq!(open_labelled([0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 4]).unwrap().class_count, 5);
}

#[test]
fn names_of_classes_say_how_many_there_are_whatever_labels_occur() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = fixtures::random(2, 2, 3, 10, 6, 3);
    set.train.labels = vec![0, 9, 0, 9, 0, 9];
    fixtures::parquet(folder.path(), &set, COLUMNS);
    assert_eq!(parquet_images::load(folder.path(), None, Fit::default()).unwrap().class_count, 10);
    set.train.labels[4] = 12;
    fixtures::parquet(folder.path(), &set, COLUMNS);
    let error = parquet_images::load(folder.path(), None, Fit::default()).unwrap_err();
    let expected = "train-00001-of-00002.parquet, row 1: expected a label below 10, the number of classes, found 12";
    check_message(error, folder.path(), expected);
}

#[test]
fn a_set_of_one_class_is_refused() {
    assert_eq!(
        open_labelled([0; 8], [0, 1, 0, 1]).unwrap_err(),
        "Parquet shards in mine: expected training images of at least two classes, found label 0 alone, with which accuracy \
         is 100% whatever is learned"
    );
}

#[test]
fn a_split_without_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = fixtures::random(4, 4, 1, 3, 8, 3);
    let empty = Split::default();
    fixtures::parquet(folder.path(), &Decoded { test: empty.clone(), ..set.clone() }, COLUMNS);
    let error = parquet_images::load(folder.path(), None, Fit::default()).unwrap_err();
    check_message(
        error,
        folder.path().parent().unwrap(),
        &format!(
            "{}: expected at least one image in the test split, found none",
            folder.path().file_name().unwrap().display()
        ),
    );
    let python = tempfile::tempdir().unwrap();
    fixtures::cifar_python(python.path(), &Decoded { test: empty, ..cifar_10() }, Cifar::Ten);
    let error = cifar_python::version(Cifar::Ten).load(python.path()).unwrap_err();
    check_message(error, python.path(), "test_batch: expected at least one label in `labels`, found none");
}

#[test]
fn grey_images_among_coloured_ones_become_coloured() {
    let folder = tempfile::tempdir().unwrap();
    let grey = fixtures::png(&[1, 2], 1, 2, png::ColorType::Grayscale);
    let colour = fixtures::png(&[3, 4, 5, 6, 7, 8], 1, 2, png::ColorType::Rgb);
    let shard = |name: &str, images: &[&Vec<u8>]| {
        let images: Vec<_> = images.iter().map(|&image| Some(image.clone())).collect();
        let labels: ArrayRef = Arc::new(UInt8Array::from(vec![0; images.len()]));
        fixtures::parquet_shard(&folder.path().join(name), ["image", "label"], images, labels, None);
    };
    let (from_grey, from_colour) = (vec![1, 1, 1, 2, 2, 2], vec![3, 4, 5, 6, 7, 8]);
    shard("train.parquet", &[&grey, &colour, &grey]);
    shard("test.parquet", &[&grey]);
    let decoded = parquet_images::load(folder.path(), None, Fit::default()).unwrap();
    assert_eq!(*decoded.train.images, [&from_grey[..], &from_colour, &from_grey].concat());
    assert_eq!((&*decoded.test.images, decoded.channels, decoded.class_count), (&*from_grey, 3, 1));
    shard("train.parquet", &[&grey]);
    shard("test.parquet", &[&grey, &colour]);
    let decoded = parquet_images::load(folder.path(), None, Fit::default()).unwrap();
    assert_eq!(
        (&*decoded.train.images, &*decoded.test.images),
        (&*from_grey, &*[&from_grey[..], &from_colour].concat())
    );
}

/// The pickles of the fixtures are those of Python 2: `batches.meta` comes out as the published file, byte for byte.
#[test]
fn the_published_batches_meta_is_what_the_fixture_writes() {
    let names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let bytes = fixtures::pickled(&Python::Dict(vec![
        ("num_cases_per_batch", Python::Integer(10_000)),
        ("label_names", Python::List(names.iter().map(|name| Python::string(name)).collect())),
        ("num_vis", Python::Integer(3072)),
    ]));
    let digest: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "5ff9c542aee3614f3951f8cda6e48888");
    let pickle = pickle::parse(&bytes).unwrap();
    assert_eq!(pickle.get("label_names").and_then(|id| pickle.strings(id)).unwrap(), names);
}

/// A root with a folder `mine` of Parquet shards, and a folder for the cache.
fn root_and_cache() -> (tempfile::TempDir, tempfile::TempDir) {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fixtures::parquet(&root.path().join("mine"), &cifar_10(), COLUMNS);
    (root, cache)
}

#[track_caller]
fn check_equal(found: &Dataset, expected: &Dataset) {
    assert_eq!(found.digest, expected.digest);
    assert_eq!((found.height, found.width, found.channels), (expected.height, expected.width, expected.channels));
    assert_eq!((found.class_count, &found.class_names), (expected.class_count, &expected.class_names));
    assert_eq!((&found.name, &found.source), (&expected.name, &expected.source));
    for (found, expected) in [(&found.train, &expected.train), (&found.test, &expected.test)] {
        assert_eq!(&*found.images, &*expected.images);
        assert_eq!((&found.labels, &found.stored), (&expected.labels, &expected.stored));
    }
}

#[test]
fn a_cached_set_is_the_decoded_set() {
    let (root, cache) = root_and_cache();
    let roots = [root.path().to_owned()];
    let decoded = open("mine", &roots, None).unwrap();
    for _ in 0..2 {
        let cached = open("mine", &roots, Some(cache.path())).unwrap();
        assert!(cached.train.images.is_mapped() && cached.test.images.is_mapped());
        check_equal(&cached, &decoded);
        assert_eq!(cached.computed_digest(), cached.digest);
    }
    assert_eq!(contents(cache.path()).len(), 1);
}

/// Opens the set `mine` as a process would that looks at it after `wait`.
fn read_cached(root: &Path, cache: &Path, wait: Duration, check: Check<'_>) -> Result<Dataset, Option<String>> {
    let source = search::find("mine", &[root.to_owned()]).unwrap();
    let entry =
        cache::Entry::new(cache, &DatasetQuery::named("mine"), &source, SystemTime::now() + wait).unwrap().unwrap();
    entry.read(check).map_err(|unusable| match unusable {
        Unusable::Absent => None,
        Unusable::Damaged(what) => Some(what),
        Unusable::NoRoom(error) => panic!("{error}"),
    })
}

#[cfg(unix)]
#[test]
fn a_process_without_memory_or_descriptors_does_not_take_the_cache_for_damaged() {
    let of = |code| Unusable::of(std::io::Error::from_raw_os_error(code), Path::new("cached"));
    for (code, words) in [(12, "memory"), (23, "open files"), (24, "open files")] {
        assert!(matches!(of(code), Unusable::NoRoom(error) if error.to_string().contains(words)), "{code}");
    }
    assert!(matches!(of(5), Unusable::Damaged(what) if what.starts_with("cached: ")));
    assert!(matches!(of(2), Unusable::Absent));
}

/// When files that were just written have settled.
const LATER: Duration = Duration::from_secs(10);

/// Puts another file in the place of one, whose mapping may be in use.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_cache_is_decoded_again_and_it_is_said() {
    let (root, cache) = root_and_cache();
    let roots = [root.path().to_owned()];
    let expected = open("mine", &roots, None).unwrap();
    assert!(open("mine", &roots, Some(cache.path())).unwrap().notes.is_empty());
    let (path, sound) = contents(cache.path()).remove(0);
    let images = sound.len() - 31 * 3072;
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    // Any byte that is looked at: the header, the metadata, the tables, the images. (Zeros up to the images are not.)
    let used = sound[..images].iter().rposition(|&byte| byte != 0).unwrap();
    let flipped = |place: usize| {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x41;
        bytes
    };
    damaged.extend((0..=used).step_by(5).chain(0..8).chain(12..48).map(flipped));
    damaged.extend((images..sound.len()).step_by(7000).chain([sound.len() - 1]).map(flipped));
    damaged.push(sound.iter().enumerate().map(|(at, &byte)| if at < images { byte } else { !byte }).collect());
    damaged.extend((0..40).map(|part| sound[..sound.len() * part / 40].to_vec()));
    damaged.extend([[&sound[..], b"x"].concat(), sound[..sound.len() - 1].to_vec(), Vec::new()]);
    for (number, bytes) in damaged.iter().enumerate() {
        replace(&path, bytes);
        let found = open("mine", &roots, Some(cache.path())).unwrap();
        check_equal(&found, &expected);
        // One of another version of the layout is no damage; its number is in these bytes.
        let is_other_version = bytes.len() > 12 && bytes[..8] == sound[..8] && bytes[8..12] != sound[8..12];
        let said = found.notes.iter().any(|note| note.contains(&format!("is decoded again: {}: ", path.display())));
        assert_eq!(said, !is_other_version, "{number}: {:?}", found.notes);
        let again = read_cached(root.path(), cache.path(), Duration::ZERO, Check::All);
        assert!(again.is_ok(), "{number}: the cache was not written anew");
    }
}

#[test]
fn a_cache_in_the_layout_of_another_version_is_replaced_without_a_word() {
    let (root, cache) = root_and_cache();
    let roots = [root.path().to_owned()];
    open("mine", &roots, Some(cache.path())).unwrap();
    let (path, sound) = contents(cache.path()).remove(0);
    let mut old = sound.clone();
    old[8] = 1;
    replace(&path, &old);
    assert!(open("mine", &roots, Some(cache.path())).unwrap().notes.is_empty());
    assert_eq!(std::fs::read(&path).unwrap()[..12], sound[..12]);
}

#[test]
fn processes_that_find_a_damaged_cache_at_the_same_time_all_get_the_set() {
    let (root, cache) = root_and_cache();
    let roots = [root.path().to_owned()];
    let expected = open("mine", &roots, None).unwrap();
    open("mine", &roots, Some(cache.path())).unwrap();
    let (path, sound) = contents(cache.path()).remove(0);
    let mut damaged = sound.clone();
    *damaged.last_mut().unwrap() ^= 1;
    replace(&path, &damaged);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| check_equal(&open("mine", &roots, Some(cache.path())).unwrap(), &expected));
        }
    });
    assert!(open("mine", &roots, Some(cache.path())).unwrap().notes.is_empty());
    assert_eq!(contents(cache.path()).len(), 1);
}

/// A worker is told of a file in the state that another process saw when it had checked all of it.
#[cfg(unix)]
#[test]
fn a_file_that_was_checked_is_not_checked_again_unless_it_has_changed() {
    let (root, cache) = root_and_cache();
    open("mine", &[root.path().to_owned()], Some(cache.path())).unwrap();
    let open = |check| read_cached(root.path(), cache.path(), LATER, check);
    let checked = vec![open(Check::All).unwrap().checked.expect("it has settled")];
    assert_eq!(open(Check::Unless(&checked)).unwrap().checked.as_ref(), Some(&checked[0]));
    let (path, sound) = contents(cache.path()).remove(0);
    let mut damaged = sound.clone();
    *damaged.last_mut().unwrap() ^= 1;
    // In place, at the same size, with its old time.
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let before = std::fs::metadata(&path).unwrap();
    replace(&path, &damaged);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before.len());
    let message = format!("{}: the images in 1 of its 1 blocks have changed since they were written", path.display());
    for check in [Check::All, Check::Unless(&checked), Check::Unless(&[])] {
        assert_eq!(open(check).map(|_| ()).unwrap_err(), Some(message.clone()));
    }
}

#[test]
fn a_source_rewritten_at_its_size_with_its_old_time_is_decoded_again() {
    let root = tempfile::tempdir().unwrap();
    let (folder, cache) = (root.path().join("mine"), root.path().join("cache"));
    let mut set = fixtures::random(4, 4, 3, 2, 8, 4);
    set.train.labels = vec![0, 1, 1, 0, 0, 1, 0, 1];
    fixtures::parquet(&folder, &set, COLUMNS);
    let roots = [root.path().to_owned()];
    let before = open("mine", &roots, Some(&cache)).unwrap();
    let state = |path: &Path| std::fs::metadata(path).map(|file| (file.len(), file.modified().unwrap())).unwrap();
    let paths: Vec<PathBuf> = contents(&folder).into_iter().map(|(path, _)| path).collect();
    let states: Vec<_> = paths.iter().map(|path| state(path)).collect();

    set.train.labels = vec![1, 0, 0, 1, 1, 0, 1, 0];
    fixtures::parquet(&folder, &set, COLUMNS);
    for (path, (_, time)) in paths.iter().zip(&states) {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(*time).unwrap();
    }
    assert_eq!(paths.iter().map(|path| state(path)).collect::<Vec<_>>(), states);
    let after = open("mine", &roots, Some(&cache)).unwrap();
    assert_ne!(after.digest, before.digest);
    check_equal(&after, &open("mine", &roots, None).unwrap());
    assert!(after.notes.is_empty());
}

#[test]
fn a_source_of_the_same_bytes_is_not_decoded_again_whatever_its_time() {
    let (root, cache) = root_and_cache();
    let roots = [root.path().to_owned()];
    let before = open("mine", &roots, Some(cache.path())).unwrap();
    let (path, first) = contents(cache.path()).remove(0);
    // A mark in what no one checks, so that a file that is written anew shows.
    let mut marked = first.clone();
    let images = first.len() - 31 * 3072;
    assert_eq!(marked[images - 1], 0);
    marked[images - 1] = 1;
    replace(&path, &marked);
    let file = std::fs::File::options().write(true).open(root.path().join("mine/test-00000-of-00001.parquet")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    for _ in 0..2 {
        check_equal(&read_cached(root.path(), cache.path(), LATER, Check::All).unwrap(), &before);
        check_equal(&open("mine", &roots, Some(cache.path())).unwrap(), &before);
    }
    assert!(std::fs::read(&path).unwrap() == marked);
    let names: Vec<_> =
        contents(cache.path()).into_iter().map(|(path, _)| path.extension().unwrap().to_owned()).collect();
    assert_eq!(names, if cfg!(unix) { vec!["clrdata", "states"] } else { vec!["clrdata"] });

    fixtures::parquet(&root.path().join("mine"), &cifar_100(), COLUMNS);
    assert_ne!(open("mine", &roots, Some(cache.path())).unwrap().digest, before.digest);
    // What was opened before is still what it was.
    assert_eq!(before.computed_digest(), before.digest);
}

#[test]
fn without_a_writable_cache_the_set_is_the_same() {
    let (root, cache) = root_and_cache();
    let file = cache.path().join("file");
    std::fs::write(&file, b"").unwrap();
    // No folder can be made below a file, whoever asks.
    let found = open("mine", &[root.path().to_owned()], Some(&file.join("cache"))).unwrap();
    assert_eq!(found.cached, None);
    check_equal(&found, &open("mine", &[root.path().to_owned()], None).unwrap());
}

#[test]
fn a_known_name_must_be_the_published_set() {
    let root = tempfile::tempdir().unwrap();
    binary_folder(&root.path().join("cifar-10-batches-bin"));
    let error = open("cifar10", &[root.path().to_owned()], None).unwrap_err();
    check_message(
        error,
        root.path(),
        "binary version in cifar-10-batches-bin is not the published `cifar10`: expected 50000 training and 10000 test \
         images of 32x32x3 in 10 classes, found 25 training and 6 test images of 32x32x3 in 10 classes",
    );
}

#[test]
fn shapes_need_no_file_and_are_what_they_were() {
    let shapes = open("shapes", &[], None).unwrap();
    let known = info("shapes").unwrap();
    assert_eq!(Some(shapes.digest.as_str()), known.digest);
    assert_eq!(shapes.computed_digest(), shapes.digest);
    let cache = tempfile::tempdir().unwrap();
    for time in ["first", "second"] {
        let cached = open("shapes", &[], Some(cache.path())).unwrap();
        assert!(cached.train.images.is_mapped(), "the {time} time");
        assert_eq!(cached.computed_digest(), shapes.digest);
    }
    assert_eq!((shapes.train.count() as u64, shapes.test.count() as u64), (known.train_count, known.test_count));
}

/// The real set below CLR_DATA (or where Debian's packages put it), or None with a word about it.
fn real(name: &str, cache: &Path) -> Option<Dataset> {
    let found = open(name, &places::roots(None), Some(cache));
    if let Err(DatasetError::NotFound { .. }) = found {
        eprintln!("SKIPPED: the test of the real {name}: not found below CLR_DATA");
        return None;
    }
    Some(found.unwrap())
}

/// A set as decoded, in canonical order.
fn decoded(dataset: &Dataset) -> Decoded {
    let split = |samples: &Samples| Split { images: samples.images.clone(), labels: samples.labels.to_vec() };
    Decoded {
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        class_names: dataset.class_names.to_vec(),
        train: split(&dataset.train),
        test: split(&dataset.test),
        notes: Vec::new(),
    }
}

#[test]
fn the_real_cifar_10_has_one_digest_in_every_format() {
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("cache");
    let Some(dataset) = real("cifar10", &cache) else { return };
    let published = info("cifar10").unwrap().digest.unwrap();
    assert_eq!(dataset.digest, published);
    assert_eq!(dataset.class_names[..3], ["airplane", "automobile", "bird"]);
    // As NumPy has them, by cifar10_statistics.py beside this file.
    let found = statistics(&dataset, 50_000);
    assert_eq!(found.channel_mean, [125.306915, 122.95039, 113.86539]);
    assert_eq!(found.channel_deviation, [62.993217, 62.088707, 66.7049]);
    assert_eq!(
        [found.pixel_mean[0], found.pixel_mean[1535], found.pixel_mean[3071]],
        [130.71074, 114.69962, 114.38186]
    );

    let decoded = decoded(&dataset);
    let binary = root.path().join("cifar-10-batches-bin");
    let python = root.path().join("cifar-10-batches-py");
    let archive = root.path().join("cifar-10-python.tar.gz");
    fixtures::cifar_binary(&binary, &decoded, Cifar::Ten);
    fixtures::cifar_python(&python, &decoded, Cifar::Ten);
    fixtures::archive(&python, &archive);
    for (what, found_in) in [("binary version", &binary), ("Python version", &python), ("Python version", &archive)] {
        let open = || open("cifar10", &[root.path().to_owned()], Some(&cache)).unwrap();
        let first = open();
        assert_eq!(first.source, format!("{what} in {}", found_in.display()));
        assert_eq!(first.digest, published);
        assert_eq!(open().computed_digest(), published);
        // So that the next format is found.
        if found_in.is_dir() {
            std::fs::remove_dir_all(found_in).unwrap();
        }
    }
}

#[test]
fn the_real_fashion_mnist_has_the_known_statistics() {
    let cache = tempfile::tempdir().unwrap();
    let Some(dataset) = real("fashion-mnist", cache.path()) else { return };
    assert_eq!(dataset.digest, info("fashion-mnist").unwrap().digest.unwrap());
    assert_eq!(dataset.class_names[9], "Ankle boot");
    // 0.2860 and 0.3530, as they are quoted.
    let found = statistics(&dataset, 60_000);
    let quoted = |value: f32| (f64::from(value) / 255.0 * 10_000.0).round();
    assert_eq!([quoted(found.channel_mean[0]), quoted(found.channel_deviation[0])], [2860.0, 3530.0]);
}
