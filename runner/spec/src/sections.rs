//! The tables of a spec, each read in two passes: first the keys that decide how the rest is read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use clr_terminal::suggest;

use super::diagnostic::{Diagnostic, Problems};
use super::foreign::{self, Place};
use super::keys::{CHECKPOINT, EXPERIMENT, GRID, Kind, LIMITS, OPTIMIZER, OVERRIDABLE, POLICY, RANGE_TEST, Section};
use super::kinds::Naming;
use super::setting::{Setting, Value, parse_interval};
use super::source::{Origin, SourceFile, Span, Spanned};
use super::tree::{self, Entry, Item, Node, Table};
use super::{Optimizer, Policy, RangeTests, Seeds, Spec, grid, groups, read};
use crate::{Checkpointing, Keep, Limits, OnError};

/// The tables at the top of a spec, in the order in which a reader expects them.
pub(super) const TABLES: [&str; 10] =
    ["experiment", "model", "data", "train", "policies", "optimizers", "range_test", "grid", "checkpoint", "limits"];

/// Those that a spec may leave out.
const OPTIONAL: [&str; 4] = [RANGE_TEST.name, GRID.name, CHECKPOINT.name, LIMITS.name];

/// More seeds than a grid may have cells.
const MOST_SEEDS: i64 = 1_000_000;

/// Reads a spec, with the values of `--set KEY=VALUE` arguments in place of its own.
///
/// The diagnostics are in the order of the text, those of the command line last. Where there is any, the spec is not
/// [`complete`](Spec::complete) and no plan can be made of it, but planning it still finds what else is wrong.
pub fn parse(source: &SourceFile, sets: &[String]) -> (Spec, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let tree::Tree { mut root, broken } = tree::read(source, &mut problems);
    for (position, argument) in sets.iter().enumerate() {
        let full_path = |name: &str| if TABLES.contains(&name) { None } else { path_of(&root, name) };
        if let Some((path, value)) = tree::read_set(argument, position, &full_path, &mut problems)
            && may_set(&root, &path, &mut problems)
        {
            tree::set(&mut root, &path, value, &mut problems);
        }
    }

    let mut rules = Problems::default();
    let mut spec = read_root(&root, source, &mut rules);
    for diagnostic in rules.into_sorted() {
        // What broken text was meant to say is unknown: nothing is reported about it, nor as missing.
        let in_broken_text = diagnostic.span.origin == Origin::Spec
            && broken.iter().any(|range| diagnostic.span.start <= range.end && range.start <= diagnostic.span.end);
        if broken.is_empty() || !(in_broken_text || diagnostic.code == "spec::missing") {
            problems.push(diagnostic);
        }
    }
    spec.complete = problems.is_empty();
    (spec, problems.into_sorted())
}

/// True if `path` leads to a key that could stand in the spec. Keys of plugins and of schedules are judged when they are
/// read, but the policies and optimizers must be there: a mistyped name would add one.
fn may_set(root: &Table, path: &[(String, Span)], problems: &mut Problems) -> bool {
    let (first, first_span) = &path[0];
    if !TABLES.contains(&first.as_str()) {
        problems.push(
            Diagnostic::new("spec::set", first_span.clone(), format!("there is no table `{first}`"))
                .help(foreign::help(first, Place::Section, TABLES)),
        );
        return false;
    }
    let names_an_entry = first == "policies" || first == "optimizers";
    if path.len() < if names_an_entry { 3 } else { 2 } {
        let example = if names_an_entry { format!("{first}.NAME.KEY") } else { format!("{first}.KEY") };
        let (_, last_span) = &path[path.len() - 1];
        problems.push(
            Diagnostic::new("spec::set", last_span.clone(), "this names a table, not a key")
                .help(format!("write `{example}=VALUE`")),
        );
        return false;
    }
    let (second, second_span) = &path[1];
    if names_an_entry {
        let names: Vec<&str> = match root.get(first).map(|entry| &entry.node.item) {
            Some(Item::Table(table)) => table.entries.iter().map(|entry| entry.key.as_str()).collect(),
            _ => Vec::new(),
        };
        if !names.contains(&second.as_str()) {
            problems.push(
                Diagnostic::new("spec::set", second_span.clone(), format!("the spec has no `[{first}.{second}]`"))
                    .help(suggest::help(second, names)),
            );
            return false;
        }
    }
    true
}

