//! Images of every kind against their pixels in Pillow and torchvision (`goldens/images.py`).

use std::collections::BTreeMap;
use std::io::Read;

use clr_spec::Fit;
use flate2::read::GzDecoder;

use super::*;

const GOLDENS: &[u8] = include_bytes!("goldens/images.tar.gz");

fn goldens() -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(GOLDENS));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    });
    files.collect()
}

/// Height, width, channels and pixels of a `.raw` file.
fn raw(bytes: &[u8]) -> ([u32; 3], &[u8]) {
    let (sizes, pixels) = bytes.split_at(12);
    let sizes: Vec<u32> = sizes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
    (sizes.try_into().unwrap(), pixels)
}

fn decoded(bytes: &[u8], fit: &Fit) -> Result<Image, Refusal> {
    let (size, _) = measure(bytes, fit)?;
    decode(bytes, fit, size)
}

/// The largest difference of a byte and the mean of all, from what Pillow decodes.
fn difference(files: &BTreeMap<String, Vec<u8>>, name: &str, fit: &Fit, golden: &str) -> (u8, f64, Vec<Oddity>) {
    let image = decoded(&files[name], fit).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    let ([height, width, channels], expected) = raw(&files[golden]);
    assert_eq!([image.height, image.width, image.channels], [height, width, channels], "{name}");
    assert_eq!(image.pixels.len(), expected.len(), "{name}");
    let differences: Vec<u8> = image.pixels.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|&difference| f64::from(difference)).sum();
    let largest = differences.iter().max().copied().unwrap_or(0);
    (largest, sum / differences.len() as f64, image.oddities)
}

#[test]
fn jpegs_of_every_kind_have_the_pixels_of_libjpeg_turbo_within_rounding() {
    let files = goldens();
    for name in ["444", "422", "420", "progressive", "restart", "grey", "cmyk", "ycck"] {
        let name = format!("{name}.jpg");
        let (largest, mean, oddities) = difference(&files, &name, &Fit::default(), &format!("{name}.raw"));
        assert!(largest <= 5 && mean <= 0.5, "{name}: {largest} at most, {mean} on average");
        let is_special = name.contains("cmyk") || name.contains("ycck");
        assert_eq!(oddities, if is_special { vec![Oddity::FourColours] } else { Vec::new() }, "{name}");
    }
}

#[test]
fn pngs_of_every_kind_have_pillows_pixels_exactly() {
    let files = goldens();
    for (name, special) in [
        ("rgb", None),
        ("grey", None),
        ("palette", None),
        ("bits", None),
        ("alpha", Some(Oddity::Transparent)),
        ("grey_alpha", Some(Oddity::Transparent)),
        ("sixteen", Some(Oddity::SixteenBits)),
        ("sixteen_grey", Some(Oddity::SixteenBits)),
    ] {
        let name = format!("{name}.png");
        let (largest, _, oddities) = difference(&files, &name, &Fit::default(), &format!("{name}.raw"));
        assert_eq!((largest, oddities), (0, special.into_iter().collect()), "{name}");
    }
}

#[test]
fn images_are_turned_as_their_exif_orientation_says_only_where_that_is_asked_for() {
    let files = goldens();
    let upright = Fit { exif_orientation: true, ..Fit::default() };
    for orientation in 1..=8 {
        let name = format!("turned{orientation}.png");
        let odd = |oddity| if orientation == 1 { Vec::new() } else { vec![oddity] };
        let as_stored = difference(&files, &name, &Fit::default(), &format!("{name}.raw"));
        assert_eq!((as_stored.0, as_stored.2), (0, odd(Oddity::NotUpright)), "{name}");
        let turned = difference(&files, &name, &upright, &format!("{name}.upright.raw"));
        assert_eq!((turned.0, turned.2), (0, odd(Oddity::Turned)), "{name}");
    }
    let (largest, _, oddities) = difference(&files, "turned6.jpg", &upright, "turned6.jpg.upright.raw");
    assert!(largest <= 5 && oddities == [Oddity::Turned], "{largest} {oddities:?}");
    let (largest, _, oddities) = difference(&files, "turned6.jpg", &Fit::default(), "turned6.jpg.raw");
    assert!(largest <= 5 && oddities == [Oddity::NotUpright], "{largest} {oddities:?}");
}

/// torchvision resizes with Pillow, which rounds each of two passes to bytes; so does this, in its own arithmetic.
#[test]
fn resize_and_crop_are_torchvisions_resize_and_center_crop_to_one_level() {
    let files = goldens();
    let mut count = 0;
    for golden in files.keys().filter(|name| name.starts_with("size") && name.contains(".png.r")) {
        let (name, steps) = golden.trim_end_matches(".raw").split_once(".r").unwrap();
        let (resize, crop) = steps.split_once(".c").unwrap();
        let fit = Fit { resize: resize.parse().ok(), crop: crop.parse().ok(), ..Fit::default() };
        let (largest, mean, _) = difference(&files, name, &fit, golden);
        let most = u8::from(fit.resize.is_some());
        assert!(largest <= most && mean <= 0.3, "{golden}: {largest} at most, {mean} on average");
        count += 1;
    }
    assert_eq!(count, 30);
}

#[track_caller]
fn check_refused(bytes: &[u8], fit: &Fit, expected: &str) {
    let Err(Refusal::Unusable { expected: wanted, found }) = decoded(bytes, fit) else { panic!("it was taken") };
    assert_eq!(format!("expected {wanted}, found {found}"), expected);
}

#[test]
fn what_is_no_image_or_a_part_of_one_is_refused_with_its_kind() {
    let files = goldens();
    let check = |bytes: &[u8], found: &str| {
        check_refused(bytes, &Fit::default(), &format!("expected a PNG or JPEG image, found {found}"));
    };
    check(&files["truncated.jpg"], "a truncated JPEG image");
    check(&files["truncated.png"], "a truncated PNG image");
    check(b"", "no bytes");
    check(b"GIF89a\x01\0\x01\0", "a GIF image");
    check(b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image");
    check(b"<html>", "text such as HTML, SVG or XML");
    check(&[0; 64], "bytes that are all equal");
    check(b"\xff\xd8\xff\xd9", "a JPEG image without a picture");
    let small = Fit { crop: Some(50), ..Fit::default() };
    let expected = "expected an image of at least 50x50, from which `crop` cuts its middle, found one of 45x61";
    check_refused(&files["rgb.png"], &small, expected);
}

/// With its entropy-coded data damaged, an image is decoded as far as that goes, and said to be damaged; or it is refused.
#[test]
fn damage_within_a_jpeg_is_told_or_refused_and_never_a_panic() {
    let files = goldens();
    let (mut told, mut refused) = (0, 0);
    for name in ["420.jpg", "progressive.jpg", "cmyk.jpg", "restart.jpg"] {
        let sound = &files[name];
        for place in (2..sound.len()).step_by(7) {
            let mut bytes = sound.clone();
            bytes[place] ^= 0x55;
            match decoded(&bytes, &Fit::default()) {
                Ok(image) => told += usize::from(image.oddities.contains(&Oddity::Damaged)),
                Err(_) => refused += 1,
            }
        }
        for end in (0..sound.len() - 2).step_by(11) {
            assert!(decoded(&sound[..end], &Fit::default()).is_err(), "{name}: {end} bytes");
        }
    }
    assert!(told > 0 && refused > 0, "{told} {refused}");
}
