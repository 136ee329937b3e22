//! The networks have as many parameters as the published ones, and say which images they cannot be built for.

use clr_alexnet::Alexnet;

fn parameter_count(model: &str, options: &str, side: usize, classes: usize) -> Result<usize, clr_plugin::Error> {
    clr_parity::parameter_count::<Alexnet>(model, options, side, classes)
}

/// Those of `parity/torch_alexnet.py`, which are those of the weights that Caffe's model zoo has.
#[test]
fn networks_of_imagenet_have_the_published_number_of_parameters() {
    for model in ["bvlc_alexnet", "bvlc_reference_caffenet"] {
        assert_eq!(parameter_count(model, "{}", 227, 1000).unwrap(), 60_965_224, "{model}");
        // Images of 224 come to as many pixels behind the last pooling.
        assert_eq!(parameter_count(model, "{}", 224, 1000).unwrap(), 60_965_224, "{model}");
    }
}

#[test]
fn small_images_need_options_that_fit() {
    assert_eq!(
        parameter_count("bvlc_alexnet", "{}", 32, 10).unwrap_err().message,
        "bvlc_alexnet: layer pool5: the image is too small for pooling by 3 with stride 2 (its input is 1 x 1 x 256)"
    );
    let fits = r#"{"conv1_size": 5, "conv1_stride": 1, "conv1_pad": 2, "hidden": 512}"#;
    assert!(parameter_count("bvlc_alexnet", fits, 32, 10).unwrap() < 7_000_000);
    assert!(parameter_count("bvlc_alexnet", "{}", 64, 51).is_ok());
}
