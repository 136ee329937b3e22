//! Tables for people, as wide as the terminal and no wider.
//!
//! Where a table is too wide, its headers are broken into lines between words, columns of high rank are left out (a line below
//! names them), headers are broken within words and long texts cut, and at last columns of low rank are left out too.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::terminal::Terminal;

/// Between two columns: so many spaces, or fewer where that makes the table fit.
const GAPS: [usize; 2] = [2, 1];

/// A broken header is not narrower than this.
const NARROWEST_HEADER: usize = 5;

/// A text is not cut to fewer characters than this.
const SHORTEST_TEXT: usize = 14;

/// A column of this rank or a higher one is worth less than headers and texts that are whole.
const DISPENSABLE: u8 = 3;

/// On which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    pub header: String,
    /// On which side its cells stand.
    pub align: Align,
    /// 0: it is never left out. Of the others, the highest goes first; of equals, the last.
    pub rank: u8,
    /// One for each row.
    pub cells: Vec<String>,
}

impl Column {
    /// A column of numbers.
    pub fn right(header: &str, rank: u8, cells: impl IntoIterator<Item = String>) -> Column {
        Column { header: header.to_owned(), align: Align::Right, rank, cells: cells.into_iter().collect() }
    }

    /// A column of texts.
    pub fn left(header: &str, rank: u8, cells: impl IntoIterator<Item = String>) -> Column {
        Column { align: Align::Left, ..Column::right(header, rank, cells) }
    }

    /// The width of its widest cell.
    fn cells_width(&self) -> usize {
        self.cells.iter().map(|cell| cell.width()).max().unwrap_or(0)
    }
}

/// The table, each line ended, without spaces at their ends.
pub fn text(columns: &[Column], terminal: &Terminal) -> String {
    let mut shown: Vec<&Column> = columns.iter().collect();
    let mut left_out = Vec::new();
    let (widths, gap) = loop {
        if let Some(fitted) = fitted(&shown, terminal.width) {
            break fitted;
        }
        // `max_by_key` gives the last of equals.
        let Some((worst, _)) =
            shown.iter().enumerate().filter(|(_, column)| column.rank > 0).max_by_key(|(_, column)| column.rank)
        else {
            break (shown.iter().map(|column| narrowest(column)).collect(), GAPS[1]);
        };
        left_out.insert(0, shown.remove(worst).header.as_str());
    };
    let mut out = String::new();
    let headers: Vec<Vec<String>> =
        shown.iter().zip(&widths).map(|(column, &width)| broken(&column.header, width)).collect();
    let height = headers.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        // What has fewer lines stands at the bottom.
        let cells =
            headers.iter().map(|lines| (line + lines.len()).checked_sub(height).map_or("", |line| &lines[line]));
        let _ = writeln!(out, "{}", terminal.bold(&joined(&shown, &widths, gap, cells)));
    }
    for row in 0..shown.first().map_or(0, |column| column.cells.len()) {
        let cells = shown.iter().map(|column| column.cells.get(row).map_or("", String::as_str));
        let _ = writeln!(out, "{}", joined(&shown, &widths, gap, cells));
    }
    if !left_out.is_empty() {
        let _ = writeln!(out, "no room for: {}", left_out.join(", "));
    }
    out
}

/// The widths of columns and the gap between them, if there is a way to make them fit.
fn fitted(columns: &[&Column], width: Option<usize>) -> Option<(Vec<usize>, usize)> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.cells_width().max(column.header.width())).collect();
    let Some(width) = width else { return Some((widths, GAPS[0])) };
    let total = |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1);
    let least = |narrow: &dyn Fn(&Column) -> usize| columns.iter().map(|column| narrow(column)).collect::<Vec<_>>();
    // A header that is broken is as narrow as can be, so that its parts are of a length; a text is cut no more than is needed.
    let means = [(least(&by_words), usize::MAX), (least(&by_force), usize::MAX), (least(&narrowest), 1)];
    let has_dispensable = columns.iter().any(|column| column.rank >= DISPENSABLE);
    for (least, step) in &means[..if has_dispensable { 1 } else { means.len() }] {
        loop {
            if let Some(&gap) = GAPS.iter().find(|&&gap| total(&widths, gap) <= width) {
                return Some((widths, gap));
            }
            let spare = |index: usize| widths[index].saturating_sub(least[index]);
            let Some(index) = (0..widths.len()).max_by_key(|&index| spare(index)).filter(|&index| spare(index) > 0)
            else {
                break;
            };
            widths[index] -= spare(index).min(*step);
        }
    }
    None
}

