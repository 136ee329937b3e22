//! TOML text as a tree in which every key and value knows where it was written, `--set` arguments merged in.

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Problems};
use super::format;
use super::source::{Origin, SourceFile, Span};

/// A TOML value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub item: Item,
    pub span: Span,
}

/// A TOML value. Date-times have no use in a spec and are kept only to be refused by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    DateTime,
    List(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Table {
    /// The entry named `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Item {
    /// With its article, as in "expected a number, found a list".
    pub fn type_name(&self) -> &'static str {
        match self {
            Item::Text(_) => "a string",
            Item::Integer(_) => "an integer",
            Item::Float(_) => "a float",
            Item::Boolean(_) => "a boolean",
            Item::DateTime => "a date-time",
            Item::List(_) => "a list",
            Item::Table(_) => "a table",
        }
    }
}

/// A spec as far as it is TOML.
pub struct Tree {
    pub root: Table,
    /// Ranges of bytes that are not what they were meant to be: lines that are no TOML, and tables of a name that was
    /// already there, whose keys were read into the first. No rule is applied to them.
    pub broken: Vec<Range<usize>>,
}

/// Reads the text as far as it is TOML.
pub fn read(source: &SourceFile, problems: &mut Problems) -> Tree {
    let text = source.text.as_str();
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut broken: Vec<Range<usize>> = Vec::new();
    if !errors.is_empty()
        && let Some(other) = format::other_than_toml(text)
    {
        let help = match &other.in_toml {
            Some(line) => format!("keys stand in tables, `[train]`, each as `key = value`; this line is `{line}`"),
            None => "keys stand in tables, `[train]`, each as `key = value`".to_owned(),
        };
        problems.push(
            Diagnostic::new(
                "spec::syntax",
                Span::spec(other.line),
                format!("this is {}, and a spec is TOML", other.name),
            )
            .help(help),
        );
        broken.push(0..text.len());
        return Tree { root: Table::default(), broken };
    }
    // What follows an open bracket is read as a part of it, and none of that is worth a message.
    let unclosed = format::unclosed_bracket(text).filter(|_| !errors.is_empty());
    if let Some(at) = unclosed {
        broken.push(text[..at].rfind('\n').map_or(0, |newline| newline + 1)..text.len());
        let closing = if text[at..].starts_with('{') { "}" } else { "]" };
        problems.push(
            Diagnostic::new("spec::syntax", Span::spec(at..at + 1), "this bracket is not closed")
                .help(format!("add the `{closing}` that ends the value")),
        );
    }
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        let start = text.floor_char_boundary(range.start.min(text.len()));
        if broken.iter().any(|table| table.contains(&start)) || unclosed.is_some_and(|at| start >= at) {
            continue;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        if error.message().starts_with("duplicate key") {
            let name = text.get(range.clone()).unwrap_or_default();
            let line = text[line_start..line_end].trim();
            let first = first_of_name(&text[..line_start], line, name).map(Span::spec);
            problems.push(
                Diagnostic::new("spec::duplicate", Span::spec(range), format!("`{name}` is there twice"))
                    .text("the second")
                    .also(first.as_ref(), "the first")
                    .help("rename or remove one of them"),
            );
            if line.starts_with('[') {
                let next_table = text[line_end..].find("\n[").map_or(text.len(), |newline| line_end + newline);
                broken.push(line_start..next_table);
            }
        } else {
            broken.push(line_start..line_end.max(range.end));
            let message = error.message().replace('\n', " ");
            let line = &text[line_start..line_end];
            problems.push(match value_of(line) {
                Some((value, (title, toml))) => {
                    let begin = line_start + value.start;
                    let key = line[..value.start].trim();
                    Diagnostic::new("spec::syntax", Span::spec(begin..line_start + value.end), title)
                        .help(format!("write `{key} {toml}`"))
                }
                None => {
                    let title = match message.as_str() {
                        message if message.starts_with("unclosed table") => "this header is not closed",
                        message if message.contains("string, expected `") && message.starts_with("invalid") => {
                            "this string is not closed"
                        }
                        _ => "this is not TOML",
                    };
                    Diagnostic::new("spec::syntax", Span::spec(range), title).text(message)
                }
            });
        }
    }
    let root = table(root.into_inner(), &|range| Span::spec(range), problems);
    Tree { root, broken }
}

