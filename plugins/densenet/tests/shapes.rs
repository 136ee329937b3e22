//! The networks have as many parameters as the published ones, and say what they cannot be.

use clr_densenet::Densenet;

fn parameter_count(model: &str, options: &str, side: usize, classes: usize) -> Result<usize, clr_plugin::Error> {
    clr_parity::parameter_count::<Densenet>(model, options, side, classes)
}

/// Those of `parity/torch_densenet.py`, which rounded are those of Huang et al. (2017), table 2: 1.0, 7.0, 27.2, and with
/// bottlenecks and compression 0.8, 15.3 and 25.6 million.
#[test]
fn networks_of_cifar_have_the_published_numbers_of_parameters() {
    for (depth, growth, is_bc, expected) in [
        (40, 12, false, 1_019_722),
        (100, 12, false, 6_979_642),
        (100, 24, false, 27_249_082),
        (100, 12, true, 769_162),
        (250, 24, true, 15_324_406),
        (190, 40, true, 25_624_430),
    ] {
        let compression = if is_bc { 0.5 } else { 1.0 };
        let options =
            format!(r#"{{"depth": {depth}, "growth": {growth}, "bottleneck": {is_bc}, "compression": {compression}}}"#);
        assert_eq!(parameter_count("densenet", &options, 32, 10).unwrap(), expected, "{options}");
    }
    assert_eq!(parameter_count("densenet_caffe", "{}", 32, 10).unwrap(), 1_019_722);
}

#[test]
fn other_depths_are_refused_with_the_nearest_right_ones() {
    let message = |model, options| parameter_count(model, options, 32, 10).unwrap_err().message;
    assert_eq!(
        message("densenet", r#"{"depth": 41}"#),
        "densenet: `depth` 41 is not 3n + 4, as three blocks of n layers need: the nearest are 40 and 43"
    );
    assert_eq!(
        message("densenet", r#"{"depth": 102, "bottleneck": true}"#),
        "densenet: `depth` 102 is not 6n + 4, as three blocks of n layers with bottlenecks need: the nearest are 100 and 106"
    );
    assert_eq!(
        message("densenet", r#"{"depth": 9, "bottleneck": true}"#),
        "densenet: `depth` 9 is not 6n + 4, as three blocks of n layers with bottlenecks need: the least is 10"
    );
}

#[test]
fn images_need_a_pixel_after_two_poolings() {
    assert!(parameter_count("densenet", "{}", 4, 10).is_ok());
    let error = parameter_count("densenet", "{}", 3, 10).unwrap_err();
    let problem = "the image is too small for pooling by 2 with stride 2 (its input is 1 x 1 x 304)";
    assert_eq!(error.message, format!("densenet: layer features.transition2.pool: {problem}"));
}
