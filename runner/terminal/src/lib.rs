//! Text for people: numbers and counts in words, "did you mean", tables of columns, and what their terminal shows.

pub mod columns;
pub mod suggest;
pub mod terminal;
pub mod words;
