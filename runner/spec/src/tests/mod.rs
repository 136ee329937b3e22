//! What is read of a spec, and that no text is too broken to be read.

mod diagnostics;

use clr_schedule::ratio::Ratio;
use expect_test::expect;
use proptest::prelude::*;

use super::example::{GOOD, source};
use super::*;
use crate::duration::{Duration, Unit};
use crate::{Every, Keep, OnError};

#[test]
fn what_must_be_gathered_is_known() {
    let text = GOOD.replace("\"cifar10\"", "[\"cifar10\", \"shapes\"]")
        + "model.plugin = \"other\"\n[policies.table]\nkind = \"table\"\nfile = \"lr.csv\"\noptimizer.momentum = { kind = \"table\", file = \"m.csv\", column = \"b\" }\n";
    let (spec, diagnostics) = parse(&source(&text), &[]);
    assert_eq!(diagnostics, []);
    assert_eq!(spec.plugins().into_iter().collect::<Vec<_>>(), ["cifar", "other"]);
    assert_eq!(spec.datasets().into_iter().collect::<Vec<_>>(), ["cifar10", "shapes"].map(DatasetQuery::named));
    let tables: Vec<TableColumn> = spec.tables().into_iter().collect();
    let expected = [("lr.csv", "policy", None), ("m.csv", "optimizer.momentum", Some("b"))];
    assert_eq!(tables, expected.map(|(file, schedule, column)| TableColumn::new(file, schedule, column)));
    assert_eq!((&*tables[0].hyper, &*tables[1].hyper), ("lr", "momentum"));
}

#[test]
fn ranges_have_the_values_that_people_write_for_them() {
    let values = |range: &str| -> Vec<f64> {
        let (spec, diagnostics) = parse(&source(&GOOD.replace("[0.005, 0.006]", range)), &[]);
        assert_eq!(diagnostics, []);
        let setting = spec.policies[0].settings.iter().find(|setting| &*setting.path == "policy.max_lr");
        let values = &setting.expect("it was given").values;
        values.iter().map(|(value, _)| if let Value::Number(number) = value { *number } else { f64::NAN }).collect()
    };
    assert_eq!(values("{ linspace = [0.1, 0.3, 3] }"), [0.1, 0.2, 0.3]);
    assert_eq!(values("{ linspace = [0.1, 0.5, 5] }"), [0.1, 0.2, 0.30000000000000004, 0.4, 0.5], "as NumPy's");
    assert_eq!(values("{ logspace = [1e-3, 1e-1, 3] }"), [0.001, 0.01, 0.1]);
    assert_eq!(values("{ logspace = [1e-6, 1, 7] }"), [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0]);
}

#[track_caller]
fn check_checkpoint(text: &str, every: Every, keep: Keep) {
    let (spec, diagnostics) = parse(&source(&format!("{GOOD}[checkpoint]\n{text}")), &[]);
    assert_eq!((diagnostics, spec.checkpointing), (vec![], Checkpointing { every, keep }));
}

#[test]
fn checkpoints_by_time_by_iterations_by_epochs_and_never() {
    let seconds = |seconds| Every::Time(std::time::Duration::from_secs_f64(seconds));
    check_checkpoint("", seconds(30.0), Keep::Nothing);
    check_checkpoint("every = \"2.5 min\"", seconds(150.0), Keep::Nothing);
    check_checkpoint("every = \"0.5 s\"\nkeep = \"last\"", seconds(0.5), Keep::Last);
    let iterations = |count| Every::Training(Duration::iterations(count));
    check_checkpoint("every = \"1 iteration\"\nkeep = \"best\"", iterations(1), Keep::Best);
    check_checkpoint("every = \"1_000 iterations\"", iterations(1000), Keep::Nothing);
    check_checkpoint(
        "every = \"0.5 epochs\"",
        Every::Training(Duration { count: Ratio::new(1, 2).unwrap(), unit: Unit::Epochs }),
        Keep::Nothing,
    );
    check_checkpoint("every = \"never\"\nkeep = \"nothing\"", Every::Never, Keep::Nothing);
}

#[track_caller]
fn check_limits(text: &str, expected: Limits) {
    let (spec, diagnostics) = parse(&source(&format!("{GOOD}[limits]\n{text}")), &[]);
    assert_eq!((diagnostics, spec.limits), (vec![], expected));
}

