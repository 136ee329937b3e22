//! Downloads against a server of our own on 127.0.0.1.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;

/// How the server answers each of its requests, in turn.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The file from where the request's range begins.
    Serve,
    /// The whole file, whatever the range.
    IgnoreRange,
    /// The whole file's length, but so many bytes of it.
    CutAfter(usize),
    /// An answer without a file.
    Status(u16),
    /// 206, but from the first byte.
    WrongRange,
}

/// Serves `content` as the file of every request until the answers are used up. Returns the address and what was asked:
/// the path and the range of each request.
fn serve(content: &'static [u8], answers: &'static [Answer]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            let mut from = None;
            for line in lines.take_while(|line| !line.is_empty()) {
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    from = range.strip_suffix('-').and_then(|from| from.parse::<usize>().ok());
                }
            }
            log.lock().unwrap().push(format!("{path} {from:?}"));
            let size = content.len();
            let (head, body): (String, &[u8]) = match (*answer, from) {
                (Answer::Serve, Some(from)) if from >= size => {
                    (format!("416 Range\r\ncontent-range: bytes */{size}"), b"")
                }
                (Answer::Serve, Some(from)) => {
                    (format!("206 Part\r\ncontent-range: bytes {from}-{}/{size}", size - 1), &content[from..])
                }
                (Answer::WrongRange, Some(_)) => {
                    (format!("206 Part\r\ncontent-range: bytes 0-{}/{size}", size - 1), content)
                }
                (Answer::Status(status), _) => (format!("{status} No"), b"not the file"),
                _ => ("200 OK".to_owned(), content),
            };
            let sent = if let Answer::CutAfter(count) = *answer { &body[..count] } else { body };
            let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // A client that has seen enough may hang up: no failure of the server's.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
        }
    });
    (address, asked)
}

const CONTENT: &[u8] = b"0123456789";
/// `printf 0123456789 | md5sum`
const DIGEST: &str = "781e5e245d69b566979b86e28d23f2c7";

struct Case {
    answers: &'static [Answer],
    /// The remains of an earlier attempt.
    part: Option<&'static [u8]>,
    digest: &'static str,
}

struct Outcome {
    result: Result<(), FetchError>,
    asked: Vec<String>,
    /// The contents of `FILE` and of `FILE.part` afterwards.
    files: [Option<Vec<u8>>; 2],
}

fn fetched(case: Case) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("file.gz"), folder.path().join("file.gz.part")];
    if let Some(part) = case.part {
        std::fs::write(&paths[1], part).unwrap();
    }
    let (address, asked) = serve(CONTENT, case.answers);
    let result = fetch_file(&format!("{address}/file.gz"), &paths[0], case.digest, &mut |_, _| {});
    let asked = asked.lock().unwrap().clone();
    Outcome { result, asked, files: paths.map(|path| std::fs::read(path).ok()) }
}

#[track_caller]
fn check(answers: &'static [Answer], part: Option<&'static [u8]>, expected_asked: &[&str]) {
    let Outcome { result, asked, files } = fetched(Case { answers, part, digest: DIGEST });
    result.unwrap();
    assert_eq!(asked, expected_asked);
    assert_eq!(files, [Some(CONTENT.to_vec()), None]);
}

#[track_caller]
fn check_error(case: Case, message: &str, expected_part: Option<&[u8]>) {
    let Outcome { result, files, .. } = fetched(case);
    let found = result.unwrap_err().to_string();
    assert!(found.contains(message), "{message:?} is not in {found:?}");
    assert_eq!(files, [None, expected_part.map(<[u8]>::to_vec)]);
}

#[test]
fn a_whole_file_arrives() {
    check(&[Answer::Serve], None, &["/file.gz None"]);
}

