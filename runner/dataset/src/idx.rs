//! IDX files, plain or gzip-compressed: MNIST's format.
//!
//! Two zero bytes, the element type (8: uint8), the number of dimensions, each dimension as a big-endian u32, then
//! the elements. Images are `3` dimensional (count, rows, columns), labels `1`.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use clr_system::regular;
use flate2::bufread::MultiGzDecoder;

use super::decoded::{Decoded, Split};
use super::error::{DatasetError, Place};

/// More than any set of this kind has (EMNIST's largest file is 0.6 GB).
const LARGEST_FILE: u64 = 4 << 30;

/// The file of a role in a folder, under any of the names in use: `-idx3` is the publisher's, `.idx3` what some
/// unpackers make of it.
fn locate(folder: &Path, part: &str, kind: &str, dimensions: u8) -> Option<PathBuf> {
    let names = ["-", "."].map(|joint| format!("{part}-{kind}{joint}idx{dimensions}-ubyte"));
    names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]).find(|path| path.is_file())
}

const ROLES: [(&str, &str, u8); 4] =
    [("train", "images", 3), ("train", "labels", 1), ("t10k", "images", 3), ("t10k", "labels", 1)];

/// True if any of the four files is there.
pub fn is_in(folder: &Path) -> bool {
    ROLES.iter().any(|&(part, kind, dimensions)| locate(folder, part, kind, dimensions).is_some())
}

/// The four files: images and labels of the training set, then of the test set.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let found = ROLES.iter().map(|&(part, kind, dimensions)| {
        locate(folder, part, kind, dimensions).ok_or_else(|| {
            let expected = format!("a file `{part}-{kind}-idx{dimensions}-ubyte`, plain or `.gz`");
            DatasetError::malformed(folder.display().to_string(), Place::File, expected, "none")
        })
    });
    found.collect()
}

/// Reads the four files of a folder. Without a `class_count`, it is one more than the largest label.
pub fn load(folder: &Path, class_count: Option<u32>) -> Result<Decoded, DatasetError> {
    let files = files(folder)?;
    let (train, size) = split(&files[0], &files[1])?;
    let (test, test_size) = split(&files[2], &files[3])?;
    if size != test_size {
        let (expected, found) =
            (format!("images of {}x{}", size.0, size.1), format!("{}x{}", test_size.0, test_size.1));
        return Err(DatasetError::malformed(files[2].display().to_string(), Place::Byte(8), expected, found));
    }
    let largest = train.labels.iter().chain(&test.labels).max().copied().unwrap_or(0);
    let class_count = class_count.unwrap_or(largest as u32 + 1);
    for (split, file) in [(&train, &files[1]), (&test, &files[3])] {
        if let Some(at) = split.labels.iter().position(|&label| label as u32 >= class_count) {
            let (expected, found) = (format!("a label below {class_count}"), split.labels[at].to_string());
            return Err(DatasetError::malformed(file.display().to_string(), Place::Record(at as u64), expected, found));
        }
    }
    Ok(Decoded {
        height: size.0,
        width: size.1,
        channels: 1,
        class_count,
        class_names: Vec::new(),
        train,
        test,
        notes: Vec::new(),
    })
}

fn split(images: &Path, labels: &Path) -> Result<(Split, (u32, u32)), DatasetError> {
    let ([count, height, width], pixels) = read::<3>(images)?;
    let ([label_count], values) = read::<1>(labels)?;
    if label_count != count {
        let expected = format!("{count} labels, as many as images in {}", images.display());
        return Err(DatasetError::malformed(
            labels.display().to_string(),
            Place::Byte(4),
            expected,
            label_count.to_string(),
        ));
    }
    Ok((Split { images: pixels.into(), labels: values.into_iter().map(i32::from).collect() }, (height, width)))
}

/// Dimensions and elements of a file.
fn read<const N: usize>(path: &Path) -> Result<([u32; N], Vec<u8>), DatasetError> {
    let file = regular::open(path).map_err(DatasetError::io(path))?;
    let mut bytes: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    let wrong = |at: u64, expected: String, found: String| {
        DatasetError::malformed(path.display().to_string(), Place::Byte(at), expected, found)
    };
    let unreadable = |at: u64, expected: String, error: &io::Error| {
        let found =
            if error.kind() == io::ErrorKind::UnexpectedEof { "the end of the file".into() } else { error.to_string() };
        wrong(at, expected, found)
    };

    let mut magic = [0; 4];
    let expected = format!("00 00 08 {N:02x}: bytes in {N} dimensions");
    bytes.read_exact(&mut magic).map_err(|error| unreadable(0, expected.clone(), &error))?;
    if magic != [0, 0, 8, N as u8] {
        let [a, b, c, d] = magic;
        return Err(wrong(0, expected, format!("{a:02x} {b:02x} {c:02x} {d:02x}")));
    }
    let mut dimensions = [0; N];
    for (index, dimension) in dimensions.iter_mut().enumerate() {
        let mut size = [0; 4];
        let at = 4 + 4 * index as u64;
        bytes.read_exact(&mut size).map_err(|error| unreadable(at, "a dimension of 4 bytes".into(), &error))?;
        *dimension = u32::from_be_bytes(size);
    }
    let size = dimensions.iter().try_fold(1u64, |product, &size| product.checked_mul(size.into()));
    let header = 4 + 4 * N as u64;
    let size = match size {
        Some(size @ 1..=LARGEST_FILE) => size,
        _ => return Err(wrong(4, format!("dimensions of 1 to {LARGEST_FILE} bytes"), format!("{dimensions:?}"))),
    };
    // One byte more than there should be, to see the end (and a compressed file's check sum). The buffer grows as
    // bytes arrive: dimensions in a header are no reason to allocate them.
    let mut elements = Vec::new();
    let expected = format!("{size} bytes after the header, by the dimensions {dimensions:?}");
    let result = bytes.take(size + 1).read_to_end(&mut elements);
    result.map_err(|error| unreadable(header + elements.len() as u64, expected.clone(), &error))?;
    if elements.len() as u64 != size {
        let found = if elements.len() as u64 > size { "more".into() } else { elements.len().to_string() };
        return Err(wrong(header, expected, found));
    }
    Ok((dimensions, elements))
}
