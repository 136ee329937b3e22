//! PNG, all of its kinds.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, Limits, Reader, Transformations};

use super::{Format, Header, Image, LARGEST_IMAGE, Oddity, Refusal, exif};

pub(super) fn header(bytes: &[u8]) -> Result<Header, Refusal> {
    let reader = open(bytes)?;
    let (width, height) = reader.info().size();
    let orientation = reader.info().exif_metadata.as_deref().map_or(1, exif::orientation);
    Ok(Header { format: Format::Png, height, width, orientation })
}

/// Decodes to grey, or to red, green and blue. Palettes and other numbers of bits become 8 bits.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, Refusal> {
    let mut reader = open(bytes)?;
    let mut oddities = Vec::new();
    if reader.info().bit_depth == BitDepth::Sixteen {
        oddities.push(Oddity::SixteenBits);
    }
    let (colour, depth) = reader.output_color_type();
    let (found, channels) = match (colour, depth) {
        (ColorType::Grayscale, BitDepth::Eight) => (1, 1),
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => (2, 1),
        (ColorType::Rgb, BitDepth::Eight) => (3, 3),
        (ColorType::Rgba, BitDepth::Eight) => (4, 3),
        _ => return Err(Refusal::broken(format!("a PNG of {colour:?} in {} bits", depth as u8))),
    };
    let (width, height) = reader.info().size();
    let size = reader.output_buffer_size().filter(|&size| size <= LARGEST_IMAGE / 3 * 4);
    let size = size.ok_or_else(|| Refusal::broken(format!("a PNG of {width}x{height} pixels")))?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(broken)?;
    reader.finish().map_err(broken)?;
    if found != channels {
        if pixels.iter().skip(channels).step_by(found).any(|&alpha| alpha != 255) {
            oddities.push(Oddity::Transparent);
        }
        pixels = pixels.chunks_exact(found).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    Ok(Image { height, width, channels: channels as u32, pixels, oddities })
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, Refusal> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: LARGEST_IMAGE });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.read_info().map_err(broken)
}

fn broken(error: png::DecodingError) -> Refusal {
    Refusal::broken(match &error {
        png::DecodingError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            "a truncated PNG image".to_owned()
        }
        error => format!("a broken PNG image ({error})"),
    })
}
