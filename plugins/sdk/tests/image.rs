//! Images as a model sees them: by hand, and the same bits from `clr_image.h`.

use std::fmt::Write as _;
use std::process::Command;

use clr_plugin::{Augment, Dataset, Split, SplitData, Transform};

/// The pixels of image i are 16 i, 16 i + 1, ...
fn pixels(count: usize, size: usize) -> Vec<u8> {
    (0..count).flat_map(|image| (0..size).map(move |index| (16 * image + index) as u8)).collect()
}

fn fill(shape: [usize; 3], transform: Transform<'_>, samples: &[u32], augment: Option<Augment<'_>>) -> Vec<f32> {
    let size = shape.iter().product();
    let (images, labels) = (pixels(5, size), vec![0, 1, 2, 1, 0]);
    let split = SplitData { count: 5, images: Some(&images), labels: Some(&labels) };
    let dataset = Dataset::new(shape, 3, [split, split, split], transform, None).unwrap();
    let mut output = vec![f32::NAN; samples.len() * dataset.input_shape().iter().product::<usize>()];
    let mut found = vec![-1; samples.len()];
    dataset.fill_batch(Split::Train, samples, augment, &mut output, &mut found).unwrap();
    assert_eq!(found, samples.iter().map(|&sample| labels[sample as usize]).collect::<Vec<_>>());
    output
}

#[test]
fn evaluation_normalises_and_crops_the_centre() {
    let plain = fill([2, 2, 1], Transform::default(), &[1, 0], None);
    assert_eq!(plain, [16.0, 17.0, 18.0, 19.0, 0.0, 1.0, 2.0, 3.0]);
    let pixel_mean =
        Transform { mean: &[0.0, 1.0, 2.0, 3.0], scale: &[0.5], flip: true, pad: 4, ..Transform::default() };
    assert_eq!(fill([2, 2, 1], pixel_mean, &[1], None), [8.0; 4]);
    let channels = Transform { mean: &[1.0, 2.0], scale: &[1.0, 10.0], ..Transform::default() };
    assert_eq!(fill([1, 2, 2], channels, &[0], None), [-1.0, -10.0, 1.0, 10.0]);
    // (5 - 2) / 2 is 1, for both axes.
    let cropped = Transform { crop: Some([2, 2]), ..Transform::default() };
    assert_eq!(fill([5, 5, 1], cropped, &[0], None), [6.0, 7.0, 11.0, 12.0]);
    // Caffe's mean image is indexed at the crop's position.
    let mean: Vec<f32> = (0..25).map(|index| index as f32).collect();
    let cropped = Transform { mean: &mean, crop: Some([2, 2]), ..Transform::default() };
    assert_eq!(fill([5, 5, 1], cropped, &[1], None), [16.0; 4]);
}