/// The value of a line that is `key = value` but for the form of the value: where it is, what is wrong, and its form.
fn value_of(line: &str) -> Option<(Range<usize>, (&'static str, String))> {
    let (key, rest) = line.split_once('=')?;
    let value = rest.split('#').next().unwrap_or(rest);
    let begin = key.len() + 1 + (value.len() - value.trim_start().len());
    let value = value.trim();
    let answer = format::value_in_toml(value).or_else(|| format::word_in_toml(value))?;
    Some((begin..begin + value.len(), answer))
}

/// The place above a line where the name that it repeats was written: the same header, or the key within the same table.
fn first_of_name(above: &str, line: &str, name: &str) -> Option<Range<usize>> {
    let mut end = above.len();
    for candidate in above.split_inclusive('\n').rev() {
        let start = end - candidate.len();
        end = start;
        let indent = candidate.len() - candidate.trim_start().len();
        let candidate = candidate.trim();
        if line.starts_with('[') {
            if candidate == line {
                return Some(start + indent..start + indent + candidate.len());
            }
        } else if candidate.starts_with('[') {
            return None;
        } else if candidate.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some(start + indent..start + indent + name.len());
        }
    }
    None
}

/// The keys that lead to a value, each with its place.
pub type KeyPath = Vec<(String, Span)>;

