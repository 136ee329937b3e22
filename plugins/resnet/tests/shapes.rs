//! The networks have as many parameters as the published ones, and say what they cannot be.

use clr_resnet::Resnet;

fn parameter_count(model: &str, options: &str, side: usize, classes: usize) -> Result<usize, clr_plugin::Error> {
    clr_parity::parameter_count::<Resnet>(model, options, side, classes)
}

/// Those of `parity/torch_resnet.py`, which rounded are those of He et al. (2016), table 6: 0.27, 0.46, 0.66, 0.85, 1.7 and
/// 19.4 million.
#[test]
fn networks_of_cifar_have_the_published_numbers_of_parameters() {
    for (depth, expected) in
        [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962), (1202, 19_421_274)]
    {
        let options = format!(r#"{{"depth": {depth}}}"#);
        assert_eq!(parameter_count("cifar_resnet", &options, 32, 10).unwrap(), expected, "ResNet-{depth}");
        assert_eq!(parameter_count("cifar_resnet", &options, 32, 100).unwrap(), expected + 90 * 65, "ResNet-{depth}");
    }
}

#[test]
fn other_depths_are_refused_with_the_nearest_right_ones() {
    for (depth, nearest) in [(9, "8 and 14"), (18, "14 and 20"), (21, "20 and 26"), (1199, "1196 and 1202")] {
        let error = parameter_count("cifar_resnet", &format!(r#"{{"depth": {depth}}}"#), 32, 10).unwrap_err();
        let expected = format!(
            "cifar_resnet: `depth` {depth} is not 6n + 2, as three stages of n blocks need: the nearest are {nearest}"
        );
        assert_eq!(error.message, expected);
    }
    let error = parameter_count("cifar_resnet", r#"{"depth": 2}"#, 32, 10).unwrap_err();
    assert_eq!(error.message, "option `depth` in the options of model cifar_resnet is 2: expected at least 8");
}

/// Those of torchvision.
#[test]
fn networks_of_imagenet_have_the_published_numbers_of_parameters() {
    for (model, expected) in [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)] {
        assert_eq!(parameter_count(model, "{}", 224, 1000).unwrap(), expected, "{model}");
    }
    let small = parameter_count("resnet18", r#"{"stem": "3x3"}"#, 64, 51).unwrap();
    assert_eq!(small, 11_689_512 - 3 * (49 - 9) * 64 - 949 * 513);
}

/// Those of `parity/torch_resnet.py`.
#[test]
fn networks_of_super_convergence_are_narrower_where_images_shrink() {
    for (depth, expected) in [(20, 224_042), (56, 808_682), (110, 1_685_642)] {
        let options = format!(r#"{{"depth": {depth}}}"#);
        assert_eq!(parameter_count("super_convergence", &options, 32, 10).unwrap(), expected, "depth {depth}");
    }
    let error = parameter_count("super_convergence", "{}", 9, 10).unwrap_err();
    assert_eq!(
        error.message,
        "super_convergence: layer L2_b1_sum_eltwise: it is added to 4 x 4 x 16 (its input is 5 x 5 x 16)"
    );
}