#[test]
fn training_flips_half_of_the_images_and_pads_with_zeros_after_the_mean() {
    let mean = [100.0];
    let transform = Transform { mean: &mean, flip: true, pad: 1, ..Transform::default() };
    let [mut flipped, mut kept, mut padded] = [0; 3];
    let mut seen = std::collections::HashSet::new();
    for epoch in 0..400 {
        let augment = Some(Augment { data_seed: 7, epochs: &[epoch] });
        let output = fill([3, 3, 1], transform, &[2], augment);
        assert_eq!(output, fill([3, 3, 1], transform, &[2], augment), "a function of seed, sample and epoch");
        seen.insert(output.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        padded += u32::from(output.contains(&0.0));
        // The centre of the crop is always in the image or beside it; pixels of a row rise unless flipped.
        let row = &output[3..6];
        let rises: Vec<f32> =
            row.windows(2).filter(|pair| !pair.contains(&0.0)).map(|pair| pair[1] - pair[0]).collect();
        kept += u32::from(rises.first() == Some(&1.0));
        flipped += u32::from(rises.first() == Some(&-1.0));
    }
    assert_eq!(seen.len(), 2 * 3 * 3, "flip x top x left");
    assert_eq!(kept + flipped, 400);
    assert!((160..240).contains(&kept), "{kept} of 400 kept");
    // Eight of nine places show padding.
    assert!((330..380).contains(&padded), "{padded} of 400 padded");
}

#[test]
fn malformed_datasets_and_batches_are_refused() {
    let images = [0; 8];
    let make = |labels: &[i32], transform: Transform<'_>| {
        let split = SplitData { count: 2, images: Some(&images), labels: Some(labels) };
        let none = SplitData::default();
        match Dataset::new([2, 2, 1], 3, [split, none, none], transform, None) {
            Ok(dataset) => {
                let mut buffers = ([0.0; 4], [0]);
                dataset
                    .fill_batch(Split::Train, &[2], None, &mut buffers.0, &mut buffers.1)
                    .expect_err("there is no sample 2")
                    .message
            }
            Err(error) => error.message,
        }
    };
    let none = Transform::default();
    assert_eq!(make(&[0, 2], none), "sample 2 of a split of 2");
    assert_eq!(make(&[0, 3], none), "label 3 in a dataset of 3 classes");
    assert_eq!(make(&[0, -1], none), "label -1 in a dataset of 3 classes");
    assert_eq!(make(&[0], none), "images or labels are not those of 2 samples");
    assert_eq!(make(&[0, 0], Transform { mean: &[0.0; 3], ..none }), "a mean of 3 values for 2 x 2 x 1");
    assert_eq!(make(&[0, 0], Transform { scale: &[0.0; 3], ..none }), "a scale of 3 values for 1 channels");
    let crop = Transform { crop: Some([5, 2]), pad: 1, ..none };
    assert_eq!(make(&[0, 0], crop), "a crop of 5 x 2 from images of 4 x 4, padding included");
    let pad = Transform { min_area: 0.5, pad: 1, ..none };
    assert_eq!(make(&[0, 0], pad), "areas of at least 0.5 of an image padded by 1");
    assert_eq!(make(&[0, 0], Transform { min_area: 1.5, ..none }), "areas of at least 1.5 of an image padded by 0");
    assert_eq!(make(&[0, 0], Transform { lighting: 0.1, ..none }), "lighting of 0.1 for 1 channels");
    let pad = Transform { pad: 1 << 20, ..none };
    assert_eq!(make(&[0, 0], pad), "images of 2 x 2, padded by 1048576: too large");
}

/// A gradient from left to right and from top to bottom, so that a pixel's value says where it is from.
fn slopes([height, width, channels]: [usize; 3]) -> Vec<u8> {
    let pixel = move |y: usize, x: usize| (0..channels).map(move |channel| (3 * y + 2 * x + 20 * channel) as u8);
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(y, x))).collect()
}

fn fill_one(shape: [usize; 3], images: &[u8], transform: Transform<'_>, augment: Option<Augment<'_>>) -> Vec<f32> {
    let split = SplitData { count: 1, images: Some(images), labels: Some(&[0]) };
    let dataset = Dataset::new(shape, 1, [split, split, split], transform, None).unwrap();
    let mut output = vec![f32::NAN; dataset.input_shape().iter().product::<usize>()];
    dataset.fill_batch(Split::Train, &[0], augment, &mut output, &mut [9]).unwrap();
    output
}

