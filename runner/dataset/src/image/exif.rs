//! EXIF's orientation: how an image is to be turned so that it stands upright.

use super::Image;

/// The tag of the orientation in the first directory.
const ORIENTATION: u16 = 0x0112;

/// The orientation in a block of EXIF data (a TIFF header and its directories), 1 to 8. 1, upright, where none is told.
pub(super) fn orientation(exif: &[u8]) -> u8 {
    find(exif).filter(|orientation| (1..=8).contains(orientation)).unwrap_or(1)
}

fn find(exif: &[u8]) -> Option<u8> {
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes: [u8; 4] = exif.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = (0..usize::from(short(directory)?)).map(|entry| directory + 2 + 12 * entry);
    for entry in entries {
        if short(entry)? == ORIENTATION {
            return u8::try_from(short(entry + 8)?).ok();
        }
    }
    None
}

/// Turns and mirrors an image of an orientation, so that it is upright.
pub(super) fn turn(image: &mut Image, orientation: u8) {
    let (height, width) = (image.height as usize, image.width as usize);
    let channels = image.channels as usize;
    let lies = orientation > 4;
    let (new_height, new_width) = if lies { (width, height) } else { (height, width) };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for row in 0..new_height {
        for column in 0..new_width {
            // Where this pixel is in the image as it is stored.
            let (y, x) = match orientation {
                2 => (row, width - 1 - column),
                3 => (height - 1 - row, width - 1 - column),
                4 => (height - 1 - row, column),
                5 => (column, row),
                6 => (height - 1 - column, row),
                7 => (height - 1 - column, width - 1 - row),
                8 => (column, width - 1 - row),
                _ => (row, column),
            };
            pixels.extend_from_slice(&image.pixels[(y * width + x) * channels..][..channels]);
        }
    }
    (image.height, image.width, image.pixels) = (new_height as u32, new_width as u32, pixels);
}
