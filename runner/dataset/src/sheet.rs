//! A contact sheet: a row of images for each class, as a PNG.

use super::error::DatasetError;
use super::{Dataset, Place};

/// Images of a class, and classes, that are shown at most.
const COLUMNS: usize = 12;
const ROWS: usize = 64;
/// Pixels between images.
const GAP: usize = 2;
/// Smaller images are shown larger, by a whole factor.
const LEAST: usize = 48;
const WHITE: u8 = 255;

/// The first training images of each class in canonical order, by class from the top. Small images are enlarged.
///
/// # Errors
///
/// Where the images are too large for a sheet.
pub fn contact_sheet(dataset: &Dataset) -> Result<Vec<u8>, DatasetError> {
    let (height, width, channels) = (dataset.height as usize, dataset.width as usize, dataset.channels as usize);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); (dataset.class_count as usize).min(ROWS)];
    for (index, &label) in dataset.train.labels.iter().enumerate() {
        if let Some(row) = rows.get_mut(label as usize).filter(|row| row.len() < COLUMNS) {
            row.push(index);
        }
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let factor = (LEAST / height.min(width).max(1)).max(1);
    let (cell_height, cell_width) = (factor * height + GAP, factor * width + GAP);
    let (sheet_height, sheet_width) = (rows.len() * cell_height + GAP, columns * cell_width + GAP);
    let mut sheet = vec![WHITE; sheet_height * sheet_width * channels];
    for (row, images) in rows.iter().enumerate() {
        for (column, &index) in images.iter().enumerate() {
            let image = &dataset.train.images[index * dataset.image_bytes()..][..dataset.image_bytes()];
            for y in 0..factor * height {
                for x in 0..factor * width {
                    let from = (y / factor * width + x / factor) * channels;
                    let to = ((GAP + row * cell_height + y) * sheet_width + GAP + column * cell_width + x) * channels;
                    sheet[to..to + channels].copy_from_slice(&image[from..from + channels]);
                }
            }
        }
    }
    let encoded = || -> Result<Vec<u8>, String> {
        let size = |size: usize| u32::try_from(size).map_err(|error| error.to_string());
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size(sheet_width)?, size(sheet_height)?);
        encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
        let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
        writer.write_image_data(&sheet).map_err(|error| error.to_string())?;
        drop(writer);
        Ok(bytes)
    };
    encoded()
        .map_err(|error| DatasetError::malformed(&dataset.source, Place::File, "images that fit on a sheet", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{canonical, fixtures, image};

    #[test]
    fn each_class_is_a_row_of_its_first_images_enlarged_between_white_lines() {
        let set = canonical::dataset("set", "", fixtures::random(5, 6, 3, 3, 40, 6)).unwrap();
        let sheet = contact_sheet(&set).unwrap();
        let fit = clr_spec::Fit::default();
        let (size, _) = image::measure(&sheet, &fit).unwrap();
        // 48 / 5 is 9: cells of 45 + 2 by 54 + 2.
        assert_eq!(size, (3 * 47 + 2, 12 * 56 + 2));
        let pixels = image::decode(&sheet, &fit, size).unwrap().pixels;
        let at = |y: usize, x: usize| &pixels[(y * size.1 as usize + x) * 3..][..3];
        assert_eq!((at(0, 0), at(48, 200)), (&[255; 3][..], &[255; 3][..]));
        let first = set.train.labels.iter().position(|&label| label == 1).unwrap();
        let image = &set.train.images[first * 90..][..90];
        // The pixel in row 2, column 3 of the first image of class 1.
        assert_eq!(at(2 + 47 + 2 * 9 + 4, 2 + 3 * 9 + 8), &image[(2 * 6 + 3) * 3..][..3]);
    }
}