/// Of a slope every area, resized, is a slope whose values say which area it is.
#[test]
fn training_images_are_areas_of_the_stored_image_resized_to_the_crop() {
    let shape = [24, 32, 3];
    let images = slopes(shape);
    let transform = Transform { crop: Some([6, 8]), flip: true, min_area: 0.3, ..Transform::default() };
    let (mut flipped, mut least, mut most) = (0, f32::MAX, 0.0_f32);
    for epoch in 0..200 {
        let augment = Some(Augment { data_seed: 9, epochs: &[epoch] });
        let output = fill_one(shape, &images, transform, augment);
        assert_eq!(output, fill_one(shape, &images, transform, augment), "a function of seed, sample and epoch");
        let value = |y: usize, x: usize, channel: usize| output[(y * 8 + x) * 3 + channel];
        // Away from the edges, filtering leaves a slope as it is: steps are those of the image times the sides' ratio.
        let down = (value(3, 4, 0) - value(2, 4, 0)) / 3.0 * 6.0;
        let across = (value(3, 4, 1) - value(3, 3, 1)) / 2.0 * 8.0;
        flipped += u32::from(across < 0.0);
        let share = down * across.abs() / (24.0 * 32.0);
        (least, most) = (least.min(share), most.max(share));
        let ratio = across.abs() / down;
        assert!((0.7..1.45).contains(&ratio), "an area of {across} x {down}");
        // The middle of the area lies where its slope says, and all channels are of one place.
        let middle = (value(2, 3, 0) + value(3, 4, 0)) / 2.0;
        assert!(middle > 0.0 && middle < 3.0 * 24.0 + 2.0 * 32.0);
        assert!((value(3, 4, 2) - value(3, 4, 0) - 40.0).abs() < 1e-3);
    }
    assert!((70..130).contains(&flipped), "{flipped} of 200 flipped");
    assert!((0.25..0.4).contains(&least) && (0.9..1.05).contains(&most), "areas of {least} to {most}");
    // In evaluation there is a plain crop of the middle.
    let plain = fill_one(shape, &images, transform, None);
    assert_eq!(plain[..3], [3.0 * 9.0 + 2.0 * 12.0, 3.0 * 9.0 + 2.0 * 12.0 + 20.0, 3.0 * 9.0 + 2.0 * 12.0 + 40.0]);
}

#[test]
fn the_mean_image_is_resized_with_the_area() {
    let shape = [16, 16, 3];
    let images = slopes(shape);
    let mean: Vec<f32> = images.iter().map(|&pixel| f32::from(pixel) - 5.0).collect();
    for scale in [&[][..], &[0.5], &[1.0, 2.0, 3.0]] {
        let transform =
            Transform { mean: &mean, scale, crop: Some([7, 5]), flip: true, min_area: 0.2, ..Transform::default() };
        for epoch in 0..20 {
            let output = fill_one(shape, &images, transform, Some(Augment { data_seed: 2, epochs: &[epoch] }));
            for pixel in output.chunks_exact(3) {
                for (channel, value) in pixel.iter().enumerate() {
                    let factor = scale.get(channel).or(scale.first()).copied().unwrap_or(1.0);
                    assert!((value - 5.0 * factor).abs() < 1e-4, "{value}, scale {factor}");
                }
            }
        }
    }
}

#[test]
fn lighting_adds_one_colour_to_all_pixels_of_a_training_image_before_the_scale() {
    let shape = [4, 5, 3];
    let images = slopes(shape);
    let plain = Transform { mean: &[1.0, 2.0, 3.0], scale: &[0.5], ..Transform::default() };
    let lit = Transform { lighting: 0.1, ..plain };
    let expected = fill_one(shape, &images, plain, None);
    assert_eq!(fill_one(shape, &images, lit, None), expected, "none in evaluation");
    let mut seen = std::collections::HashSet::new();
    for epoch in 0..50 {
        let output = fill_one(shape, &images, lit, Some(Augment { data_seed: 4, epochs: &[epoch] }));
        let colour: Vec<f32> = (0..3).map(|channel| output[channel] - expected[channel]).collect();
        for (pixel, plain) in output.chunks_exact(3).zip(expected.chunks_exact(3)) {
            for channel in 0..3 {
                assert!((pixel[channel] - plain[channel] - colour[channel]).abs() < 1e-4);
            }
        }
        assert!(colour.iter().all(|colour| colour.abs() < 0.5 * 0.1 * 55.5 * 5.0), "{colour:?}");
        seen.insert(colour.iter().map(|colour| colour.to_bits()).collect::<Vec<_>>());
    }
    assert_eq!(seen.len(), 50);
}

