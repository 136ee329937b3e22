//! Reads the journal, whatever state a crash or another program left it in.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use clr_system::regular;

use super::record::{EVENTS, HEARTBEAT, Heartbeat, Line};

/// Longer lines are no line of ours: a record's longest part is a command line or the last words of a worker.
const LONGEST_LINE: u64 = 1 << 20;

/// A heartbeat of a thousand lanes takes 200 KB.
const LONGEST_HEARTBEAT: u64 = 64 << 20;

/// Hands the lines of a folder's journal to `take`, oldest first. Returns how many could not be understood: what a crash
/// cut off, say. No journal is an empty one.
///
/// # Errors
///
/// Where the file is there and cannot be read.
pub fn read(folder: &Path, mut take: impl FnMut(Line<'_>)) -> io::Result<u64> {
    let file = match regular::open(&folder.join(EVENTS)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut skipped) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(skipped);
        }
        match serde_json::from_slice(&line) {
            Ok(line) => take(line),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => skipped += 1,
        }
    }
}

/// The heartbeat of a folder, if it has one that can be understood.
pub fn read_heartbeat(folder: &Path) -> Option<Heartbeat> {
    serde_json::from_slice(&regular::read(&folder.join(HEARTBEAT), LONGEST_HEARTBEAT).ok()?).ok()
}
