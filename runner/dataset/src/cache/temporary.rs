//! Temporary files whose locks say whether anyone is still writing them.

use std::fs;
use std::io;
use std::path::Path;

use clr_system::regular;
use tempfile::NamedTempFile;

/// The ending of temporary names; those of cached sets end in `.clrdata`.
const SUFFIX: &str = ".clrdata.tmp";

/// A locked temporary file in `folder`. It is deleted when it is dropped, and by whoever finds it after a crash.
pub(super) fn create(folder: &Path, name: &str) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new().prefix(&format!(".{name}-")).suffix(SUFFIX).tempfile_in(folder)?;
        // Until it is locked another process may take it for abandoned: then it is gone, or about to be.
        match file.as_file().try_lock() {
            Ok(()) if !file.path().exists() => {}
            Err(fs::TryLockError::WouldBlock) => {}
            // Where files cannot be locked, none is deleted either.
            Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Deletes the temporary files in `folder` that nobody is writing. What cannot be read or deleted stays.
pub(super) fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with('.') && name.ends_with(SUFFIX));
        // Only a file, and no link to one.
        if is_ours
            && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file())
            && let Ok(file) = regular::open(&path)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_deleted_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let others = [".cifar10-notes", "cifar10-0.clrdata", "x.clrdata.tmp"];
        for name in [".cifar10-aBcDeF.clrdata.tmp"].iter().chain(&others) {
            fs::write(folder.path().join(name), "left").unwrap();
        }
        let writing = create(folder.path(), "mnist").unwrap();
        remove_abandoned(folder.path());
        let kept = writing.path().file_name().unwrap().to_str().unwrap();
        let mut expected: Vec<&str> = others.into_iter().chain([kept]).collect();
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);

        // Its name is what a reader will see, its lock ends with the file.
        writing.persist(folder.path().join("mnist-0.clrdata")).unwrap();
        remove_abandoned(folder.path());
        assert_eq!(names(folder.path()), [".cifar10-notes", "cifar10-0.clrdata", "mnist-0.clrdata", "x.clrdata.tmp"]);
    }

    /// Processes that write and clean at the same time do not take each other's files.
    #[test]
    fn writers_and_cleaners_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    for round in 0..50 {
                        let file = create(folder, "set").unwrap();
                        fs::write(file.path(), format!("{writer}")).unwrap();
                        remove_abandoned(folder);
                        file.persist(folder.join(format!("set-{writer}-{round}.clrdata"))).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(folder.path()).len(), 200);
    }
}