/// The path of a key that was given without its tables: of a policy or an optimizer of the spec that has it, or of a section.
fn path_of(root: &Table, name: &str) -> Option<String> {
    let sections = OVERRIDABLE.into_iter().chain([&EXPERIMENT, &CHECKPOINT, &LIMITS]);
    for section in sections {
        if section.keys.iter().any(|key| key.name == name) {
            return Some(format!("{}.{name}", section.name));
        }
    }
    let is_rate = ["lr", "learning_rate"].contains(&name);
    for group in ["policies", "optimizers"] {
        let Some(Item::Table(tables)) = root.get(group).map(|entry| &entry.node.item) else { continue };
        for entry in &tables.entries {
            let Item::Table(table) = &entry.node.item else { continue };
            let rate = ["base_lr", "max_lr"].into_iter().find(|rate| is_rate && table.get(rate).is_some());
            if let Some(key) = rate.or_else(|| table.get(name).map(|_| name)) {
                return Some(format!("{group}.{}.{key}", entry.key));
            }
        }
    }
    RANGE_TEST.keys.iter().find(|key| key.name == name).map(|key| format!("{}.{}", RANGE_TEST.name, key.name))
}

fn read_root(root: &Table, source: &SourceFile, problems: &mut Problems) -> Spec {
    let mut spec = Spec::default();
    let end = Span::spec(source.text.trim_end().len().saturating_sub(1)..source.text.trim_end().len());
    for entry in &root.entries {
        if !TABLES.contains(&entry.key.as_str()) {
            problems.push(
                Diagnostic::new("spec::key", entry.key_span.clone(), format!("unknown table `{}`", entry.key))
                    .text("not a table of a spec")
                    .help(foreign::help(&entry.key, Place::Section, TABLES)),
            );
        }
    }
    let empty = Table::default();
    let mut section = |name: &str| match root.get(name) {
        Some(entry) => match &entry.node.item {
            Item::Table(table) => (table, header(entry)),
            other => {
                problems.push(
                    Diagnostic::new("spec::type", entry.node.span.clone(), format!("`{name}` has the wrong type"))
                        .text(format!("expected a table, found {}", other.type_name()))
                        .help(format!("write `[{name}]` on a line of its own and its keys below")),
                );
                (&empty, end.clone())
            }
        },
        None => (&empty, end.clone()),
    };
    let experiment = section(EXPERIMENT.name);
    let shared = OVERRIDABLE.map(|definition| (definition, section(definition.name)));
    let policies = section("policies");
    let optimizers = section("optimizers");
    let range_test = section(RANGE_TEST.name);
    let (grid_table, _) = section(GRID.name);
    let checkpoint = section(CHECKPOINT.name);
    let limits = section(LIMITS.name);
    let unknown: Vec<&str> =
        root.entries.iter().map(|entry| entry.key.as_str()).filter(|name| !TABLES.contains(name)).collect();
    let is_mistyped = |table: &str| unknown.iter().any(|name| suggest::nearest(name, &TABLES) == Some(table));
    let absent: Vec<String> = TABLES
        .iter()
        .filter(|name| !OPTIONAL.contains(name) && root.get(name).is_none() && !is_mistyped(name))
        .map(|name| format!("`[{name}]`"))
        .collect();
    if !absent.is_empty() {
        let title =
            format!("{} missing: {}", if absent.len() == 1 { "a table is" } else { "tables are" }, absent.join(", "));
        problems.push(Diagnostic::new("spec::missing", end.clone(), title).text("the spec ends here"));
    }

    if root.get("experiment").is_some() {
        read_experiment(experiment.0, &experiment.1, &mut spec, problems);
    }
    for (definition, (table, header)) in shared {
        if root.get(definition.name).is_some() {
            spec.settings.extend(read_section(definition, table, &header, problems));
        }
    }
    for entry in named_tables(root, "policies", policies, problems) {
        spec.policies.extend(read_policy(entry, problems));
    }
    for entry in named_tables(root, "optimizers", optimizers, problems) {
        spec.optimizers.extend(read_optimizer(entry, problems));
    }
    spec.range_test = read_range_test(range_test.0, &range_test.1, problems);
    (spec.zip, spec.exclude) = grid::read(grid_table, problems);
    spec.checkpointing = read_checkpoint(&read_section(&CHECKPOINT, checkpoint.0, &checkpoint.1, problems));
    spec.limits = read_limits(&read_section(&LIMITS, limits.0, &limits.1, problems));
    spec
}

/// The table's header, or, for a table made by dotted keys or inline, the key.
fn header(entry: &Entry) -> Span {
    match &entry.node.item {
        Item::Table(_) if entry.node.span.start <= entry.key_span.start => entry.node.span.clone(),
        _ => entry.key_span.clone(),
    }
}

