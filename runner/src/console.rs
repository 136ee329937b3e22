//! Standard output and standard error, as a command writes to them.

use std::io::{self, Write};

use clr_spec::{Diagnostic, SourceFile};
use clr_terminal::terminal::Terminal;
use clr_terminal::words;

/// The command was given what it cannot use, and all that is wrong with it was printed.
#[derive(Debug, thiserror::Error)]
#[error("see above")]
pub struct Refused;

/// Prints an `error`, a `warning` or a `note` to standard error, in lines that are broken between words.
pub fn tell(kind: &str, text: &str) {
    print_note(&format!("{kind}: {text}\n"));
}

/// Prints sentences to standard error, in lines that are broken between words.
pub fn print_note(text: &str) {
    say(&words::wrapped(text, Terminal::stderr().width, 2));
}

/// Prints sentences to standard output, in lines that are broken between words.
pub fn print(text: &str) -> io::Result<()> {
    write!(io::stdout(), "{}", words::wrapped(text, Terminal::stdout().width, 2))
}

/// Prints to standard error, as it is. `eprint!` would panic where nobody reads it any more.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Problems and warnings of a spec, for standard error.
pub fn problems(problems: &[Diagnostic], source: &SourceFile) -> String {
    let Terminal { width, colour, .. } = Terminal::stderr();
    clr_spec::render_for(problems, source, width, colour)
}