#[test]
fn an_earlier_part_is_completed() {
    check(&[Answer::Serve], Some(b"0123"), &["/file.gz Some(4)"]);
    check(&[Answer::Serve], Some(b"0123456789"), &["/file.gz Some(10)"]);
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    check(&[Answer::IgnoreRange], Some(b"0123"), &["/file.gz Some(4)"]);
    check(&[Answer::WrongRange, Answer::Serve], Some(b"0123"), &["/file.gz Some(4)", "/file.gz None"]);
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    check(&[Answer::Serve, Answer::Serve], Some(b"abcd"), &["/file.gz Some(4)", "/file.gz None"]);
    check(&[Answer::Serve, Answer::Serve], Some(b"abcdefghijkl"), &["/file.gz Some(12)", "/file.gz None"]);
}

#[test]
fn a_wrong_file_is_removed_and_named() {
    let digest = "00000000000000000000000000000000";
    let message =
        "expected a file with MD5 00000000000000000000000000000000, found 781e5e245d69b566979b86e28d23f2c7 (10 bytes)";
    check_error(Case { answers: &[Answer::Serve], part: None, digest }, message, None);
    check_error(Case { answers: &[Answer::Serve, Answer::Serve], part: Some(b"01"), digest }, message, None);
}

#[test]
fn a_refusal_is_said_and_keeps_what_is_there() {
    let case = |part| Case { answers: &[Answer::Status(404)], part, digest: DIGEST };
    check_error(case(None), "404", Some(b""));
    check_error(case(Some(b"0123")), "404", Some(b"0123"));
}

#[test]
fn a_download_that_broke_off_is_kept_and_goes_on() {
    let case = Case { answers: &[Answer::CutAfter(6)], part: None, digest: DIGEST };
    check_error(case, "broke off after 6 bytes of 10", Some(b"012345"));
    check(&[Answer::Serve], Some(b"012345"), &["/file.gz Some(6)"]);
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let result = fetch_file(&url, &folder.path().join("file"), DIGEST, &mut |_, _| {});
    assert!(matches!(result, Err(FetchError::Request { .. })), "{result:?}");
}

#[test]
fn without_a_network_the_steps_by_hand_are_said_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("fashion-mnist");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), "not checked yet").unwrap();
    let error = fetch("fashion-mnist", root.path(), Some(&url), &mut |_| {}).unwrap_err();
    // As the program prints it: with all causes.
    let message = format!("{:#}", anyhow::Error::from(error));
    let steps = format!("put it into {}:", folder.display());
    assert_eq!(message.matches(&steps).count(), 1, "{message}");
    assert_eq!(message.matches("refused").count(), 1, "{message}");
    for (file, is_named) in [("train-images-idx3-ubyte.gz", true), ("t10k-labels-idx1-ubyte.gz", false)] {
        assert_eq!(message.contains(&format!("\n  {url}/{file}")), is_named, "{message}");
    }
}

#[test]
fn a_file_that_is_there_is_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, CONTENT).unwrap();
    fetch_file("http://127.0.0.1:1/file", &path, DIGEST, &mut |_, _| {}).unwrap();
}

#[test]
fn progress_counts_what_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file.part"), b"0123").unwrap();
    let (address, _) = serve(CONTENT, &[Answer::Serve]);
    let mut calls = Vec::new();
    let path = folder.path().join("file");
    fetch_file(&format!("{address}/file"), &path, DIGEST, &mut |received, total| calls.push((received, total)))
        .unwrap();
    assert_eq!((calls.first(), calls.last()), (Some(&(4, Some(10))), Some(&(10, Some(10)))));
}

#[test]
fn a_dataset_is_its_files_in_the_folder_where_they_are_looked_for() {
    let root = tempfile::tempdir().unwrap();
    let (address, asked) = serve(CONTENT, &[Answer::Serve]);
    // The digest cannot be right, but the first request shows where it would go.
    let error = fetch("mnist", root.path(), Some(&format!("{address}/mirror/")), &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::Digest { .. }), "{error}");
    assert_eq!(*asked.lock().unwrap(), ["/mirror/train-images-idx3-ubyte.gz None"]);
    assert!(root.path().join("mnist").is_dir());
    let error = fetch("imagenet", root.path(), None, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("`imagenet` cannot be fetched; expected one of cifar10, cifar100,"), "{error}");
}

#[test]
fn every_digest_is_one() {
    for published in PUBLISHED {
        for (file, digest) in published.files {
            assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file}");
        }
    }
}
