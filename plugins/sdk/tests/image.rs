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
    let pad = Transform { pad: 1 << 20, ..none };
    assert_eq!(make(&[0, 0], pad), "images of 2 x 2, padded by 1048576: too large");
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
      clr_transform transform = {sizeof transform, mean, 189, scale, 3, 3, 0, 0, 1};
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
        let transform = Transform { mean, scale: &[0.1, 0.7, 3.3], pad: 3, crop, flip: true };
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
