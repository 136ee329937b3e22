//! One encoded image to uint8 pixels. Whether it is a PNG or a JPEG, its content says, whatever its name.
//!
//! Colours are as Pillow's `convert("RGB")` has them: an alpha channel is left out, CMYK and YCCK become red, green and
//! blue, and of 16 bits the upper 8 stay. PNG is exact; JPEG differs from libjpeg-turbo by rounding, in single values by up
//! to 5 of 255 (`image/tests.rs`). What was special about an image is told ([`Oddity`]), so that it can be counted.

mod exif;
mod fit;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;

use clr_spec::Fit;

/// A decoded image, HWC.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub height: u32,
    pub width: u32,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: u32,
    pub pixels: Vec<u8>,
    pub oddities: Vec<Oddity>,
}

/// What is special about an image that was decoded all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Its file's name ends like that of another format.
    Misnamed,
    /// 16 bits a channel, of which the upper 8 stay.
    SixteenBits,
    /// An alpha channel or a transparent colour, which is left out.
    Transparent,
    /// Cyan, magenta, yellow and black.
    FourColours,
    /// Its EXIF data says that it is to be shown turned or mirrored, and it is not.
    NotUpright,
    /// As [`Oddity::NotUpright`], and it was turned.
    Turned,
    /// Bytes within it are damaged.
    Damaged,
    /// Grey, among coloured ones.
    Grey,
}

impl Oddity {
    /// `were ...`: said of the images that have it.
    pub fn words(self) -> &'static str {
        match self {
            Oddity::Misnamed => "named like another format than they have, and read by their content",
            Oddity::SixteenBits => "of 16 bits a channel, of which the upper 8 were kept",
            Oddity::Transparent => "with transparency, which was left out",
            Oddity::FourColours => "in CMYK or YCCK, and became RGB",
            Oddity::NotUpright => {
                "with an EXIF orientation, which was not applied (as in torchvision; `data.exif_orientation = true` \
                 applies it)"
            }
            Oddity::Turned => "turned as their EXIF orientation says",
            Oddity::Damaged => "damaged, and decoded as far as that goes (as by Pillow)",
            Oddity::Grey => "grey among coloured ones, and became RGB",
        }
    }
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
}

impl Format {
    /// The format that a file's name claims.
    pub fn of_extension(extension: &str) -> Option<Format> {
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Format::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" => Some(Format::Jpeg),
            _ => None,
        }
    }

    /// The format that an image has; the error says what else it is.
    pub fn of(bytes: &[u8]) -> Result<Format, String> {
        let other = match bytes {
            [0x89, b'P', b'N', b'G', ..] => return Ok(Format::Png),
            [0xff, 0xd8, 0xff, ..] => return Ok(Format::Jpeg),
            [] => "no bytes",
            [b'G', b'I', b'F', b'8', ..] => "a GIF image",
            [b'B', b'M', ..] => "a BMP image",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP image",
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF image",
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a HEIF, AVIF or video file",
            [b'<', ..] => "text such as HTML, SVG or XML",
            [first, ..] if bytes.iter().all(|byte| byte == first) => "bytes that are all equal",
            _ => "something else",
        };
        Err(other.to_owned())
    }
}

/// More bytes of pixels than any image of a set has: 89 million pixels in colour.
const LARGEST_IMAGE: usize = 1 << 28;

/// Pixels that an image may have whatever its length, and for each byte of it: as many as deflate makes of a byte at its best.
/// A JPEG of one colour has at most half as many.
const PIXELS: (u64, u64) = (4 << 20, 1032);

/// Why an image is not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Once it fits, its height and width are not those that were asked for.
    OtherSize((u32, u32)),
    /// What was found in place of a usable image.
    Unusable { expected: String, found: String },
}

impl Refusal {
    /// Neither a PNG nor a JPEG, or a broken one.
    fn broken(found: impl Into<String>) -> Refusal {
        Refusal::Unusable { expected: IMAGE.to_owned(), found: found.into() }
    }
}

/// What every image has to be.
pub const IMAGE: &str = "a PNG or JPEG image";

/// Height and width that an image will have once it fits, and how many pixels it takes on the way. Nothing is decoded.
pub fn measure(bytes: &[u8], fit: &Fit) -> Result<((u32, u32), u64), Refusal> {
    let header = Header::of(bytes)?;
    let size = fit::size(fit, header.upright_size(fit))?;
    let area = |(height, width): (u32, u32)| u64::from(height) * u64::from(width);
    Ok((size, area(size).max(area((header.height, header.width)))))
}

/// Decodes an image that has to have this height and width once it fits.
pub fn decode(bytes: &[u8], fit: &Fit, size: (u32, u32)) -> Result<Image, Refusal> {
    let header = Header::of(bytes)?;
    let found = fit::size(fit, header.upright_size(fit))?;
    if found != size {
        return Err(Refusal::OtherSize(found));
    }
    let mut image = match header.format {
        Format::Png => png::decode(bytes)?,
        Format::Jpeg => jpeg::decode(bytes)?,
    };
    if header.orientation > 1 {
        let oddity = if fit.exif_orientation { Oddity::Turned } else { Oddity::NotUpright };
        image.oddities.push(oddity);
        if fit.exif_orientation {
            exif::turn(&mut image, header.orientation);
        }
    }
    fit::apply(fit, &mut image)?;
    Ok(image)
}

/// Resizes and crops an image of this height, width and channels that is decoded already.
pub fn refit(pixels: &[u8], [height, width, channels]: [u32; 3], fit: &Fit) -> Result<Image, Refusal> {
    fit::size(fit, (height, width))?;
    let mut image = Image { height, width, channels, pixels: pixels.to_vec(), oddities: Vec::new() };
    fit::apply(fit, &mut image)?;
    Ok(image)
}

/// What an image says of itself before its pixels.
struct Header {
    format: Format,
    height: u32,
    width: u32,
    /// EXIF's, 1 to 8; 1 is upright.
    orientation: u8,
}

impl Header {
    fn of(bytes: &[u8]) -> Result<Header, Refusal> {
        let format = Format::of(bytes).map_err(Refusal::broken)?;
        let header = match format {
            Format::Png => png::header(bytes)?,
            Format::Jpeg => jpeg::header(bytes)?,
        };
        let (fixed, per_byte) = PIXELS;
        let pixels = u64::from(header.height) * u64::from(header.width);
        if pixels > fixed + per_byte * bytes.len() as u64 || 3 * pixels > LARGEST_IMAGE as u64 {
            let expected = format!("an image that {} bytes can hold", bytes.len());
            let found = format!("one of {}x{} pixels", header.height, header.width);
            return Err(Refusal::Unusable { expected, found });
        }
        Ok(header)
    }

    /// Height and width before it is made to fit.
    fn upright_size(&self, fit: &Fit) -> (u32, u32) {
        let lies = fit.exif_orientation && self.orientation > 4;
        if lies { (self.width, self.height) } else { (self.height, self.width) }
    }
}
