//! The examples of the reference: each is a spec that can be planned, and together they have every key.

use std::collections::BTreeSet;

use clr_spec::duration::Unit;
use clr_spec::example::source;
use clr_spec::keys::{self, Key};
use clr_spec::kinds;
use toml::{Table, Value};

use super::*;

/// A spec that the tables of an example add to; policies and optimizers of the example take the place of these.
const WHOLE: &str = r#"
[experiment]
name = "example"

[model]
plugin       = "cifar"
architecture = "cifar10_full"

[data]
dataset    = "cifar10"
batch_size = 100

[train]
iterations = 25_000

[policies.fixed]
kind    = "fixed"
base_lr = 0.001

[optimizers.sgd]
kind = "sgd"

[optimizers.adam]
kind = "adam"
"#;

#[track_caller]
fn check(example: &str) {
    let mut whole: Table = WHOLE.parse().expect("the spec is TOML");
    let example: Table = example.parse().unwrap_or_else(|error| panic!("{error}\n{example}"));
    for (name, table) in example {
        let named = ["policies", "optimizers"].contains(&name.as_str());
        match (whole.get_mut(&name), table) {
            (Some(Value::Table(whole)), Value::Table(table)) if !named => whole.extend(table),
            (_, table) => drop(whole.insert(name, table)),
        }
    }
    let source = source(&toml::to_string(&whole).expect("a table can be written"));
    let (spec, problems) = parse(&source, &[]);
    assert!(problems.is_empty(), "{}\n{}", source.text, render(&problems, &source));
    let mut facts = facts_for(&spec);
    for table in spec.tables() {
        let rows = [(0.0, 0.1), (25_000.0, 0.2)].into();
        facts.tables.insert(table, Ok(clr_spec::table::Values::From { unit: Unit::Iterations, rows }));
    }
    if let Err(problems) = plan(&spec, &facts) {
        panic!("{}\n{}", source.text, render(&problems, &source));
    }
}

fn keys_of(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                keys.insert(key.clone());
                keys_of(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys_of(value, keys)),
        _ => {}
    }
}

#[track_caller]
fn check_all<'k>(owner: &str, keys: impl Iterator<Item = &'k Key>, examples: &[&str]) {
    let mut shown = BTreeSet::new();
    for example in examples {
        check(example);
        keys_of(&Value::Table(example.parse().expect("it was read")), &mut shown);
    }
    let absent: Vec<&str> = keys.map(|key| key.name).filter(|name| !shown.contains(*name)).collect();
    assert!(absent.is_empty(), "no example of {owner} has {absent:?}");
}

#[test]
fn every_key_of_a_section_is_in_an_example_that_can_be_planned() {
    let sections = [
        &keys::EXPERIMENT,
        &keys::MODEL,
        &keys::DATA,
        &keys::TRAIN,
        &keys::POLICY,
        &keys::OPTIMIZER,
        &keys::GROUP,
        &keys::RANGE_TEST,
        &keys::GRID,
        &keys::CHECKPOINT,
        &keys::LIMITS,
    ];
    for section in sections {
        check_all(section.name, section.keys.iter(), section.examples);
    }
}

#[test]
fn every_key_of_a_kind_is_in_an_example_that_can_be_planned() {
    check_all("all kinds", kinds::COMMON.iter(), kinds::COMMON_EXAMPLES);
    for kind in kinds::SCHEDULE_KINDS {
        check_all(kind.name, kind.keys.iter(), kind.examples);
    }
    let stages = kinds::find("sequence").expect("it is a kind").examples.concat();
    assert!(stages.contains(kinds::STAGE_LENGTH.name));
}

/// Every piece of a spec in the pages for people.
#[test]
fn every_example_of_the_documentation_can_be_planned() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in ["docs/spec.md", "docs/reference.md", "docs/running.md", "../README.md"] {
        let text = std::fs::read_to_string(root.join(page)).expect("the page is there");
        for example in text.split("```toml\n").skip(1) {
            check(example.split("```").next().expect("there is a first"));
        }
    }
}
