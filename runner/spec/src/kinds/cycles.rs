//! Cycles that change from one to the next, of several kinds.

use clr_terminal::words::Number;

use super::Fields;
use crate::Diagnostic;
use crate::duration::PROBLEM;
use crate::keys::{Key, Kind, Range};

pub const MULT: Key = Key::new(
    "mult",
    Kind::Number(Range::Positive),
    "How many times as long each cycle is as the one before, such as 2, 1.5 or 0.5; absent: 1.",
);

/// Refuses cycles that become shorter than a step before the end: `key` lasts `first` steps in the first of them, and less
/// than one in that with the index `last`.
pub fn refuse_short(fields: &mut dyn Fields, key: &Key, first: f64, mult: f64, last: f64) -> Option<()> {
    let length = |index: f64| first * libm::pow(mult, index);
    if length(last) >= 1.0 {
        return Some(());
    }
    let mut index = (-libm::log(first) / libm::log(mult)).floor().max(1.0);
    while length(index) >= 1.0 {
        index += 1.0;
    }
    let name = fields.naming().name(key.name).to_owned();
    let text = format!("the `{name}` of cycle {} would be {}", Number(index + 1.0), Number(length(index)));
    let title = "`mult` makes cycles shorter than one step";
    let problem = Diagnostic::new(PROBLEM, fields.place(&MULT), title);
    fields.report(problem.text(text).help(format!("raise `mult` or `{name}`")));
    None
}
