//! From nodes of the tree to values of the types that the keys ask for: scalars, axes, ranges and schedules.

use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_terminal::suggest;

use super::diagnostic::{Diagnostic, Problems};
use super::foreign::{self, Place};
use super::keys::{self, Default, Key, Kind};
use super::kinds::{self, Naming};
use super::setting::{Setting, Value, parse_bytes, parse_interval, parse_seconds};
use super::source::Span;
use super::spacing;
use super::tree::{Entry, Item, Node, Table};
use crate::duration::Duration;

pub(super) const ZIP_FORM: &str = "a list of lists of keys, `[[\"policy.max_lr\", \"policy.step_size\"]]`";
pub(super) const EXCLUDE_FORM: &str = "a list of tables of keys and values, `[{ policy = \"long\", seed = [2, 3] }]`";

/// Longer axes are typing mistakes, and a file full of them would fill the memory.
const MOST_VALUES: i64 = 100_000;

/// Thirty years: any clock can count them.
const MOST_SECONDS: f64 = 1e9;

/// Of memory: exact in a float.
const MOST_BYTES: f64 = 1e15;

/// Reads one entry as the key that defines it. Nothing comes back where nothing could be read.
pub fn setting(path: &str, key: &Key, entry: &Entry, problems: &mut Problems) -> Option<Setting> {
    let values = if let Kind::Durations = key.kind {
        match &entry.node.item {
            Item::List(_) => Values::One(value(key, &entry.node, problems)?),
            Item::Table(table) if table.get("each").is_some() => Values::Axis(each(key, &entry.node, table, problems)?),
            _ => return wrong_type(&key.kind, &entry.key, &entry.node, problems),
        }
    } else {
        match &entry.node.item {
            Item::List(nodes) if key.axis => Values::Axis(axis(key, &entry.node, nodes, problems)?),
            Item::List(_) => {
                problems.push(
                    Diagnostic::new(
                        "spec::axis",
                        entry.node.span.clone(),
                        format!("`{}` cannot be an axis", entry.key),
                    )
                    .text("one value is expected here, not a list"),
                );
                return None;
            }
            Item::Table(table) if range_of(table).is_some() => {
                let numbers = range(table, problems)?;
                let nodes: Vec<Node> =
                    numbers.into_iter().map(|item| Node { item, span: entry.node.span.clone() }).collect();
                Values::Axis(axis(key, &entry.node, &nodes, problems)?)
            }
            Item::Table(table) if table.get("each").is_some() => {
                problems.push(
                    Diagnostic::new("spec::axis", entry.node.span.clone(), format!("`{}` takes one value", entry.key))
                        .text("`each` is for keys whose value is itself a list")
                        .help("a plain list makes an axis here"),
                );
                return None;
            }
            _ => Values::One(value(key, &entry.node, problems)?),
        }
    };
    Some(make(path, entry, values))
}

enum Values {
    One(Value),
    Axis(Vec<(Value, Option<Span>)>),
}

fn make(path: &str, entry: &Entry, values: Values) -> Setting {
    let (values, axis) = match values {
        Values::One(value) => (vec![(value, Some(entry.node.span.clone()))], false),
        Values::Axis(values) => (values, true),
    };
    Setting { path: path.into(), key_span: Some(entry.key_span.clone()), values, axis }
}

/// The setting that a key has where it is absent.
pub fn default(path: &str, key: &Key) -> Option<Setting> {
    let value = match (key.default?, key.kind) {
        (Default::Text(text), Kind::Seconds) => Value::Number(parse_seconds(text)?),
        (Default::Text(text), Kind::Bytes) => Value::Number(parse_bytes(text)?),
        (Default::Text(text), _) => Value::Text(text.into()),
        (Default::Integer(integer), Kind::Duration { .. }) => {
            Value::Duration(Duration::iterations(u64::try_from(integer).ok()?))
        }
        (Default::Integer(integer), _) => Value::Integer(integer),
        (Default::Number(number), _) => Value::Number(number),
        (Default::Boolean(boolean), _) => Value::Boolean(boolean),
    };
    Some(Setting { path: path.into(), key_span: None, values: vec![(value, None)], axis: false })
}

