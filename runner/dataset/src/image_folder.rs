//! Folders of images: a folder for each class, named like it, with PNG or JPEG images at any depth.
//!
//! Either the folder itself has the classes, or it has `train/` and `test/` (or `val/`) that have them. Classes are numbered
//! in the order of their names, and images are read in the order of class, folder and name, all compared byte by byte:
//! torchvision's `ImageFolder` numbers and orders them alike. Hidden files are left out, and files that are no images by
//! their names; an image of a format that is not read is an error.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clr_system::regular;

use super::assemble::{Assembly, Encoded, Label, Part, Wrong};
use super::error::{DatasetError, Place};
use super::image::Format;

/// More bytes than any image of a set has.
const LARGEST_FILE: u64 = 1 << 28;
/// Folders within a class's folder: more are a link that leads in a circle.
const DEPTH: usize = 16;
/// Folders in which the existence of images is looked for, when only that is asked.
const GLANCE: usize = 3;

/// Names of the split that is trained on, and of those to test on, the first that is there.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];

/// Formats that others read. Such an image would be missed if it were left out.
const OTHERS: [&str; 13] =
    ["webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "heic", "heif", "avif", "jp2", "jxl"];

/// An image of a class.
struct Entry {
    path: PathBuf,
    class: usize,
}

impl Encoded for Entry {
    fn place(&self) -> (String, Place) {
        (self.path.display().to_string(), Place::File)
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, Wrong> {
        read(&self.path).map(Cow::Owned)
    }

    fn label(&self) -> Result<Label<'_>, Wrong> {
        Ok(Label::Number(self.class as i128))
    }

    fn named(&self) -> Option<Format> {
        format_of(&self.path)
    }
}

/// The bytes of an image's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Wrong> {
    regular::read(path, LARGEST_FILE).map_err(|error| Wrong::no_image(&error.to_string()))
}

/// The format that a file's name claims.
pub(super) fn format_of(path: &Path) -> Option<Format> {
    Format::of_extension(path.extension()?.to_str()?)
}

/// A folder's images, class by class.
struct Folder {
    class_names: Vec<String>,
    train: Vec<Entry>,
    test: Vec<Entry>,
    notes: Vec<String>,
}

/// True if a folder has folders with images.
pub fn is_in(folder: &Path) -> bool {
    has_image(folder, false, GLANCE)
}

fn has_image(folder: &Path, counts: bool, depth: usize) -> bool {
    let Ok(entries) = list(folder) else { return false };
    entries.iter().any(|(path, is_folder)| match is_folder {
        true => depth > 0 && has_image(path, true, depth - 1),
        false => counts && format_of(path).is_some(),
    })
}

/// All images, in the order in which they are read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let Folder { train, test, .. } = look(folder)?;
    Ok(train.into_iter().chain(test).map(|entry| entry.path).collect())
}

/// Reads a folder. There is no test split where no folder is named so.
pub(super) fn fill(folder: &Path, assembly: &mut Assembly) -> Result<(), DatasetError> {
    let Folder { class_names, train, test, notes } = look(folder)?;
    assembly.labels.names = class_names;
    assembly.notes.extend(notes);
    assembly.append(Part::Train, &train);
    assembly.append(Part::Test, &test);
    Ok(())
}

