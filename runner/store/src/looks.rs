//! Looking at files that a command may be replacing meanwhile.

use std::path::Path;

use clr_system::regular::{self, LARGEST_RECORD};

use super::manifest::NAME;

/// How often files are looked at while their manifest changes.
const LOOKS: usize = 3;

/// What was seen of an output's files.
pub struct Looked<T> {
    pub found: T,
    /// False if the manifest changed each time: what is missing from one moment to the next need not be damage.
    pub is_settled: bool,
}

/// Looks at files of the output `folder`. Where what is found is not sound and the manifest has changed meanwhile, it looks
/// again.
///
/// # Errors
///
/// Those of `look`.
pub fn look_again<T, E>(
    folder: &Path,
    mut look: impl FnMut() -> Result<T, E>,
    is_sound: impl Fn(&T) -> bool,
) -> Result<Looked<T>, E> {
    let stamp = || regular::read(&folder.join(NAME), LARGEST_RECORD).ok().map(|bytes| blake3::hash(&bytes));
    let mut before = stamp();
    let mut looks = 1;
    loop {
        let found = look()?;
        if is_sound(&found) {
            return Ok(Looked { found, is_settled: true });
        }
        let after = stamp();
        let is_settled = before == after;
        if is_settled || looks == LOOKS {
            return Ok(Looked { found, is_settled });
        }
        (before, looks) = (after, looks + 1);
    }
}
