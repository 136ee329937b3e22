//! One PNG to uint8 pixels.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, Limits, Reader, Transformations};

/// A decoded image, HWC.
pub(super) struct Image {
    pub height: u32,
    pub width: u32,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: u32,
    pub pixels: Vec<u8>,
}

/// More than any image of a set that is held in memory.
const LARGEST_IMAGE: usize = 64 << 20;

/// Why an image is not taken.
pub(super) enum Refusal {
    /// Its height and width are not those that were asked for.
    OtherSize((u32, u32)),
    /// The image is no PNG of 8 bits a channel without transparency; others would lose something silently.
    NotPng(String),
}

/// Height and width that a PNG says it has. Nothing is decoded.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), Refusal> {
    let reader = open(bytes)?;
    let (width, height) = reader.info().size();
    Ok((height, width))
}

/// Decodes a PNG that has to be of this height and width. Palettes and fewer than 8 bits become 8 bits.
pub(super) fn decode(bytes: &[u8], size: (u32, u32)) -> Result<Image, Refusal> {
    let mut reader = open(bytes)?;
    let channels = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => 1,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        (color, depth) => return Err(Refusal::NotPng(format!("a PNG of {color:?} in {} bits", depth as u8))),
    };
    let (width, height) = reader.info().size();
    if (height, width) != size {
        return Err(Refusal::OtherSize((height, width)));
    }
    let size = reader.output_buffer_size().filter(|&size| size <= LARGEST_IMAGE);
    let size = size.ok_or_else(|| Refusal::NotPng(format!("a PNG of {width}x{height} pixels")))?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(|error| not_png(bytes, &error))?;
    reader.finish().map_err(|error| not_png(bytes, &error))?;
    Ok(Image { height, width, channels, pixels })
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, Refusal> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: LARGEST_IMAGE });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info().map_err(|error| not_png(bytes, &error))
}

fn not_png(bytes: &[u8], error: &png::DecodingError) -> Refusal {
    Refusal::NotPng(match bytes {
        [0xff, 0xd8, 0xff, ..] => "a JPEG image".to_owned(),
        [] => "no bytes".to_owned(),
        _ => format!("a broken image ({error})"),
    })
}
