//! One file of an output: is it there, whole, as it was written, and Parquet with the rows that it should have?

use std::fs;
use std::io;
use std::path::Path;

use crate::contain::contain;
use crate::store::files::{FileEntry, digest};
use crate::store::source::open_table;

/// What is wrong with the file, if anything. It is read to its end before its content is interpreted, and where the digest is
/// not the manifest's, the content is not interpreted at all.
pub fn check(path: &Path, entry: &FileEntry) -> Result<(), String> {
    let length = match fs::metadata(path) {
        // What is read from a pipe would never end.
        Ok(metadata) if !metadata.is_file() => return Err("it is no file".to_owned()),
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("it is missing, and the manifest lists it".to_owned());
        }
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    if length != entry.bytes {
        let how = if length < entry.bytes { "cut off" } else { "too long" };
        return Err(format!("it is {how}: {length} bytes instead of {}", entry.bytes));
    }
    let found = digest(path).map_err(|error| format!("it cannot be read: {}", crate::show::chain(&error)))?;
    if found != entry.blake3 {
        let (found, expected) = (short(&found), short(&entry.blake3));
        return Err(format!("its bytes have changed: BLAKE3 {found}.. instead of {expected}.."));
    }
    if path.extension().is_none_or(|extension| extension != "parquet") {
        return Ok(());
    }
    let rows = row_count(path).map_err(|problem| format!("its footer cannot be read: {problem}"))?;
    if rows == entry.rows {
        Ok(())
    } else {
        Err(format!("its footer tells of {rows} rows, the manifest of {}", entry.rows))
    }
}

/// The rows of all row groups, by the footer.
fn row_count(path: &Path) -> Result<u64, String> {
    let table = contain(|| open_table(path).map_err(|fault| fault.to_string())).unwrap_or_else(unreadable)?;
    Ok(table.rows())
}

/// What is said of a file that the Parquet library panics at.
pub fn unreadable<T>() -> Result<T, String> {
    Err("it breaks the Parquet reader".to_owned())
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