/// One `--set KEY=VALUE` as a path of keys and a value, or `None` after reporting what is wrong with it.
///
/// `position` is which of the arguments it is; `path_of` finds the path of a key that is given without its tables.
pub fn read_set(
    argument: &str,
    position: usize,
    path_of: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<(KeyPath, Node)> {
    const OPTION: &str = "--set ";
    let shown: Arc<str> = format!("{OPTION}{argument}").into();
    let span = |range: Range<usize>| Span {
        origin: Origin::CommandLine { position, shown: Arc::clone(&shown) },
        start: range.start,
        end: range.end,
    };
    let whole = span(OPTION.len()..shown.len());
    let Some((key, value)) = argument.split_once('=') else {
        problems.push(
            Diagnostic::new("spec::set", whole, "this sets nothing")
                .help("write `--set KEY=VALUE`, as in `--set train.iterations=100`"),
        );
        return None;
    };
    let key_span = |range: Range<usize>| span(range.start + OPTION.len()..range.end + OPTION.len());
    let Some(path) = key_path(key) else {
        problems.push(
            Diagnostic::new("spec::set", key_span(0..key.len()), "this is no key")
                .help("write the table and the key with dots between, as in `train.iterations`"),
        );
        return None;
    };
    let path: KeyPath = path.into_iter().map(|(name, range)| (name, key_span(range))).collect();

    let trimmed = value.trim();
    let in_toml = format::value_in_toml(trimmed);
    let write = |key: &str, toml: &str| {
        let quote = if toml.contains(['[', '{', '"', ' ']) { "'" } else { "" };
        format!("write `--set {quote}{key}={toml}{quote}`")
    };
    if let [(name, name_span)] = path.as_slice()
        && let Some(path) = path_of(name)
    {
        let toml = in_toml.as_ref().map_or(trimmed, |(_, toml)| toml);
        problems.push(
            Diagnostic::new("spec::set", name_span.clone(), format!("there is no table `{name}`"))
                .help(write(&path, toml)),
        );
        return None;
    }
    let offset = OPTION.len() + key.len() + 1 + (value.len() - value.trim_start().len());
    let value_span = |range: Range<usize>| span(range.start + offset..range.end + offset);
    match DeValue::parse(trimmed) {
        Ok(value) => Some((path, node(value, &value_span, problems))),
        Err(error) => match in_toml {
            Some((title, toml)) => {
                problems.push(
                    Diagnostic::new("spec::syntax", value_span(0..trimmed.len()), title).help(write(key.trim(), &toml)),
                );
                None
            }
            // Shells eat quotes, so a bare word is a string; what starts like another kind of value is a mistake in that.
            None if trimmed.is_empty() || trimmed.starts_with(['[', '{', '"', '\'']) => {
                let range = error.span().unwrap_or(0..trimmed.len());
                problems.push(
                    Diagnostic::new("spec::syntax", value_span(range), "this is not a TOML value")
                        .text(error.message().replace('\n', " ")),
                );
                None
            }
            None => Some((path, Node { item: Item::Text(trimmed.to_owned()), span: value_span(0..trimmed.len()) })),
        },
    }
}

/// A dotted key, read by TOML's own rules: the parts and their ranges.
fn key_path(key: &str) -> Option<Vec<(String, Range<usize>)>> {
    let text = format!("{key}=0");
    let mut table = DeTable::parse(&text).ok().filter(|_| !key.contains(['\n', '\r', '#']))?.into_inner();
    let mut path = Vec::new();
    loop {
        let (name, value) = std::mem::take(&mut table).into_iter().next()?;
        path.push((name.get_ref().to_string(), name.span()));
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// Replaces or adds the value at `path`. Every part of the path but the last must be, or becomes, a table; or it is a list, and the
/// next part says which of its items is meant, counted from 1.
pub fn set(root: &mut Table, path: &[(String, Span)], value: Node, problems: &mut Problems) {
    let Some(((name, key_span), rest)) = path.split_first() else { return };
    let position = root.entries.iter().position(|entry| entry.key == *name).unwrap_or_else(|| {
        let node = Node { item: Item::Table(Table::default()), span: key_span.clone() };
        root.entries.push(Entry { key: name.clone(), key_span: key_span.clone(), node });
        root.entries.len() - 1
    });
    let entry = &mut root.entries[position];
    if rest.is_empty() {
        entry.key_span = key_span.clone();
        entry.node = value;
        return;
    }
    if let Item::List(items) = &mut entry.node.item
        && (is_number(&rest[0].0) || items.iter().any(|item| matches!(item.item, Item::Table(_))))
    {
        return match item_of(name, &rest[0], items, problems) {
            Some(item) if rest.len() == 1 => *item = value,
            Some(Node { item: Item::Table(inner), .. }) => set(inner, &rest[1..], value, problems),
            Some(item) => problems.push(
                Diagnostic::new("spec::set", rest[1].1.clone(), format!("item {} of `{name}` has no keys", rest[0].0))
                    .text(format!("it is {}", item.item.type_name())),
            ),
            None => {}
        };
    }
    if !matches!(entry.node.item, Item::Table(_)) {
        entry.node = Node { item: Item::Table(Table::default()), span: key_span.clone() };
    }
    if let Item::Table(inner) = &mut entry.node.item {
        set(inner, rest, value, problems);
    }
}

fn is_number(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

/// The item of the list `name` that a part of a path means, or `None` after reporting that there is none.
fn item_of<'n>(
    name: &str,
    (part, span): &(String, Span),
    items: &'n mut [Node],
    problems: &mut Problems,
) -> Option<&'n mut Node> {
    let (count, index) = (items.len(), position(part));
    let found = index.and_then(|index| items.get_mut(index));
    if found.is_none() {
        let title = match index {
            Some(_) => format!("`{name}` has no item {part}"),
            None => format!("`{name}` is a list, and its items are counted from 1"),
        };
        let rest = if is_number(part) { String::new() } else { format!(".{part}") };
        let help = match count {
            0 => "it is empty".to_owned(),
            1 => format!("write `{name}.1{rest}` for its only item"),
            _ => format!("write `{name}.1{rest}` for the first of its {count} items"),
        };
        problems.push(Diagnostic::new("spec::set", span.clone(), title).help(help));
    }
    found
}

/// Where in a list the item is that a part of a path means.
pub fn position(part: &str) -> Option<usize> {
    part.parse::<usize>().ok().filter(|_| is_number(part))?.checked_sub(1)
}

type SpanOf<'a> = &'a dyn Fn(Range<usize>) -> Span;

fn table(table: DeTable<'_>, span_of: SpanOf<'_>, problems: &mut Problems) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: span_of(key.span()),
            node: node(value, span_of, problems),
        })
        .collect();
    entries.sort_by(|a, b| a.key_span.cmp(&b.key_span));
    Table { entries }
}

fn node(value: toml::Spanned<DeValue<'_>>, span_of: SpanOf<'_>, problems: &mut Problems) -> Node {
    let span = span_of(value.span());
    let item = match value.into_inner() {
        DeValue::String(text) => Item::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            Item::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_else(|_| {
                let title = "this integer has more than 63 bits";
                problems.push(Diagnostic::new("spec::range", span.clone(), title).help("use a smaller one"));
                // In range for every key, so that it is reported once.
                1
            }))
        }
        DeValue::Float(float) => Item::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Item::Boolean(boolean),
        DeValue::Datetime(_) => Item::DateTime,
        DeValue::Array(list) => Item::List(list.into_iter().map(|value| node(value, span_of, problems)).collect()),
        DeValue::Table(inner) => Item::Table(table(inner, span_of, problems)),
    };
    Node { item, span }
}
