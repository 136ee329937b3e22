//! Where a value was written: the spec's text or the command line.

use std::sync::Arc;

/// More bytes than anyone writes into a spec.
pub const LARGEST_SPEC: u64 = 1 << 22;

/// A spec file as it was read. Parsing does no I/O, so the text comes with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user gave it; diagnostics print it.
    pub name: String,
    pub text: String,
}

/// A range of bytes in one of the two places where a value can be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The text that the range is in.
    pub origin: Origin,
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The text that a [`Span`] refers to. The spec's own comes first in the order of diagnostics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    Spec,
    /// An argument of the command line.
    CommandLine {
        /// Its position among all arguments, from 0.
        position: usize,
        /// As shown to the user: `--set train.iterations=100`.
        shown: Arc<str>,
    },
}

impl Span {
    /// A range of the spec file.
    pub fn spec(range: std::ops::Range<usize>) -> Span {
        Span { origin: Origin::Spec, start: range.start, end: range.end }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}
