//! WebDataset's shards: tar archives in which members of one key, one behind the other, are a sample.
//!
//! A key is a member's path up to the first dot of its name, the rest is what it is: `jpg`, `jpeg` or `png` an image; `cls`
//! (or `txt`, or the field `label` of a `json`) its label, a number or a text. The shards' names, or the folders that they
//! are in, say the split: `train`, `test` or `val`; where none does, all are one set. Shards are read in the order of their
//! names.
//!
//! All headers are read first: then each sample is a file and a place in it, and read from there.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use clr_system::regular;

use super::assemble::{Assembly, Encoded, Label, Part, Wrong};
use super::error::{DatasetError, Place};
use super::image::Format;

/// More bytes than any image of a set has, and than any label.
const LARGEST_IMAGE: u64 = 1 << 28;
const LARGEST_LABEL: u64 = 1 << 20;

/// A sample of a shard.
struct Sample {
    shard: PathBuf,
    /// The image's name in the archive.
    name: String,
    offset: u64,
    length: u64,
    format: Option<Format>,
    /// A number if it reads like one.
    label: Result<String, Wrong>,
}

impl Encoded for Sample {
    fn place(&self) -> (String, Place) {
        (format!("{}: {}", self.shard.display(), self.name), Place::File)
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, Wrong> {
        let read = || {
            let mut file = regular::open(&self.shard)?;
            file.seek(SeekFrom::Start(self.offset))?;
            let mut bytes = Vec::new();
            file.take(self.length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(Cow::Owned).map_err(|error: std::io::Error| Wrong::no_image(&error.to_string()))
    }

    fn label(&self) -> Result<Label<'_>, Wrong> {
        let text = self.label.as_ref().map_err(Wrong::clone)?;
        Ok(text.parse().map_or(Label::Text(text), Label::Number))
    }

    fn named(&self) -> Option<Format> {
        self.format
    }
}

/// True of a `.tar` file, or of a folder that has some, in folders named like splits too.
pub fn is_at(path: &Path) -> bool {
    if path.is_file() {
        return is_tar(path);
    }
    shards(path).is_ok_and(|shards| !shards.is_empty())
}

fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// The archives, by name.
fn shards(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(DatasetError::io(&folder))? {
            let entry = entry.map_err(DatasetError::io(&folder))?.path();
            if is_tar(&entry) {
                found.push(entry);
            } else if folder == path && part_of(&entry).is_some() && entry.is_dir() {
                folders.push(entry);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Test,
    Validation,
}

/// The split that a name says: a word of it.
fn part_of(path: &Path) -> Option<Split> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| {
        match word.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "train" | "training" => Some(Split::Train),
            "test" | "testing" => Some(Split::Test),
            "val" | "valid" | "validation" => Some(Split::Validation),
            _ => None,
        }
    })
}

/// Shards of the training and of the test split, and how many are left out.
fn splits(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>, usize), DatasetError> {
    let shards = shards(path)?;
    let split_of =
        |shard: &PathBuf| part_of(shard).or_else(|| part_of(shard.parent().filter(|folder| *folder != path)?));
    let of = |split: Option<Split>| -> Vec<PathBuf> {
        shards.iter().filter(|shard| split_of(shard) == split).cloned().collect()
    };
    let (train, test, validation) = (of(Some(Split::Train)), of(Some(Split::Test)), of(Some(Split::Validation)));
    let unnamed = of(None);
    if unnamed.len() == shards.len() || path.is_file() {
        return Ok((shards, Vec::new(), 0));
    }
    if !unnamed.is_empty() || train.is_empty() {
        let found: Vec<_> =
            shards.iter().filter_map(|shard| shard.file_name()).map(|name| name.to_string_lossy()).collect();
        let found = if unnamed.is_empty() { found.join(", ") } else { format!("`{}` too", unnamed[0].display()) };
        let expected = "shards named `train` and `test` or `val`, or none named so";
        return Err(DatasetError::malformed(path.display().to_string(), Place::File, expected, found));
    }
    let left_out = if test.is_empty() { 0 } else { validation.len() };
    Ok((train, if test.is_empty() { validation } else { test }, left_out))
}

/// The archives that are read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let (train, test, _) = splits(path)?;
    Ok([train, test].concat())
}

