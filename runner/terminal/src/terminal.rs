//! What a stream's reader is like: how wide, whether it shows colours, and whether lines can be redrawn in place.
//!
//! A terminal has its width. What goes into a file or a pipe is as wide as it needs to be: no column is left out and nothing is
//! cut, as a program or an editor reads it. `COLUMNS` overrides both. `NO_COLOR` (<https://no-color.org>) turns colours off,
//! and `TERM=dumb` colours and redrawing.

use std::env;
use std::io::{self, IsTerminal};

use terminal_size::Width;

/// Narrower than this, no table can be read.
const NARROWEST: usize = 40;

/// The properties of the terminal, file or pipe behind a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Characters in a line; none where lines may be as long as they are.
    pub width: Option<usize>,
    /// True if escape sequences for colours and bold text are shown as such.
    pub colour: bool,
    /// True if lines can be redrawn in place.
    pub redraws: bool,
}

impl Terminal {
    /// The stream of results.
    pub fn stdout() -> Terminal {
        let size = terminal_size::terminal_size_of(io::stdout());
        Terminal::of(io::stdout().is_terminal(), size.map(|(Width(width), _)| width), |name| env::var(name).ok())
    }

    /// The stream of progress, notes and errors.
    pub fn stderr() -> Terminal {
        let size = terminal_size::terminal_size_of(io::stderr());
        Terminal::of(io::stderr().is_terminal(), size.map(|(Width(width), _)| width), |name| env::var(name).ok())
    }

    fn of(is_terminal: bool, size: Option<u16>, variable: impl Fn(&str) -> Option<String>) -> Terminal {
        let columns =
            variable("COLUMNS").and_then(|columns| columns.trim().parse().ok()).filter(|&columns| columns > 0);
        let width = columns.or(size.filter(|&size| is_terminal && size > 0).map(usize::from));
        let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal {
            width: width.map(|width| width.max(NARROWEST)),
            colour: is_terminal && !is_dumb && !no_colour,
            redraws: is_terminal && !is_dumb,
        }
    }

    /// Of this width, without colours.
    pub fn plain(width: usize) -> Terminal {
        Terminal { width: Some(width), ..Terminal::default() }
    }

    /// The text in bold, where that can be shown.
    pub fn bold(&self, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_terminal: bool, variables: &[(&str, &str)], width: Option<usize>, colour: bool, redraws: bool) {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let found = Terminal::of(is_terminal, is_terminal.then_some(132), variable);
        assert_eq!(found, Terminal { width, colour, redraws });
    }

    #[test]
    fn no_color_and_a_dumb_terminal_are_obeyed_and_pipes_are_never_cut() {
        check(true, &[("TERM", "xterm-256color")], Some(132), true, true);
        check(true, &[("NO_COLOR", "1")], Some(132), false, true);
        check(true, &[("NO_COLOR", "")], Some(132), true, true);
        check(true, &[("TERM", "dumb")], Some(132), false, false);
        check(false, &[("TERM", "xterm-256color")], None, false, false);
        check(false, &[("COLUMNS", "100")], Some(100), false, false);
        check(true, &[("COLUMNS", "100")], Some(100), true, true);
        for nonsense in ["", "0", "-1", "wide"] {
            check(true, &[("COLUMNS", nonsense)], Some(132), true, true);
        }
        check(true, &[("COLUMNS", "3")], Some(NARROWEST), true, true);
    }
}