fn read_experiment(table: &Table, header: &Span, spec: &mut Spec, problems: &mut Problems) {
    let entries: Vec<&Entry> = table.entries.iter().collect();
    let mut seeds_entry = None;
    for entry in &entries {
        match entry.key.as_str() {
            "name" => spec.name = experiment_name(entry, problems).unwrap_or_default(),
            "seeds" => {
                seeds_entry = Some(*entry);
                spec.seeds.both = seeds(entry, problems).unwrap_or_default();
            }
            "init_seeds" => spec.seeds.init = seeds(entry, problems),
            "data_seeds" => spec.seeds.data = seeds(entry, problems),
            _ => {
                let names = EXPERIMENT.keys.iter().map(|key| key.name);
                problems.push(read::unknown_key_of(Place::Section, entry, "[experiment]", names));
            }
        }
    }
    let known: Vec<&str> = EXPERIMENT.keys.iter().map(|key| key.name).collect();
    let required = EXPERIMENT.keys.iter().filter(|key| key.required).map(|key| key.name);
    read::missing(required, &entries, &known, header, problems);
    if let (Seeds { init: Some(_), data: Some(_), .. }, Some(entry)) = (&spec.seeds, seeds_entry) {
        problems.push(
            Diagnostic::new("spec::seeds", entry.key_span.clone(), "`seeds` decides nothing here")
                .text("`init_seeds` and `data_seeds` are both set apart")
                .help("remove it"),
        );
    }
    if spec.seeds.init.is_some() && spec.seeds.data.is_some() {
        spec.seeds.both = vec![0];
    }
}

fn read_checkpoint(settings: &[Setting]) -> Checkpointing {
    let mut checkpointing = Checkpointing::default();
    for setting in settings {
        let Some((Value::Text(text), _)) = setting.values.first() else { continue };
        match (&*setting.path, &**text) {
            ("checkpoint.every", text) => checkpointing.every = parse_interval(text).unwrap_or(checkpointing.every),
            ("checkpoint.keep", "last") => checkpointing.keep = Keep::Last,
            ("checkpoint.keep", "best") => checkpointing.keep = Keep::Best,
            ("checkpoint.keep", "cycles") => checkpointing.keep = Keep::Cycles,
            _ => {}
        }
    }
    checkpointing
}

/// Keys with their defaults, but for the seeds, which are a list.
fn read_range_test(table: &Table, header: &Span, problems: &mut Problems) -> RangeTests {
    let (seeds_of_it, others): (Vec<Entry>, Vec<Entry>) =
        table.entries.iter().cloned().partition(|entry| entry.key == "seeds");
    let settings = read_section(&RANGE_TEST, &Table { entries: others }, header, problems);
    let seeds = seeds_of_it.first().and_then(|entry| seeds(entry, problems));
    let range_tests = RangeTests { settings, seeds };
    range_tests.check(problems);
    range_tests
}

fn read_limits(settings: &[Setting]) -> Limits {
    let mut limits = Limits::default();
    for setting in settings {
        match (&*setting.path, setting.values.first().map(|(value, _)| value)) {
            ("limits.time", Some(Value::Number(seconds))) => limits.time = Some(Duration::from_secs_f64(*seconds)),
            ("limits.memory", Some(Value::Number(bytes))) => limits.memory = Some(*bytes as u64),
            ("limits.call", Some(Value::Number(seconds))) => limits.call = Duration::from_secs_f64(*seconds),
            ("limits.on_error", Some(Value::Text(text))) if **text == *"stop" => limits.on_error = OnError::Stop,
            _ => {}
        }
    }
    limits
}

fn experiment_name(entry: &Entry, problems: &mut Problems) -> Option<String> {
    let Item::Text(name) = &entry.node.item else {
        return read::wrong_type(&Kind::Text, "name", &entry.node, problems);
    };
    // It becomes a folder, on every system.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with(['.', '-']) || !name.chars().all(allowed) {
        problems.push(
            Diagnostic::new("spec::range", entry.node.span.clone(), "this name cannot be a folder's")
                .text("expected letters, digits, `.`, `_` and `-`, at most 100, the first a letter or digit"),
        );
        return None;
    }
    Some(name.clone())
}

