//! The journal: what happens in an output, a line an event, for people and for `clr-run status`.
//!
//! - `events.jsonl` is appended to, never rewritten: one JSON object a line ([`Line`]), from every command that ever wrote
//!   the output. A line that a crash cut off is skipped by [`read`], and the next command begins a new line.
//! - `heartbeat.json` is replaced every two seconds while a command holds the output ([`Heartbeat`]): what runs, how fast, and
//!   how much memory that takes. A command that ends deletes it; one that was killed leaves it.
//!
//! Both are reports, and nothing is decided by them. So neither is synced, and an error of writing them is logged and else
//! ignored: whether results can be written is the store's to say.

mod memory;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod write;

pub use read::{read, read_heartbeat};
pub use record::{EVENTS, Ending, HEARTBEAT, Heartbeat, InFlight, Line, Record};
pub use write::Journal;
