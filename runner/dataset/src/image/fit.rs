//! Bringing images of differing sizes to one: torchvision's `Resize` of the shorter side, then its `CenterCrop`.

use clr_spec::Fit;
use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::{Image, Refusal};

/// The size that an image of a size will have.
pub(super) fn size(fit: &Fit, size: (u32, u32)) -> Result<(u32, u32), Refusal> {
    let resized = fit.resize.map_or(size, |side| resized(size, side));
    match fit.crop {
        None => Ok(resized),
        Some(crop) if resized.0.min(resized.1) >= crop => Ok((crop, crop)),
        Some(crop) => {
            let expected = format!("an image of at least {crop}x{crop}, from which `crop` cuts its middle");
            let (height, width) = resized;
            let after = if fit.resize.is_some() { " after `resize`" } else { "" };
            Err(Refusal::Unusable { expected, found: format!("one of {height}x{width}{after}") })
        }
    }
}

/// Resizes and crops.
pub(super) fn apply(fit: &Fit, image: &mut Image) -> Result<(), Refusal> {
    if let Some(side) = fit.resize {
        resize(image, resized((image.height, image.width), side))?;
    }
    if let Some(side) = fit.crop {
        crop(image, side);
    }
    Ok(())
}

/// The shorter side becomes `side`, the longer one as much in proportion, rounded down: torchvision's `Resize(side)`.
fn resized((height, width): (u32, u32), side: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        let long = u64::from(side) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(long).unwrap_or(u32::MAX).max(1)
    };
    if height <= width { (side, longer(width, height)) } else { (longer(height, width), side) }
}

/// Bilinear, the filter as wide as the image shrinks: Pillow's `BILINEAR`, which is what torchvision's `Resize` uses.
fn resize(image: &mut Image, (height, width): (u32, u32)) -> Result<(), Refusal> {
    if (height, width) == (image.height, image.width) {
        return Ok(());
    }
    let failed = |error: String| {
        let found = format!("one of {}x{} ({error})", image.height, image.width);
        Refusal::Unusable { expected: format!("an image that can be resized to {height}x{width}"), found }
    };
    // No side of a set's images comes near this.
    if u64::from(height) * u64::from(width) > super::LARGEST_IMAGE as u64 / 3 {
        return Err(failed("too long for its breadth".to_owned()));
    }
    let pixel = if image.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(image.width, image.height, &image.pixels, pixel);
    let source = source.map_err(|error| failed(error.to_string()))?;
    let mut target = Target::new(width, height, pixel);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(error.to_string()))?;
    (image.height, image.width, image.pixels) = (height, width, target.into_vec());
    Ok(())
}

/// Cuts a square from the middle, which is where torchvision's `CenterCrop` has it: half a pixel goes to the even place.
fn crop(image: &mut Image, side: u32) {
    let (height, width, channels) = (image.height as usize, image.width as usize, image.channels as usize);
    let size = side as usize;
    let (top, left) = (middle(height - size), middle(width - size));
    let rows = image.pixels.chunks_exact(width * channels).skip(top).take(size);
    image.pixels = rows.flat_map(|row| &row[left * channels..][..size * channels]).copied().collect();
    (image.height, image.width) = (side, side);
}

/// Python's `round(rest / 2)`.
fn middle(rest: usize) -> usize {
    let half = rest / 2;
    half + (rest % 2) * (half % 2)
}
