//! Facts, plans and grids made by hand, for the tests of this crate and of those above it.

use std::collections::BTreeMap;
use std::sync::Arc;

use clr_schedule::{Linear, Schedule};
use clr_spec::duration::Unit;
use clr_spec::table::Values;
use clr_spec::{
    Checkpointing, DatasetQuery, LastBatch, Limits, Normalize, Order, SourceFile, Spec, TableColumn, parse, render,
};
use serde_json::json;

use super::{
    Axis, AxisKind, AxisValue, DataPlan, DatasetFacts, Divergence, Facts, Group, ModelFacts, OptimizerFacts,
    ParameterFacts, Plan, PluginFacts, Shape, Trial, TrialId, TrialOptimizer, plan, settings,
};

/// A plugin much like `cifar`, and the sizes of two datasets.
pub fn facts() -> Facts {
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
        files: std::collections::BTreeMap::new(),
        plugins: BTreeMap::from([
            ("cifar".to_owned(), Ok(plugin)),
            ("broken".to_owned(), Err("it is for ABI 2, this program has ABI 1".to_owned())),
        ]),
        plugin_names: vec!["cifar".to_owned(), "quadratic".to_owned()],
        datasets: BTreeMap::from([
            (DatasetQuery::named("cifar10"), Ok(dataset(32, 3, 50_000, 10_000))),
            (DatasetQuery::named("mnist"), Ok(dataset(28, 1, 60_000, 10_000))),
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
        range_tests: BTreeMap::new(),
    }
}

/// [`facts`], and of the parameters of the models that a spec has groups of: those of cifar10_full, and one more of `old`.
pub fn facts_for(spec: &Spec) -> Facts {
    let mut facts = facts();
    // What lies at a path might be anything.
    for query in spec.datasets().into_iter().filter(|query| query.is_path()) {
        let known = facts.datasets[&DatasetQuery::named("cifar10")].clone();
        facts.datasets.insert(query, known);
    }
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

/// The beginning of a spec.
pub const HEAD: &str = r#"[experiment]
name = "test"
[model]
plugin = "cifar"
architecture = "cifar10_full"
[data]
dataset = "cifar10"
batch_size = 100
[train]
iterations = 25_000
"#;

/// The plan of a spec.
pub fn planned(text: &str) -> Plan {
    let source = SourceFile { name: "a.toml".to_owned(), text: text.to_owned() };
    let (spec, diagnostics) = parse(&source, &[]);
    assert_eq!(render(&diagnostics, &source), "");
    match plan(&spec, &facts_for(&spec)) {
        Ok(plan) => plan,
        Err(diagnostics) => panic!("{}", render(&diagnostics, &source)),
    }
}

/// The plan of [`HEAD`] and `body`.
pub fn planned_of(body: &str) -> Plan {
    planned(&format!("{HEAD}{body}"))
}

/// 78 trials that differ in seven axes.
pub const MANY_AXES: &str = r#"[experiment]
name = "rates"
seeds = [1, 2, 3]
[model]
plugin = "cifar"
architecture = "cifar10_full"
[data]
dataset = "cifar10"
batch_size = 100
[train]
iterations = 25_000
eval_every = 500
[policies.triangular2]
kind      = "triangular2"
base_lr   = 0.001
max_lr    = [0.01, 0.05477225575051661, 0.3]
step_size = [2000, 4000]
[policies.one_cycle]
kind      = "one_cycle"
base_lr   = 0.001
max_lr    = 0.02
step_size = 11_000
[policies.long]
kind       = "fixed"
base_lr    = 0.0005
optimizers = ["adam"]
train.iterations = 70_000
[optimizers.nesterov]
kind         = "nesterov"
momentum     = [0.85, 0.9]
weight_decay = [0.0, 0.0005]
[optimizers.adam]
kind = "adam"
"#;

/// A grid of policies, optimizers and seeds. `sgd` has a momentum, `adam` a beta1; the policy `explode` diverges.
#[derive(Clone, Copy)]
pub struct Grid<'a> {
    pub policies: &'a [&'a str],
    pub optimizers: &'a [&'a str],
    pub seeds: &'a [i64],
    /// An axis, if not empty. Without it `max_lr` is 0.1.
    pub max_lrs: &'a [f64],
    pub iterations: u64,
}

