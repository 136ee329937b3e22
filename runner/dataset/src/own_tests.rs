//! Data of one's own: folders, CSV files, arrays, shards and Parquet with texts; what is wrong with each, and that all of
//! them give the same set.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use clr_spec::Fit;

use super::decoded::{Decoded, Split};
use super::*;

const NAMES: [&str; 3] = ["ant", "bee", "cat"];

/// A small set whose samples are already in the order of a folder: by class, then by number.
fn set() -> Decoded {
    let mut set = fixtures::random(5, 6, 3, 3, 14, 6);
    set.class_names = NAMES.map(str::to_owned).into();
    for split in [&mut set.train, &mut set.test] {
        split.labels = (0..split.labels.len()).map(|at| (at * 3 / split.labels.len()) as i32).collect();
    }
    set
}

/// The images of a split as PNG files, with their classes.
fn pngs(set: &Decoded, split: &Split) -> Vec<(Vec<u8>, usize)> {
    let image_bytes = (set.height * set.width * set.channels) as usize;
    let images = split.images.chunks(image_bytes);
    let png = |image| fixtures::png(image, set.height, set.width, png::ColorType::Rgb);
    images.zip(&split.labels).map(|(image, &label)| (png(image), label as usize)).collect()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn folder(root: &Path) {
    let set = set();
    for (name, split) in [("train", &set.train), ("test", &set.test)] {
        for (number, (png, class)) in pngs(&set, split).into_iter().enumerate() {
            write(&root.join(name).join(NAMES[class]).join(format!("{number:03}.png")), png);
        }
    }
}

fn table(root: &Path) {
    folder(&root.join("images"));
    let set = set();
    let mut lines = "split,path,label\n".to_owned();
    for (name, split) in [("train", &set.train), ("test", &set.test)] {
        for (number, label) in split.labels.iter().enumerate() {
            let class = NAMES[*label as usize];
            lines += &format!("{name},images/{name}/{class}/{number:03}.png,{class}\n");
        }
    }
    write(&root.join("labels.csv"), lines);
}

fn shards(root: &Path) {
    let set = set();
    for (name, split) in [("train", &set.train), ("test", &set.test)] {
        let pngs = pngs(&set, split);
        for (shard, pngs) in pngs.chunks(5).enumerate() {
            fs::create_dir_all(root).unwrap();
            let mut archive =
                tar::Builder::new(fs::File::create(root.join(format!("set-{name}-{shard:06}.tar"))).unwrap());
            let mut add = |name: &str, bytes: &[u8]| {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                archive.append_data(&mut header, name, bytes).unwrap();
            };
            for (number, (png, class)) in pngs.iter().enumerate() {
                let key = format!("{name}/{:06}", 5 * shard + number);
                add(&format!("{key}.cls"), NAMES[*class].as_bytes());
                add(&format!("{key}.png"), png);
                add(&format!("{key}.json"), br#"{"width": 6}"#);
            }
            archive.finish().unwrap();
        }
    }
}

/// An array as NumPy writes it.
fn npy(descr: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

/// Arrays of the set, in NCHW, with labels of 64 bits in a column.
fn arrays(root: &Path) {
    let set = set();
    for (name, split) in [("train", &set.train), ("test", &set.test)] {
        let count = split.labels.len();
        let planes: Vec<u8> = split
            .images
            .chunks(90)
            .flat_map(|image| (0..3).flat_map(move |channel| image.iter().skip(channel).step_by(3).copied()))
            .collect();
        let labels: Vec<u8> = split.labels.iter().flat_map(|&label| i64::from(label).to_be_bytes()).collect();
        write(&root.join(format!("x_{name}.npy")), npy("|u1", &[count, 3, 5, 6], &planes));
        write(&root.join(format!("{name}_labels.npy")), npy(">i8", &[count, 1], &labels));
    }
}

fn archive(root: &Path) {
    let unpacked = root.join("unpacked");
    arrays(&unpacked);
    let mut zip = zip::ZipWriter::new(fs::File::create(root.join("set.npz")).unwrap());
    for entry in fs::read_dir(&unpacked).unwrap() {
        let path = entry.unwrap().path();
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(path.file_name().unwrap().to_str().unwrap(), options).unwrap();
        std::io::Write::write_all(&mut zip, &fs::read(&path).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

/// Parquet files with labels that are texts, under other names of columns.
fn parquet(root: &Path) {
    let set = set();
    fs::create_dir_all(root).unwrap();
    for (name, split) in [("train", &set.train), ("test", &set.test)] {
        let pngs = pngs(&set, split);
        let labels: ArrayRef = Arc::new(StringArray::from_iter_values(pngs.iter().map(|(_, class)| NAMES[*class])));
        let images = pngs.into_iter().map(|(png, _)| Some(png)).collect();
        fixtures::parquet_shard(&root.join(format!("{name}.parquet")), ["image", "label"], images, labels, None);
    }
}

type Write = fn(&Path);

/// Every format: how it is written, and the path in that folder that is asked for.
const FORMATS: [(&str, Write, &str); 6] = [
    ("folder", folder, "."),
    ("table", table, "labels.csv"),
    ("shards", shards, "."),
    ("arrays", arrays, "."),
    ("archive", archive, "set.npz"),
    ("parquet", parquet, "."),
];

fn open_at(root: &Path, name: &str, fit: Fit, test_share: Option<u32>) -> Result<Dataset, DatasetError> {
    let query = DatasetQuery { name: name.to_owned(), fit, test_share };
    open_query(&query, Places { folder: root, roots: &[], cache: None }, Check::All)
}

fn open_it(root: &Path, name: &str) -> Result<Dataset, DatasetError> {
    open_at(root, name, Fit::default(), None)
}

#[test]
fn every_format_of_ones_own_data_is_the_same_set_in_the_same_order() {
    let expected = canonical::dataset("set", "", set()).unwrap();
    for (format, write, name) in FORMATS {
        let root = tempfile::tempdir().unwrap();
        write(root.path());
        let found = open_it(root.path(), name).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(found.digest, expected.digest, "{format}");
        assert_eq!(
            (&found.train.stored, &found.test.stored),
            (&expected.train.stored, &expected.test.stored),
            "{format}"
        );
        // Numbers have no names.
        let names: &[String] = if format.starts_with("ar") { &[] } else { &expected.class_names };
        assert_eq!(&*found.class_names, names, "{format}");
        assert!(found.remarks.is_empty(), "{format}: {:?}", found.remarks);
    }
}

#[test]
fn a_set_of_ones_own_is_found_by_name_below_a_root_as_well() {
    let root = tempfile::tempdir().unwrap();
    for (format, write, name) in FORMATS.into_iter().filter(|(_, _, name)| *name == ".") {
        let _ = name;
        write(&root.path().join(format));
        assert_eq!(open(format, &[root.path().to_owned()], None).unwrap().train.count(), 14, "{format}");
    }
}

#[test]
fn classes_are_numbered_by_their_names_and_images_at_any_depth_are_read_in_order() {
    let root = tempfile::tempdir().unwrap();
    let image = |value: u8| fixtures::png(&[value; 3], 1, 1, png::ColorType::Rgb);
    for (path, value) in [("b/2.png", 4), ("b/1.PNG", 3), ("b/x/0.png", 5), ("Z/a.jpeg", 1), ("a/n.png", 2)] {
        write(&root.path().join(path), image(value));
    }
    // Not images, and not seen.
    for path in ["b/notes.txt", "b/.hidden.png", ".git/x.png", "labels.txt"] {
        write(&root.path().join(path), "x");
    }
    let set = assemble::load(image_folder::fill, root.path(), None, Fit::default()).unwrap();
    assert_eq!(set.class_names, ["Z", "a", "b"]);
    let pixels: Vec<u8> = set.train.images.iter().step_by(3).copied().collect();
    assert_eq!((pixels, &set.train.labels[..]), (vec![1, 2, 3, 4, 5], &[0, 1, 2, 2, 2][..]));
    let note = "1 image was named like another format than they have, and read by their content: Z/a.jpeg";
    assert_eq!(set.notes, [note]);
}

#[test]
fn a_class_may_be_called_train() {
    let root = tempfile::tempdir().unwrap();
    for class in ["bus", "train"] {
        write(&root.path().join(class).join("1.png"), fixtures::png(&[1; 3], 1, 1, png::ColorType::Rgb));
    }
    let set = assemble::load(image_folder::fill, root.path(), None, Fit::default()).unwrap();
    assert_eq!((set.class_names, set.train.labels.len()), (vec!["bus".to_owned(), "train".to_owned()], 2));
}

/// The message of opening `name` in a folder that `write` makes, paths relative to it.
#[track_caller]
fn check_refused(name: &str, write: impl Fn(&Path), expected: &str) {
    let root = tempfile::tempdir().unwrap();
    write(root.path());
    let error = open_it(root.path(), name).map(|_| ()).expect_err(expected).to_string();
    let shown =
        error.replace(&format!("{}/./", root.path().display()), "").replace(&format!("{}/", root.path().display()), "");
    assert_eq!(shown, expected);
}

#[test]
fn mistakes_in_a_folder_are_said_with_the_folder_or_file() {
    let image = || fixtures::png(&[1; 3], 1, 1, png::ColorType::Rgb);
    check_refused(
        "./flowers",
        |root| ["1.png", "2.jpg"].iter().for_each(|name| write(&root.join("flowers").join(name), image())),
        "flowers: expected a folder for each class, with its images, found 2 images and no folder",
    );
    check_refused(
        "./flowers",
        |root| write(&root.join("flowers/rose/1.png"), image()),
        "flowers: expected folders of at least two classes, found `rose` alone, with which accuracy is 100% whatever is learned",
    );
    check_refused(
        "./flowers",
        |root| {
            write(&root.join("flowers/rose/1.png"), image());
            write(&root.join("flowers/tulip/readme.txt"), "none yet");
        },
        "flowers/tulip: expected at least one image of this class, found none",
    );
    check_refused(
        "./flowers",
        |root| {
            for path in ["train/rose/1.png", "train/tulip/1.png", "test/lily/1.png"] {
                write(&root.join("flowers").join(path), image());
            }
        },
        "flowers/test/lily: expected a class of the training split, found `lily`",
    );
    check_refused(
        "./flowers",
        |root| {
            write(&root.join("flowers/rose/1.png"), image());
            write(&root.join("flowers/tulip/1.webp"), "RIFF....WEBPVP8 ");
        },
        "flowers/tulip/1.webp: expected a PNG or JPEG image, found one named .webp",
    );
}

#[test]
fn images_that_cannot_be_used_are_all_named_and_counted() {
    check_refused(
        "./flowers",
        |root| {
            for number in 0..8 {
                let png = fixtures::png(&[number; 12], 2, 2, png::ColorType::Rgb);
                write(&root.join(format!("flowers/rose/{number}.png")), &png);
                write(&root.join(format!("flowers/tulip/{number}.png")), &png[..40 + usize::from(number)]);
            }
            write(&root.join("flowers/rose/odd.png"), fixtures::png(&[0; 18], 2, 3, png::ColorType::Rgb));
            for number in 0..3 {
                write(&root.join(format!("flowers/tulip/x{number}.jpg")), "<!DOCTYPE html>");
            }
        },
        "12 of 20 images cannot be used:\n  \
         flowers/rose/odd.png: expected an image of 2x2, found 2x3 (`resize` and `crop` bring images to one size)\n  \
         flowers/tulip/0.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/1.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/2.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/3.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/4.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/5.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/6.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/7.png: expected a PNG or JPEG image, found a truncated PNG image\n  \
         flowers/tulip/x0.jpg: expected a PNG or JPEG image, found text such as HTML, SVG or XML\n  and 2 more",
    );
}

#[test]
fn mistakes_in_a_csv_file_are_said_with_the_line() {
    let image = || fixtures::png(&[1; 3], 1, 1, png::ColorType::Rgb);
    let with = |lines: &'static str| {
        move |root: &Path| {
            for number in 0..4 {
                write(&root.join(format!("{number}.png")), image());
            }
            write(&root.join("labels.csv"), lines);
        }
    };
    check_refused(
        "labels.csv",
        with("path,label\n0.png,0\n1.png,1\n2.png,2\n3.png,199\n"),
        "3.png (labels.csv, line 5): expected labels that count the 4 classes from 0, without a gap (or names of all classes in the \
         metadata, as dataset hubs write them), found label 199, and no image with a label from 3 to 198",
    );
    check_refused(
        "labels.csv",
        with("file,class\n0.png,0\n1.png,one\n"),
        "1.png (labels.csv, line 3): expected a number, as the labels before it are, found `one`",
    );
    check_refused(
        "labels.csv",
        with("0.png,cat\n9.png,dog\n"),
        "9.png (labels.csv, line 2): expected a PNG or JPEG image, found No such file or directory (os error 2)",
    );
    check_refused(
        "labels.csv",
        with("a,b\n0.png,cat\n"),
        "labels.csv, line 1: expected columns `path` and `label`, found a, b",
    );
    check_refused(
        "labels.csv",
        with("path,label\n0.png,cat\n1.png\n"),
        "labels.csv, line 3: expected 2 columns, as in the first line, found 1",
    );
    check_refused(
        "labels.csv",
        with("path,label\n0.png,cat\n1.png,\n"),
        "labels.csv, line 3: expected a label, found nothing",
    );
}

#[test]
fn mistakes_in_arrays_are_said_with_the_array() {
    let with = |images: Vec<u8>, labels: Vec<u8>| {
        move |root: &Path| {
            write(&root.join("x_train.npy"), &images);
            write(&root.join("y_train.npy"), &labels);
        }
    };
    let labels = |values: &[u8]| npy("|u1", &[values.len()], values);
    check_refused(
        ".",
        with(npy("<f4", &[2, 2, 2], &[0; 32]), labels(&[0, 1])),
        "x_train.npy: expected integers of 0 to 255 (`np.clip(np.round(255 * x), 0, 255).astype(np.uint8)` makes them of floats of 0 \
         to 1), found float32",
    );
    check_refused(
        ".",
        with(npy("|u1", &[2, 2, 2], &[0; 8]), labels(&[0, 1, 1])),
        "y_train.npy: expected 2 labels, as many as images in x_train.npy, found 3",
    );
    check_refused(
        ".",
        with(npy("<i2", &[2, 1, 2], &[0, 0, 1, 0, 0, 1, 0, 0]), labels(&[0, 1])),
        "x_train.npy, record 1: expected values of 0 to 255, found 256",
    );
    check_refused(
        ".",
        with(npy("|u1", &[2, 2, 2, 4], &[0; 32]), labels(&[0, 1])),
        "x_train.npy: expected images in the shape (n, height, width), (n, height, width, channels) or (n, channels, height, \
         width), with 1 or 3 channels, found shape [2, 2, 2, 4]",
    );
    check_refused(
        ".",
        |root| write(&root.join("x_train.npy"), npy("|u1", &[2, 2, 2], &[0; 8])),
        ".: expected labels `y_train` beside the images, found x_train.npy",
    );
    check_refused(
        ".",
        with(npy("|u1", &[2, 2, 2], &[0; 7]), labels(&[0, 1])),
        "x_train.npy: expected 8 bytes of elements, by its shape [2, 2, 2], found 7",
    );
}

#[test]
fn arrays_of_texts_and_of_wider_integers_are_read_as_numpy_means_them() {
    let root = tempfile::tempdir().unwrap();
    let text = |word: &str| -> Vec<u8> {
        let codes = word.chars().chain(std::iter::repeat('\0')).take(4);
        codes.flat_map(|code| u32::from(code).to_le_bytes()).collect()
    };
    let labels = [text("bee"), text("ant"), text("ähm")].concat();
    write(&root.path().join("x.npy"), npy("<i4", &[3, 1, 2], &[1, 0, 0, 0, 255, 0, 0, 0].repeat(3)));
    write(&root.path().join("y.npy"), npy("<U4", &[3], &labels));
    let set = arrays::load(root.path(), None).unwrap();
    assert_eq!(
        (set.height, set.width, set.channels, &set.class_names[..]),
        (1, 2, 1, &["ant", "bee", "ähm"].map(str::to_owned)[..])
    );
    assert_eq!((&set.train.images[..], &set.train.labels[..]), (&[1, 255, 1, 255, 1, 255][..], &[1, 0, 2][..]));
}

#[test]
fn a_share_of_each_class_becomes_the_test_set_where_there_is_none_and_it_is_said() {
    let root = tempfile::tempdir().unwrap();
    for (class, count) in [("a", 20), ("b", 10), ("c", 2)] {
        for number in 0..count {
            let pixels = [class.as_bytes()[0], number, 7];
            write(
                &root.path().join(class).join(format!("{number}.png")),
                fixtures::png(&pixels, 1, 1, png::ColorType::Rgb),
            );
        }
    }
    let found = open_it(root.path(), ".").unwrap();
    assert_eq!((found.train.class_counts(3), found.test.class_counts(3)), (vec![16, 8, 1], vec![4, 2, 1]));
    let said =
        "there is no test set: 7 images, 20% of each class, were held out as one (`data.test_share` sets the share)";
    assert_eq!(found.remarks, [said]);
    let half = open_at(root.path(), ".", Fit::default(), Some(500_000)).unwrap();
    assert_eq!((half.train.class_counts(3), half.test.class_counts(3)), (vec![10, 5, 1], vec![10, 5, 1]));
    // The same images whatever the order of the files: they are chosen by their content.
    fs::rename(root.path().join("a/0.png"), root.path().join("a/zz.png")).unwrap();
    assert_eq!(open_it(root.path(), ".").unwrap().digest, found.digest);

    let own = tempfile::tempdir().unwrap();
    folder(own.path());
    let error = open_at(own.path(), ".", Fit::default(), Some(200_000)).unwrap_err().to_string();
    assert!(error.ends_with("asks for one to be taken off the training images, found 6 test images"), "{error}");
}

#[test]
fn images_of_any_size_become_those_that_are_asked_for_and_each_size_has_its_own_cache() {
    let root = tempfile::tempdir().unwrap();
    for (class, height, width) in [("a", 9, 12), ("a", 20, 8), ("b", 8, 8), ("b", 30, 31)] {
        let pixels: Vec<u8> = (0..height * width * 3).map(|at| (at % 251) as u8).collect();
        let name = format!("set/train/{class}/{height}x{width}.png");
        write(&root.path().join(&name), fixtures::png(&pixels, height, width, png::ColorType::Rgb));
        write(
            &root.path().join(name.replace("train", "test")),
            fixtures::png(&pixels, height, width, png::ColorType::Rgb),
        );
    }
    let cache = root.path().join("cache");
    let open = |resize, crop| {
        let fit = Fit { resize, crop, ..Fit::default() };
        let query = DatasetQuery { name: "./set".to_owned(), fit, test_share: None };
        open_query(&query, Places { folder: root.path(), roots: &[], cache: Some(&cache) }, Check::All)
    };
    let found = open(Some(8), Some(6)).unwrap();
    assert_eq!((found.height, found.width, found.train.count()), (6, 6, 4));
    let other = open(None, Some(8)).unwrap();
    assert_eq!((other.height, other.width), (8, 8));
    for _ in 0..2 {
        let again = open(Some(8), Some(6)).unwrap();
        assert!(again.train.images.is_mapped());
        assert_eq!((&again.digest, &again.name), (&found.digest, &"./set".to_owned()));
    }
    let error = open(None, None).unwrap_err().to_string();
    assert!(error.starts_with("6 of 8 images cannot be used:\n") && error.contains("`resize` and `crop`"), "{error}");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 2);
}

#[test]
fn a_class_that_is_renamed_or_an_image_that_is_added_is_seen_though_no_file_has_changed() {
    let root = tempfile::tempdir().unwrap();
    folder(&root.path().join("set"));
    let cache = root.path().join("cache");
    let open = || {
        let places = Places { folder: root.path(), roots: &[], cache: Some(&cache) };
        open_query(&DatasetQuery::named("./set"), places, Check::All).unwrap()
    };
    let before = open();
    for split in ["train", "test"] {
        fs::rename(root.path().join("set").join(split).join("ant"), root.path().join("set").join(split).join("dog"))
            .unwrap();
    }
    let renamed = open();
    assert_ne!(renamed.digest, before.digest);
    assert_eq!(&*renamed.class_names, ["bee", "cat", "dog"].map(str::to_owned));
    fs::copy(root.path().join("set/train/bee/005.png"), root.path().join("set/train/bee/new.png")).unwrap();
    assert_eq!(open().train.count(), 15);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

/// In every format, a file that is cut off or changed is refused or read; no panic, no hang.
#[test]
fn damaged_files_of_ones_own_do_no_harm() {
    let mut words = clr_rng::Philox::new(5, clr_rng::Stream::Dataset).words(0);
    let mut draw = |bound: usize| clr_rng::below(words.next().unwrap(), bound as u32) as usize;
    for (format, write, name) in FORMATS {
        let root = tempfile::tempdir().unwrap();
        write(root.path());
        let source = search::at(name, &root.path().join(name)).unwrap();
        let files = source.files().unwrap();
        for path in files.iter().take(4) {
            let bytes = fs::read(path).unwrap();
            let mut refused = 0;
            for round in 0..30 {
                let mut changed = bytes.clone();
                match round % 2 {
                    0 => changed.truncate(draw(bytes.len())),
                    _ => changed[draw(bytes.len())] ^= [0xff, 0x80, 1][draw(3)],
                }
                fs::write(path, &changed).unwrap();
                refused += usize::from(open_it(root.path(), name).is_err());
            }
            fs::write(path, &bytes).unwrap();
            assert!(refused > 0, "{format}: {path:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_said_with_its_path() {
    check_refused(
        "./flowers",
        |_| {},
        "dataset `./flowers` was not found; looked for\n  flowers\na path is relative to the folder of the spec; a name without a \
         slash is looked for below `--data` and CLR_DATA",
    );
    check_refused(
        "./notes.md",
        |root| write(&root.join("notes.md"), "x"),
        "notes.md: expected a folder of images, or a file .parquet, .npz, .npy, .csv or .tar, found another file",
    );
}
