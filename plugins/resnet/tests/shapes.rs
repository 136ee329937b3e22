//! The networks have as many parameters as the published ones, and say what they cannot be.

use clr_plugin::{Dataset, Error, Lane, Plugin, SessionConfig, SplitData, Transform};
use clr_resnet::Resnet;

/// The number of parameters of a model for images of a size.
fn parameter_count(model: &str, options: &str, side: usize, class_count: usize) -> Result<usize, Error> {
    let split = SplitData { count: 100, images: None, labels: None };
    let dataset = Dataset::new([side, side, 3], class_count, [split; 3], Transform::default(), None).unwrap();
    let list = Resnet::PARAMETERS.unwrap();
    let parameters = list(&SessionConfig {
        device: "cpu",
        model,
        options,
        dataset: &dataset,
        batch_size: 10,
        thread_count: 1,
        lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 0, data_seed: 0 }],
    })?;
    Ok(parameters.iter().map(|parameter| parameter.value_count).sum())
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