#[test]
fn limits_have_units() {
    let seconds = std::time::Duration::from_secs;
    let none = Limits { time: None, memory: None, call: seconds(600), on_error: OnError::Continue };
    check_limits("", none);
    check_limits("time = \"1.5 h\"", Limits { time: Some(seconds(5400)), ..none });
    check_limits("time = \"2 days\"", Limits { time: Some(seconds(172_800)), ..none });
    check_limits("call = \"90 s\"\non_error = \"stop\"", Limits { call: seconds(90), on_error: OnError::Stop, ..none });
    check_limits("memory = \"512 MiB\"", Limits { memory: Some(512 << 20), ..none });
    check_limits("memory = \"1_500 MB\"", Limits { memory: Some(1_500_000_000), ..none });
}

/// Every default is a value that its key would accept.
#[test]
fn defaults_are_in_range() {
    let sections = keys::OVERRIDABLE
        .into_iter()
        .chain([&keys::CHECKPOINT, &keys::LIMITS, &keys::RANGE_TEST])
        .flat_map(|section| section.keys);
    let kinds = kinds::SCHEDULE_KINDS.iter().flat_map(|kind| kind.keys).chain(kinds::COMMON);
    for key in sections.chain(kinds) {
        let text = match key.default {
            Some(keys::Default::Text(text)) => format!("{text:?}"),
            Some(keys::Default::Integer(integer)) => integer.to_string(),
            Some(keys::Default::Number(number)) => format!("{number:?}"),
            Some(keys::Default::Boolean(boolean)) => boolean.to_string(),
            None => continue,
        };
        let mut problems = Problems::default();
        let read = tree::read_set(&format!("a.b={text}"), 0, &|_| None, &mut problems);
        let (_, node) = read.expect("a default is TOML");
        let read = read::value(key, &node, &mut problems);
        assert_eq!(
            read.as_ref(),
            read::default("a.b", key).map(|setting| setting.values[0].0.clone()).as_ref(),
            "{}",
            key.name
        );
    }
}