/// A list of seeds, or how many there are: `3` is `[1, 2, 3]`.
fn seeds(entry: &Entry, problems: &mut Problems) -> Option<Vec<u64>> {
    let mut wrong = |node: &Node, text: &str| {
        let title = format!("`{}` is no list of seeds", entry.key);
        problems.push(Diagnostic::new("spec::range", node.span.clone(), title).text(text));
    };
    let nodes = match &entry.node.item {
        Item::Integer(count) if (1..=MOST_SEEDS).contains(count) => return Some((1..=*count as u64).collect()),
        Item::Integer(_) => {
            wrong(&entry.node, "expected a list of seeds, or how many: from 1 to 1,000,000");
            return None;
        }
        Item::List(nodes) => nodes,
        other => {
            problems.push(
                Diagnostic::new("spec::type", entry.node.span.clone(), format!("`{}` has the wrong type", entry.key))
                    .text(format!("expected a list such as `[1, 2, 3]`, found {}", other.type_name())),
            );
            return None;
        }
    };
    if nodes.is_empty() {
        problems.push(
            Diagnostic::new("spec::axis", entry.node.span.clone(), "an empty list leaves no cell of the grid")
                .text("there is no seed to take")
                .help("give at least one seed, or remove the key"),
        );
        return None;
    }
    let mut seen: HashSet<i64> = HashSet::new();
    let mut seeds = Vec::new();
    for node in nodes {
        match node.item {
            Item::Integer(seed) if seed < 0 => wrong(node, "expected a seed that is not negative"),
            Item::Integer(seed) if !seen.insert(seed) => wrong(node, &format!("the seed {seed} is there twice")),
            Item::Integer(seed) => seeds.push(seed as u64),
            _ => wrong(node, "expected an integer"),
        }
    }
    Some(seeds)
}

fn read_section(section: &Section, table: &Table, header: &Span, problems: &mut Problems) -> Vec<Setting> {
    let mut settings = Vec::new();
    let entries: Vec<&Entry> = table.entries.iter().collect();
    for entry in &entries {
        settings.extend(section_key(section, entry, problems));
    }
    let required: Vec<&str> = section.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    if section.open {
        read::missing_of_open(&required, &entries, &format!("[{}]", section.name), header, problems);
    } else {
        let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        read::missing(required, &entries, &known, header, problems);
    }
    for key in section.keys.iter().filter(|key| table.get(key.name).is_none()) {
        settings.extend(read::default(&format!("{}.{}", section.name, key.name), key));
    }
    settings
}

fn section_key(section: &Section, entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let path = format!("{}.{}", section.name, entry.key);
    match section.keys.iter().find(|key| key.name == entry.key) {
        Some(key) => read::setting(&path, key, entry, problems).into_iter().collect(),
        None if section.open => read::option(&path, entry, problems),
        None => {
            let owner = format!("[{}]", section.name);
            problems.push(read::unknown_key_of(Place::Section, entry, &owner, section.keys.iter().map(|key| key.name)));
            Vec::new()
        }
    }
}

/// The tables in `[policies]` or `[optimizers]`.
fn named_tables<'a>(
    root: &Table,
    name: &str,
    (table, header): (&'a Table, Span),
    problems: &mut Problems,
) -> &'a [Entry] {
    if root.get(name).is_some() && table.entries.is_empty() {
        problems.push(
            Diagnostic::new("spec::grid", header, format!("`[{name}]` is empty, which leaves no cell of the grid"))
                .help(format!("add a table such as `[{name}.NAME]`")),
        );
    }
    &table.entries
}

fn named_table<'a>(entry: &'a Entry, group: &str, problems: &mut Problems) -> Option<(Spanned<Arc<str>>, &'a Table)> {
    let Item::Table(table) = &entry.node.item else {
        problems.push(
            Diagnostic::new("spec::type", entry.node.span.clone(), format!("`{}` has the wrong type", entry.key))
                .text(format!("expected a table, found {}", entry.node.item.type_name()))
                .help(format!("write `[{group}.{}]` on a line of its own and its keys below", entry.key)),
        );
        return None;
    };
    if entry.key.is_empty() || entry.key.len() > 200 || entry.key.contains(char::is_control) {
        problems.push(Diagnostic::new("spec::range", entry.key_span.clone(), "this name cannot be printed"));
    }
    Some((Spanned { value: entry.key.as_str().into(), span: header(entry) }, table))
}

