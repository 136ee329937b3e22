//! Frames: how messages are cut out of a stream of bytes into which a broken plugin may have written.
//!
//! ```text
//! bytes
//!  0.. 4  magic "clrW"
//!  4.. 8  number of the frame in its direction, from 0
//!  8..12  kind
//! 12..16  length of the payload, at most 1 MiB
//! 16..24  the first 8 bytes of BLAKE3 of bytes 0..16 and of the payload
//! 24..    payload
//! ```
//!
//! A message is one frame of kind [`Kind::Message`] and as many of kind [`Kind::Continuation`] as it and its arrays take. Integers are in the machine's own order: both ends are one program.

/// Bytes before the payload.
pub const HEADER: usize = 24;

/// No payload is longer.
pub const MOST: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"clrW";

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The beginning of a message.
    Message,
    /// More of it, or of its arrays.
    Continuation,
    /// To the worker: the call at hand is to end after its current step.
    Cancel,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something else was written.
    #[error("not a frame")]
    Magic,
    /// A frame is missing, or there twice.
    #[error("frame {found} where frame {expected} was expected")]
    Number { found: u32, expected: u32 },
    /// A kind that there is not.
    #[error("a frame of the unknown kind {0}")]
    Kind(u32),
    #[error("a frame of {0} bytes, more than {MOST}")]
    Length(u32),
    /// The header is right, the payload is not.
    #[error("frame {0} is damaged: its checksum is wrong")]
    Checksum(u32),
}

#[derive(Debug, Default)]
pub struct Encoder {
    number: u32,
    buffer: Vec<u8>,
}

impl Encoder {
    /// The bytes of the next frame, good until the one after it.
    ///
    /// # Panics
    ///
    /// If the payload is longer than [`MOST`].
    pub fn frame(&mut self, kind: Kind, payload: &[&[u8]]) -> &[u8] {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        assert!(length <= MOST, "a payload of {length} bytes");
        self.buffer.clear();
        self.buffer.extend(MAGIC);
        for word in [self.number, kind as u32, length as u32] {
            self.buffer.extend(word.to_ne_bytes());
        }
        self.buffer.extend([0; 8]);
        payload.iter().for_each(|part| self.buffer.extend(*part));
        let checksum = checksum(&self.buffer);
        self.buffer[16..HEADER].copy_from_slice(&checksum);
        self.number = self.number.wrapping_add(1);
        &self.buffer
    }
}

/// Finds frames in bytes that come in pieces of any size. Holds at most one frame and what came with it.
#[derive(Debug, Default)]
pub struct Decoder {
    number: u32,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out.
    used: usize,
}

impl Decoder {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is there whole. After an error nothing more can be found.
    pub fn frame(&mut self) -> Result<Option<(Kind, &[u8])>, FrameError> {
        let rest = &self.buffer[self.used..];
        // Garbage is known by its first bytes: waiting for a whole header could be waiting for ever.
        if !MAGIC.starts_with(&rest[..rest.len().min(MAGIC.len())]) {
            return Err(FrameError::Magic);
        }
        let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(None) };
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let [number, kind, length] = [word(4), word(8), word(12)];
        if number != self.number {
            return Err(FrameError::Number { found: number, expected: self.number });
        }
        let kind = match kind {
            0 => Kind::Message,
            1 => Kind::Continuation,
            2 => Kind::Cancel,
            other => return Err(FrameError::Kind(other)),
        };
        if length as usize > MOST {
            return Err(FrameError::Length(length));
        }
        let Some(frame) = rest.get(..HEADER + length as usize) else { return Ok(None) };
        if checksum(frame) != header[16..] {
            return Err(FrameError::Checksum(number));
        }
        self.number = self.number.wrapping_add(1);
        let start = self.used + HEADER;
        self.used += frame.len();
        Ok(Some((kind, &self.buffer[start..self.used])))
    }
}

/// Of a frame whose own checksum may be anything.
fn checksum(frame: &[u8]) -> [u8; 8] {
    let hash = *blake3::Hasher::new().update(&frame[..16]).update(&frame[HEADER..]).finalize().as_bytes();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<u8> {
        let mut encoder = Encoder::default();
        let mut bytes = encoder.frame(Kind::Message, &[b"step", b"", b"table"]).to_vec();
        bytes.extend(encoder.frame(Kind::Continuation, &[&[7; MOST]]));
        bytes.extend(encoder.frame(Kind::Cancel, &[]));
        bytes
    }

    /// All frames of `bytes`, pushed in pieces of `size`, and how it ended.
    fn decode(bytes: &[u8], size: usize) -> (Vec<(Kind, Vec<u8>)>, Option<FrameError>) {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            loop {
                match decoder.frame() {
                    Ok(Some((kind, payload))) => found.push((kind, payload.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let expected = vec![
            (Kind::Message, b"steptable".to_vec()),
            (Kind::Continuation, vec![7; MOST]),
            (Kind::Cancel, Vec::new()),
        ];
        for size in [4093, 1 << 16, usize::MAX] {
            assert_eq!(decode(&frames(), size), (expected.clone(), None), "in pieces of {size}");
        }
    }

    #[test]
    fn a_frame_that_was_cut_off_is_waited_for() {
        let bytes = frames();
        for end in 0..HEADER + 9 {
            assert_eq!(decode(&bytes[..end], 5), (Vec::new(), None), "{end} bytes");
        }
        assert_eq!(decode(&bytes[..bytes.len() - 1], 1 << 20).0.len(), 2);
    }

    /// `change` is made to the first frame.
    #[track_caller]
    fn check_error(change: impl Fn(&mut Vec<u8>), expected: FrameError) {
        let mut bytes = frames();
        change(&mut bytes);
        assert_eq!(decode(&bytes, 1 << 16), (Vec::new(), Some(expected)));
    }

    #[test]
    fn what_is_no_frame_is_seen() {
        check_error(|bytes| *bytes = b"x".to_vec(), FrameError::Magic);
        check_error(|bytes| *bytes = b"epoch 1: loss 2.3\n".to_vec(), FrameError::Magic);
        check_error(|bytes| bytes[4] = 9, FrameError::Number { found: 9, expected: 0 });
        check_error(|bytes| bytes[8] = 3, FrameError::Kind(3));
        check_error(|bytes| bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes()), FrameError::Length(u32::MAX));
        check_error(|bytes| bytes[16] ^= 1, FrameError::Checksum(0));
        check_error(|bytes| bytes[HEADER] ^= 1, FrameError::Checksum(0));
        check_error(|bytes| bytes[8] = 1, FrameError::Checksum(0));
        check_error(|bytes| bytes[12] = 8, FrameError::Checksum(0));
    }

    #[test]
    fn a_frame_that_is_missing_or_there_twice_is_seen() {
        let mut encoder = Encoder::default();
        let [first, second] = [b"a", b"b"].map(|payload| encoder.frame(Kind::Message, &[payload]).to_vec());
        let number = |found, expected| Some(FrameError::Number { found, expected });
        assert_eq!(decode(&second, 99), (Vec::new(), number(1, 0)));
        assert_eq!(decode(&[&first[..], &first[..]].concat(), 99).1, number(0, 1));
        assert_eq!(decode(&[&first[..], b"printed\n", &second].concat(), 99).1, Some(FrameError::Magic));
    }
}
