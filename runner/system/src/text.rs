//! Text from bytes, or what those bytes are instead.

/// The text that the bytes are in UTF-8; else what they look like, as in "this is UTF-16 text".
pub fn decode(bytes: Vec<u8>) -> Result<String, String> {
    const BYTES_LOOKED_AT: usize = 4096;
    let start = &bytes[..bytes.len().min(BYTES_LOOKED_AT)];
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) || is_utf_16(start) {
        return Err("this is UTF-16 text: save it as UTF-8".to_owned());
    }
    if start.contains(&0) {
        return Err("this is no text: it has zero bytes".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let byte = bytes.get(at).copied().unwrap_or_default();
        format!("line {line} has the byte 0x{byte:x}, which is not UTF-8: save it as UTF-8; Latin-1 and Windows-1252 are not read")
    })
}

/// Latin letters in two bytes each, the one or the other of them zero.
fn is_utf_16(start: &[u8]) -> bool {
    let pairs = start.chunks_exact(2);
    let with_zero = pairs.clone().filter(|pair| (pair[0] == 0) != (pair[1] == 0)).count();
    pairs.len() > 1 && with_zero * 2 > pairs.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&str, &str>) {
        assert_eq!(decode(bytes.to_vec()), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn text_in_another_encoding_is_named() {
        check("lr = \"é\"\n".as_bytes(), Ok("lr = \"é\"\n"));
        check(b"", Ok(""));
        let utf_16 = "this is UTF-16 text: save it as UTF-8";
        let little: Vec<u8> = "[train]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "[train]\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&little, Err(utf_16));
        check(&big, Err(utf_16));
        check(&[&[0xff, 0xfe][..], &little].concat(), Err(utf_16));
        check(&[&[0xfe, 0xff][..], &big].concat(), Err(utf_16));
        check(
            b"a = 1\n# caf\xe9\n",
            Err(
                "line 2 has the byte 0xe9, which is not UTF-8: save it as UTF-8; Latin-1 and Windows-1252 are not read",
            ),
        );
        check(b"\x7fELF\x02\x01\x01\0\0\0", Err("this is no text: it has zero bytes"));
    }
}