/// Reads an option that a plugin defines: a scalar, an axis of scalars or of lists, or a table of such options, whose settings
/// stand below it. The plan checks them against the plugin's schema.
pub fn option(path: &str, entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let values = match &entry.node.item {
        Item::List(nodes) => option_axis(entry, nodes, problems),
        Item::Table(table) if range_of(table).is_some() => {
            let span = Some(entry.node.span.clone());
            let value = |item| (number_of(&item).map_or(Value::Integer(0), Value::Number), span.clone());
            range(table, problems).map(|items| Values::Axis(items.into_iter().map(value).collect()))
        }
        Item::Table(table) => match (table.get("each").map(|each| (each, &each.node.item)), table.entries.len()) {
            (Some((each, Item::List(nodes))), 1) => option_axis(each, nodes, problems),
            _ => {
                let below = |entry: &Entry| option(&format!("{path}.{}", entry.key), entry, problems);
                return table.entries.iter().flat_map(below).collect();
            }
        },
        _ => scalar(&entry.key, &entry.node, problems).map(Values::One),
    };
    values.map(|values| make(path, entry, values)).into_iter().collect()
}

fn option_axis(entry: &Entry, nodes: &[Node], problems: &mut Problems) -> Option<Values> {
    not_empty(&entry.node, nodes, problems)?;
    let values = nodes.iter().map(|node| {
        let value = match &node.item {
            Item::List(items) => {
                let items: Vec<Option<Value>> = items.iter().map(|item| scalar(&entry.key, item, problems)).collect();
                Value::List(items.into_iter().collect::<Option<_>>()?)
            }
            _ => scalar(&entry.key, node, problems)?,
        };
        Some((value, Some(node.span.clone())))
    });
    values.collect::<Vec<_>>().into_iter().collect::<Option<_>>().map(Values::Axis)
}

fn scalar(name: &str, node: &Node, problems: &mut Problems) -> Option<Value> {
    Some(match &node.item {
        Item::Text(text) => Value::Text(text.as_str().into()),
        Item::Integer(integer) => Value::Integer(*integer),
        Item::Float(float) if float.is_finite() => Value::Number(*float),
        Item::Boolean(boolean) => Value::Boolean(*boolean),
        other => {
            problems.push(
                Diagnostic::new("spec::type", node.span.clone(), format!("`{name}` has the wrong type"))
                    .text(format!("expected a finite number, a string or a boolean, found {}", other.type_name())),
            );
            return None;
        }
    })
}

/// Reads the keys of a schedule into settings below `prefix`; `entries` holds no other keys.
///
/// `extra` names the keys that the caller has already taken out of the table, so that they are offered too.
pub fn schedule(
    prefix: &str,
    naming: Naming,
    header: &Span,
    entries: &[&Entry],
    extra: &[&str],
    problems: &mut Problems,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    let Some(kind_entry) = entries.iter().find(|entry| entry.key == "kind") else {
        let names: Vec<&str> = kinds::SCHEDULE_KINDS.iter().map(|kind| kind.name).collect();
        let foreign = entries.iter().find(|entry| foreign::means_kind(&entry.key));
        if let Some(entry) = foreign {
            problems.push(unknown_key_of(Place::ScheduleKey, entry, "a schedule", ["kind"]));
            return settings;
        }
        problems.push(
            Diagnostic::new("spec::missing", header.clone(), "the `kind` is missing")
                .text("what kind of schedule is this?")
                .help(format!("add `kind = \"..\"`, one of {}", suggest::one_of(&names))),
        );
        return settings;
    };
    let Item::Text(kind_name) = &kind_entry.node.item else {
        wrong_type::<()>(&Kind::Text, "kind", &kind_entry.node, problems);
        return settings;
    };
    let Some(kind) = kinds::find(kind_name) else {
        problems.push(
            Diagnostic::new("spec::kind", kind_entry.node.span.clone(), format!("there is no kind `{kind_name}`"))
                .help(foreign::help(kind_name, Place::Kind, kinds::SCHEDULE_KINDS.iter().map(|kind| kind.name))),
        );
        return settings;
    };
    let kind_value = Value::Text(kind.name.into());
    settings.push(make(&format!("{prefix}.kind"), kind_entry, Values::One(kind_value)));

    let known = || kind.keys.iter().chain(kinds::COMMON);
    for entry in entries.iter().filter(|entry| entry.key != "kind") {
        let path = format!("{prefix}.{}", entry.key);
        match known().find(|key| naming.name(key.name) == entry.key) {
            Some(key) if matches!(key.kind, Kind::Stages) => settings.extend(stages(&path, naming, entry, problems)),
            Some(key) => {
                settings.extend(setting(&path, &naming.key(key), entry, problems));
            }
            None => {
                let names = known().map(|key| naming.name(key.name)).chain(extra.iter().copied());
                let owner = format!("a schedule of kind `{}`", kind.name);
                let mut diagnostic = unknown_key_of(Place::ScheduleKey, entry, &owner, names);
                let others: Vec<&str> = kinds::SCHEDULE_KINDS
                    .iter()
                    .filter(|other| other.keys.iter().any(|key| naming.name(key.name) == entry.key))
                    .map(|other| other.name)
                    .collect();
                if !others.is_empty() {
                    diagnostic = diagnostic.help(format!("`{}` is a key of {}", entry.key, suggest::all_of(&others)));
                }
                problems.push(diagnostic);
            }
        }
    }
    let names: Vec<&str> =
        known().map(|key| naming.name(key.name)).chain(["kind"]).chain(extra.iter().copied()).collect();
    let required = kind.keys.iter().filter(|key| key.required).map(|key| naming.name(key.name));
    missing(required, entries, &names, header, problems);
    for key in known() {
        let name = naming.name(key.name);
        if !entries.iter().any(|entry| entry.key == name) {
            settings.extend(default(&format!("{prefix}.{name}"), key));
        }
    }
    settings
}

