//! A spec's text as it is kept with results: the values of `--set` written into it, comments and all else left as they are, so
//! that it gives the same trials by itself.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::source::Origin;
use super::{Problems, SourceFile, Spec, parse, tree};

/// The text of `source` with `sets` in place of its own values, and `files` in place of those of `table` schedules and of
/// options at the paths of `options`: from a path as it is written to another. None where that cannot be written as TOML so that
/// it means the same.
pub fn standalone(
    source: &SourceFile,
    sets: &[String],
    options: &BTreeSet<String>,
    files: &BTreeMap<String, String>,
) -> Option<String> {
    let applied = SourceFile { name: source.name.clone(), text: with_sets(source, sets)? };
    let (spec, problems) = parse(source, sets);
    let (same, more) = parse(&applied, &[]);
    if !problems.is_empty() || !more.is_empty() || !spec.says_the_same(&same) {
        return None;
    }
    with_files(applied.text, &same, options, files)
}

fn with_sets(source: &SourceFile, sets: &[String]) -> Option<String> {
    if sets.is_empty() {
        return Some(source.text.clone());
    }
    let mut document: DocumentMut = source.text.parse().ok()?;
    for (position, argument) in sets.iter().enumerate() {
        let (path, _) = tree::read_set(argument, position, &|_| None, &mut Problems::default())?;
        let path: Vec<&str> = path.iter().map(|(name, _)| name.as_str()).collect();
        let (_, text) = argument.split_once('=')?;
        // As it is read: what is no value of TOML is a bare word.
        let value: Value = text.trim().parse().unwrap_or_else(|_| text.trim().into());
        set(document.as_table_mut(), &path, value, true)?;
    }
    Some(document.to_string())
}

/// Puts `value` at `path`, as [`tree::set`] does. Tables that are missing are added: at the top as `[table]`, below with dots.
fn set(table: &mut dyn TableLike, path: &[&str], mut value: Value, is_root: bool) -> Option<()> {
    let (key, rest) = path.split_first()?;
    if rest.is_empty() {
        match table.get_mut(key) {
            Some(Item::Value(old)) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            Some(other) => *other = Item::Value(value),
            None => drop(table.insert(key, Item::Value(value))),
        }
        return Some(());
    }
    if let Some(index) = tree::position(rest[0])
        && let Some(list) = table.get_mut(key).filter(|item| item.is_array() || item.is_array_of_tables())
    {
        return match (list, &rest[1..]) {
            (Item::ArrayOfTables(tables), rest) if !rest.is_empty() => set(tables.get_mut(index)?, rest, value, false),
            (Item::Value(Value::Array(items)), rest) => match (items.get_mut(index)?, rest) {
                (Value::InlineTable(inner), rest) if !rest.is_empty() => set(inner, rest, value, false),
                (old, []) => {
                    *value.decor_mut() = old.decor().clone();
                    *old = value;
                    Some(())
                }
                _ => None,
            },
            _ => None,
        };
    }
    if table.get(key).is_none_or(|item| !item.is_table_like()) {
        let mut inner = Table::new();
        inner.set_dotted(!is_root);
        table.insert(key, Item::Table(inner));
        // In a table on one line there is no other.
        if table.get(key).is_none_or(|item| !item.is_table_like()) {
            table.insert(key, Item::Value(Value::InlineTable(InlineTable::new())));
        }
    }
    set(table.get_mut(key)?.as_table_like_mut()?, rest, value, false)
}

