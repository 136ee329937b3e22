//! The networks fit any image that the poolings leave a pixel of, and any number of channels and classes.

use clr_cifar::Cifar;
use clr_plugin::{Dataset, Lane, Plugin, SessionConfig, SplitData, Transform};

#[track_caller]
fn check(shape: [usize; 3], class_count: usize, expected: Result<u64, &str>) {
    let split = SplitData { count: 100, images: None, labels: None };
    let dataset = Dataset::new(shape, class_count, [split; 3], Transform::default(), None).unwrap();
    for model in Cifar::description().models {
        let footprint = Cifar::footprint(&SessionConfig {
            device: "cpu",
            model: model.name,
            options: r#"{"precision": "f32"}"#,
            dataset: &dataset,
            batch_size: 10,
            thread_count: 1,
            lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 0, data_seed: 0 }],
        });
        match expected {
            Err(expected) => {
                assert_eq!(footprint.unwrap_err().message, format!("{}: {expected}", model.name));
            }
            Ok(bytes_per_lane) if model.name == "cifar10_full" => {
                assert_eq!(footprint.unwrap().bytes_per_lane, bytes_per_lane);
            }
            Ok(_) => assert!(footprint.is_ok(), "{} on {shape:?}", model.name),
        }
    }
}

/// The parameters of `cifar10_full`: weights and momentum, 4 bytes each.
fn bytes(channels: usize, last_pixels: usize, classes: usize) -> u64 {
    let convolutions = 25 * channels * 32 + 32 + 25 * 32 * 32 + 32 + 25 * 32 * 64 + 64;
    8 * (convolutions + last_pixels * 64 * classes + classes) as u64
}

#[test]
fn images_from_8_by_8_on_fit() {
    check([32, 32, 3], 10, Ok(bytes(3, 16, 10)));
    check([28, 28, 1], 10, Ok(bytes(1, 9, 10)));
    check([8, 11, 4], 100, Ok(bytes(4, 1, 100)));
    check([96, 64, 3], 2, Ok(bytes(3, 12 * 8, 2)));
}

#[test]
fn smaller_images_are_refused() {
    let problem = "the image is too small for pooling by 3 with stride 2";
    check([1, 32, 3], 10, Err(&format!("layer pool1: {problem} (its input is 1 x 32 x 32)")));
    check([3, 8, 3], 10, Err(&format!("layer pool2: {problem} (its input is 1 x 4 x 32)")));
    check([7, 8, 3], 10, Err(&format!("layer pool3: {problem} (its input is 1 x 2 x 64)")));
}

/// The memory that another trial at once adds to a run: the rest of a worker process takes 4 to 6 MiB.
#[test]
fn a_trial_of_one_thread_takes_less_than_36_mib() {
    let split = SplitData { count: 100, images: None, labels: None };
    let dataset = Dataset::new([32, 32, 3], 10, [split; 3], Transform::default(), None).unwrap();
    for model in Cifar::description().models {
        for options in [r#"{"convolution": "auto"}"#, r#"{"convolution": "direct"}"#] {
            let footprint = Cifar::footprint(&SessionConfig {
                device: "cpu",
                model: model.name,
                options,
                dataset: &dataset,
                batch_size: 100,
                thread_count: 1,
                lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 0, data_seed: 0 }],
            });
            let footprint = footprint.unwrap();
            let bytes = footprint.bytes_shared + footprint.bytes_per_lane;
            assert!(bytes < 36 << 20, "{} with {options}: {:.1} MiB", model.name, bytes as f64 / f64::from(1 << 20));
        }
    }
}