#[test]
fn the_json_schema_knows_every_key() {
    let schema = json_schema();
    for section in keys::OVERRIDABLE.into_iter().chain([&keys::CHECKPOINT, &keys::LIMITS, &keys::RANGE_TEST]) {
        for key in section.keys {
            assert!(
                schema["properties"][section.name]["properties"][key.name]["description"].is_string(),
                "{}",
                key.name
            );
        }
    }
    let kinds =
        schema["properties"]["policies"]["additionalProperties"]["oneOf"].as_array().expect("one for each kind");
    assert_eq!(kinds.len(), kinds::SCHEDULE_KINDS.len());
    assert_eq!(kinds[1]["required"], serde_json::json!(["kind", "base_lr", "gamma", "step_size"]));
    expect![[r##"
        {
          "anyOf": [
            {
              "type": "number",
              "exclusiveMinimum": 0
            },
            {
              "type": "array",
              "minItems": 1,
              "items": {
                "type": "number",
                "exclusiveMinimum": 0
              }
            },
            {
              "$ref": "#/definitions/linspace"
            },
            {
              "$ref": "#/definitions/logspace"
            }
          ],
          "description": "The factor of each fall."
        }"##]]
    .assert_eq(&serde_json::to_string_pretty(&kinds[1]["properties"]["gamma"]).expect("it is JSON"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*", set in "\\PC*") {
        let source = source(&text);
        let (_, diagnostics) = parse(&source, &[set]);
        render(&diagnostics, &source);
    }
}

/// Title, and help, of all that is said of a text and of arguments after it.
fn said(text: &str, sets: &[&str]) -> Vec<(String, String)> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let (spec, diagnostics) = parse(&source(text), &sets);
    assert!(!spec.complete);
    diagnostics.into_iter().map(|diagnostic| (diagnostic.title, diagnostic.help.join("; "))).collect()
}

#[track_caller]
fn check_one(text: &str, sets: &[&str], title: &str, help: &str) {
    assert_eq!(said(text, sets), [(title.to_owned(), help.to_owned())], "{text}");
}

#[test]
fn a_file_in_another_format_is_one_message() {
    let help = |line: &str| format!("keys stand in tables, `[train]`, each as `key = value`; this line is `{line}`");
    let yaml = "experiment:\n  name: good\npolicies:\n  - tri\n  - lr: 0.1\n";
    check_one(yaml, &[], "this is YAML, and a spec is TOML", &help("[experiment]"));
    let json = "{\n  \"experiment\": {\"name\": \"good\"},\n  \"name\": \"a\"\n}\n";
    check_one(json, &[], "this is JSON, and a spec is TOML", "keys stand in tables, `[train]`, each as `key = value`");
    let python = "import torch\n\nlr = 0.1\nprint(lr)\n";
    check_one(
        python,
        &[],
        "this is Python, and a spec is TOML",
        "keys stand in tables, `[train]`, each as `key = value`",
    );
    let caffe = "net: \"a.prototxt\"\nbase_lr: 0.001\nlr_policy: \"fixed\"\n";
    let title = "this is a solver of Caffe, protobuf text, and a spec is TOML";
    check_one(caffe, &[], title, &help("lr_policy = \"fixed\""));
}

#[test]
fn an_unclosed_bracket_is_one_message_and_an_unquoted_word_too() {
    let close = "add the `]` that ends the value";
    check_one(&GOOD.replace("0.006]", "0.006"), &[], "this bracket is not closed", close);
    check_one(&GOOD.replace("[1, 2]", "[1, 2"), &[], "this bracket is not closed", close);
    let word = GOOD.replace("\"triangular\"", "triangular");
    check_one(&word, &[], "this needs quotes", "write `kind = \"triangular\"`");
    let epochs = GOOD.replace("step_size = 2000", "step_size = 2 epochs  # long");
    check_one(&epochs, &[], "this needs quotes", "write `step_size = \"2 epochs\"`");
    let point = GOOD.replace("base_lr = 0.001", "base_lr = .001");
    check_one(&point, &[], "a number has a digit on both sides of its point", "write `base_lr = 0.001`");
    let quote = said(&GOOD.replace("\"nesterov\"", "\"nesterov"), &[]);
    assert_eq!(quote[0].0, "this string is not closed");
    let header = said(&GOOD.replace("[train]", "[train"), &[]);
    assert_eq!(header[0].0, "this header is not closed");
    let flag = GOOD.replace("[train]", "flip = True\n[train]");
    check_one(&flag, &[], "flags are in small letters", "write `flip = true`");
}

#[test]
fn set_says_the_toml_to_write() {
    let number = "a number has a digit on both sides of its point";
    check_one(GOOD, &["policies.tri.base_lr=.1"], number, "write `--set policies.tri.base_lr=0.1`");
    let list = "several values are a list, in brackets";
    let help = "write `--set 'policies.tri.base_lr=[1e-5, 1e-6]'`";
    check_one(GOOD, &["policies.tri.base_lr=1e-5,1e-6"], list, help);
    check_one(GOOD, &["data.flip=True"], "flags are in small letters", "write `--set data.flip=true`");
    let no_table = |name: &str| format!("there is no table `{name}`");
    check_one(GOOD, &["lr=0.1"], &no_table("lr"), "write `--set policies.tri.base_lr=0.1`");
    check_one(GOOD, &["lr=.1"], &no_table("lr"), "write `--set policies.tri.base_lr=0.1`");
    check_one(GOOD, &["lr=1e-5,1e-6"], &no_table("lr"), "write `--set 'policies.tri.base_lr=[1e-5, 1e-6]'`");
    check_one(GOOD, &["max_lr=0.1"], &no_table("max_lr"), "write `--set policies.tri.max_lr=0.1`");
    check_one(GOOD, &["batch_size=10"], &no_table("batch_size"), "write `--set data.batch_size=10`");
}

#[test]
fn a_dataset_is_asked_for_in_every_size_that_a_cell_may_have() {
    let data = "dataset = [\"./flowers\", \"shapes\"]\nresize = [32, 64]\ntest_share = 0.25";
    let text = GOOD.replace("dataset = \"cifar10\"", data);
    let (spec, problems) = parse(&source(&text), &[]);
    assert_eq!(problems, []);
    let found: Vec<_> = spec
        .datasets()
        .into_iter()
        .map(|query| (query.is_path(), query.name, query.fit.resize, query.fit.crop, query.test_share))
        .collect();
    let expected = [("./flowers", 32), ("./flowers", 64), ("shapes", 32), ("shapes", 64)]
        .map(|(name, resize)| (name == "./flowers", name.to_owned(), Some(resize), None, Some(250_000)));
    assert_eq!(found, expected);
}

#[test]
fn what_has_a_slash_or_ends_like_a_file_of_data_is_a_path() {
    for (name, expected) in [
        ("cifar10", false),
        ("my-set.v2", false),
        ("./flowers", true),
        ("../flowers", true),
        ("data/flowers", true),
        ("/data/flowers", true),
        (".", true),
        ("digits.npz", true),
        ("labels.CSV", true),
    ] {
        assert_eq!(DatasetQuery::named(name).is_path(), expected, "{name}");
    }
}
