//! NumPy's arrays: a `.npz`, or a folder of `.npy` files, with images and labels (`x_train`, `y_train`, `x_test`, `y_test`).
//!
//! A name says by its words, in any order and case, what an array is: `x`, `images` or `data`, or else `y`, `labels` or
//! `targets`; and of which split, `train`, `test` or `val`. Without a split they are all one. Images are integers of 0 to
//! 255 in the shape (n, height, width), (n, height, width, channels) or (n, channels, height, width); labels are integers or
//! texts in the shape (n) or (n, 1).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clr_system::regular;
use zip::ZipArchive;

use super::assemble::{Label, Labels};
use super::decoded::{Decoded, Growing, Split};
use super::error::{DatasetError, Place};

/// More bytes than any set that is held in memory has.
const LARGEST_ARRAY: u64 = 1 << 38;
/// NumPy's own limit of a header that is safe to read.
const LARGEST_HEADER: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Images,
    Labels,
}

/// In the order of precedence: `test` is the test set where there is a `val` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Train,
    Test,
    Validation,
    /// Images of no split, which are all one.
    All,
}

/// What an array is.
type Key = (Of, Role);

/// What an array is, by its name without an ending.
fn role(name: &str) -> Option<Key> {
    let name = name.to_ascii_lowercase();
    let (mut role, mut of) = (None, Of::All);
    for word in name.split(['_', '-', '.', ' ']) {
        match word {
            "x" | "image" | "images" | "img" | "imgs" | "data" => role = Some(Role::Images),
            "y" | "label" | "labels" | "target" | "targets" => role = Some(Role::Labels),
            // torchvision's and Keras's short forms, `trainX`.
            "train" | "training" => of = Of::Train,
            "test" | "testing" => of = Of::Test,
            "val" | "valid" | "validation" => of = Of::Validation,
            _ => return None,
        }
    }
    // What `np.savez(file, images, labels)` calls them.
    match name.as_str() {
        "arr_0" => Some((Of::All, Role::Images)),
        "arr_1" => Some((Of::All, Role::Labels)),
        _ => Some((of, role?)),
    }
}

/// True of a `.npz` file, or of a folder with `.npy` files that are named like images.
pub fn is_at(path: &Path) -> bool {
    if path.is_file() {
        return has_extension(path, "npz") || has_extension(path, "npy");
    }
    npy_files(path).is_ok_and(|files| files.iter().any(|(_, (_, role))| *role == Role::Images))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// The `.npy` files of a folder whose names say what they are.
fn npy_files(folder: &Path) -> Result<Vec<(PathBuf, Key)>, DatasetError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DatasetError::io(folder))? {
        let path = entry.map_err(DatasetError::io(folder))?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| has_extension(&path, "npy"));
        if let Some(role) = name.and_then(role) {
            files.push((path, role));
        }
    }
    files.sort();
    Ok(files)
}

/// The files that are read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if path.is_file() && has_extension(path, "npz") {
        return Ok(vec![path.to_owned()]);
    }
    Ok(npy_files(folder_of(path))?.into_iter().map(|(path, _)| path).collect())
}

/// A `.npy` file stands for the folder that it is in: its labels are beside it.
fn folder_of(path: &Path) -> &Path {
    if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path }
}

/// Reads the arrays. There is no test split where no name says so.
pub fn load(path: &Path, class_count: Option<u32>) -> Result<Decoded, DatasetError> {
    let source = path.display().to_string();
    let mut arrays: BTreeMap<(Of, Role), Array> = BTreeMap::new();
    let mut names = Vec::new();
    let mut take = |name: String, key: Option<(Of, Role)>, array: &mut dyn FnMut() -> Result<Array, DatasetError>| {
        names.push(name.clone());
        let Some(key) = key else { return Ok(()) };
        match arrays.insert(key, array()?) {
            None => Ok(()),
            Some(other) => {
                let (found, expected) = (format!("`{name}` and {}", other.name), format!("one array of {key:?}"));
                Err(DatasetError::malformed(&source, Place::File, expected, found))
            }
        }
    };
    if path.is_file() && has_extension(path, "npz") {
        let unreadable = |error: zip::result::ZipError| {
            DatasetError::malformed(&source, Place::File, "a .npz file, a zip archive of arrays", error.to_string())
        };
        let file = regular::open(path).map_err(DatasetError::io(path))?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(unreadable)?;
            let name = entry.name().map_err(unreadable)?.trim_end_matches(".npy").to_owned();
            let key = role(&name);
            take(name.clone(), key, &mut || Array::read(format!("{source}: {name}"), &mut entry))?;
        }
    } else {
        for (file, key) in npy_files(folder_of(path))? {
            let name = file.display().to_string();
            let opened: File = regular::open(&file).map_err(DatasetError::io(&file))?;
            let mut bytes = BufReader::new(opened);
            take(name.clone(), Some(key), &mut || Array::read(name.clone(), &mut bytes))?;
        }
    }
    let missing = |expected: &str| {
        let found = if names.is_empty() { "no array".to_owned() } else { names.join(", ") };
        DatasetError::malformed(&source, Place::File, expected, found)
    };
    let mut pair = |of: Of, wanted: &str| -> Result<Option<(Array, Array)>, DatasetError> {
        match (arrays.remove(&(of, Role::Images)), arrays.remove(&(of, Role::Labels))) {
            (Some(images), Some(labels)) => Ok(Some((images, labels))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing(&format!("labels `y{wanted}` beside the images"))),
            (None, Some(_)) => Err(missing(&format!("images `x{wanted}` beside the labels"))),
        }
    };
    let (train, all) = (pair(Of::Train, "_train")?, pair(Of::All, "")?);
    let (test, validation) = (pair(Of::Test, "_test")?, pair(Of::Validation, "_val")?);
    let Some(train) = train.or(all) else {
        return Err(missing("arrays `x_train` and `y_train`, or `x` and `y`"));
    };
    let mut notes = Vec::new();
    if let (Some(_), Some((left_out, _))) = (&test, &validation) {
        notes.push(format!("{} is left out: there is a test set", left_out.name));
    }
    let mut labels = Labels::default();
    let (size, mut train_split) = split(&train, &mut labels)?;
    let mut test_split = Split::default();
    if let Some(test) = test.or(validation) {
        let found;
        (found, test_split) = split(&test, &mut labels)?;
        if found != size {
            let show = |[height, width, channels]: [u32; 3]| format!("images of {height}x{width}x{channels}");
            let expected = format!("{}, as in {}", show(size), train.0.name);
            return Err(test.0.wrong(Place::File, expected, show(found)));
        }
    }
    let (class_count, class_names) =
        labels.finish(class_count, [&mut train_split.labels, &mut test_split.labels], &source)?;
    let [height, width, channels] = size;
    Ok(Decoded { height, width, channels, class_count, class_names, train: train_split, test: test_split, notes })
}

