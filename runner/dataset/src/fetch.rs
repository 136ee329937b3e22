//! Downloads of the published archives. Nothing is unpacked: the loaders read the archives as they are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clr_system::regular;
use md5::{Digest, Md5};

/// Downloads the dataset `name` below `root`, so that [`open`](super::open) finds it there. Returns the folder that the
/// files are in.
///
/// A file is written as `FILE.part` and renamed once its digest is right; an interrupted download goes on where it
/// stopped. Files that are there already, with the right digest, are kept. `base_url` replaces the publisher's address
/// (for a mirror: it must serve the same file names). `progress` is called as bytes arrive.
///
/// # Errors
///
/// An unknown name; no connection; a server that says no; a download that broke off (it can be resumed); a file whose
/// digest is not the published one (it is removed).
pub fn fetch(
    name: &str,
    root: &Path,
    base_url: Option<&str>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, FetchError> {
    let published = PUBLISHED.iter().find(|published| published.name == name);
    let published = published.ok_or_else(|| FetchError::Unknown { name: name.to_owned() })?;
    let folder = root.join(published.folder);
    std::fs::create_dir_all(&folder).map_err(FetchError::io(&folder))?;
    let base_url = base_url.unwrap_or(published.base_url).trim_end_matches('/');
    for &(file, digest) in published.files {
        fetch_file(&format!("{base_url}/{file}"), &folder.join(file), digest, &mut |received, total| {
            progress(Progress { file, received, total });
        })
        .map_err(|error| error.with_steps(base_url, published.files, &folder))?;
    }
    Ok(folder)
}

/// The names that [`fetch`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().map(|published| published.name)
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    pub file: &'a str,
    /// Bytes that are there, those of an earlier attempt included.
    pub received: u64,
    /// Bytes of the whole file, if the server says.
    pub total: Option<u64>,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a published set.
    #[error("`{name}` cannot be fetched; expected one of {}", names().collect::<Vec<_>>().join(", "))]
    Unknown { name: String },
    /// The operating system's word on a file.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        cause: io::Error,
    },
    /// No connection, or an answer that is no file.
    #[error("{url}: {cause}{steps}")]
    Request {
        url: String,
        cause: Box<ureq::Error>,
        /// The steps to take by hand instead.
        steps: String,
    },
    /// The connection ended early. What arrived is kept.
    #[error("{url}: broke off after {received} bytes{}: {reason}; the same command resumes it", of(*total))]
    BrokeOff {
        url: String,
        /// Bytes that are there.
        received: u64,
        /// Bytes of the whole file, if the server said.
        total: Option<u64>,
        reason: String,
    },
    /// Another file than the published one. It was removed.
    #[error("{url}: expected a file with MD5 {expected}, found {found} ({size} bytes)")]
    Digest {
        url: String,
        /// The published digest.
        expected: String,
        /// The digest of what arrived.
        found: String,
        size: u64,
    },
}

fn of(total: Option<u64>) -> String {
    total.map_or_else(String::new, |total| format!(" of {total}"))
}

impl FetchError {
    /// Adds the steps to take by hand to an error without an answer: the files to download, and their folder.
    fn with_steps(self, base_url: &str, files: &[(&str, &str)], folder: &Path) -> FetchError {
        let FetchError::Request { url, cause, .. } = self else { return self };
        let missing = files.iter().filter(|(file, _)| !folder.join(file).exists());
        let urls: String = missing.map(|(file, _)| format!("\n  {base_url}/{file}")).collect();
        let steps = format!(
            "\nwithout a network, download on another machine what follows, and put it into {}:{urls}",
            folder.display()
        );
        FetchError::Request { url, cause, steps }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> FetchError + '_ {
        move |cause| FetchError::Io { path: path.to_owned(), cause }
    }
}

struct Published {
    name: &'static str,
    /// Below the root; where [`super::search`] looks.
    folder: &'static str,
    base_url: &'static str,
    /// Names and MD5 digests.
    files: &'static [(&'static str, &'static str)],
}

const CIFAR_URL: &str = "https://www.cs.toronto.edu/~kriz";

