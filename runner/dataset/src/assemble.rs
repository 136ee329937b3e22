//! Encoded images and their labels, whatever files they are in, to a set: decoded on all cores, brought to one size and to
//! equal channels, with every problem named and counted.
//!
//! An image that cannot be used is an error of the set: it is never left out in silence. All images are looked at before
//! that is said, so that one message names them all, or the first of many and how many they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use clr_spec::Fit;
use rayon::prelude::*;

use super::decoded::{Decoded, Split};
use super::error::{DatasetError, Place};
use super::image::{self, Format, IMAGE, Image, Oddity, Refusal};
use super::spool::Spool;

/// An image in a file, and its label.
pub(super) trait Encoded: Sync {
    /// The file and the place in it, for messages.
    fn place(&self) -> (String, Place);
    /// Its bytes; where there are none, what was expected and found.
    fn read(&self) -> Result<Cow<'_, [u8]>, Wrong>;
    fn label(&self) -> Result<Label<'_>, Wrong>;
    /// The format that its name claims.
    fn named(&self) -> Option<Format> {
        None
    }
}

/// What was expected, and what was found in its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    pub expected: String,
    pub found: String,
}

impl Wrong {
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Wrong {
        Wrong { expected: expected.into(), found: found.into() }
    }

    pub fn at(self, (file, place): (String, Place)) -> DatasetError {
        DatasetError::malformed(file, place, self.expected, self.found)
    }
}

/// The class of an image, as its file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Label<'a> {
    Number(i128),
    Text(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
}

/// No set has so many classes (ImageNet has 21,841); a number above is no class but a mistake, and a model of that many
/// outputs would fill the memory.
const CLASSES: i32 = 1 << 20;
/// Images that are decoded before they are put in order, at most, and their bytes.
const AT_ONCE: (usize, usize) = (512, 64 << 20);
/// Problems, and images that are special, that are named; the others are counted.
const NAMED: usize = 10;
const SPECIAL_NAMED: usize = 3;

/// Reads all that is at a path.
pub(super) type Fill = fn(&Path, &mut Assembly) -> Result<(), DatasetError>;

/// The set at a path.
pub(super) fn load(fill: Fill, path: &Path, class_count: Option<u32>, fit: Fit) -> Result<Decoded, DatasetError> {
    let mut assembly = Assembly::new(fit);
    fill(path, &mut assembly)?;
    assembly.finish(class_count, &path.display().to_string())
}

/// The sizes and classes of the images at a path. None is decoded, so they may have any size.
pub(super) fn survey(fill: Fill, path: &Path) -> Result<Survey, DatasetError> {
    let mut assembly = Assembly { survey: Some(BTreeMap::new()), ..Assembly::new(Fit::default()) };
    fill(path, &mut assembly)?;
    let (sizes, source) = (assembly.survey.take().unwrap_or_default(), path.display().to_string());
    // Of any size, so that what is left is classes.
    assembly.size = Some((0, 0));
    let Decoded { class_count, class_names, train, test, .. } = assembly.finish(None, &source)?;
    let count = |split: &Split| {
        let mut counts = vec![0; class_count as usize];
        split.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    };
    Ok(Survey { class_counts: [count(&train), count(&test)], class_names, sizes })
}

/// What is known of images without decoding them.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Images of each class, in training and test.
    pub class_counts: [Vec<u64>; 2],
    pub class_names: Vec<String>,
    /// Heights and widths, and how many images have them.
    pub sizes: BTreeMap<(u32, u32), u64>,
}

/// A set that grows.
pub(super) struct Assembly {
    fit: Fit,
    /// Height and width that the first image has once it fits, and so must all.
    size: Option<(u32, u32)>,
    /// 1 as long as all are grey; where grey images are among coloured ones (as in ImageNet), all become coloured.
    channels: u32,
    pub labels: Labels,
    /// Sentences on images that are left out.
    pub notes: Vec<String>,
    /// Sizes are counted, and nothing is decoded.
    survey: Option<BTreeMap<(u32, u32), u64>>,
    train: (Spool, Vec<i32>),
    test: (Spool, Vec<i32>),
    /// Images that were looked at.
    seen: u64,
    problems: Vec<DatasetError>,
    problem_count: u64,
    special: BTreeMap<Oddity, (u64, Vec<String>)>,
}

impl Assembly {
    pub fn new(fit: Fit) -> Assembly {
        Assembly {
            fit,
            size: None,
            channels: 1,
            labels: Labels::default(),
            notes: Vec::new(),
            survey: None,
            train: Default::default(),
            test: Default::default(),
            seen: 0,
            problems: Vec::new(),
            problem_count: 0,
            special: BTreeMap::new(),
        }
    }