fn stages(path: &str, naming: Naming, entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let Item::List(nodes) = &entry.node.item else {
        return wrong_type(&Kind::Stages, &entry.key, &entry.node, problems).unwrap_or_default();
    };
    if not_empty(&entry.node, nodes, problems).is_none() {
        return Vec::new();
    }
    let mut settings = vec![make(path, entry, Values::One(Value::Stages(nodes.len())))];
    for (index, node) in nodes.iter().enumerate() {
        let Item::Table(table) = &node.item else {
            wrong_type::<()>(&Kind::Stages, &entry.key, node, problems);
            continue;
        };
        let prefix = format!("{path}.{}", index + 1);
        let length = table.get(kinds::STAGE_LENGTH.name);
        if let Some(length) = length {
            settings.extend(setting(&format!("{prefix}.iterations"), &kinds::STAGE_LENGTH, length, problems));
        } else if index + 1 < nodes.len() {
            problems.push(
                Diagnostic::new("spec::missing", node.span.clone(), "this stage has no end")
                    .help("add `iterations`; only the last stage may leave it out"),
            );
        }
        let inner: Vec<&Entry> = table.entries.iter().filter(|entry| entry.key != kinds::STAGE_LENGTH.name).collect();
        if let Some(nested) =
            inner.iter().find(|entry| entry.key == "kind" && entry.node.item == Item::Text("sequence".into()))
        {
            problems.push(
                Diagnostic::new("spec::kind", nested.node.span.clone(), "a stage cannot be a sequence itself")
                    .help("put its stages into this list"),
            );
            continue;
        }
        settings.extend(schedule(&prefix, naming, &node.span, &inner, &[kinds::STAGE_LENGTH.name], problems));
    }
    settings
}

/// Reports a key that is not in `names`.
pub fn unknown_key<'a>(entry: &Entry, owner: &str, names: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    Diagnostic::new("spec::key", entry.key_span.clone(), format!("unknown key `{}`", entry.key))
        .text(format!("not a key of {owner}"))
        .help(suggest::help(&entry.key, names))
}

/// As [`unknown_key`], where words of other tools are known.
pub fn unknown_key_of<'a>(
    place: Place,
    entry: &Entry,
    owner: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    Diagnostic::new("spec::key", entry.key_span.clone(), format!("unknown key `{}`", entry.key))
        .text(format!("not a key of {owner}"))
        .help(foreign::help(&entry.key, place, names))
}

