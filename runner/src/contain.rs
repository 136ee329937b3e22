//! Calls into libraries that are trusted to be memory-safe, not to foresee every corrupt file: what would be a panic of
//! theirs is an error of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` returns; none where it panics. What it had changed by then must not be used.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    #[cfg(any(test, fuzzing))]
    let _quiet = crate::fuzz::quiet();
    catch_unwind(AssertUnwindSafe(work)).ok()
}
