//! The file descriptors that a worker inherits from the shell that the command was started in.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

/// Closes every descriptor but stdin, stdout and stderr. A lock that a script holds through one of them would otherwise
/// stay taken as long as a worker lives, and a pipe would not end.
///
/// Only at the very start of a process: what it has opened itself is closed too.
pub fn close() -> io::Result<()> {
    // Linux, and macOS. Elsewhere the folder is not there, or shows these three only.
    let listed = match fs::read_dir("/dev/fd") {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    // Collected first: the folder itself is open while it is read, and closed by then.
    let open: Vec<i32> = listed.filter_map(number).filter(|&number| number > 2).collect();
    for descriptor in open {
        // SAFETY: nothing in this process has opened or knows any of these, and no other thread runs that could have. The
        // one of the folder is closed already, which is seen before it would be closed again.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(descriptor)).is_ok() {
                rustix::io::close(descriptor);
            }
        }
    }
    Ok(())
}
