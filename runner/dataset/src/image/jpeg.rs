//! JPEG: the header by hand, since it also tells what the decoder would not say (the orientation, whether the end is there);
//! the pixels by `zune-jpeg`, whose vector and scalar code give the same bits.

use clr_system::contain::contain;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Format, Header, Image, LARGEST_IMAGE, Oddity, Refusal, exif};

const TRUNCATED: &str = "a truncated JPEG image";

pub(super) fn header(bytes: &[u8]) -> Result<Header, Refusal> {
    let Frame { height, width, orientation, .. } = Frame::of(bytes)?;
    Ok(Header { format: Format::Jpeg, height, width, orientation })
}

/// Decodes to grey where there is one component, else to red, green and blue.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, Refusal> {
    let frame = Frame::of(bytes)?;
    // An image that is cut off would be decoded, the rest of it grey.
    if !has_end(&bytes[frame.scan..]) {
        return Err(Refusal::broken(TRUNCATED));
    }
    let mut oddities = Vec::new();
    let (channels, space) = match frame.components {
        1 => (1, ColorSpace::Luma),
        _ => (3, ColorSpace::RGB),
    };
    if frame.components == 4 {
        oddities.push(Oddity::FourColours);
    }
    let pixels = match pixels(bytes, space, true) {
        Ok(pixels) => pixels,
        Err(error) => {
            oddities.push(Oddity::Damaged);
            pixels_or(bytes, space, &error)?
        }
    };
    let Frame { height, width, .. } = frame;
    if pixels.len() as u64 != u64::from(height) * u64::from(width) * u64::from(channels) {
        return Err(Refusal::broken(format!("a broken JPEG image ({} bytes of pixels)", pixels.len())));
    }
    Ok(Image { height, width, channels, pixels, oddities })
}

/// What can be had of an image that is not sound, which `error` says.
fn pixels_or(bytes: &[u8], space: ColorSpace, error: &str) -> Result<Vec<u8>, Refusal> {
    pixels(bytes, space, false).map_err(|_| Refusal::broken(format!("a broken JPEG image ({error})")))
}

fn pixels(bytes: &[u8], space: ColorSpace, strict: bool) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(space);
    let decoded = contain(|| JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode());
    let decoded = decoded.unwrap_or(Err(DecodeErrors::FormatStatic("it breaks the decoder")));
    let pixels = decoded.map_err(|error| error.to_string())?;
    if pixels.len() > LARGEST_IMAGE { Err("too large".to_owned()) } else { Ok(pixels) }
}

/// What the segments before the first scan say.
struct Frame {
    height: u32,
    width: u32,
    components: u8,
    orientation: u8,
    /// The byte at which the first scan's data begins.
    scan: usize,
}

impl Frame {
    fn of(bytes: &[u8]) -> Result<Frame, Refusal> {
        let truncated = || Refusal::broken(TRUNCATED);
        let mut frame: Option<Frame> = None;
        let mut orientation = 1;
        let mut at = 2;
        loop {
            let (marker, after) = next_marker(bytes, at).ok_or_else(truncated)?;
            at = after;
            if !has_segment(marker) {
                if marker == END {
                    return Err(Refusal::broken("a JPEG image without a picture"));
                }
                continue;
            }
            let length = bytes.get(at..at + 2).ok_or_else(truncated)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let segment = bytes.get(at + 2..at + length.max(2)).ok_or_else(truncated)?;
            at += length.max(2);
            match marker {
                // All frames but the tables among their numbers.
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    let [precision, h1, h0, w1, w0, components, ..] = *segment else { return Err(truncated()) };
                    let [height, width] = [[h1, h0], [w1, w0]].map(|size| u32::from(u16::from_be_bytes(size)));
                    if precision != 8 {
                        return Err(Refusal::broken(format!("a JPEG image of {precision} bits a channel")));
                    }
                    if !matches!(components, 1 | 3 | 4) || height == 0 || width == 0 {
                        let found = format!("a JPEG image of {height}x{width} pixels in {components} channels");
                        return Err(Refusal::broken(found));
                    }
                    frame = Some(Frame { height, width, components, orientation, scan: 0 });
                }
                0xe1 => {
                    if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                        orientation = exif::orientation(exif);
                    }
                }
                0xda => {
                    let frame = frame.ok_or_else(|| Refusal::broken("a JPEG image without a size"))?;
                    return Ok(Frame { orientation, scan: at, ..frame });
                }
                _ => {}
            }
        }
    }
}

/// The marker that ends an image.
const END: u8 = 0xd9;

/// True if a length and so many bytes follow a marker.
fn has_segment(marker: u8) -> bool {
    !matches!(marker, 0x01 | 0xd0..=0xd9)
}

/// The first marker from `at` on, and the byte behind it. Zeros behind 0xff belong to data.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
        match *bytes.get(at)? {
            0 | 0xff => {}
            marker => return Some((marker, at + 1)),
        }
    }
}

/// True if the image comes to its end in these bytes, which begin with the data of a scan.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some((marker, after)) = next_marker(bytes, at) {
        at = after;
        if marker == END {
            return true;
        }
        if has_segment(marker) {
            let Some(length) = bytes.get(at..at + 2) else { return false };
            at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        }
    }
    false
}