fn look(folder: &Path) -> Result<Folder, DatasetError> {
    let wrong = |expected: String, found: String| DatasetError::malformed(shown(folder), Place::File, expected, found);
    let entries = list(folder)?;
    let folders = subfolders(&entries);
    if folders.is_empty() {
        let images = entries.iter().filter(|(path, _)| format_of(path).is_some()).count();
        let images = if images == 1 { "1 image".to_owned() } else { format!("{images} images") };
        return Err(wrong("a folder for each class, with its images".into(), format!("{images} and no folder")));
    }
    let find = |names: &[&str]| -> Vec<&(String, &Path)> {
        let found = names.iter().filter_map(|name| folders.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)));
        found.collect()
    };
    let (train, tests) = (find(&TRAIN), find(&TEST));
    // A class may have such a name too: `bus`, `car`, `train`.
    let is_split = train.len() + tests.len() == folders.len();
    if is_split && train.is_empty() {
        let found = folders.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(wrong("a folder `train`, or folders of classes".into(), found));
    }
    let train_folder = if is_split { train[0].1 } else { folder };
    let mut found = Folder { class_names: Vec::new(), train: Vec::new(), test: Vec::new(), notes: Vec::new() };
    for (name, path) in subfolders(&list(train_folder)?) {
        let images = images(path, found.class_names.len())?;
        if images.is_empty() {
            return Err(DatasetError::malformed(shown(path), Place::File, "at least one image of this class", "none"));
        }
        found.train.extend(images);
        found.class_names.push(name);
    }
    match &found.class_names[..] {
        [] => {
            return Err(DatasetError::malformed(
                shown(train_folder),
                Place::File,
                "a folder for each class, with its images",
                "no folder",
            ));
        }
        [one] => {
            let found = format!("`{one}` alone, with which accuracy is 100% whatever is learned");
            return Err(DatasetError::malformed(
                shown(train_folder),
                Place::File,
                "folders of at least two classes",
                found,
            ));
        }
        _ => {}
    }
    if is_split && let Some(((test, path), others)) = tests.split_first().map(|(first, rest)| (*first, rest)) {
        for (name, path) in subfolders(&list(path)?) {
            let Some(class) = found.class_names.iter().position(|class| *class == name) else {
                let expected = "a class of the training split".to_owned();
                return Err(DatasetError::malformed(shown(path), Place::File, expected, format!("`{name}`")));
            };
            found.test.extend(images(path, class)?);
        }
        if found.test.is_empty() {
            let expected = "a folder for each class, with its images";
            return Err(DatasetError::malformed(shown(path), Place::File, expected, "no image"));
        }
        found
            .notes
            .extend(others.iter().map(|(other, _)| format!("`{other}/` is left out: `{test}/` is the test set")));
    }
    Ok(found)
}

/// The images below a class's folder, in order.
fn images(folder: &Path, class: usize) -> Result<Vec<Entry>, DatasetError> {
    let mut found = Vec::new();
    collect(folder, class, DEPTH, &mut found)?;
    Ok(found)
}

/// A folder's own images, then those of its folders.
fn collect(folder: &Path, class: usize, depth: usize, found: &mut Vec<Entry>) -> Result<(), DatasetError> {
    let entries = list(folder)?;
    for (path, _) in entries.iter().filter(|(_, is_folder)| !is_folder) {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if Format::of_extension(extension).is_some() {
            found.push(Entry { path: path.clone(), class });
        } else if OTHERS.contains(&extension.to_ascii_lowercase().as_str()) {
            let found = format!("one named .{extension}");
            return Err(DatasetError::malformed(shown(path), Place::File, super::image::IMAGE, found));
        }
    }
    for (path, _) in entries.iter().filter(|(_, is_folder)| *is_folder) {
        if depth == 0 {
            let expected = format!("folders within folders at most {DEPTH} deep");
            return Err(DatasetError::malformed(shown(path), Place::File, expected, "more"));
        }
        collect(path, class, depth - 1, found)?;
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Names and paths of the folders among entries. Names are kept as classes, so they are text.
fn subfolders(entries: &[(PathBuf, bool)]) -> Vec<(String, &Path)> {
    let folders = entries.iter().filter(|(_, is_folder)| *is_folder);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folders.map(|(path, _)| (name(path), path.as_path())).collect()
}

/// The entries of a folder that are not hidden, by name, each with whether it is a folder. Links are followed.
fn list(folder: &Path) -> Result<Vec<(PathBuf, bool)>, DatasetError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DatasetError::io(folder))? {
        let entry = entry.map_err(DatasetError::io(folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // Asked of the entry itself, which costs nothing, unless it is a link.
        let is_folder =
            entry.file_type().is_ok_and(|kind| if kind.is_symlink() { path.is_dir() } else { kind.is_dir() });
        entries.push((path, is_folder));
    }
    entries.sort_by(|(a, _), (b, _)| a.file_name().cmp(&b.file_name()));
    Ok(entries)
}