/// Reads the shards. There is no test split where no name says so.
pub(super) fn fill(path: &Path, assembly: &mut Assembly) -> Result<(), DatasetError> {
    let (train, test, left_out) = splits(path)?;
    for (part, shards) in [(Part::Train, train), (Part::Test, test)] {
        for shard in shards {
            assembly.append(part, &index(&shard)?);
        }
    }
    if left_out > 0 {
        assembly.notes.push(format!("{left_out} shards of the split `val` are left out: `test` is the test set"));
    }
    Ok(())
}

/// The samples of an archive, by its headers.
fn index(shard: &Path) -> Result<Vec<Sample>, DatasetError> {
    let name = shard.display().to_string();
    let unreadable =
        |error: std::io::Error| DatasetError::malformed(&name, Place::File, "a tar archive", error.to_string());
    let length = std::fs::metadata(shard).map_err(DatasetError::io(shard))?.len();
    let file: File = regular::open(shard).map_err(DatasetError::io(shard))?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut samples: Vec<Sample> = Vec::new();
    let mut open = Open::default();
    for entry in archive.entries_with_seek().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            let found = format!("{} of the {size} bytes of `{member}`", length.saturating_sub(offset));
            return Err(DatasetError::malformed(&name, Place::Byte(offset), "a whole tar archive", found));
        }
        let base = member.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = member[base..].find('.').filter(|&dot| dot > 0) else { continue };
        let (key, ending) = (member[..base + dot].to_owned(), member[base + dot + 1..].to_ascii_lowercase());
        if open.key != key {
            open.close(shard, &mut samples)?;
            open = Open { key, ..Open::default() };
        }
        match ending.as_str() {
            "jpg" | "jpeg" | "png" | "img" | "image" => {
                if size > LARGEST_IMAGE {
                    let expected = format!("an image of at most {LARGEST_IMAGE} bytes");
                    return Err(DatasetError::malformed(&name, Place::Byte(offset), expected, size.to_string()));
                }
                let format = Format::of_extension(&ending);
                open.image = Some((member, offset, size, format));
            }
            "cls" | "txt" | "json" | "label" if size <= LARGEST_LABEL => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(unreadable)?;
                open.labels.push((ending, String::from_utf8_lossy(&bytes).trim().to_owned()));
            }
            _ => {}
        }
    }
    open.close(shard, &mut samples)?;
    Ok(samples)
}

/// The members of the sample that is being read.
#[derive(Default)]
struct Open {
    key: String,
    image: Option<(String, u64, u64, Option<Format>)>,
    labels: Vec<(String, String)>,
}

impl Open {
    /// The sample is complete.
    fn close(&mut self, shard: &Path, samples: &mut Vec<Sample>) -> Result<(), DatasetError> {
        let Some((name, offset, length, format)) = self.image.take() else {
            if self.labels.is_empty() {
                return Ok(());
            }
            let found = format!("none beside `{}.{}`", self.key, self.labels[0].0);
            return Err(Wrong::no_image(&found).at((shard.display().to_string(), Place::File)));
        };
        let label = self.label().ok_or_else(|| {
            let found =
                self.labels.first().map_or("none".to_owned(), |(ending, text)| format!("`.{ending}` with {text:.40}"));
            Wrong::new("a label beside the image, `.cls`, `.txt` or a `.json` with the field `label`", found)
        });
        samples.push(Sample { shard: shard.to_owned(), name, offset, length, format, label });
        Ok(())
    }

    fn label(&self) -> Option<String> {
        let of = |ending: &str| self.labels.iter().find(|(found, _)| found == ending).map(|(_, text)| text);
        let json = || {
            let value: serde_json::Value = serde_json::from_str(of("json")?).ok()?;
            match ["label", "cls", "class"].iter().find_map(|field| value.get(field))? {
                serde_json::Value::String(text) => Some(text.clone()),
                number => number.as_i64().map(|number| number.to_string()),
            }
        };
        let plain = of("cls").or_else(|| of("label")).cloned();
        plain.or_else(json).or_else(|| of("txt").cloned()).filter(|text| !text.is_empty())
    }
}