    /// The size that all images will have: that of the first image of any, once one was seen that can be read.
    pub fn size(&mut self, images: &[impl Encoded]) -> Option<(u32, u32)> {
        let fit = self.fit;
        let measured = |image| Some(image::measure(&Encoded::read(image).ok()?, &fit).ok()?.0);
        self.size = self.size.or_else(|| images.iter().find_map(measured));
        self.size
    }

    /// The pixels that decoding these images takes; of those that will be refused by their size, none.
    pub fn pixels(&mut self, images: &[impl Encoded]) -> u64 {
        let (size, fit) = (self.size(images), self.fit);
        let pixels = |image| match image::measure(&Encoded::read(image).ok()?, &fit) {
            Ok((found, pixels)) if Some(found) == size => Some(pixels),
            _ => None,
        };
        images.par_iter().filter_map(pixels).reduce(|| 0, u64::saturating_add)
    }

    /// Decodes images and appends them to a split, in their order.
    pub fn append(&mut self, part: Part, images: &[impl Encoded]) {
        if self.survey.is_some() {
            let measured: Vec<_> = images.par_iter().map(measure).collect();
            for (image, measured) in images.iter().zip(measured) {
                match measured {
                    Ok(size) => self.count(part, image, size),
                    Err(problem) => self.problem(problem),
                }
            }
            return;
        }
        let Some(size) = self.size(images) else {
            // None can be read. Of what is wrong with each, its own message tells.
            images.iter().for_each(|image| {
                if let Err(problem) = decode(image, &self.fit, (0, 0)) {
                    self.problem(problem);
                }
            });
            return;
        };
        let fit = self.fit;
        let (most, bytes) = AT_ONCE;
        let at_once = (bytes / (size.0 as usize * size.1 as usize * 3).max(1)).clamp(16, most);
        for images in images.chunks(at_once) {
            let decoded: Vec<_> = images.par_iter().map(|image| decode(image, &fit, size)).collect();
            for (image, decoded) in images.iter().zip(decoded) {
                match decoded {
                    Ok(decoded) => self.push(part, image, decoded),
                    Err(problem) => self.problem(problem),
                }
            }
        }
    }

    /// The number of an image's label; none where there is no such, which is noted.
    fn label(&mut self, image: &impl Encoded) -> Option<i32> {
        let label = image.label().and_then(|label| self.labels.number(label, || image.place()));
        label.map_err(|wrong| self.problem(wrong.at(image.place()))).ok()
    }

    fn split(&mut self, part: Part) -> &mut (Spool, Vec<i32>) {
        match part {
            Part::Train => &mut self.train,
            Part::Test => &mut self.test,
        }
    }

    fn count(&mut self, part: Part, image: &impl Encoded, size: (u32, u32)) {
        let Some(label) = self.label(image) else { return };
        self.seen += 1;
        if let Some(sizes) = &mut self.survey {
            *sizes.entry(size).or_default() += 1;
        }
        self.split(part).1.push(label);
    }

    fn push(&mut self, part: Part, image: &impl Encoded, decoded: Image) {
        let Some(label) = self.label(image) else { return };
        self.seen += 1;
        let grey = (decoded.channels == 1).then_some(Oddity::Grey);
        for oddity in decoded.oddities.iter().copied().chain(grey) {
            let (count, named) = self.special.entry(oddity).or_default();
            *count += 1;
            if named.len() < SPECIAL_NAMED {
                let (file, place) = image.place();
                named.push(format!("{file}{place}"));
            }
        }
        // Where the set is an error already, it need not be held.
        if self.problem_count > 0 {
            return;
        }
        let kept = self.keep(part, &decoded, label);
        kept.unwrap_or_else(|problem| self.problem(problem));
    }

    fn keep(&mut self, part: Part, decoded: &Image, label: i32) -> Result<(), DatasetError> {
        if decoded.channels == 3 && self.channels == 1 {
            self.channels = 3;
            for (images, _) in [&mut self.train, &mut self.test] {
                let grey = std::mem::take(images).finish()?;
                grey.chunks(1 << 20).try_for_each(|grey| images.extend(&coloured(grey)))?;
            }
        }
        let is_grey_among_others = decoded.channels < self.channels;
        let (images, labels) = self.split(part);
        if is_grey_among_others {
            images.extend(&coloured(&decoded.pixels))?;
        } else {
            images.extend(&decoded.pixels)?;
        }
        labels.push(label);
        Ok(())
    }