impl Grid<'_> {
    pub fn plan(&self) -> Plan {
        let axis = |name: &str, kind| Axis { name: name.to_owned(), kind };
        let mut axes = vec![axis("policy", AxisKind::Text)];
        if !self.max_lrs.is_empty() {
            axes.push(axis("max_lr", AxisKind::Float));
        }
        axes.push(axis("optimizer", AxisKind::Text));
        axes.push(axis("seed", AxisKind::Integer));
        let max_lrs = if self.max_lrs.is_empty() { &[0.1] } else { self.max_lrs };
        let shape = Arc::new(shape());
        let mut trials = Vec::new();
        for &policy in self.policies {
            for &max_lr in max_lrs {
                for &optimizer in self.optimizers {
                    for &seed in self.seeds {
                        let mut trial = self.trial(&shape, policy, optimizer, max_lr, seed);
                        if self.max_lrs.is_empty() {
                            trial.axes.remove(1);
                        } else {
                            trial.label = format!("{} max_lr={max_lr}", trial.label).into();
                        }
                        trials.push(trial);
                    }
                }
            }
        }
        let groups = vec![Group { shape, trials: (0..trials.len()).collect() }];
        let (limits, checkpointing) = (Limits::default(), Checkpointing::default());
        let settings = settings::columns(&trials, &facts());
        Plan {
            name: "example".to_owned(),
            axes,
            settings,
            trials: trials.into(),
            groups,
            range_tests: Vec::new(),
            limits,
            checkpointing,
            warnings: Vec::new(),
        }
    }

    fn trial(&self, shape: &Arc<Shape>, policy: &str, optimizer: &str, max_lr: f64, seed: i64) -> Trial {
        let asked = format!("{policy} {optimizer} {max_lr} {seed} {}", self.iterations);
        let second = if optimizer == "adam" { "beta1" } else { "momentum" };
        Trial {
            id: TrialId::of(asked.as_bytes()),
            label: format!("{policy} {optimizer} seed={seed}").into(),
            axes: vec![
                Some(AxisValue::Text(policy.into())),
                Some(AxisValue::Float(max_lr)),
                Some(AxisValue::Text(optimizer.into())),
                Some(AxisValue::Integer(seed)),
            ],
            shape: shape.clone(),
            optimizer: TrialOptimizer {
                kind: optimizer.into(),
                json: format!("{{\"optimizer\":\"{optimizer}\"}}").into(),
                hypers: vec![(second.into(), Schedule::Constant(0.9))],
                hypers_before_lr: 0,
                groups: [].into(),
            }
            .into(),
            init_seed: seed as u64,
            data_seed: seed as u64,
            iterations: self.iterations,
            eval_every: 4.into(),
            divergence: Divergence { non_finite: true, loss_above: None },
            lr: Schedule::Linear(Linear { from: max_lr, to: 0.0, steps: self.iterations }),
        }
    }
}

/// Forty images in batches of ten.
pub fn shape() -> Shape {
    Shape {
        plugin: "example".to_owned(),
        architecture: "line".to_owned(),
        model_json: r#"{"precision":"f32"}"#.to_owned(),
        data: DataPlan {
            dataset: DatasetQuery::named("shapes"),
            digest: Some("0".repeat(64)),
            batch_size: 10,
            accumulate: 1,
            train_count: 40,
            validation_count: 0,
            test_count: None,
            order: Order::Shuffled,
            last_batch: LastBatch::Wrap,
            normalize: Normalize::PixelMean,
            scale: 1.0,
            flip: false,
            pad: 0,
            input_size: 0,
            min_area: 0.0,
            lighting: 0.0,
        },
        hypers: ["lr", "momentum", "beta1"].map(str::to_owned).to_vec(),
        metrics: ["loss", "accuracy"].map(str::to_owned).to_vec(),
    }
}
