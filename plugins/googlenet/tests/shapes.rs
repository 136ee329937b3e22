//! The network has as many parameters as the published one, and says which images it cannot be built for.

use clr_googlenet::Googlenet;

fn parameter_count(model: &str, options: &str, side: usize, classes: usize) -> Result<usize, clr_plugin::Error> {
    clr_parity::parameter_count::<Googlenet>(model, options, side, classes)
}

/// Those of `parity/torch_googlenet.py`: 13,378,280 is the number in the weights that Caffe's model zoo has.
#[test]
fn the_network_of_imagenet_has_the_published_number_of_parameters() {
    assert_eq!(parameter_count("bvlc_googlenet", "{}", 224, 1000).unwrap(), 13_378_280);
    assert_eq!(parameter_count("bvlc_googlenet", r#"{"fillers": "princeton"}"#, 224, 1000).unwrap(), 13_378_280);
    assert_eq!(parameter_count("bvlc_googlenet", r#"{"aux_weight": 0}"#, 224, 1000).unwrap(), 6_998_552);
}

#[test]
fn small_images_need_options_that_fit() {
    let message = |options, side| parameter_count("bvlc_googlenet", options, side, 51).unwrap_err().message;
    let too_small = "the image is too small for pooling by";
    assert_eq!(
        message("{}", 64),
        format!("bvlc_googlenet: layer pool5/7x7_s1: {too_small} 7 with stride 1 (its input is 2 x 2 x 1024)")
    );
    assert_eq!(
        message(r#"{"global_pool": true}"#, 32),
        format!("bvlc_googlenet: layer loss1/ave_pool: {too_small} 5 with stride 3 (its input is 2 x 2 x 512)")
    );
    for (options, side) in [
        (r#"{"global_pool": true}"#, 64),
        (r#"{"global_pool": true, "conv1_stride": 1}"#, 32),
        (r#"{"global_pool": true, "aux_weight": 0}"#, 32),
    ] {
        assert!(parameter_count("bvlc_googlenet", options, side, 51).is_ok(), "{options} at {side}");
    }
}