/// `text`, which reads as `spec`, with other files.
fn with_files(
    mut text: String,
    spec: &Spec,
    options: &BTreeSet<String>,
    files: &BTreeMap<String, String>,
) -> Option<String> {
    let mut places: Vec<_> = spec.file_values(options).collect();
    places.sort_by_key(|(_, span)| span.map(|span| span.start));
    places.dedup_by_key(|(_, span)| span.map(|span| span.start));
    for (file, span) in places.into_iter().rev() {
        let Some(new) = files.get(file) else { continue };
        let span = span.filter(|span| span.origin == Origin::Spec)?;
        text.get(span.start..span.end).filter(|old| old.starts_with(['"', '\'']))?;
        text.replace_range(span.start..span.end, &Value::from(new.as_str()).to_string());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const SPEC: &str = r#"# What this is about.
[experiment]
name = "a"   # the folder

[model]
plugin = "cifar"
architecture = "cifar10_full"
[data]
dataset = "cifar10"
batch_size = 100
[train]
iterations = 25_000 # long

[policies.tri]        # the first
kind = "triangular"
base_lr = 0.001       # low
max_lr = [
  0.005, # one
  0.006,
]
step_size = 2000
[policies.seq]
kind = "sequence"
stages = [
  { kind = "table", file = "lr.csv", iterations = 100 }, # as measured
  { kind = "fixed", base_lr = 0.1 },
]
[policies.seq.train]
eval_every = 10

[optimizers]
sgd = { kind = "sgd", momentum = { kind = "table", file = 'sub/m.csv' } }
[optimizers.grouped]
kind = "sgd"
[[optimizers.grouped.groups]]
parameters = "*.bias"   # all of them
lr_mult = 2
[[optimizers.grouped.groups]]
parameters = "ip*"
lr_mult = 1.5
"#;

    fn source(text: &str) -> SourceFile {
        SourceFile { name: "a.toml".to_owned(), text: text.to_owned() }
    }

    /// The lines that `sets` change.
    #[track_caller]
    fn check(sets: &[&str], expected: Expect) {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let text = standalone(&source(SPEC), &sets, &BTreeSet::new(), &BTreeMap::new()).expect("it can be written");
        let (spec, _) = parse(&source(SPEC), &sets);
        let (alone, problems) = parse(&source(&text), &[]);
        assert!(problems.is_empty() && spec.says_the_same(&alone), "{text}");
        let old: Vec<&str> = SPEC.lines().collect();
        let new: Vec<&str> = text.lines().collect();
        let lines = |lines: &[&str], others: &[&str], sign: char| -> String {
            lines.iter().filter(|line| !others.contains(line)).map(|line| format!("{sign}{line}\n")).collect()
        };
        expected.assert_eq(&(lines(&old, &new, '-') + &lines(&new, &old, '+')));
    }

    #[test]
    fn without_sets_the_text_is_as_it_was() {
        check(&[], expect![[r#""#]]);
    }

    #[test]
    fn a_value_that_is_set_takes_the_place_of_the_old_one_and_comments_stay() {
        check(
            &["train.iterations=\"2 epochs\"", "policies.tri.base_lr=0.002", "policies.tri.max_lr=[0.5, 1]"],
            expect![[r#"
                -iterations = 25_000 # long
                -base_lr = 0.001       # low
                -max_lr = [
                -  0.005, # one
                -  0.006,
                +iterations = "2 epochs" # long
                +base_lr = 0.002       # low
                +max_lr = [0.5, 1]
            "#]],
        );
        check(
            &["policies.tri.kind=triangular2", "experiment.seeds=[1, 2]"],
            expect![[r#"
            -kind = "triangular"
            +seeds = [1, 2]
            +kind = "triangular2"
        "#]],
        );
    }

    #[test]
    fn a_key_that_was_not_there_is_added_where_it_belongs() {
        check(
            &["checkpoint.keep=last", "grid.exclude=[{policy=\"seq\"}]", "train.max_loss=9", "limits.time=\"2 h\""],
            expect![[r#"
                +max_loss = 9
                +[checkpoint]
                +keep = "last"
                +[grid]
                +exclude = [{policy="seq"}]
                +[limits]
                +time = "2 h"
            "#]],
        );
        check(
            &[
                "policies.tri.optimizer.weight_decay=0",
                "policies.tri.train.eval_every=5",
                "policies.seq.train.max_loss=3",
            ],
            expect![[r#"
                +optimizer.weight_decay = 0
                +train.eval_every = 5
                +max_loss = 3
            "#]],
        );
        check(
            &[
                "optimizers.sgd.weight_decay=0.5",
                "optimizers.sgd.train.clip_gradients=1",
                "optimizers.sgd.momentum=0.9",
            ],
            expect![[r#"
                -sgd = { kind = "sgd", momentum = { kind = "table", file = 'sub/m.csv' } }
                +sgd = { kind = "sgd", momentum = 0.9 , weight_decay = 0.5, train = { clip_gradients = 1 } }
            "#]],
        );
    }

    #[test]
    fn items_of_lists_are_set_where_they_stand() {
        check(
            &["policies.seq.stages.2.base_lr=0.5", "policies.seq.stages.1.iterations=7", "policies.tri.max_lr.2=0.007"],
            expect![[r#"
                -  0.006,
                -  { kind = "table", file = "lr.csv", iterations = 100 }, # as measured
                -  { kind = "fixed", base_lr = 0.1 },
                +  0.007,
                +  { kind = "table", file = "lr.csv", iterations = 7 }, # as measured
                +  { kind = "fixed", base_lr = 0.5 },
            "#]],
        );
        check(
            &["optimizers.grouped.groups.2.lr_mult=3", "optimizers.grouped.groups.1.decay_mult=0"],
            expect![[r#"
            -lr_mult = 1.5
            +decay_mult = 0
            +lr_mult = 3
        "#]],
        );
    }

    #[test]
    fn the_last_of_two_sets_of_a_key_counts() {
        check(
            &["train.max_loss=9", "train.max_loss=8"],
            expect![[r#"
            +max_loss = 8
        "#]],
        );
    }

    #[test]
    fn files_of_tables_are_named_anew_wherever_they_stand() {
        let tables = [("lr.csv", "tables/1-lr.csv"), ("sub/m.csv", "tables/2-m \"q\".csv")];
        let tables = tables.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
        let text = standalone(&source(SPEC), &["train.iterations=7".to_owned()], &BTreeSet::new(), &tables)
            .expect("it can be written");
        let (spec, problems) = parse(&source(&text), &[]);
        assert!(problems.is_empty(), "{text}");
        let files: Vec<String> = spec.tables().into_iter().map(|table| table.file).collect();
        assert_eq!(files, ["tables/1-lr.csv", "tables/2-m \"q\".csv"]);
        assert!(text.contains("# as measured") && text.contains("iterations = 7 # long"), "{text}");
    }
}