/// Height, width and channels of images, and the split that they are with their labels.
fn split((images, labels): &(Array, Array), known: &mut Labels) -> Result<([u32; 3], Split), DatasetError> {
    let (size, pixels) = images.images()?;
    if labels.shape[0] != images.shape[0] {
        let expected = format!("{} labels, as many as images in {}", images.shape[0], images.name);
        return Err(labels.wrong(Place::File, expected, labels.shape[0].to_string()));
    }
    let mut numbers = Vec::with_capacity(labels.shape[0]);
    for row in 0..labels.shape[0] {
        let place = || (labels.name.clone(), Place::Record(row as u64));
        let label = labels.label(row)?;
        let label = match &label {
            Value::Integer(number) => Label::Number(*number),
            Value::Text(text) => Label::Text(text),
        };
        numbers.push(known.number(label, place).map_err(|wrong| wrong.at(place()))?);
    }
    Ok((size, Split { images: pixels.into(), labels: numbers }))
}

/// A label as it is stored.
enum Value {
    Integer(i128),
    Text(String),
}

/// An array as it is in its file.
struct Array {
    /// The file, for messages, and the array's name if it has many.
    name: String,
    /// `u`, `i`, `b`, `f`, `U`, `S` or another of NumPy's letters.
    kind: u8,
    /// Bytes of an element.
    size: usize,
    is_big_endian: bool,
    /// At least one dimension, and no element too many.
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn read(name: String, input: &mut dyn Read) -> Result<Array, DatasetError> {
        let wrong = |expected: &str, found: String| DatasetError::malformed(&name, Place::File, expected, found);
        let unreadable = |error: std::io::Error| wrong("an array of NumPy", error.to_string());
        let mut start = [0; 8];
        input.read_exact(&mut start).map_err(unreadable)?;
        let [magic @ .., major, _] = start;
        if &magic != b"\x93NUMPY" {
            return Err(wrong("an array of NumPy", format!("`{}`", magic.escape_ascii())));
        }
        let mut length = [0; 4];
        let length_bytes = if major == 1 { 2 } else { 4 };
        input.read_exact(&mut length[..length_bytes]).map_err(unreadable)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LARGEST_HEADER {
            return Err(wrong(&format!("a header of at most {LARGEST_HEADER} bytes"), length.to_string()));
        }
        let mut header = vec![0; length];
        input.read_exact(&mut header).map_err(unreadable)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let parsed =
            parse_header(&header).ok_or_else(|| wrong("an array of numbers or texts", header.trim().to_owned()))?;
        let Header { kind, size, is_big_endian, is_fortran, shape } = parsed;
        if is_fortran && shape.len() > 1 {
            let expected = "an array in C's order (`np.ascontiguousarray` makes one)";
            return Err(wrong(expected, "one in Fortran's order".to_owned()));
        }
        let all = shape.iter().try_fold(size as u64, |product, &size| product.checked_mul(size as u64));
        let all = all.filter(|&all| all <= LARGEST_ARRAY && !shape.is_empty());
        let all = all.ok_or_else(|| wrong("an array of images or of labels", format!("shape {shape:?}")))?;
        // Grown as bytes arrive: a shape in a header is no reason to allocate it.
        let mut bytes = Vec::new();
        input.take(all + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != all {
            let found = if bytes.len() as u64 > all { "more".to_owned() } else { bytes.len().to_string() };
            return Err(wrong(&format!("{all} bytes of elements, by its shape {shape:?}"), found));
        }
        Ok(Array { name, kind, size, is_big_endian, shape, bytes })
    }

    fn wrong(&self, place: Place, expected: impl Into<String>, found: impl Into<String>) -> DatasetError {
        DatasetError::malformed(&self.name, place, expected, found)
    }

    /// The integer that is the element of a number; none where elements are no integers.
    fn integer(&self, index: usize) -> Option<i128> {
        let bytes = &self.bytes[index * self.size..][..self.size];
        let mut wide = [0; 16];
        match (self.kind, self.size) {
            (b'u' | b'i' | b'b', 1 | 2 | 4 | 8) => {}
            _ => return None,
        }
        for (place, &byte) in bytes.iter().enumerate() {
            wide[if self.is_big_endian { self.size - 1 - place } else { place }] = byte;
        }
        let value = i128::from_le_bytes(wide);
        let sign = 1i128 << (8 * self.size - 1);
        Some(if self.kind == b'i' && value >= sign { value - 2 * sign } else { value })
    }

    /// Height, width and channels of the images, and their pixels in NHWC.
    fn images(&self) -> Result<([u32; 3], Vec<u8>), DatasetError> {
        let shape = format!("shape {:?}", self.shape);
        let wanted = "images in the shape (n, height, width), (n, height, width, channels) or (n, channels, height, width), \
                      with 1 or 3 channels";
        let (is_planes, height, width, channels) = match self.shape[..] {
            [_, height, width] => (false, height, width, 1),
            [_, height, width, channels @ (1 | 3)] => (false, height, width, channels),
            [_, channels @ (1 | 3), height, width] => (true, height, width, channels),
            _ => return Err(self.wrong(Place::File, wanted, shape)),
        };
        let size = [height, width, channels].map(|size| u32::try_from(size).unwrap_or(0));
        if self.shape[0] == 0 || size.contains(&0) {
            return Err(self.wrong(Place::File, wanted, shape));
        }
        let image_bytes = height * width * channels;
        let pixels = if (self.kind, self.size) == (b'u', 1) {
            self.bytes.clone()
        } else {
            let pixel = |index: usize| match self.integer(index) {
                Some(value) => u8::try_from(value).map_err(|_| {
                    self.wrong(Place::Record((index / image_bytes) as u64), "values of 0 to 255", value.to_string())
                }),
                None => {
                    let expected = "integers of 0 to 255 (`np.clip(np.round(255 * x), 0, 255).astype(np.uint8)` makes them of \
                                    floats of 0 to 1)";
                    Err(self.wrong(Place::File, expected, self.type_name()))
                }
            };
            (0..self.bytes.len() / self.size).map(pixel).collect::<Result<_, _>>()?
        };
        if !is_planes || channels == 1 {
            return Ok((size, pixels));
        }
        let mut split = Growing::default();
        pixels.chunks_exact(image_bytes).for_each(|planes| split.push_planes(planes, channels));
        Ok((size, split.images))
    }

    fn label(&self, row: usize) -> Result<Value, DatasetError> {
        let is_list = matches!(self.shape[..], [_] | [_, 1]);
        if !is_list {
            let expected = "labels in the shape (n) or (n, 1)";
            return Err(self.wrong(Place::File, expected, format!("shape {:?}", self.shape)));
        }
        if let Some(number) = self.integer(row) {
            return Ok(Value::Integer(number));
        }
        let bytes = &self.bytes[row * self.size..][..self.size];
        let text: Option<String> = match self.kind {
            b'S' => String::from_utf8(bytes.to_vec()).ok(),
            b'U' => bytes.as_chunks::<4>().0.iter().map(|&four| char::from_u32(self.code(four))).collect(),
            _ => None,
        };
        let text =
            text.ok_or_else(|| self.wrong(Place::File, "labels that are integers or texts", self.type_name()))?;
        Ok(Value::Text(text.trim_end_matches('\0').to_owned()))
    }

    fn code(&self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn type_name(&self) -> String {
        let name = match self.kind {
            b'f' => "float",
            b'c' => "complex",
            b'O' => "object",
            b'U' | b'S' => return "texts".to_owned(),
            other => return format!("the type `{}{}`", char::from(other), self.size),
        };
        format!("{name}{}", 8 * self.size)
    }
}

struct Header {
    kind: u8,
    size: usize,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

/// Reads `{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }`.
fn parse_header(text: &str) -> Option<Header> {
    let value = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    let descr = value("descr")?.strip_prefix('\'')?;
    let (descr, _) = descr.split_once('\'')?;
    let (order, descr) = descr.split_at_checked(1)?;
    let (kind, size) = descr.split_at_checked(1)?;
    let kind = *kind.as_bytes().first()?;
    let size: usize = size.parse().ok().filter(|size| (1..=1 << 16).contains(size))?;
    let size = if kind == b'U' { 4 * size } else { size };
    let (shape, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    Some(Header {
        kind,
        size,
        is_big_endian: order == ">",
        is_fortran: value("fortran_order")?.starts_with("True"),
        shape: sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?,
    })
}
