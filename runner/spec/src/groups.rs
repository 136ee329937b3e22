//! `[[optimizers.NAME.groups]]`: parameters with a learning rate and a weight decay of their own.

use super::diagnostic::{Diagnostic, Problems};
use super::foreign::Place;
use super::keys::GROUP;
use super::read;
use super::setting::{Setting, Value};
use super::source::Span;
use super::tree::{Entry, Item, Node, Table};

/// Reads the list into settings: how many groups there are, and each one's keys, counted from 1. Patterns become one text,
/// `"*.bias, bn*"`.
pub(super) fn read(path: &str, entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let Item::List(nodes) = &entry.node.item else {
        problems.push(
            Diagnostic::new("spec::type", entry.node.span.clone(), "`groups` has the wrong type")
                .text(format!("expected a list of tables, found {}", entry.node.item.type_name()))
                .help("write `[[optimizers.NAME.groups]]`, with two brackets, above the keys of each group"),
        );
        return Vec::new();
    };
    let count = (Value::Stages(nodes.len()), Some(entry.node.span.clone()));
    let key_span = Some(entry.key_span.clone());
    let mut settings = vec![Setting { path: path.into(), key_span, values: vec![count], axis: false }];
    for (index, node) in nodes.iter().enumerate() {
        match &node.item {
            Item::Table(table) => settings.extend(group(&format!("{path}.{}", index + 1), node, table, problems)),
            other => problems.push(
                Diagnostic::new("spec::type", node.span.clone(), "`groups` has the wrong type")
                    .text(format!("expected a table such as `{EXAMPLE}`, found {}", other.type_name())),
            ),
        }
    }
    settings
}

const EXAMPLE: &str = "{ parameters = \"*.bias\", decay_mult = 0 }";

fn group(path: &str, node: &Node, table: &Table, problems: &mut Problems) -> Vec<Setting> {
    let entries: Vec<&Entry> = table.entries.iter().collect();
    let mut settings = Vec::new();
    for entry in &entries {
        let path = format!("{path}.{}", entry.key);
        match GROUP.keys.iter().find(|key| key.name == entry.key) {
            Some(key) if key.required => settings.extend(patterns(&path, entry, problems)),
            Some(key) => settings.extend(read::setting(&path, key, entry, problems)),
            None => {
                let names = GROUP.keys.iter().map(|key| key.name);
                let diagnostic = read::unknown_key_of(Place::GroupKey, entry, "a group of parameters", names);
                problems.push(diagnostic);
            }
        }
    }
    let known: Vec<&str> = GROUP.keys.iter().map(|key| key.name).collect();
    let required = GROUP.keys.iter().filter(|key| key.required).map(|key| key.name);
    read::missing(required, &entries, &known, &header(node, &entries), problems);
    // A mistyped key was meant to change something.
    if entries.iter().all(|entry| entry.key == "parameters") && !entries.is_empty() {
        problems.push(
            Diagnostic::new("spec::missing", header(node, &entries), "this group changes nothing")
                .text("it has neither `lr_mult` nor `decay_mult`")
                .help(format!("say what is another for these parameters, as in `{EXAMPLE}`")),
        );
    }
    settings
}

/// The table's header, where it has one.
fn header(node: &Node, entries: &[&Entry]) -> Span {
    match entries.first() {
        Some(first) if node.span.start > first.key_span.start => first.key_span.clone(),
        _ => node.span.clone(),
    }
}

/// One pattern, or a list of them, as one text.
fn patterns(path: &str, entry: &Entry, problems: &mut Problems) -> Option<Setting> {
    let nodes = match &entry.node.item {
        Item::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    let mut patterns: Vec<&str> = Vec::new();
    for node in nodes {
        let Item::Text(text) = &node.item else {
            problems.push(
                Diagnostic::new("spec::type", node.span.clone(), "`parameters` has the wrong type")
                    .text(format!("expected a name or a pattern such as \"*.bias\", found {}", node.item.type_name())),
            );
            return None;
        };
        let is_pattern =
            |pattern: &str| !pattern.is_empty() && !pattern.contains(|c: char| c.is_whitespace() || c.is_control());
        if let Some(wrong) = text.split(',').map(str::trim).find(|pattern| !is_pattern(pattern)) {
            problems.push(
                Diagnostic::new("spec::range", node.span.clone(), "`parameters` is out of range")
                    .text(format!("expected a name or a pattern such as \"*.bias\", found {wrong:?}")),
            );
            return None;
        }
        patterns.extend(text.split(',').map(str::trim));
    }
    if patterns.is_empty() {
        problems.push(
            Diagnostic::new("spec::range", entry.node.span.clone(), "`parameters` is out of range")
                .text("the list is empty")
                .help("name some, as in `[\"*.bias\"]`, or remove the group"),
        );
        return None;
    }
    let value = (Value::Text(patterns.join(", ").into()), Some(entry.node.span.clone()));
    Some(Setting { path: path.into(), key_span: Some(entry.key_span.clone()), values: vec![value], axis: false })
}