    /// Notes what is wrong with an image.
    pub fn problem(&mut self, problem: DatasetError) {
        self.seen += 1;
        self.problem_count += 1;
        if self.problems.len() < NAMED {
            self.problems.push(problem);
        }
        (self.train, self.test) = Default::default();
    }

    /// The set. Without a `class_count` it is the number of class names; where there are none, labels must number the
    /// classes from 0 without a gap. `source` is what it was read from.
    ///
    /// # Errors
    ///
    /// All that is wrong with its images.
    pub fn finish(mut self, class_count: Option<u32>, source: &str) -> Result<Decoded, DatasetError> {
        if self.problem_count == 1 {
            return Err(self.problems.remove(0));
        }
        if self.problem_count > 1 {
            let (count, of) = (self.problem_count, self.seen);
            let problems = self.problems.iter().map(ToString::to_string).collect();
            return Err(DatasetError::Images { count, of, problems });
        }
        let Some((height, width)) = self.size.filter(|_| !self.train.1.is_empty()) else {
            return Err(DatasetError::malformed(
                source,
                Place::File,
                "at least one image in the training split",
                "none",
            ));
        };
        let ((train, mut train_labels), (test, mut test_labels)) = (self.train, self.test);
        let numbers = [&mut train_labels, &mut test_labels];
        let (class_count, class_names) = self.labels.finish(class_count, numbers, source)?;
        if self.channels == 1 {
            self.special.remove(&Oddity::Grey);
        }
        let mut notes = notes(&self.special, source);
        notes.extend(self.notes);
        let (channels, train, test) = (self.channels, train.finish()?, test.finish()?);
        let (train, test) =
            (Split { images: train, labels: train_labels }, Split { images: test, labels: test_labels });
        Ok(Decoded { height, width, channels, class_count, class_names, train, test, notes })
    }
}

/// The size that an image is stored in.
fn measure(image: &impl Encoded) -> Result<(u32, u32), DatasetError> {
    let measured = image.read().and_then(|bytes| image::measure(&bytes, &Fit::default()).map_err(Wrong::of));
    measured.map(|(size, _)| size).map_err(|wrong| wrong.at(image.place()))
}

fn decode(image: &impl Encoded, fit: &Fit, size: (u32, u32)) -> Result<Image, DatasetError> {
    let decoded = image.read().and_then(|bytes| {
        let mut decoded = image::decode(&bytes, fit, size).map_err(|refusal| match refusal {
            Refusal::OtherSize(found) => Wrong::new(
                format!("an image of {}x{}", size.0, size.1),
                format!("{}x{} (`resize` and `crop` bring images to one size)", found.0, found.1),
            ),
            refusal => Wrong::of(refusal),
        })?;
        if image.named().is_some_and(|named| Format::of(&bytes) != Ok(named)) {
            decoded.oddities.push(Oddity::Misnamed);
        }
        Ok(decoded)
    });
    decoded.map_err(|wrong| wrong.at(image.place()))
}

impl Wrong {
    fn of(refusal: Refusal) -> Wrong {
        match refusal {
            Refusal::OtherSize((height, width)) => Wrong::new("an image of another size", format!("{height}x{width}")),
            Refusal::Unusable { expected, found } => Wrong { expected, found },
        }
    }

    /// There is nothing where an image should be.
    pub fn no_image(found: &str) -> Wrong {
        Wrong::new(IMAGE, found)
    }
}

fn coloured(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&grey| [grey; 3]).collect()
}

/// A sentence for each way in which images are special.
/// Images are named by what follows the source.
fn notes(special: &BTreeMap<Oddity, (u64, Vec<String>)>, source: &str) -> Vec<String> {
    let note = |(oddity, (count, named)): (&Oddity, &(u64, Vec<String>))| {
        let more = match count - named.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (images, were) = if *count == 1 { ("image", "was") } else { ("images", "were") };
        let below = |name: &String| match name.strip_prefix(source) {
            Some(rest) => rest.trim_start_matches(['/', '\\']).to_owned(),
            None => name.clone(),
        };
        let named: Vec<String> = named.iter().map(below).collect();
        format!("{count} {images} {were} {}: {}{more}", oddity.words(), named.join(", "))
    };
    special.iter().map(note).collect()
}

/// The classes, as labels tell of them.
#[derive(Default)]
pub(super) struct Labels {
    /// The classes' names where the files say them, before any label.
    pub names: Vec<String>,
    /// Labels that are texts, each with the number that stands for it until all are known.
    texts: HashMap<String, i32>,
    /// Where each number was first.
    first: BTreeMap<i32, (String, Place)>,
}

