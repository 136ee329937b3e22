//! What a text is that is not TOML: one message instead of one for each of its lines.

use std::ops::Range;

/// A format that specs are given in by mistake.
pub struct Other {
    /// Its name with the article: "a solver of Caffe".
    pub name: &'static str,
    /// Its first line that is not TOML.
    pub line: Range<usize>,
    /// That line in TOML, where that can be said.
    pub in_toml: Option<String>,
}

/// The format of a text that could not be read as TOML, if it is one of those that are known.
pub fn other_than_toml(text: &str) -> Option<Other> {
    let text_lines = lines(text);
    let first = text_lines.iter().find(|(_, line)| !line.is_empty() && !line.starts_with('#'))?;
    let other =
        |name, (range, line): &(Range<usize>, &str)| Other { name, line: range.clone(), in_toml: in_toml(line) };
    if first.1.starts_with('{') {
        let member = text_lines.iter().find(|(_, line)| line.starts_with('"')).unwrap_or(first);
        return Some(Other { line: first.0.clone(), ..other("JSON", member) });
    }
    if first.1.starts_with('<') {
        return Some(other("XML or HTML", first));
    }
    let code = ["import ", "from ", "def ", "class ", "print(", "for ", "if ", "with ", "@"];
    let is_code = |line: &str| code.iter().any(|word| line.starts_with(word)) && !line.contains(" = ");
    if let Some(line) = text_lines.iter().find(|(_, line)| is_code(line)) {
        return Some(other("Python", line));
    }
    if let Some(line) = text_lines.iter().find(|(_, line)| is_field(line) && line.starts_with("lr_policy")) {
        return Some(other("a solver of Caffe, protobuf text", line));
    }
    // A spec in TOML has a `=` in most of its lines, and YAML a colon.
    let meant: Vec<&str> =
        text_lines.iter().map(|(_, line)| *line).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let fields = meant.iter().filter(|line| is_field(line) || line.starts_with("- ") || **line == "---").count();
    let first_field = text_lines.iter().find(|(_, line)| is_field(line))?;
    (fields * 2 > meant.len()).then(|| other("YAML", first_field))
}

/// Each line trimmed, and where that is.
fn lines(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let trimmed = line.trim();
            let begin = start + (line.len() - line.trim_start().len());
            start += line.len();
            (begin..begin + trimmed.len(), trimmed)
        })
        .collect()
}

/// `key: value`, or `key:` alone.
fn is_field(line: &str) -> bool {
    field(line).is_some()
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim_start_matches("- ").split_once(':')?;
    let key = key.trim().trim_matches(['"', '\'']);
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
    (is_key && (value.is_empty() || value.starts_with(' '))).then_some((key, value.trim()))
}

fn in_toml(line: &str) -> Option<String> {
    let (key, value) = field(line)?;
    let value = value.split(" #").next().unwrap_or(value).trim().trim_end_matches(',');
    if value.is_empty() || value == "{" {
        return Some(format!("[{key}]"));
    }
    let bare = value.parse::<f64>().is_ok() || ["true", "false"].contains(&value) || value.starts_with(['"', '[']);
    let simple = !value.contains(['{', '}', '|', '>', '&', '*', '\'']);
    match (bare, simple) {
        (true, true) => Some(format!("{key} = {value}")),
        (false, true) => Some(format!("{key} = \"{value}\"")),
        _ => None,
    }
}

/// The problem of a value that is not TOML, and the TOML to write instead.
pub fn value_in_toml(value: &str) -> Option<(&'static str, String)> {
    let value = value.trim();
    match value {
        "True" | "TRUE" => return Some(("flags are in small letters", "true".to_owned())),
        "False" | "FALSE" => return Some(("flags are in small letters", "false".to_owned())),
        _ => {}
    }
    if let Some(number) = number_in_toml(value) {
        return Some(("a number has a digit on both sides of its point", number));
    }
    let items = |list: &str, quote: &dyn Fn(&str) -> Option<String>| -> Option<String> {
        let items: Vec<String> = list.split(',').map(|item| quote(item.trim())).collect::<Option<_>>()?;
        Some(format!("[{}]", items.join(", ")))
    };
    let as_number = |item: &str| number_in_toml(item).or_else(|| item.parse::<f64>().is_ok().then(|| item.to_owned()));
    let as_word = |item: &str| is_word(item).then(|| format!("\"{item}\""));
    if let Some(list) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let quoted = |item: &str| if item.starts_with(['"', '\'']) { Some(item.to_owned()) } else { as_word(item) };
        return items(list, &as_number)
            .map(|list| ("a number has a digit on both sides of its point", list))
            .or_else(|| items(list, &quoted).map(|list| ("words are in quotes", list)));
    }
    if value.contains(',') {
        let list = items(value, &as_number).or_else(|| items(value, &as_word))?;
        return Some(("several values are a list, in brackets", list));
    }
    None
}

/// A value without quotes, in them.
pub fn word_in_toml(value: &str) -> Option<(&'static str, String)> {
    match value {
        "yes" | "on" => return Some(("flags are `true` and `false`", "true".to_owned())),
        "no" | "off" => return Some(("flags are `true` and `false`", "false".to_owned())),
        "None" | "null" | "nil" => return None,
        _ => {}
    }
    let is_plain = value.chars().all(|c| c.is_alphanumeric() || "_-.% /:".contains(c));
    let begins = value.starts_with(|c: char| c.is_alphanumeric() || "_./~".contains(c));
    (begins && is_plain).then(|| ("this needs quotes", format!("\"{value}\"")))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "_-".contains(c))
}