fn read_policy(entry: &Entry, problems: &mut Problems) -> Option<Policy> {
    let (name, table) = named_table(entry, "policies", problems)?;
    let mut settings = Vec::new();
    let mut optimizers = None;
    let mut own = Vec::new();
    for entry in &table.entries {
        match (entry.key.as_str(), &entry.node.item) {
            // Where the names cannot be read, none is better than all: those would be judged with a policy not theirs.
            ("optimizers", _) => {
                let none = Spanned { value: Vec::new(), span: entry.node.span.clone() };
                optimizers = Some(optimizer_names(entry, problems).unwrap_or(none));
            }
            ("optimizer", Item::Table(inner)) => {
                for entry in &inner.entries {
                    settings.extend(optimizer_key(entry, problems));
                }
            }
            ("optimizer", _) => not_a_table(entry, problems),
            _ if is_override(entry) => settings.extend(overrides(entry, problems)),
            _ => own.push(entry),
        }
    }
    let extra: Vec<&str> = POLICY
        .keys
        .iter()
        .map(|key| key.name)
        .chain(OVERRIDABLE.map(|section| section.name))
        .chain(["optimizer"])
        .collect();
    let mut policy_settings = read::schedule("policy", Naming::LearningRate, &name.span, &own, &extra, problems);
    policy_settings.append(&mut settings);
    Some(Policy { name, optimizers, settings: policy_settings })
}

fn read_optimizer(entry: &Entry, problems: &mut Problems) -> Option<Optimizer> {
    let (name, table) = named_table(entry, "optimizers", problems)?;
    let mut settings = Vec::new();
    let entries: Vec<&Entry> = table.entries.iter().collect();
    let kind_key = &OPTIMIZER.keys[0];
    let (mut own, mut overriding) = (Vec::new(), Vec::new());
    for entry in &entries {
        if entry.key == kind_key.name {
            settings.extend(read::setting("optimizer.kind", kind_key, entry, problems));
        } else if is_override(entry) {
            overriding.extend(overrides(entry, problems));
        } else {
            own.extend(optimizer_key(entry, problems));
        }
    }
    read::missing_of_open(&[kind_key.name], &entries, "an optimizer", &name.span, problems);
    settings.append(&mut own);
    settings.append(&mut overriding);
    Some(Optimizer { name, settings })
}

/// A constant or hyper-parameter of an optimizer: a scalar, an axis, or a table that schedules it.
fn optimizer_key(entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let path = format!("optimizer.{}", entry.key);
    match &entry.node.item {
        _ if entry.key == "groups" => groups::read(&path, entry, problems),
        Item::Table(table) if table.get("linspace").is_none() && table.get("logspace").is_none() => {
            let entries: Vec<&Entry> = table.entries.iter().collect();
            read::schedule(&path, Naming::Plain, &header(entry), &entries, &[], problems)
        }
        _ => read::option(&path, entry, problems),
    }
}

fn is_override(entry: &Entry) -> bool {
    OVERRIDABLE.iter().any(|section| section.name == entry.key)
}

fn overrides(entry: &Entry, problems: &mut Problems) -> Vec<Setting> {
    let Some(section) = OVERRIDABLE.into_iter().find(|section| section.name == entry.key) else { return Vec::new() };
    let Item::Table(table) = &entry.node.item else {
        not_a_table(entry, problems);
        return Vec::new();
    };
    table.entries.iter().flat_map(|entry| section_key(section, entry, problems)).collect()
}

fn not_a_table(entry: &Entry, problems: &mut Problems) {
    problems.push(
        Diagnostic::new("spec::type", entry.node.span.clone(), format!("`{}` has the wrong type", entry.key))
            .text(format!("expected keys to override, found {}", entry.node.item.type_name()))
            .help(format!("write `{}.KEY = VALUE`", entry.key)),
    );
}

fn optimizer_names(entry: &Entry, problems: &mut Problems) -> Option<Spanned<Vec<Spanned<String>>>> {
    let nodes = match &entry.node.item {
        Item::List(nodes) => nodes.as_slice(),
        Item::Text(_) => std::slice::from_ref(&entry.node),
        other => {
            problems.push(
                Diagnostic::new("spec::type", entry.node.span.clone(), "`optimizers` has the wrong type")
                    .text(format!("expected a list of names, found {}", other.type_name())),
            );
            return None;
        }
    };
    if nodes.is_empty() {
        problems.push(
            Diagnostic::new("spec::optimizers", entry.node.span.clone(), "no optimizer can take this policy")
                .text("the list is empty")
                .help("name some, or remove the key to meet all"),
        );
        return None;
    }
    let mut names = Vec::new();
    for node in nodes {
        match read::value(&POLICY.keys[1], node, problems) {
            Some(Value::Text(name)) => names.push(Spanned { value: name.to_string(), span: node.span.clone() }),
            _ => return None,
        }
    }
    Some(Spanned { value: names, span: entry.node.span.clone() })
}
