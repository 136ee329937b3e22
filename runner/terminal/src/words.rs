//! Numbers as people read them: durations, bytes, counted things.

use std::collections::{HashMap, HashSet};
use std::fmt;

use jiff::SignedDuration;
use unicode_width::UnicodeWidthStr;

/// `0.7s`, `42s`, `3h 5m 12s`.
///
/// ```
/// assert_eq!([0.74, 9.0, 42.4, 11_112.0].map(clr_terminal::words::duration), ["0.7s", "9.0s", "42s", "3h 5m 12s"]);
/// ```
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    format!("{:#}", SignedDuration::from_secs(seconds.round() as i64))
}

/// `512 B`, `1.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    let (mut amount, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

/// Shows a number as a person would write it, and so that reading it back gives the same bits.
pub struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude == 0.0 || (1e-5..1e15).contains(&magnitude) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// A count with its thousands apart: 1234567 as 1,234,567.
pub fn thousands(count: u128) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 trial`, `2 trials`, `12,000 classes`, `2 tries`.
///
/// ```
/// use clr_terminal::words::counted;
///
/// let texts = [counted(1, "trial"), counted(12_000, "class"), counted(0, "try"), counted(2, "day")];
/// assert_eq!(texts, ["1 trial", "12,000 classes", "0 tries", "2 days"]);
/// ```
pub fn counted(count: usize, noun: &str) -> String {
    format!("{} {}", thousands(count as u128), plural(count, noun))
}

/// The noun for so many: `trial`, `trials`.
pub fn plural(count: usize, noun: &str) -> String {
    let after_vowel = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match noun.strip_suffix('y') {
        _ if count == 1 => noun.to_owned(),
        Some(stem) if !after_vowel(stem) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// More of a kind than this are not listed.
const LISTED: usize = 5;

/// `a, b and c`: the first few of many, and how many more there are.
pub fn some_of(items: &[impl AsRef<str>]) -> String {
    let more = items.len().saturating_sub(LISTED);
    let mut listed: Vec<String> = items.iter().take(LISTED).map(|item| item.as_ref().to_owned()).collect();
    listed.extend((more > 0).then(|| format!("{} more", thousands(more as u128))));
    match listed.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// An error and what it is because of.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    out
}

/// The first characters of a text.
pub fn start(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// A number with more digits than this is shortened for people, to this and no fewer.
const LONGEST_NUMBER: usize = 6;
const SHORT_NUMBER: usize = 4;

/// A number for people: as it is where it is short, else rounded to so many significant digits. Never for files.
///
/// ```
/// use clr_terminal::words::shortened;
///
/// let numbers = [0.006, 0.054_772_255_750_516_61, 1e-7, 123_456.0, 0.000_012_345_678_9];
/// assert_eq!(numbers.map(|number| shortened(number, 4)), ["0.006", "0.05477", "1e-7", "123456", "0.00001235"]);
/// ```
pub fn shortened(number: f64, digits: usize) -> String {
    if significant_digits(number) <= LONGEST_NUMBER.max(digits) {
        return Number(number).to_string();
    }
    rounded(number, digits)
}

/// A number with at most so many significant digits, and no zeros behind them.
pub fn rounded(number: f64, digits: usize) -> String {
    let text = format!("{number:.*e}", digits.saturating_sub(1));
    text.parse().map_or(text, |number| Number(number).to_string())
}

/// Events per second, as `9.5/s` or `12,345/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", thousands(per_second.round() as u128))
    }
}

/// How many digits [`shortened`] must keep so that numbers that differ do not look alike: four at least.
pub fn telling_digits(numbers: impl Iterator<Item = f64>) -> usize {
    let distinct: HashMap<u64, f64> = numbers.map(|number| (number.to_bits(), number)).collect();
    let tells = |digits: &usize| {
        let texts: HashSet<String> = distinct.values().map(|&number| shortened(number, *digits)).collect();
        texts.len() == distinct.len()
    };
    (SHORT_NUMBER..17).find(tells).unwrap_or(17)
}

fn significant_digits(number: f64) -> usize {
    let text = format!("{number:e}");
    text.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count()
}

/// The text in lines of at most `width` characters, broken between words, those after the first begun by `indent` spaces. Lines
/// that it has remain.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let body = line.trim_start();
        let mut column = line.len() - body.len();
        out.push_str(&line[..column]);
        for (index, word) in body.split(' ').enumerate() {
            let length = word.width();
            if index > 0 && column + 1 + length > width {
                // Where there were several spaces, none stays behind at the end of the line.
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else if index > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_between_words_and_long_words_are_left_whole() {
        let text = "note: one two  three\n  a/very/long/path x";
        let expected = "note: one\n   two\n   three\n  a/very/long/path\n   x";
        assert_eq!(wrapped(text, Some(10), 3), expected);
        assert_eq!(wrapped(text, None, 3), text);
    }

    #[test]
    fn numbers_that_differ_never_look_alike() {
        let texts = |numbers: &[f64]| -> Vec<String> {
            let digits = telling_digits(numbers.iter().copied());
            numbers.iter().map(|&number| shortened(number, digits)).collect()
        };
        assert_eq!(texts(&[0.123_456_789, 0.5]), ["0.1235", "0.5"]);
        assert_eq!(texts(&[0.123_456_789, 0.123_455_555, 0.5]), ["0.123457", "0.123456", "0.5"]);
        assert_eq!(texts(&[0.1, 0.1 + f64::EPSILON]), ["0.1", "0.1000000000000002"]);
        assert_eq!(texts(&[f64::NAN, f64::INFINITY, -0.0]).len(), 3);
    }

    #[test]
    fn of_many_items_a_few_are_listed() {
        let items = |count: usize| some_of(&(0..count).map(|item| item.to_string()).collect::<Vec<_>>());
        assert_eq!(
            [0, 1, 2, 5, 6, 1006].map(items),
            ["", "0", "0 and 1", "0, 1, 2, 3 and 4", "0, 1, 2, 3, 4 and 1 more", "0, 1, 2, 3, 4 and 1,001 more"]
        );
    }
}
