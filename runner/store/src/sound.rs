//! One file of an output: is it there, whole, as it was written, and Parquet with the rows that it should have?

use std::fs;
use std::path::Path;

use clr_system::contain::contain;

use super::files::{FileEntry, digest};
use super::source::open_table;
use super::unsound::Unsound;

/// How closely a file is looked at. Each depth includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// That it is there, a file and of its length: a call of the system.
    Length,
    /// A table's footer: its last few KB are read.
    Footer,
    /// Its digest: it is read to its end, before its content is interpreted.
    Digest,
}

/// Compares a file with its entry, as far as `depth` says. One that an excerpt leaves out is as it should be.
pub fn check(path: &Path, entry: &FileEntry, depth: Depth) -> Result<(), Unsound> {
    if entry.left_out {
        return Ok(());
    }
    let damaged = |what: String| Err(Unsound::Damaged(what));
    let metadata = fs::metadata(path).map_err(Unsound::of)?;
    // What is read from a pipe would never end.
    if !metadata.is_file() {
        return damaged("it is no file".to_owned());
    }
    let length = metadata.len();
    if length != entry.bytes {
        let how = if length < entry.bytes { "cut off" } else { "too long" };
        return damaged(format!("it is {how}: {length} bytes instead of {}", entry.bytes));
    }
    if depth >= Depth::Digest {
        let found = digest(path).map_err(Unsound::of)?;
        if found != entry.blake3 {
            let (found, expected) = (short(&found), short(&entry.blake3));
            return damaged(format!("its bytes have changed: BLAKE3 {found}.. instead of {expected}.."));
        }
    }
    let is_table = path.extension().is_some_and(|extension| extension == "parquet");
    if depth < Depth::Footer || !is_table {
        return Ok(());
    }
    match row_count(path) {
        Ok(rows) if rows == entry.rows => Ok(()),
        Ok(rows) => damaged(format!("its footer tells of {rows} rows, the manifest of {}", entry.rows)),
        Err(problem) => damaged(format!("its footer cannot be read: {problem}")),
    }
}

/// The rows of all row groups, by the footer.
fn row_count(path: &Path) -> Result<u64, String> {
    let table = contain(|| open_table(path).map_err(|fault| fault.to_string())).unwrap_or_else(unreadable)?;
    Ok(table.rows())
}

/// The error for a file that the Parquet library panics at.
pub fn unreadable<T>() -> Result<T, String> {
    Err("it breaks the Parquet reader".to_owned())
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