/// Reports all of `names` that are absent, in one diagnostic: but for those that were mistyped, which is reported as an
/// unknown key. `known` are the keys that the table may have.
pub fn missing<'a>(
    names: impl IntoIterator<Item = &'a str>,
    entries: &[&Entry],
    known: &[&str],
    header: &Span,
    problems: &mut Problems,
) {
    let absent: Vec<&str> =
        names.into_iter().filter(|name| !is_there(name, entries) && mistyped(name, entries, known).is_none()).collect();
    if !absent.is_empty() {
        let verb = if absent.len() == 1 { "is" } else { "are" };
        problems.push(
            Diagnostic::new("spec::missing", header.clone(), format!("{} {verb} missing", suggest::all_of(&absent)))
                .text("in this table"),
        );
    }
}

/// As [`missing`], for a table that may have keys which only a plugin knows: a mistyped name is no unknown key there, and
/// is reported as one here.
pub fn missing_of_open(names: &[&str], entries: &[&Entry], owner: &str, header: &Span, problems: &mut Problems) {
    for name in names.iter().filter(|name| !is_there(name, entries)) {
        if let Some(entry) = mistyped(name, entries, names) {
            problems.push(unknown_key(entry, owner, [*name]));
        }
    }
    missing(names.iter().copied(), entries, names, header, problems);
}

fn is_there(name: &str, entries: &[&Entry]) -> bool {
    entries.iter().any(|entry| entry.key == name)
}

/// The entry with an unknown key that is most likely meant to be `name`.
fn mistyped<'a>(name: &str, entries: &[&'a Entry], known: &[&str]) -> Option<&'a Entry> {
    let mut unknown = entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
    let means = |key: &str| suggest::nearest(key, known) == Some(name) || foreign::means(key, name);
    unknown.find(|entry| means(&entry.key)).copied()
}

/// Reports a value of the wrong type. Generic, so that it ends any reader.
pub fn wrong_type<T>(kind: &Kind, name: &str, node: &Node, problems: &mut Problems) -> Option<T> {
    unexpected(kind, "", name, node, problems)
}

/// As [`wrong_type`], of a key's value.
fn wrong_value<T>(key: &Key, node: &Node, problems: &mut Problems) -> Option<T> {
    let or_auto = if key.auto { ", or \"auto\"" } else { "" };
    unexpected(&key.kind, or_auto, key.name, node, problems)
}

fn unexpected<T>(kind: &Kind, or: &str, name: &str, node: &Node, problems: &mut Problems) -> Option<T> {
    let expected = match kind {
        Kind::Text | Kind::Names => "a string".to_owned(),
        Kind::OneOf(names) => suggest::one_of(names),
        Kind::Integer { .. } => "an integer".to_owned(),
        Kind::Number(_) => "a number".to_owned(),
        Kind::CountOrShare => "a number of images, or a share such as 0.1".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Duration { .. } => "a number of iterations, or a string such as \"2 epochs\" or \"10%\"".to_owned(),
        Kind::Durations => {
            "a list such as `[16_000, 22_000]`; an axis of lists is `{ each = [[..], [..]] }`".to_owned()
        }
        Kind::Seconds => "a time such as \"90 s\", \"10 min\" or \"2 h\"".to_owned(),
        Kind::Interval => {
            "a time such as \"30 s\" or \"5 min\", or \"500 iterations\", \"1 epoch\" or \"10%\", or \"never\""
                .to_owned()
        }
        Kind::Bytes => "a size such as \"512 MiB\" or \"4 GB\"".to_owned(),
        Kind::Stages => "a list of tables such as `[{ kind = \"..\", iterations = 16_000 }, ..]`".to_owned(),
        Kind::Seeds => "a list such as `[1, 2, 3]`".to_owned(),
        Kind::Axes => ZIP_FORM.to_owned(),
        Kind::Cells => EXCLUDE_FORM.to_owned(),
    };
    problems.push(
        Diagnostic::new("spec::type", node.span.clone(), format!("`{name}` has the wrong type"))
            .text(format!("expected {expected}{or}, found {}", found(&node.item))),
    );
    None
}

/// A string says more by what is in it.
fn found(item: &Item) -> String {
    match item {
        Item::Text(text) if text.len() < 50 => format!("{text:?}"),
        other => other.type_name().to_owned(),
    }
}

fn not_empty(node: &Node, nodes: &[Node], problems: &mut Problems) -> Option<()> {
    if nodes.is_empty() {
        problems.push(
            Diagnostic::new("spec::axis", node.span.clone(), "an empty list leaves no cell of the grid")
                .text("there is no value to take")
                .help("give at least one value, or remove the key"),
        );
        return None;
    }
    Some(())
}