const PUBLISHED: [Published; 6] = [
    Published {
        name: "cifar10",
        folder: "",
        base_url: CIFAR_URL,
        files: &[("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")],
    },
    Published {
        name: "cifar100",
        folder: "",
        base_url: CIFAR_URL,
        files: &[("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")],
    },
    // The digests of the two binary versions are as the publisher's page has them; no download has confirmed them yet.
    Published {
        name: "cifar10-binary",
        folder: "",
        base_url: CIFAR_URL,
        files: &[("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")],
    },
    Published {
        name: "cifar100-binary",
        folder: "",
        base_url: CIFAR_URL,
        files: &[("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")],
    },
    Published {
        name: "mnist",
        folder: "mnist",
        base_url: "https://ossci-datasets.s3.amazonaws.com/mnist",
        files: &[
            ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ],
    },
    Published {
        name: "fashion-mnist",
        folder: "fashion-mnist",
        base_url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        files: &[
            ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ],
    },
];

/// A server that sends nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(60);

fn fetch_file(
    url: &str,
    path: &Path,
    expected: &str,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), FetchError> {
    if path.is_file() && digest(path)? == expected {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);

    let resumed = download(url, &part, progress)?;
    let mut found = digest(&part)?;
    if resumed && found != expected {
        // The part that was there may have been of another file: once more from the start.
        std::fs::remove_file(&part).map_err(FetchError::io(&part))?;
        download(url, &part, progress)?;
        found = digest(&part)?;
    }
    if found != expected {
        let size = std::fs::metadata(&part).map_err(FetchError::io(&part))?.len();
        std::fs::remove_file(&part).map_err(FetchError::io(&part))?;
        return Err(FetchError::Digest { url: url.to_owned(), expected: expected.to_owned(), found, size });
    }
    std::fs::rename(&part, path).map_err(FetchError::io(path))
}

/// Downloads to `part`, going on after the bytes that it has. Returns whether there were any, and they were kept.
fn download(url: &str, part: &Path, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<bool, FetchError> {
    let mut file = regular::open_with(File::options().create(true).append(true), part).map_err(FetchError::io(part))?;
    let there = file.metadata().map_err(FetchError::io(part))?.len();
    let mut answer = request(url, there)?;
    if answer.status() == 416 && there > 0 {
        // No bytes after those that are there. They may be the whole file, or of another one: the digest tells.
        return Ok(true);
    }
    if answer.status() != 200 && answer.status() != 206 {
        let cause = Box::new(ureq::Error::StatusCode(answer.status().as_u16()));
        return Err(FetchError::Request { url: url.to_owned(), cause, steps: String::new() });
    }
    let resumed = there > 0 && answer.status() == 206 && resumes_at(&answer, there);
    if there > 0 && !resumed {
        // A server that ignores ranges sends the whole file; one that sends other bytes is asked for the whole.
        if answer.status() == 206 {
            answer = request(url, 0)?;
        }
        file.set_len(0).map_err(FetchError::io(part))?;
        file.seek(SeekFrom::Start(0)).map_err(FetchError::io(part))?;
    }
    let mut received = if resumed { there } else { 0 };
    let length: Option<u64> =
        answer.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let total = length.map(|length| received + length);
    progress(received, total);

    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let end = loop {
        match body.read(&mut buffer) {
            Ok(0) => break "the connection ended".to_owned(),
            Ok(count) => {
                file.write_all(&buffer[..count]).map_err(FetchError::io(part))?;
                received += count as u64;
                progress(received, total);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let url = url.to_owned();
                return Err(FetchError::BrokeOff { url, received, total, reason: error.to_string() });
            }
        }
    };
    if total.is_some_and(|total| received < total) {
        return Err(FetchError::BrokeOff { url: url.to_owned(), received, total, reason: end });
    }
    file.sync_all().map_err(FetchError::io(part))?;
    Ok(resumed)
}

fn request(url: &str, from: u64) -> Result<ureq::http::Response<ureq::Body>, FetchError> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE));
    // The bytes of the file, not a compressed form of them: digests and ranges are of those.
    let agent: ureq::Agent = config.accept_encoding("identity").build().into();
    let mut request = agent.get(url);
    if from > 0 {
        request = request.header("range", format!("bytes={from}-"));
    }
    request.call().map_err(|cause| FetchError::Request {
        url: url.to_owned(),
        cause: Box::new(cause),
        steps: String::new(),
    })
}

/// True if the answer says that it begins at byte `from`: `content-range: bytes 100-199/200`.
fn resumes_at(answer: &ureq::http::Response<ureq::Body>, from: u64) -> bool {
    let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()) == Some(from)
}

/// The MD5 of a file, in hexadecimal digits.
fn digest(path: &Path) -> Result<String, FetchError> {
    let mut file = regular::open(path).map_err(FetchError::io(path))?;
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(FetchError::io(path))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
