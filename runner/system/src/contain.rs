//! Calls into libraries that are trusted to be memory-safe, not to foresee every corrupt file: what would be a panic of
//! theirs is an error of the file.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The value of `work`; none if it panics. Whatever it had changed by then must not be used.
pub fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.ok()
}

/// True if a panic of this thread would be contained: a hook need not end the process at it.
pub fn is_containing() -> bool {
    DEPTH.get() > 0
}