/// A program that fills the same batches with `clr_image.h` and prints their bits.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
#include "clr_image.h"

static void print(const clr_dataset *dataset, const uint32_t *epochs, uint64_t seed) {
   static const uint32_t samples[] = {4, 0, 2};
   float images[3 * 2048];
   int32_t labels[3];
   clr_error error;
   uint32_t height, width, i;
   clr_image_input_size(dataset, &height, &width);
   if (clr_image_batch(dataset, CLR_TRAIN, samples, epochs, seed, 3, images, labels, &error) != CLR_OK) return;
   for (i = 0; i < 3 * height * width * dataset->channels; i++) {
      uint32_t bits;
      memcpy(&bits, &images[i], sizeof bits);
      printf("%08x ", (unsigned)bits);
   }
   printf("%d %d %d\n", (int)labels[0], (int)labels[1], (int)labels[2]);
}

int main(void) {
   static uint8_t pixels[5 * 7 * 9 * 3];
   static const int32_t labels[] = {0, 1, 2, 1, 0};
   static float mean[7 * 9 * 3];
   static const float scale[] = {0.1f, 0.7f, 3.3f};
   uint32_t image, index, crop;
   for (image = 0; image < 5; image++)
      for (index = 0; index < 189; index++) pixels[189 * image + index] = (uint8_t)(16 * image + index);
   for (index = 0; index < 189; index++) mean[index] = 0.3f * (float)index;
   for (crop = 0; crop < 2; crop++) {
      clr_transform transform = {sizeof transform, mean, 189, scale, 3, 3, 0, 0, 1, 0, 0};
      clr_dataset dataset = {sizeof dataset, 7, 9, 3, 3, {{5, pixels, labels}, {0, 0, 0}, {0, 0, 0}}, 0, 0, 0};
      uint32_t epoch;
      dataset.transform = &transform;
      if (crop) transform.crop_height = 5, transform.crop_width = 8, transform.mean_count = 3;
      print(&dataset, NULL, 0);
      for (epoch = 0; epoch < 20; epoch++) {
         uint32_t epochs[3];
         epochs[0] = epoch, epochs[1] = epoch, epochs[2] = epoch + 1;
         print(&dataset, epochs, 0x123456789ABCDEF0u);
      }
   }
   return 0;
}
"#;

#[test]
fn clr_image_h_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("image.c"), folder.path().join("image"));
    std::fs::write(&source, PROGRAM).unwrap();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../abi/include");
    let compiled =
        Command::new("cc").args(["-std=c99", "-O2", "-I", include]).arg(&source).arg("-o").arg(&program).output();
    let Ok(compiled) = compiled else {
        eprintln!("SKIPPED: no compiler `cc` here");
        return;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&program).output().unwrap();

    let mean: Vec<f32> = (0..189).map(|index| 0.3 * index as f32).collect();
    let mut expected = String::new();
    for crop in [None, Some([5, 8])] {
        let mean = if crop.is_some() { &mean[..3] } else { &mean[..] };
        let transform = Transform { mean, scale: &[0.1, 0.7, 3.3], pad: 3, crop, flip: true, ..Transform::default() };
        let mut print = |augment: Option<Augment<'_>>| {
            for value in fill([7, 9, 3], transform, &[4, 0, 2], augment) {
                write!(expected, "{:08x} ", value.to_bits()).unwrap();
            }
            expected.push_str("0 0 2\n");
        };
        print(None);
        for epoch in 0..20 {
            print(Some(Augment { data_seed: 0x1234_5678_9ABC_DEF0, epochs: &[epoch, epoch, epoch + 1] }));
        }
    }
    assert!(String::from_utf8_lossy(&printed.stdout) == expected, "clr_image.h and the SDK differ");
}