fn axis(key: &Key, node: &Node, nodes: &[Node], problems: &mut Problems) -> Option<Vec<(Value, Option<Span>)>> {
    not_empty(node, nodes, problems)?;
    // All elements are read before giving up, so that each wrong one is reported.
    let values: Vec<_> =
        nodes.iter().map(|node| Some((value(key, node, problems)?, Some(node.span.clone())))).collect();
    values.into_iter().collect()
}

fn each(key: &Key, node: &Node, table: &Table, problems: &mut Problems) -> Option<Vec<(Value, Option<Span>)>> {
    for entry in table.entries.iter().filter(|entry| entry.key != "each") {
        problems.push(unknown_key(entry, "an axis", ["each"]));
    }
    match &table.get("each")?.node.item {
        Item::List(nodes) => axis(key, node, nodes, problems),
        _ => wrong_type(&Kind::Durations, "each", node, problems),
    }
}

/// One value of the key's type, in its range.
pub fn value(key: &Key, node: &Node, problems: &mut Problems) -> Option<Value> {
    let mut out_of_range = |expected: String| {
        problems.push(
            Diagnostic::new("spec::range", node.span.clone(), format!("`{}` is out of range", key.name))
                .text(format!("expected {expected}")),
        );
        None
    };
    match (key.kind, &node.item) {
        (_, Item::Text(text)) if key.auto && text == Value::AUTO => Some(Value::Auto),
        (Kind::Text | Kind::Names, Item::Text(text)) if text.trim().is_empty() => {
            out_of_range("a string that is not empty".to_owned())
        }
        (Kind::Text | Kind::Names, Item::Text(text)) => Some(Value::Text(text.as_str().into())),
        (Kind::OneOf(names), Item::Text(text)) => match names.iter().find(|name| *name == text) {
            Some(name) => Some(Value::Text((*name).into())),
            None => {
                problems.push(
                    Diagnostic::new("spec::range", node.span.clone(), format!("`{}` cannot be `{text}`", key.name))
                        .text(format!("expected {}", suggest::one_of(names)))
                        .help(suggest::help(text, names.iter().copied())),
                );
                None
            }
        },
        (Kind::Integer { min, max }, item) => match whole(item) {
            Some(integer) if (min..=max).contains(&integer) => Some(Value::Integer(integer)),
            Some(_) if max == i64::MAX => out_of_range(format!("at least {min}")),
            Some(_) => out_of_range(format!("from {min} to {max}")),
            None => wrong_type(&key.kind, key.name, node, problems),
        },
        (Kind::Number(range), item) => match number_of(item) {
            Some(number) if range.contains(number) => Some(Value::Number(number)),
            Some(_) => out_of_range(range.describe().to_owned()),
            None => wrong_value(key, node, problems),
        },
        (Kind::CountOrShare, item) => match (whole(item), number_of(item)) {
            (Some(count), _) if (0..=1 << 40).contains(&count) => Some(Value::Integer(count)),
            (None, Some(share)) if keys::Range::Share.contains(share) => Some(Value::Number(share)),
            (None, None) => wrong_type(&key.kind, key.name, node, problems),
            _ => out_of_range("a number of images, 0 at least, or a share between 0 and 1".to_owned()),
        },
        (Kind::Boolean, Item::Boolean(boolean)) => Some(Value::Boolean(*boolean)),
        (Kind::Duration { zero }, item) => {
            let duration = match item {
                Item::Text(text) => Duration::parse(text),
                // What is below 0 is out of range, as 0 may be.
                _ => whole(item).map(|count| Duration::iterations(u64::try_from(count).unwrap_or(0))),
            };
            let negative = whole(item).is_some_and(|count| count < 0);
            match duration {
                Some(duration) if !negative && (zero || duration.count > Ratio::ZERO) => {
                    Some(Value::Duration(duration))
                }
                Some(_) => out_of_range(if zero { "no less than 0" } else { "more than 0" }.to_owned()),
                None => wrong_value(key, node, problems),
            }
        }
        (Kind::Interval, Item::Text(text)) if parse_interval(text).is_some() => Some(Value::Text(text.as_str().into())),
        (Kind::Seconds | Kind::Bytes, Item::Text(text)) => {
            let (parsed, least, most) = if let Kind::Seconds = key.kind {
                (parse_seconds(text), MOST_SECONDS.recip(), MOST_SECONDS)
            } else {
                (parse_bytes(text), 1.0, MOST_BYTES)
            };
            match parsed {
                Some(value) if (least..=most).contains(&value) => Some(Value::Number(value)),
                Some(value) if value < least => out_of_range("more than 0".to_owned()),
                Some(_) => out_of_range("less than that".to_owned()),
                None => wrong_type(&key.kind, key.name, node, problems),
            }
        }
        (Kind::Durations, Item::List(nodes)) => {
            not_empty(node, nodes, problems)?;
            let inner = Key { kind: Kind::Duration { zero: false }, ..*key };
            let durations: Vec<_> = nodes.iter().map(|node| value(&inner, node, problems)).collect();
            let durations: Vec<Duration> = durations
                .into_iter()
                .map(|value| if let Some(Value::Duration(duration)) = value { Some(duration) } else { None })
                .collect::<Option<_>>()?;
            let falling =
                durations.windows(2).position(|pair| pair[0].unit == pair[1].unit && pair[0].count >= pair[1].count);
            if let Some(index) = falling {
                problems.push(
                    Diagnostic::new(
                        "spec::range",
                        nodes[index + 1].span.clone(),
                        format!("`{}` must increase", key.name),
                    )
                    .text("this is not after")
                    .also(Some(&nodes[index].span), "this"),
                );
                return None;
            }
            Some(Value::Durations(Arc::from(durations)))
        }
        _ => wrong_type(&key.kind, key.name, node, problems),
    }
}

