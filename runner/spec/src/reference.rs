//! The reference of the spec language for people: a page in Markdown, made from the definitions that the reader uses.
//!
//! `docs/reference.md` is this page, and a test compares the two.

use std::fmt::Write as _;

use clr_terminal::words::thousands;

use super::keys::{
    CHECKPOINT, DATA, Default, EXPERIMENT, GRID, GROUP, Key, Kind, LIMITS, MODEL, OPTIMIZER, POLICY, RANGE_TEST, Range,
    Section, TRAIN,
};
use super::kinds::{COMMON, COMMON_EXAMPLES, SCHEDULE_KINDS, STAGE_LENGTH};

const INTRODUCTION: &str = "\
# The spec language, key by key

<!-- Made by `clr-run schema --markdown > runner/docs/reference.md`. -->

This page is for looking things up: each table of a spec, each key with its values, its default and an example. It is made from the
definitions by which the program reads specs. [spec.md](spec.md) explains the language; `clr-run schema` prints the same as a JSON Schema,
with which editors complete and check specs.
";

const VALUES: &str = "\
## Values

| name | how it is written |
|---|---|
| text | a string that is not empty |
| number | `0.001`, `1e-3` or `2`; never infinite, and no larger than float32 allows |
| duration | a length of time in training: a number of iterations, `2000`, or text with its unit: `\"500 iterations\"`, `\"2 epochs\"`, `\"10%\"` of the training. [Where it falls](spec.md#durations) |
| time | wall time: `\"90 s\"`, `\"10 min\"`, `\"2 h\"`, `\"1 day\"` |
| interval | a time, a duration in text, or `\"never\"` |
| size | memory: `\"512 MiB\"`, `\"4 GiB\"`, `\"500 MB\"`, `\"4 GB\"` |
| names | a string, or a list of strings |

A list where one value is expected is an axis of the grid: `max_lr = [0.005, 0.006]` doubles the trials. So is a
[range](spec.md#axes): `{ linspace = [0.1, 0.5, 5] }` or `{ logspace = [1e-4, 1e-1, 4] }`. Keys that cannot be an axis are marked with †.

On the command line, [`--set`](spec.md#setting-keys-on-the-command-line) replaces the value of a key: `--set train.iterations=500`,
`--set 'policies.NAME.max_lr=[0.005, 0.006]'`.
";

const SCHEDULES: &str = "\
## Kinds of schedules

A policy schedules the learning rate with one of these kinds. Any other hyper-parameter takes the same kinds as a table, and there the keys
are without `_lr`: `momentum = { kind = \"triangular\", base = 0.95, max = 0.85, step_size = 2000 }`. `step` counts iterations from 0.
`clr-run schedule SPEC.toml` plots what comes out.
";

const OPTIONS: &str = "\
## Options of models and optimizers

They are defined by the plugin, with their types, ranges and defaults: `clr-run plugin info cifar` prints those of the built-in models and
optimizers, and which hyper-parameters can be scheduled. A default that an architecture was published with, such as its weight decay, holds
where the spec says nothing.
";

/// The page, as in `docs/reference.md`.
pub fn reference() -> String {
    let mut page = format!("{INTRODUCTION}\n");
    for section in
        [&EXPERIMENT, &MODEL, &DATA, &TRAIN, &POLICY, &OPTIMIZER, &GROUP, &RANGE_TEST, &GRID, &CHECKPOINT, &LIMITS]
    {
        let anchor: String = heading(section).chars().filter(|c| c.is_alphanumeric()).collect();
        let _ = writeln!(page, "- [{}](#{})", heading(section), anchor.to_lowercase());
    }
    let _ = writeln!(page, "- [Kinds of schedules](#kinds-of-schedules)");
    let kinds: Vec<String> = SCHEDULE_KINDS.iter().map(|kind| format!("[`{0}`](#{0})", kind.name)).collect();
    let _ = writeln!(page, "  {}\n\n{VALUES}", kinds.join(", "));
    for section in [&EXPERIMENT, &MODEL, &DATA, &TRAIN, &POLICY] {
        write_section(&mut page, section);
    }
    let _ = writeln!(page, "{SCHEDULES}\n### Keys of every kind\n");
    write_keys(&mut page, COMMON);
    write_examples(&mut page, COMMON_EXAMPLES);
    for kind in SCHEDULE_KINDS {
        let _ = writeln!(page, "### `{}`\n\n{}\n", kind.name, kind.doc);
        write_keys(&mut page, kind.keys);
        if kind.keys.iter().any(|key| matches!(key.kind, Kind::Stages)) {
            let _ = writeln!(page, "A stage has the keys of its kind and, besides,\n");
            write_keys(&mut page, &[STAGE_LENGTH]);
        }
        write_examples(&mut page, kind.examples);
    }
    for section in [&OPTIMIZER, &GROUP] {
        write_section(&mut page, section);
    }
    let _ = writeln!(page, "{OPTIONS}");
    for section in [&RANGE_TEST, &GRID, &CHECKPOINT, &LIMITS] {
        write_section(&mut page, section);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn heading(section: &Section) -> String {
    if section.name == GROUP.name { format!("`[[{}]]`", section.name) } else { format!("`[{}]`", section.name) }
}

fn write_section(page: &mut String, section: &Section) {
    let _ = writeln!(page, "## {}\n\n{}\n", heading(section), section.doc);
    write_keys(page, section.keys);
    write_examples(page, section.examples);
}

fn write_keys(page: &mut String, keys: &[Key]) {
    let _ = writeln!(page, "| key | value | default | |\n|---|---|---|---|");
    for key in keys {
        let mark = if key.axis || matches!(key.kind, Kind::Durations) { "" } else { " †" };
        let or_auto = if key.auto { ", `\"auto\"`" } else { "" };
        let row = [format!("`{}`{mark}", key.name), value(key.kind) + or_auto, default(key), key.doc.to_owned()];
        let cells = row.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page.push('\n');
}

fn write_examples(page: &mut String, examples: &[&str]) {
    for example in examples {
        let _ = writeln!(page, "```toml\n{example}\n```\n");
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Some(Default::Text(default)) => format!("`{default:?}`"),
        Some(Default::Integer(default)) => format!("`{default}`"),
        Some(Default::Number(default)) => format!("`{default:?}`"),
        Some(Default::Boolean(default)) => format!("`{default}`"),
        None if key.required => "required".to_owned(),
        None => String::new(),
    }
}

/// The values that a key takes, in the words of [`VALUES`].
fn value(kind: Kind) -> String {
    let count = |count: i64| thousands(u128::try_from(count).unwrap_or(0));
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::OneOf(names) => names.iter().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Integer { min, max: i64::MAX } => format!("integer, at least {min}"),
        Kind::Integer { min, max } => format!("integer, {} to {}", count(min), count(max)),
        Kind::Number(Range::Any) => "number".to_owned(),
        Kind::Number(Range::NotNegative) => "number, at least 0".to_owned(),
        Kind::Number(Range::Positive) => "number above 0".to_owned(),
        Kind::Number(Range::Fraction) => "number, 0 to 1".to_owned(),
        Kind::Number(Range::Share) => "number between 0 and 1".to_owned(),
        Kind::CountOrShare => "integer, at least 0, or number between 0 and 1".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Duration { zero: false } => "duration above 0".to_owned(),
        Kind::Duration { zero: true } => "duration or 0".to_owned(),
        Kind::Durations => {
            "list of durations, each after the one before; `{ each = [[..], [..]] }` is an axis".to_owned()
        }
        Kind::Seconds => "time".to_owned(),
        Kind::Interval => "interval".to_owned(),
        Kind::Bytes => "size".to_owned(),
        Kind::Stages => "list of schedules".to_owned(),
        Kind::Names => "names".to_owned(),
        Kind::Seeds => "list of integers, or how many".to_owned(),
        Kind::Axes => "list of lists of keys".to_owned(),
        Kind::Cells => "list of tables of keys and values".to_owned(),
    }
}
