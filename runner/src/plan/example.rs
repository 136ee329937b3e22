//! Facts made by hand, for tests.

use std::collections::BTreeMap;

use serde_json::json;

use super::{DatasetFacts, Facts, ModelFacts, OptimizerFacts, ParameterFacts, PluginFacts};
use crate::spec::duration::Unit;
use crate::spec::table::Values;
use crate::spec::{Spec, TableColumn};

/// A plugin much like `cifar`, and the sizes of two datasets.
pub(crate) fn facts() -> Facts {
    let model = |name: &str, weight_decay: f64| ModelFacts {
        name: name.to_owned(),
        options_schema: json!({ "type": "object", "properties": {
            "width": { "type": "integer", "minimum": 1, "maximum": 512, "default": 32 },
            "pool": { "type": "string", "enum": ["max", "average"], "default": "max" },
            "dropout": { "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0 },
            "accumulate": { "type": "integer", "minimum": 1 },
        } }),
        defaults: [("momentum", 0.9), ("weight_decay", weight_decay), ("beta1", 0.9), ("beta2", 0.999)]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        hypers: ["lr", "momentum", "weight_decay", "beta1", "beta2"].map(str::to_owned).into(),
        metrics: ["loss", "accuracy", "grad_norm"].map(str::to_owned).into(),
    };
    let optimizer = |name: &str, properties: serde_json::Value, hypers: &[&str]| OptimizerFacts {
        name: name.to_owned(),
        options_schema: json!({ "type": "object", "properties": properties }),
        hypers: hypers.iter().map(|name| (*name).to_owned()).collect(),
    };
    let clip = json!({ "type": "number", "minimum": 0, "default": 0 });
    let groups = json!({ "type": "array" });
    let momentum = json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1 });
    let plugin = PluginFacts {
        name: "cifar".to_owned(),
        version: "1.0".to_owned(),
        numerics_revision: 1,
        models: vec![
            model("cifar10_quick", 0.004),
            model("cifar10_full", 0.004),
            model("cifar10_full_sigmoid_bn", 0.0),
            ModelFacts { options_schema: json!({ "type": "object", "properties": {} }), ..model("old", 0.0) },
        ],
        optimizers: vec![
            optimizer(
                "sgd",
                json!({ "momentum": momentum, "clip_gradients": clip, "groups": groups }),
                &["lr", "momentum", "weight_decay"],
            ),
            optimizer(
                "nesterov",
                json!({ "momentum": momentum, "clip_gradients": clip, "groups": groups }),
                &["lr", "momentum", "weight_decay"],
            ),
            optimizer(
                "adam",
                json!({ "epsilon": { "type": "number", "exclusiveMinimum": 0, "default": 1e-8 }, "clip_gradients": clip, "groups": groups }),
                &["lr", "weight_decay", "beta1", "beta2"],
            ),
            optimizer(
                "rmsprop",
                json!({ "rms_decay": { "type": "number", "default": 0.98 }, "clip_gradients": clip }),
                &["lr", "weight_decay"],
            ),
            optimizer("adagrad", json!({ "clip_gradients": clip }), &["lr", "weight_decay"]),
            optimizer("adadelta", json!({ "decay": { "type": "number", "default": 0.95 } }), &["lr", "weight_decay"]),
        ],
    };
    let dataset = |height, channels, train_count, test_count| DatasetFacts {
        height,
        width: height,
        channels,
        class_count: 10,
        train_count,
        test_count,
        class_counts: None,
        digest: None,
        stored_digest: None,
    };
    Facts {
        plugins: BTreeMap::from([
            ("cifar".to_owned(), Ok(plugin)),
            ("broken".to_owned(), Err("it is for ABI 2, this program has ABI 1".to_owned())),
        ]),
        plugin_names: vec!["cifar".to_owned(), "quadratic".to_owned()],
        datasets: BTreeMap::from([
            ("cifar10".to_owned(), Ok(dataset(32, 3, 50_000, 10_000))),
            ("mnist".to_owned(), Ok(dataset(28, 1, 60_000, 10_000))),
        ]),
        dataset_names: ["cifar10", "cifar100", "mnist", "shapes"].map(str::to_owned).into(),
        tables: BTreeMap::from([
            (TableColumn::new("lr.csv", "policy", None), Ok(Values::EachStep([0.1, 0.2].into()))),
            (
                TableColumn::new("sparse.csv", "policy", None),
                Ok(Values::From { unit: Unit::Iterations, rows: [(0.0, 0.1), (10.0, 0.2), (100.0, 0.4)].into() }),
            ),
            (
                TableColumn::new("epochs.csv", "policy", None),
                Ok(Values::From { unit: Unit::Epochs, rows: [(0.0, 0.1), (1.0, 0.2), (1.501, 0.4)].into() }),
            ),
            (
                TableColumn::new("late.csv", "policy", None),
                Ok(Values::From { unit: Unit::Iterations, rows: [(9.0, 0.1), (19.0, 0.2)].into() }),
            ),
            (TableColumn::new("absent.csv", "policy", None), Err("no such file".to_owned())),
        ]),
        parameters: BTreeMap::new(),
    }
}

/// [`facts`], and of the parameters of the models that a spec has groups of: those of cifar10_full, and one more of `old`.
pub(crate) fn facts_for(spec: &Spec) -> Facts {
    let mut facts = facts();
    let parameter = |(name, value_count, lr_mult, decay_mult): (&str, u64, f32, f32)| ParameterFacts {
        name: name.to_owned(),
        value_count,
        lr_mult,
        decay_mult,
    };
    let full = [
        ("conv1.weight", 2400, 1.0, 1.0),
        ("conv1.bias", 32, 2.0, 1.0),
        ("conv2.weight", 25_600, 1.0, 1.0),
        ("conv2.bias", 32, 2.0, 1.0),
        ("conv3.weight", 51_200, 1.0, 1.0),
        ("conv3.bias", 64, 1.0, 1.0),
        ("ip1.weight", 10_240, 1.0, 250.0),
        ("ip1.bias", 10, 2.0, 0.0),
    ];
    for query in super::models_with_groups(spec, &facts) {
        let more = (query.architecture == "old").then_some(("bn.weight", 32, 1.0, 1.0));
        let parameters = full.into_iter().chain(more).map(parameter).collect();
        facts.parameters.insert(query, Ok(parameters));
    }
    facts
}