/// `.1`, `1.` and `1.e-5` as TOML has them.
fn number_in_toml(text: &str) -> Option<String> {
    let digits = text.trim_start_matches(['+', '-']);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let (whole, rest) = digits.split_once('.')?;
    let fraction_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, exponent) = rest.split_at(fraction_end);
    let lacks = whole.is_empty() || fraction.is_empty();
    let or_zero = |digits: &str| if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    (is_number && lacks).then(|| format!("{sign}{}.{}{exponent}", or_zero(whole), or_zero(fraction)))
}

/// A bracket that nothing closes before the next table or key, if there is one.
pub fn unclosed_bracket(text: &str) -> Option<usize> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut line_start = true;
    while let Some((index, c)) = chars.next() {
        if line_start && !c.is_whitespace() {
            line_start = false;
            let line = text[index..].lines().next().unwrap_or_default();
            match open.last() {
                Some((bracket, at)) if is_header(line) || (*bracket == '[' && is_assignment(line)) => return Some(*at),
                // The brackets of a header are no value's.
                None if c == '[' => {
                    while chars.next_if(|(_, c)| *c != '\n').is_some() {}
                    continue;
                }
                _ => {}
            }
        }
        match c {
            '\n' => line_start = true,
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' | '\'' => {
                let three = if c == '"' { "\"\"\"" } else { "\'\'\'" };
                let is_long = text[index..].starts_with(three);
                if is_long {
                    chars.nth(1);
                }
                while let Some((index, next)) = chars.next() {
                    match next {
                        '\\' if c == '"' => drop(chars.next()),
                        '\n' if !is_long => {
                            line_start = true;
                            break;
                        }
                        _ if is_long && text[index..].starts_with(three) => {
                            chars.nth(1);
                            break;
                        }
                        _ if !is_long && next == c => break,
                        _ => {}
                    }
                }
            }
            '[' | '{' => open.push((c, index)),
            ']' | '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.last().map(|(_, at)| *at)
}

/// `[table]` or `[table.name]`, and no list.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let name = line.trim_start_matches('[').trim_end_matches(']');
    line.starts_with('[') && line.ends_with(']') && name.split('.').all(is_word)
}

fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim().split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let name = |text: &str| other_than_toml(text).map(|other| (other.name, other.in_toml.unwrap_or_default()));
        assert_eq!(name("# a spec\nexperiment:\n  name: good\n"), Some(("YAML", "[experiment]".to_owned())));
        assert_eq!(name("---\nlr: 0.1 # high\nseeds: [1, 2]\n"), Some(("YAML", "lr = 0.1".to_owned())));
        assert_eq!(name("{\n  \"train\": {\"iterations\": 10}\n}"), Some(("JSON", String::new())));
        assert_eq!(name("{\n  \"name\": \"a\",\n"), Some(("JSON", "name = \"a\"".to_owned())));
        assert_eq!(name("import torch\nlr = 0.1\n"), Some(("Python", String::new())));
        assert_eq!(name("x = 1\nfor i in range(3):\n    print(i)\n"), Some(("Python", String::new())));
        let solver = "net: \"a.prototxt\"\nbase_lr: 0.01\nlr_policy: \"step\"\n";
        assert_eq!(name(solver), Some(("a solver of Caffe, protobuf text", "lr_policy = \"step\"".to_owned())));
        assert_eq!(name("<?xml version=\"1.0\"?>"), Some(("XML or HTML", String::new())));
        assert_eq!(name("[train]\niterations = 10\nname = \"a: b\"\nbroken\n"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn values_of_other_languages_have_a_form_in_toml() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(value_in_toml(value).map(|(_, toml)| toml), expected.map(str::to_owned), "{value}");
        };
        check(".1", Some("0.1"));
        check("-.5e-3", Some("-0.5e-3"));
        check("5.", Some("5.0"));
        check("1.e-5", Some("1.0e-5"));
        check("True", Some("true"));
        check("1e-5,1e-6", Some("[1e-5, 1e-6]"));
        check(".1, .2", Some("[0.1, 0.2]"));
        check("sgd,adam", Some("[\"sgd\", \"adam\"]"));
        check("[sgd, adam]", Some("[\"sgd\", \"adam\"]"));
        check("[.1, 1]", Some("[0.1, 1]"));
        check("triangular", None);
        check("0.1", None);
        check("a,b.csv", None);
        assert_eq!(word_in_toml("2 epochs").map(|(_, toml)| toml).as_deref(), Some("\"2 epochs\""));
        assert_eq!(word_in_toml("\"open"), None);
    }

    #[test]
    fn the_bracket_that_is_open_is_found() {
        let check = |text: &str, expected: Option<&str>| {
            let found = unclosed_bracket(text).map(|at| text[at..].lines().next().unwrap_or_default());
            assert_eq!(found, expected, "{text}");
        };
        check("a = [1, 2\nb = 3\n", Some("[1, 2"));
        check("a = [1, 2\n[train]\n", Some("[1, 2"));
        check("a = [\n  [1, 2],\n  [3],\n]\n", None);
        check("a = { b = [1, 2 }\n[t]\n", Some("{ b = [1, 2 }"));
        check("a = \"[\"\nb = 1\n# [\n[t]\nc = '''[\n'''\n", None);
        check("stages = [\n  { kind = \"a\" },\n  { kind = \"b\",\n", Some("{ kind = \"b\","));
        check("a = \"open\nb = [1]\n", None);
    }
}
