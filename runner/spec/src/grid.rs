//! `[grid]`: axes that move together, and cells to leave out.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Problems};
use super::keys::GRID;
use super::read;
use super::setting::Value;
use super::source::{Span, Spanned};
use super::tree::{Item, Node, Table};
use crate::duration::Duration;

/// Axes that move together: the first value of each, then the second of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Zip {
    /// Paths of axes, or their last keys where one path alone ends so.
    pub axes: Vec<Spanned<String>>,
    pub span: Span,
}

/// Leaves out the cells that meet all of its conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Exclusion {
    /// Never empty.
    pub conditions: Vec<Condition>,
    pub span: Span,
}

/// A key and the values of which a cell has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `policy`, `optimizer`, `seed`, or the path or last key of a setting.
    pub key: Spanned<String>,
    /// As written: `"2 epochs"` is a duration here too.
    pub values: Vec<Spanned<Value>>,
}

pub(super) fn read(table: &Table, problems: &mut Problems) -> (Vec<Zip>, Vec<Exclusion>) {
    let (mut zips, mut exclusions) = (Vec::new(), Vec::new());
    for entry in &table.entries {
        match (entry.key.as_str(), &entry.node.item) {
            ("zip", Item::List(nodes)) => zips.extend(nodes.iter().filter_map(|node| zip(node, problems))),
            ("exclude", Item::List(nodes)) => {
                exclusions.extend(nodes.iter().filter_map(|node| exclusion(node, problems)))
            }
            ("zip", _) => expected(&entry.node, "zip", read::ZIP_FORM, problems),
            ("exclude", _) => expected(&entry.node, "exclude", read::EXCLUDE_FORM, problems),
            _ => problems.push(read::unknown_key(entry, "[grid]", GRID.keys.iter().map(|key| key.name))),
        }
    }
    (zips, exclusions)
}

fn zip(node: &Node, problems: &mut Problems) -> Option<Zip> {
    let Item::List(nodes) = &node.item else {
        expected(node, "zip", read::ZIP_FORM, problems);
        return None;
    };
    let mut axes = Vec::new();
    for node in nodes {
        match &node.item {
            Item::Text(name) => axes.push(Spanned { value: name.clone(), span: node.span.clone() }),
            _ => expected(node, "zip", "the key of an axis, such as \"policy.max_lr\"", problems),
        }
    }
    if nodes.len() < 2 {
        problems.push(
            Diagnostic::new("spec::zip", node.span.clone(), "a zip needs two axes or more")
                .help("add the axis that moves with it"),
        );
        return None;
    }
    Some(Zip { axes, span: node.span.clone() })
}

fn exclusion(node: &Node, problems: &mut Problems) -> Option<Exclusion> {
    let Item::Table(table) = &node.item else {
        expected(node, "exclude", read::EXCLUDE_FORM, problems);
        return None;
    };
    let mut conditions = Vec::new();
    conditions_of(table, "", &mut conditions, problems);
    if table.entries.is_empty() {
        problems.push(
            Diagnostic::new("spec::exclude", node.span.clone(), "this excludes every cell")
                .help("say which cells, as in `{ policy = \"long\" }`"),
        );
    }
    (!conditions.is_empty()).then_some(Exclusion { conditions, span: node.span.clone() })
}

/// `policy.max_lr = 0.1` inside the table is, to TOML, a table in a table.
fn conditions_of(table: &Table, prefix: &str, conditions: &mut Vec<Condition>, problems: &mut Problems) {
    for entry in &table.entries {
        let name = format!("{prefix}{}", entry.key);
        let nodes = match &entry.node.item {
            Item::Table(inner) => {
                conditions_of(inner, &format!("{name}."), conditions, problems);
                continue;
            }
            Item::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        let mut values = Vec::new();
        for node in nodes {
            let value = match &node.item {
                Item::Text(text) => match Duration::parse(text) {
                    Some(duration) => Value::Duration(duration),
                    None => Value::Text(Arc::from(text.as_str())),
                },
                Item::Integer(integer) => Value::Integer(*integer),
                Item::Float(float) => Value::Number(*float),
                Item::Boolean(boolean) => Value::Boolean(*boolean),
                _ => {
                    expected(node, &entry.key, "a number, a string or a boolean", problems);
                    continue;
                }
            };
            values.push(Spanned { value, span: node.span.clone() });
        }
        conditions.push(Condition { key: Spanned { value: name, span: entry.key_span.clone() }, values });
    }
}

fn expected(node: &Node, name: &str, form: &str, problems: &mut Problems) {
    problems.push(
        Diagnostic::new("spec::type", node.span.clone(), format!("`{name}` has the wrong type"))
            .text(format!("expected {form}, found {}", node.item.type_name())),
    );
}