/// An integer, also where it is written as a float (`25e3`).
fn whole(item: &Item) -> Option<i64> {
    match item {
        Item::Integer(integer) => Some(*integer),
        Item::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Some(*float as i64),
        _ => None,
    }
}

fn number_of(item: &Item) -> Option<f64> {
    match item {
        Item::Integer(integer) => Some(*integer as f64),
        Item::Float(float) => Some(*float),
        _ => None,
    }
}

fn range_of(table: &Table) -> Option<&Entry> {
    table.get("linspace").or_else(|| table.get("logspace"))
}

/// `{ linspace = [first, last, count] }` or `{ logspace = .. }`.
fn range(table: &Table, problems: &mut Problems) -> Option<Vec<Item>> {
    let entry = range_of(table)?;
    for other in table.entries.iter().filter(|other| other.key_span != entry.key_span) {
        problems.push(unknown_key(other, &format!("an axis by `{}`", entry.key), [entry.key.as_str()]));
    }
    let logarithmic = entry.key == "logspace";
    let wrong = |node: &Node, text: &str| {
        Diagnostic::new("spec::axis", node.span.clone(), format!("`{}` takes three numbers", entry.key))
            .text(text)
            .help(format!("write `{{ {} = [first, last, count] }}`; first and last are values", entry.key))
    };
    let Item::List(nodes) = &entry.node.item else {
        problems.push(wrong(&entry.node, "this is not a list"));
        return None;
    };
    let [first_node, last_node, count_node] = nodes.as_slice() else {
        problems.push(wrong(&entry.node, &format!("there are {}", nodes.len())));
        return None;
    };
    let mut end = |node: &Node| match number_of(&node.item) {
        Some(number) if number.is_finite() && (number > 0.0 || !logarithmic) => Some(number),
        _ => {
            problems
                .push(wrong(node, if logarithmic { "expected a number above 0" } else { "expected a finite number" }));
            None
        }
    };
    let (first, last) = (end(first_node), end(last_node));
    let count = match whole(&count_node.item) {
        Some(count) if (2..=MOST_VALUES).contains(&count) => count,
        _ => {
            problems.push(wrong(count_node, "expected a count from 2 to 100,000"));
            return None;
        }
    };
    let (first, last) = (first?, last?);
    if !(last - first).is_finite() || (logarithmic && !(last / first).is_normal()) {
        problems.push(wrong(last_node, "this is too far from the first"));
        return None;
    }
    let values = if logarithmic { spacing::logarithmic } else { spacing::linear }(first, last, count as u32);
    Some(values.into_iter().map(Item::Float).collect())
}
