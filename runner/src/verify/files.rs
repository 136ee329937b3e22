//! One file of an output: is it there, whole, as it was written, and Parquet with the rows that it should have?

use std::fs::{self, File};
use std::io;
use std::path::Path;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::store::files::{FileEntry, digest};

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
    let file = File::open(path).map_err(|error| error.to_string())?;
    let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| error.to_string())?;
    let mut rows: u64 = 0;
    for group in footer.metadata().row_groups() {
        let count = u64::try_from(group.num_rows()).map_err(|_| "a row group has a negative length".to_owned())?;
        rows = rows.saturating_add(count);
    }
    Ok(rows)
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