fn by_words(column: &Column) -> usize {
    words(&column.header).map(UnicodeWidthStr::width).max().unwrap_or(0).max(column.cells_width())
}

fn by_force(column: &Column) -> usize {
    column.header.width().min(NARROWEST_HEADER).max(column.cells_width())
}

fn narrowest(column: &Column) -> usize {
    let cells = column.cells_width();
    let cut = if column.align == Align::Left { cells.min(SHORTEST_TEXT) } else { cells };
    column.header.width().min(NARROWEST_HEADER).max(cut)
}

/// The parts of a header between which it is best broken: `weight_` and `decay`, `best` and `test`.
fn words(header: &str) -> impl Iterator<Item = &str> {
    header.split_inclusive([' ', '_', '.']).map(|word| word.strip_suffix(' ').unwrap_or(word))
}

/// A header in lines of at most `width` characters.
fn broken(header: &str, width: usize) -> Vec<String> {
    if header.width() <= width {
        return vec![header.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words(header) {
        let mut rest = word;
        while rest.width() > width {
            let end = rest.char_indices().nth(width.max(1)).map_or(rest.len(), |(end, _)| end);
            lines.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        match lines.last_mut() {
            // Two words of a key are one name, others have a space between them.
            Some(line) if line.ends_with(['_', '.']) && line.width() + rest.width() <= width => line.push_str(rest),
            Some(line) if rest == word && line.width() + 1 + rest.width() <= width && !line.ends_with(['_', '.']) => {
                line.push(' ');
                line.push_str(rest);
            }
            _ if rest.is_empty() => {}
            _ => lines.push(rest.to_owned()),
        }
    }
    lines
}

fn joined<'a>(columns: &[&Column], widths: &[usize], gap: usize, cells: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (index, ((column, &width), cell)) in columns.iter().zip(widths).zip(cells).enumerate() {
        if index > 0 {
            line.push_str(&" ".repeat(gap));
        }
        let cell = cut(cell, width);
        let space = " ".repeat(width.saturating_sub(cell.width()));
        match column.align {
            Align::Left => line.extend([&*cell, &space]),
            Align::Right => line.extend([&*space, &cell]),
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text, cut to `width` characters with an ellipsis where it is longer.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |character: &char| {
        let width = character.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    let mut out: String = text.chars().take_while(fits).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[track_caller]
    fn check(width: usize, expected: Expect) {
        let columns = [
            Column::left("policy", 0, texts(&["triangular2", "a policy with a long name"])),
            Column::right("optimizer.weight_decay", 2, texts(&["0", "0.0005"])),
            Column::right("best test", 0, texts(&["81.20%", "9.00%"])),
            Column::right("momentum", 1, texts(&["0.9", "0.95"])),
            Column::right("time", 3, texts(&["1h 2m", "59s"])),
        ];
        let text = text(&columns, &Terminal::plain(width));
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        expected.assert_eq(&text);
    }

    #[test]
    fn a_table_fits_its_terminal() {
        check(
            100,
            expect![[r#"
                policy                     optimizer.weight_decay  best test  momentum   time
                triangular2                                     0     81.20%       0.9  1h 2m
                a policy with a long name                  0.0005      9.00%      0.95    59s
            "#]],
        );
        check(
            60,
            expect![[r#"
                                          optimizer.
                                             weight_   best
                policy                         decay   test momentum  time
                triangular2                        0 81.20%      0.9 1h 2m
                a policy with a long name     0.0005  9.00%     0.95   59s
            "#]],
        );
        check(
            50,
            expect![[r#"
                                          optimi
                                            zer.
                                          weight   best
                policy                    _decay   test momentum
                triangular2                    0 81.20%      0.9
                a policy with a long name 0.0005  9.00%     0.95
                no room for: time
            "#]],
        );
        check(
            40,
            expect![[r#"
                                     optimi
                                       zer.
                                     weight   best momen
                policy               _decay   test   tum
                triangular2               0 81.20%   0.9
                a policy with a lon… 0.0005  9.00%  0.95
                no room for: time
            "#]],
        );
    }

    #[test]
    fn a_text_is_cut_by_the_width_of_its_characters() {
        assert_eq!(["abc", "abcd", "日本語", ""].map(|text| cut(text, 3)), ["abc", "ab…", "日…", ""]);
    }
}
