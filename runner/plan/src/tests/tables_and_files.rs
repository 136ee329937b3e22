//! Options of a model that are tables, such as a function's arguments, and options that name files.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::example::facts;
use crate::facts::Facts;

/// A plugin that takes Python, two files and their texts.
fn facts_with_files() -> Facts {
    let mut facts = facts();
    let Some(Ok(plugin)) = facts.plugins.get_mut("cifar") else { unreachable!("the example has the plugin") };
    let mut model = plugin.models[0].clone();
    model.name = "module".to_owned();
    model.options_schema = json!({ "type": "object", "required": ["file"], "properties": {
        "file": { "type": "string", "format": "file" },
        "arguments": { "type": "object" },
        "python": { "type": "string", "format": "program" },
        "threads": { "type": "integer", "default": 1 },
    } });
    plugin.models = vec![model];
    let file = |path: &str, text: &str| (path.to_owned(), Ok(text.to_owned()));
    facts.files = [file("models.py", "one"), file("other/models.py", "one"), file("two.py", "two")].into();
    facts.files.insert("absent.py".to_owned(), Err("absent.py: no such file".to_owned()));
    facts
}

fn spec(model: &str, policies: &str) -> SourceFile {
    let text = format!(
        "[experiment]\nname = \"a\"\n[model]\nplugin = \"cifar\"\narchitecture = \"module\"\n{model}\n[data]\ndataset = \"cifar10\"\n\
         batch_size = 100\n[train]\niterations = 100\n[policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n{policies}\n\
         [optimizers.sgd]\nkind = \"sgd\"\nmomentum = 0\n"
    );
    SourceFile { name: "a.toml".to_owned(), text }
}

#[track_caller]
fn planned(model: &str, policies: &str) -> Plan {
    let source = spec(model, policies);
    let (spec, problems) = parse(&source, &[]);
    assert_eq!(render(&problems, &source), "");
    plan(&spec, &facts_with_files()).unwrap_or_else(|problems| panic!("{}", render(&problems, &source)))
}

#[track_caller]
fn check_problems_of(model: &str, expected: Expect) {
    let source = spec(model, "");
    let (spec, mut problems) = parse(&source, &[]);
    problems.extend(plan(&spec, &facts_with_files()).expect_err("there are problems"));
    expected.assert_eq(&render(&problems, &source));
}

#[test]
fn a_trial_s_id_has_the_text_of_a_file_and_neither_its_path_nor_a_program() {
    let id = |model: &str| planned(model, "").trials[0].id;
    let one = id("file = \"models.py\"");
    assert_eq!(one, id("file = \"other/models.py\""));
    assert_eq!(one, id("file = \"models.py\"\npython = \"/opt/python\""));
    assert_ne!(one, id("file = \"two.py\""));
    assert_ne!(one, id("file = \"models.py\"\nthreads = 2"));
    assert_ne!(one, id("file = \"models.py\"\narguments = { width = 1 }"));
}

#[test]
fn a_plugin_gets_a_file_by_its_name_and_its_text_and_tables_show_its_digest() {
    let plan = planned("file = \"other/models.py\"\npython = \"venv/bin/python\"", "");
    let shape = &plan.trials[0].shape;
    let expected =
        r#"{"file":{"file":"models.py","text":"one"},"python":"venv/bin/python","threads":1,"precision":"f32"}"#;
    assert_eq!(shape.model_json, expected);
    let settings = crate::settings::of(&plan.trials[0]);
    let file = settings.iter().find(|(name, _)| name == "model.file").map(|(_, value)| value.to_string());
    // `b3sum` of "one".
    assert_eq!(file.as_deref(), Some("models.py, blake3 d33fb48ab5ad"));
}

#[test]
fn each_key_of_a_table_is_an_axis_of_its_own_and_a_policy_overrides_one_of_them() {
    let model = "file = \"models.py\"\narguments = { width = [32, 64], layers = { each = [[2, 2], [3, 4]] }, act = \"relu\", deep.er = true }";
    let policies = "[policies.narrow]\nkind = \"fixed\"\nbase_lr = 0.1\nmodel.arguments.width = 0.5\nmodel.arguments.act = \"gelu\"";
    let plan = planned(model, policies);
    let axes: Vec<(&str, AxisKind)> = plan.axes.iter().map(|axis| (axis.name.as_str(), axis.kind)).collect();
    expect![[r#"
        [
            (
                "policy",
                Text,
            ),
            (
                "optimizer",
                Text,
            ),
            (
                "seed",
                Integer,
            ),
            (
                "arguments.width",
                Float,
            ),
            (
                "arguments.layers",
                Text,
            ),
        ]
    "#]]
    .assert_debug_eq(&axes);
    let arguments = |trial: &Trial| {
        let options: serde_json::Value = serde_json::from_str(&trial.shape.model_json).expect("it is JSON");
        format!("{} {}\n", trial.label, options["arguments"])
    };
    expect![[r#"
        p sgd arguments.width=32 arguments.layers=[2, 2] seed=1 {"width":32,"layers":[2,2],"act":"relu","deep":{"er":true}}
        p sgd arguments.width=32 arguments.layers=[3, 4] seed=1 {"width":32,"layers":[3,4],"act":"relu","deep":{"er":true}}
        p sgd arguments.width=64 arguments.layers=[2, 2] seed=1 {"width":64,"layers":[2,2],"act":"relu","deep":{"er":true}}
        p sgd arguments.width=64 arguments.layers=[3, 4] seed=1 {"width":64,"layers":[3,4],"act":"relu","deep":{"er":true}}
        narrow sgd arguments.layers=[2, 2] seed=1 {"width":0.5,"layers":[2,2],"act":"gelu","deep":{"er":true}}
        narrow sgd arguments.layers=[3, 4] seed=1 {"width":0.5,"layers":[3,4],"act":"gelu","deep":{"er":true}}
    "#]]
    .assert_eq(&plan.trials.iter().map(arguments).collect::<String>());
}

#[test]
fn the_order_of_a_table_s_keys_does_not_matter() {
    let id = |arguments: &str| planned(&format!("file = \"models.py\"\narguments = {arguments}"), "").trials[0].id;
    assert_eq!(id("{ a = 1, b = 2 }"), id("{ b = 2, a = 1 }"));
    assert_ne!(id("{ a = 1, b = 2 }"), id("{ a = 2, b = 1 }"));
}

#[test]
fn what_is_wrong_with_files_and_tables_is_underlined() {
    check_problems_of(
        "file = [\"absent.py\", \"models.py\"]\nthreads = { a = 1 }\narguments = 3\nmore.of = 1",
        expect![[r#"
            error[spec::file]: the file of `file` could not be read
             --> a.toml:6:9
              |
            6 | file = ["absent.py", "models.py"]
              |         ^^^^^^^^^^^ absent.py: no such file
              |
              = help: a path is relative to the spec

            error[spec::option]: `threads` cannot be a table
             --> a.toml:7:17
              |
            7 | threads = { a = 1 }
              |                 ^ one value, or a list of values, is expected

            error[spec::option]: `arguments` cannot be `3`
             --> a.toml:8:13
              |
            8 | arguments = 3
              |             ^ expected a table, such as `{ width = 64 }`

            error[spec::option]: `module` of the plugin `cifar` has no option `more`
             --> a.toml:9:6
              |
            9 | more.of = 1
              |      ^^
              |
              = help: expected `file`, `arguments`, `python`, `threads`, `plugin` or `architecture`
        "#]],
    );
}
