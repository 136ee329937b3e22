//! The last words of a worker.

use std::fmt::Write;

/// More than this of the end of stderr is not kept.
const KEPT: usize = 2048;

/// The end of what came through a pipe.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    /// True if bytes before these were dropped.
    is_cut: bool,
}

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(KEPT);
        self.is_cut |= excess > 0;
        self.bytes.drain(..excess);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    /// As one line that can be printed and stored: lines are set apart by ` | `, what is no text is escaped.
    pub fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        // A first line that lost its beginning says little, unless there is no other.
        let whole = text.split_once('\n').map_or("", |(_, rest)| rest.trim());
        let text = if self.is_cut && !whole.is_empty() { whole } else { text.trim() };
        let mut line = String::new();
        for (index, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
            line.push_str(if index > 0 { " | " } else { "" });
            for character in part.chars() {
                if character.is_control() {
                    // Writing to a string cannot fail.
                    let _ = write!(line, "{}", character.escape_default());
                } else {
                    line.push(character);
                }
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pushed: &[&[u8]], expected: &str) {
        let mut tail = Tail::default();
        pushed.iter().for_each(|bytes| tail.push(bytes));
        assert_eq!(tail.line(), expected);
    }

    #[test]
    fn last_words_are_one_line() {
        check(&[], "");
        check(&[b"\n\n"], "");
        check(&[b"thread 'x' pan", b"icked:\n  index out of bounds\n"], "thread 'x' panicked: | index out of bounds");
        check(&[b"red: \x1b[31m\xff\r\n"], "red: \\u{1b}[31m\u{fffd}");
    }

    #[test]
    fn only_the_end_is_kept_from_a_line_s_beginning_on() {
        let long = [b"x".repeat(5000), b"\nlast\n".to_vec()].concat();
        check(&[&long], "last");
        check(&[&long[..3000]], &"x".repeat(KEPT));
    }
}