impl Labels {
    /// The number of a label at a place.
    pub fn number(&mut self, label: Label<'_>, place: impl FnOnce() -> (String, Place)) -> Result<i32, Wrong> {
        let number = match label {
            Label::Number(number) if !self.texts.is_empty() => {
                return Err(Wrong::new("a text, as the labels before it are", format!("the number {number}")));
            }
            Label::Number(number) => i32::try_from(number)
                .ok()
                .filter(|number| (0..CLASSES).contains(number))
                .ok_or_else(|| Wrong::new("a class number", number.to_string()))?,
            Label::Text(text) if !self.names.is_empty() => {
                let found = self.names.iter().position(|name| name == text);
                found.map(|at| at as i32).ok_or_else(|| Wrong::new("one of the names of the classes", quoted(text)))?
            }
            Label::Text(text) if self.texts.is_empty() && !self.first.is_empty() => {
                return Err(Wrong::new("a number, as the labels before it are", quoted(text)));
            }
            Label::Text(text) => match self.texts.get(text) {
                Some(&number) => number,
                None if self.texts.len() < CLASSES as usize => {
                    let number = self.texts.len() as i32;
                    self.texts.insert(text.to_owned(), number);
                    number
                }
                None => return Err(Wrong::new(format!("at most {CLASSES} classes"), "more")),
            },
        };
        self.first.entry(number).or_insert_with(place);
        Ok(number)
    }

    /// How many classes there are, and their names. Texts are numbered in their order, byte by byte, in `splits` too.
    pub fn finish(
        self,
        class_count: Option<u32>,
        splits: [&mut Vec<i32>; 2],
        source: &str,
    ) -> Result<(u32, Vec<String>), DatasetError> {
        let Labels { mut names, texts, first } = self;
        if !texts.is_empty() {
            let mut sorted: Vec<(String, i32)> = texts.into_iter().collect();
            sorted.sort_unstable();
            let mut numbers = vec![0; sorted.len()];
            for (number, (_, stand_in)) in sorted.iter().enumerate() {
                numbers[*stand_in as usize] = number as i32;
            }
            for label in splits.into_iter().flatten() {
                *label = numbers[*label as usize];
            }
            names = sorted.into_iter().map(|(text, _)| text).collect();
            return match class_count {
                Some(count) if count as usize != names.len() => Err(names_wanted(count, names.len(), source)),
                _ => Ok((names.len() as u32, names)),
            };
        }
        // Where the largest label alone tells how many classes there are, one that is mistyped would make hundreds.
        if class_count.is_none() && names.is_empty() {
            check_no_gap(&first)?;
        }
        let largest = first.last_key_value().map_or(0, |(&label, _)| label);
        let class_count = class_count.unwrap_or(if names.is_empty() { largest as u32 + 1 } else { names.len() as u32 });
        if let Some((label, place)) = first.range(i32::try_from(class_count).unwrap_or(i32::MAX)..).next() {
            let expected = format!("a label below {class_count}, the number of classes");
            return Err(Wrong::new(expected, label.to_string()).at(place.clone()));
        }
        if !names.is_empty() && names.len() != class_count as usize {
            return Err(names_wanted(class_count, names.len(), source));
        }
        Ok((class_count, names))
    }
}

fn names_wanted(class_count: u32, found: usize, source: &str) -> DatasetError {
    DatasetError::malformed(source, Place::File, format!("{class_count} names of classes"), found.to_string())
}

fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let cut: String = text.chars().take(SHOWN).collect();
    let dots = if cut.len() < text.len() { ".." } else { "" };
    format!("`{cut}{dots}`")
}

/// Labels count the classes from 0. Where some are missing below the largest, they were numbered otherwise (from 1, or as
/// a larger set has them), or one of them is a mistake.
fn check_no_gap(first: &BTreeMap<i32, (String, Place)>) -> Result<(), DatasetError> {
    let Some((missing, (&next, place))) = (0..).zip(first).find(|(number, (label, _))| number != *label) else {
        return Ok(());
    };
    let gap = if next - missing == 1 {
        format!("label {missing}")
    } else {
        format!("a label from {missing} to {}", next - 1)
    };
    let count = first.len();
    let expected = format!(
        "labels that count the {count} classes from 0, without a gap (or names of all classes in the metadata, as dataset hubs write them)"
    );
    Err(Wrong::new(expected, format!("label {next}, and no image with {gap}")).at(place.clone()))
}
