//! Messages to and from Python: four bytes with a length, a JSON object, and, where that has `bytes`, so many bytes more.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Deserialize;
use serde_json::{Value, json};

/// No answer's text is longer: names and shapes of a hundred thousand tensors.
const LONGEST_TEXT: usize = 1 << 24;

/// No answer has more bytes: those of the largest tensor that a lane's state may have.
const MOST_BYTES: usize = 1 << 32;

/// An answer, and the bytes after it.
#[derive(Debug)]
pub struct Answer {
    pub message: Value,
    pub payload: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Silence {
    /// Python said what went wrong: a kind, and the user's error.
    Said(Failure),
    /// The pipe ended, or what came through it made no sense.
    Ended(io::Error),
}

/// The words in which Python says that something cannot be done.
#[derive(Debug, Deserialize)]
pub struct Failure {
    pub error: String,
    pub message: String,
}

/// Asks and waits for the answer.
pub fn ask(channel: &mut UnixStream, message: &Value, payload: &[u8]) -> Result<Answer, Silence> {
    send(channel, message, payload, &[]).and_then(|()| receive(channel)).map_err(Silence::Ended).and_then(answered)
}

/// Sends the text that Python is to run: its length, and itself.
pub fn send_source(channel: &mut UnixStream, source: &str) -> io::Result<()> {
    let length = u32::try_from(source.len()).map_err(io::Error::other)?;
    channel.write_all(&length.to_le_bytes())?;
    channel.write_all(source.as_bytes())
}

/// The next message, which may be a failure.
pub fn next(channel: &mut UnixStream) -> Result<Answer, Silence> {
    receive(channel).map_err(Silence::Ended).and_then(answered)
}

fn answered(answer: Answer) -> Result<Answer, Silence> {
    if answer.message.get("error").is_none() {
        return Ok(answer);
    }
    Err(serde_json::from_value(answer.message).map_or_else(|error| Silence::Ended(garbled(error)), Silence::Said))
}

/// Sends a message; descriptors go with its first byte.
pub fn send(
    channel: &mut UnixStream,
    message: &Value,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut message = message.clone();
    if !payload.is_empty() {
        message["bytes"] = json!(payload.len());
    }
    let text = message.to_string();
    let length = u32::try_from(text.len()).map_err(|_| io::Error::other("a message is too long"))?.to_le_bytes();
    if descriptors.is_empty() {
        channel.write_all(&[&length[..], text.as_bytes()].concat())?;
    } else {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for a message"));
        }
        let sent = sendmsg(&*channel, &[IoSlice::new(&length)], &mut control, SendFlags::empty())?;
        channel.write_all(&length[sent..])?;
        channel.write_all(text.as_bytes())?;
    }
    channel.write_all(payload)
}

fn receive(channel: &mut UnixStream) -> io::Result<Answer> {
    let mut length = [0; 4];
    channel.read_exact(&mut length)?;
    let text = read(channel, u32::from_le_bytes(length) as usize, LONGEST_TEXT)?;
    let message: Value = serde_json::from_slice(&text).map_err(garbled)?;
    let bytes = message.get("bytes").and_then(Value::as_u64).unwrap_or(0);
    let payload = read(channel, usize::try_from(bytes).map_err(garbled)?, MOST_BYTES)?;
    Ok(Answer { message, payload })
}

fn read(channel: &mut UnixStream, count: usize, most: usize) -> io::Result<Vec<u8>> {
    if count > most {
        return Err(garbled(format!("{count} bytes at once")));
    }
    let mut bytes = Vec::new();
    channel.take(count as u64).read_to_end(&mut bytes)?;
    if bytes.len() < count { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn garbled(problem: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("its answer makes no sense: {problem}"))
}
