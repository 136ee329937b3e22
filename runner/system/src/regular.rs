//! Regular files: the one way in which the program opens what should be a file.
//!
//! Where a file is expected there may be a named pipe, which opens when somebody writes to it and perhaps never, or a device,
//! which may have no end. Both are refused here, without waiting, and so are folders; and whoever wants all of a file says
//! how much that may be.
//!
//! What a user's shell has opened already (`/dev/stdin`, or `<(command)`) is another matter: [`read_text_given`].

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::text;

/// More than a manifest or a plan of a million trials takes, which is the most that are planned.
pub const LARGEST_RECORD: u64 = 2 << 30;

/// Opens a file to be read.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(File::options().read(true), path)
}

/// Opens a file as `options` say, or makes one if they say so.
///
/// # Errors
///
/// Where there is something else of that name: what it is.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // To open a device may do something to it.
    if let Ok(metadata) = std::fs::metadata(path) {
        check(&metadata)?;
    }
    // It may have become a pipe since: then opening must not wait.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// All bytes of a file; an error where it has more than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    read_at_most(file, length, most)
}

/// The text of a file; an error where it has more than `most` bytes, or is no text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text::decode(read(path, most)?).map_err(io::Error::other)
}

/// As [`read_text`], of a file that the user named on the command line, which may also be a pipe that is open already.
pub fn read_text_given(path: &Path, most: u64) -> io::Result<String> {
    if !is_open_already(path) {
        return read_text(path, most);
    }
    text::decode(read_at_most(File::open(path)?, 0, most)?).map_err(io::Error::other)
}

/// Opens a file that the user named on the command line, to write at its end. It may also be a [`stream_given`].
pub fn append_given(path: &Path) -> io::Result<File> {
    match stream_given(path)? {
        Some(stream) => Ok(stream),
        None => open_with(File::options().create(true).append(true), path),
    }
}

/// The file that the user named on the command line to write to, if it is a device that takes bytes one after the other, such as
/// `/dev/null`, or a pipe that is open already. None where it is a file, or nothing yet.
pub fn stream_given(path: &Path) -> io::Result<Option<File>> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    if is_open_already(path) || is_character_device(metadata.file_type()) {
        return File::options().append(true).open(path).map(Some);
    }
    check(&metadata).map(|()| None)
}

/// The BLAKE3 hash of a file of at most so many bytes, in hexadecimal.
pub fn digest(path: &Path, most: u64) -> io::Result<String> {
    let file = open(path)?;
    check_length(file.metadata()?.len(), most)?;
    let mut hasher = blake3::Hasher::new();
    let read = io::copy(&mut file.take(most.saturating_add(1)), &mut hasher)?;
    check_length(read, most)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn read_at_most(file: File, length: u64, most: u64) -> io::Result<Vec<u8>> {
    check_length(length, most)?;
    let mut bytes = Vec::new();
    // A byte more, so that reading to the end finds it without growing.
    bytes.try_reserve_exact(length as usize + 1).map_err(io::Error::other)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    check_length(bytes.len() as u64, most)?;
    Ok(bytes)
}

fn check_length(length: u64, most: u64) -> io::Result<()> {
    if length > most { Err(io::Error::other(format!("it has more than {most} bytes"))) } else { Ok(()) }
}

/// An error that says what it is, unless it is a regular file.
fn check(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::other(format!("it is {}, and not a file", name(metadata.file_type()))))
}

fn name(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        return "a folder";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return "a named pipe";
        }
        if file_type.is_socket() {
            return "a socket";
        }
        if file_type.is_char_device() || file_type.is_block_device() {
            return "a device";
        }
    }
    "something else"
}

fn is_character_device(file_type: FileType) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileTypeExt::is_char_device(&file_type)
    }
    #[cfg(not(unix))]
    {
        let _ = file_type;
        false
    }
}

/// True if a path names a file that this process has open, so that to open it waits for nobody.
pub fn is_open_already(path: &Path) -> bool {
    let standard = ["/dev/stdin", "/dev/stdout", "/dev/stderr"].iter().any(|name| path == Path::new(name));
    standard || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.parent() == Some(Path::new(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
        assert_eq!(read_text(file.path(), 4).unwrap_err().to_string(), "it has more than 4 bytes");
        assert_eq!(digest(file.path(), 4).unwrap_err().to_string(), "it has more than 4 bytes");
        assert_eq!(digest(file.path(), 5).unwrap(), blake3::hash(b"12345").to_hex().to_string());
        // One of a terabyte takes none of it.
        file.as_file().set_len(1 << 40).unwrap();
        assert!(read(file.path(), 1 << 30).is_err());
        std::fs::write(file.path(), b"lr\xff").unwrap();
        let message = read_text(file.path(), 5).unwrap_err().to_string();
        assert!(message.starts_with("line 1 has the byte 0xff, which is not UTF-8"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_sockets_and_folders_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let cases: [(&Path, &str); 5] = [
            (&pipe, "it is a named pipe, and not a file"),
            (&socket, "it is a socket, and not a file"),
            (Path::new("/dev/zero"), "it is a device, and not a file"),
            (&link, "it is a device, and not a file"),
            (folder.path(), "it is a folder, and not a file"),
        ];
        for (path, expected) in cases {
            for error in [
                open(path).unwrap_err(),
                open_with(File::options().create(true).append(true), path).unwrap_err(),
                read(path, 1).unwrap_err(),
                read_text_given(path, 1).unwrap_err(),
                digest(path, 1).unwrap_err(),
            ] {
                assert_eq!(error.to_string(), expected, "{path:?}");
            }
        }
        assert_eq!(append_given(&pipe).unwrap_err().to_string(), "it is a named pipe, and not a file");
        append_given(Path::new("/dev/null")).unwrap();
        append_given(&folder.path().join("new")).unwrap();
        assert!(is_open_already(Path::new("/dev/fd/63")) && !is_open_already(Path::new("/dev/fd/../zero")));
    }

    /// Whoever opens a file by the standard library's own means may wait for ever.
    #[test]
    fn files_are_opened_here_and_nowhere_else() {
        // A system's own files; and a folder, which is opened to be synced.
        const ELSEWHERE: [&str; 5] =
            ["/dev/null", "/proc/", "statm", "File::open(directory)", "read_to_string(thread.path()"];
        fn look(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    if !["tests", "benches", "examples"].contains(&name.as_str()) {
                        look(&path, found);
                    }
                    continue;
                }
                let for_tests = name.contains("test") || ["fixtures.rs", "regular.rs"].contains(&name.as_str());
                if !name.ends_with(".rs") || for_tests {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let opens = [
                    "File::open(",
                    "fs::read(",
                    "fs::read_to_string(",
                    "fs::write(",
                    " File::create(",
                    "OpenOptions::new(",
                ];
                for line in program.lines().filter(|line| opens.iter().any(|open| line.contains(open))) {
                    if !ELSEWHERE.iter().any(|allowed| line.contains(allowed)) {
                        found.push(format!("{}: {}", path.display(), line.trim()));
                    }
                }
                if program.matches("File::options()").count() > program.matches("open_with(").count() {
                    found.push(format!("{}: File::options() without regular::open_with", path.display()));
                }
            }
        }
        let mut found = Vec::new();
        look(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut found);
        assert!(found.is_empty(), "use clr_system::regular: {found:#?}");
    }
}
