//! How often, and after what waits, is tried again what a machine in trouble did not let be done.

use std::time::Duration;

/// Tries of a trial that does not get further. With the waits between them, a machine has 16 s to recover.
pub const TRIES: u32 = 7;

/// Tries of a question to a plugin, for whose answer a command waits. The waits between them add up to 4 s.
pub const QUESTIONS: u32 = 5;

/// The first wait. Each is twice the one before.
const FIRST: Duration = Duration::from_millis(250);

/// No wait is longer, and nothing waits longer for others to give back what they have.
const LONGEST: Duration = Duration::from_secs(8);

/// After so many tries, before the next.
pub fn wait(tries: u32) -> Duration {
    FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LONGEST)
}
