//! A CSV file of paths and labels: a column `path` (or `file`, `filename`, `image`, ..), a column `label` (or `class`, ..) of
//! numbers or texts, and perhaps a column `split` of `train`, `test` or `val`. Paths are relative to the file's folder.
//!
//! A file of two columns may have no names in its first line: a path, then a label.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clr_system::regular;

use super::assemble::{Assembly, Encoded, Label, Part, Wrong};
use super::error::{DatasetError, Place};
use super::image::Format;
use super::image_folder;

/// More than a line for each of ten million images.
const LARGEST_FILE: u64 = 1 << 30;

const PATHS: [&str; 10] =
    ["path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path"];
const LABELS: [&str; 8] = ["label", "labels", "class", "class_name", "category", "target", "y", "class_id"];
const SPLITS: [&str; 4] = ["split", "set", "subset", "partition"];

/// An image that a line names.
struct Line {
    table: String,
    number: u64,
    path: PathBuf,
    label: String,
    /// True where the first label of the table is no number.
    is_text: bool,
}

impl Encoded for Line {
    fn place(&self) -> (String, Place) {
        (format!("{} ({}, line {})", self.path.display(), self.table, self.number), Place::File)
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, Wrong> {
        image_folder::read(&self.path).map(Cow::Owned)
    }

    fn label(&self) -> Result<Label<'_>, Wrong> {
        match self.label.parse() {
            Ok(number) if !self.is_text => Ok(Label::Number(number)),
            _ => Ok(Label::Text(&self.label)),
        }
    }

    fn named(&self) -> Option<Format> {
        image_folder::format_of(&self.path)
    }
}

/// True of a path of such a file.
pub fn is_at(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["csv", "tsv"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The file, and the images that it names.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let Table { train, test, .. } = Table::read(path)?;
    let images = train.into_iter().chain(test).map(|line| line.path);
    Ok([path.to_owned()].into_iter().chain(images).collect())
}

/// Reads the file and its images. There is no test split where no line says so.
pub(super) fn fill(path: &Path, assembly: &mut Assembly) -> Result<(), DatasetError> {
    let Table { train, test, notes } = Table::read(path)?;
    assembly.notes.extend(notes);
    assembly.append(Part::Train, &train);
    assembly.append(Part::Test, &test);
    Ok(())
}

struct Table {
    train: Vec<Line>,
    test: Vec<Line>,
    notes: Vec<String>,
}

impl Table {
    fn read(path: &Path) -> Result<Table, DatasetError> {
        let table = path.display().to_string();
        let text = regular::read_text(path, LARGEST_FILE).map_err(DatasetError::io(path))?;
        let wrong = |line: u64, wrong: Wrong| wrong.at((table.clone(), Place::Line(line)));
        let is_tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .delimiter(if is_tabs { b'\t' } else { b',' })
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map_or(1, csv::Position::line);
                let found = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        return wrong(
                            line,
                            Wrong::new(format!("{expected_len} columns, as in the first line"), len.to_string()),
                        );
                    }
                    _ => error.to_string(),
                };
                wrong(line, Wrong::new("a line of a CSV file", found))
            })?;
            records.push((record.position().map_or(0, csv::Position::line), record));
        }
        let Some((_, first)) = records.first() else {
            return Err(wrong(1, Wrong::new("columns `path` and `label`", "no line")));
        };
        let column = |names: &[&str]| {
            let named = |name: &&str| first.iter().position(|field| field.eq_ignore_ascii_case(name));
            names.iter().find_map(named)
        };
        let is_bare = first.len() == 2 && image_folder::format_of(Path::new(&first[0])).is_some();
        let (path_column, label_column, split_column, lines) = match (column(&PATHS), column(&LABELS)) {
            (Some(path), Some(label)) => (path, label, column(&SPLITS), &records[1..]),
            _ if is_bare => (0, 1, None, &records[..]),
            _ => {
                let found = first.iter().collect::<Vec<_>>().join(", ");
                return Err(wrong(1, Wrong::new("columns `path` and `label`", found)));
            }
        };
        let is_text = lines.first().is_some_and(|(_, record)| record[label_column].parse::<i128>().is_err());
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut parts: [Vec<Line>; 3] = Default::default();
        for (number, record) in lines {
            let part = match split_column.map(|column| record[column].to_ascii_lowercase()).as_deref() {
                None | Some("train" | "training") => 0,
                Some("test" | "testing") => 1,
                Some("val" | "valid" | "validation" | "dev") => 2,
                Some(other) => {
                    return Err(wrong(*number, Wrong::new("a split `train`, `test` or `val`", format!("`{other}`"))));
                }
            };
            for (column, what) in [(path_column, "a path"), (label_column, "a label")] {
                if record[column].is_empty() {
                    return Err(wrong(*number, Wrong::new(what, "nothing")));
                }
            }
            parts[part].push(Line {
                table: table.clone(),
                number: *number,
                path: folder.join(&record[path_column]),
                label: record[label_column].to_owned(),
                is_text,
            });
        }
        let [train, test, validation] = parts;
        let (test, left_out) = if test.is_empty() { (validation, 0) } else { (test, validation.len()) };
        let note = format!("{left_out} lines of the split `val` are left out: `test` is the test set");
        let notes = if left_out > 0 { vec![note] } else { Vec::new() };
        Ok(Table { train, test, notes })
    }
}
