//! Paths within a crate, as its source names them.

use std::collections::BTreeMap;

/// What a crate's root declares.
pub struct Root {
    /// Its modules, without those of tests.
    pub modules: Vec<String>,
    /// What it exports again, by the name under which it does, and the module from which; none of another crate's.
    exports: BTreeMap<String, Option<String>>,
    /// The modules that its own code uses, each with an example.
    pub uses: Vec<(String, String)>,
}

impl Root {
    /// From the text of `lib.rs`.
    pub fn of(text: &str) -> Root {
        let tests = test_modules(text);
        let code = code(text);
        let declared = code.lines().filter_map(declared).filter(|name| !tests.iter().any(|test| test == name));
        let modules: Vec<String> = declared.map(str::to_owned).collect();
        let is_module = |name: &str| modules.iter().any(|module| module == name);
        let (mut exports, mut uses, mut rest) = (BTreeMap::new(), Vec::new(), String::new());
        for (statement, is_use) in statements(&code) {
            if !is_use {
                rest.push_str(statement);
                continue;
            }
            let (is_public, tree) = use_tree(statement);
            for (path, name) in flattened(tree) {
                let path: Vec<String> = path.into_iter().skip_while(|part| part == "self" || part == "crate").collect();
                let module = path.first().filter(|first| is_module(first)).cloned();
                match module {
                    module if is_public => drop(exports.insert(name, module)),
                    Some(module) => uses.push((module, format!("lib.rs: {}", path.join("::")))),
                    None => {}
                }
            }
        }
        for path in paths(&rest) {
            let path: Vec<String> = path.into_iter().skip_while(|part| part == "self" || part == "crate").collect();
            if path.len() > 1 && is_module(&path[0]) {
                uses.push((path[0].clone(), format!("lib.rs: {}", path.join("::"))));
            }
        }
        // What is exported and used by the root's own code too: by its name alone.
        for (name, module) in &exports {
            if let Some(module) = module
                && words(&rest).any(|word| word == name)
            {
                uses.push((module.clone(), format!("lib.rs: {name}")));
            }
        }
        Root { modules, exports, uses }
    }

    /// The module in which what a path within the crate names is defined, `lib` for the root itself; none where another crate
    /// defines it.
    pub fn home(&self, path: &[String]) -> Option<&str> {
        let first = path.first()?.as_str();
        match self.modules.iter().find(|module| *module == first) {
            Some(module) => Some(module),
            None => self.exports.get(first).map_or(Some("lib"), Option::as_deref),
        }
    }
}

/// The paths from the crate's root that a file at `place` names, without `crate`.
pub fn used(text: &str, place: &[String]) -> Vec<Vec<String>> {
    let code = code(text);
    let mut found = Vec::new();
    let mut add = |path: Vec<String>| found.extend(from_root(&path, place));
    for (statement, is_use) in statements(&code) {
        match is_use {
            true => flattened(use_tree(statement).1).into_iter().for_each(|(path, _)| add(path)),
            false => paths(statement).into_iter().for_each(&mut add),
        }
    }
    found
}

/// The path from the root, where it leads out of the file's top-level module.
fn from_root(path: &[String], place: &[String]) -> Option<Vec<String>> {
    let up = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" if up >= place.len() => Some(path[up..].to_vec()),
        _ => None,
    }
}

/// The modules that are declared for tests only.
pub fn test_modules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_of_test = |index: &usize| {
        let before = lines[..*index].iter().rev().take_while(|line| line.starts_with("#["));
        before.clone().any(|line| line.starts_with("#[cfg(test)]"))
    };
    (0..lines.len()).filter(is_of_test).filter_map(|index| declared(lines[index])).map(str::to_owned).collect()
}

/// The name in `pub mod name;`.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix(';')
}

/// The program in a text: no comments, no modules of tests.
fn code(text: &str) -> String {
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut code = String::new();
    let mut lines = program.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // What it stands before, to the end of the statement or of the block.
            let first = lines.next().unwrap_or_default();
            let indent = &first[..first.len() - first.trim_start().len()];
            if first.ends_with('{') {
                let end = format!("{indent}}}");
                lines.by_ref().find(|line| *line == end);
            } else if !first.ends_with([';', '}']) {
                lines.by_ref().find(|line| line.ends_with([';', '}']));
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// The text cut into statements of `use` and what is between them.
fn statements(code: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in code.split_inclusive('\n') {
        let word = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        if at >= begin && word.trim_start_matches("pub ").starts_with("use ") {
            found.push((&code[begin..at], false));
            begin = code[at..].find(';').map_or(code.len(), |end| at + end + 1);
            found.push((&code[at..begin], true));
        }
        at += line.len();
    }
    found.push((&code[begin..], false));
    found
}

/// Whether a statement of `use` exports, and its tree.
fn use_tree(statement: &str) -> (bool, &str) {
    let (before, tree) = statement.split_once("use ").unwrap_or_default();
    (before.contains("pub"), tree.trim_end_matches(';'))
}

/// The paths of `a::{b, c::d as e}`, each with the name that it is used by.
fn flattened(tree: &str) -> Vec<(Vec<String>, String)> {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split("::").map(|part| part.split_whitespace().collect::<String>());
        parts.filter(|part| !part.is_empty()).collect()
    };
    let Some((before, list)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let path = parts(path);
        let name = alias.map(str::trim).or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
        return vec![(path, name)];
    };
    let before = parts(before);
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let (mut depth, mut begin, mut items) = (0, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[begin..]);
    let inner = items.into_iter().filter(|item| !item.trim().is_empty()).flat_map(flattened);
    let whole = |(path, name): (Vec<String>, String)| {
        let name = if name == "self" { before[before.len() - 1].clone() } else { name };
        (before.iter().cloned().chain(path.into_iter().filter(|part| part != "self")).collect(), name)
    };
    inner.map(whole).collect()
}

/// All paths of two parts and more in an expression, a type or a pattern.
fn paths(code: &str) -> Vec<Vec<String>> {
    let parts = code.split(|character: char| !(character.is_alphanumeric() || character == '_' || character == ':'));
    let parts = parts.filter(|part| part.contains("::")).map(|part| part.trim_matches(':'));
    parts.map(|path| path.split("::").map(str::to_owned).collect()).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !(character.is_alphanumeric() || character == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(paths: Vec<Vec<String>>) -> Vec<String> {
        paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_of_every_form_are_found() {
        let text = "//! crate::not\nuse std::io;\nuse crate::a::{self, b::{C, D as E}};\npub(crate) use crate::f;\n\
                    fn g(h: crate::i::J) -> super::K { super::super::l::M } // crate::not\n\
                    #[cfg(test)]\nmod tests {\n    use crate::not;\n}\n";
        let top = used(text, &["here".to_owned()]);
        assert_eq!(texts(top), ["a", "a::b::C", "a::b::D", "f", "i::J", "K", "l::M"]);
        let below = used(text, &["here".to_owned(), "below".to_owned()]);
        assert_eq!(texts(below), ["a", "a::b::C", "a::b::D", "f", "i::J", "l::M"]);
    }

    #[test]
    fn what_a_root_exports_stands_where_it_is_defined() {
        let root = Root::of(
            "pub mod a;\nmod b;\n#[cfg(test)]\nmod tests;\npub use b::{B, c::C};\nuse a::D;\npub use other::{self as m, K};\npub struct E(D);\n\
             pub fn f() -> B { b::g() }\n",
        );
        assert_eq!(root.modules, ["a", "b"]);
        let path = |path: &str| -> Vec<String> { path.split("::").map(str::to_owned).collect() };
        let home = |text: &str| root.home(&path(text)).unwrap_or("another").to_owned();
        assert_eq!(["a::X", "B", "C", "E", "b::c", "m::N"].map(home), ["a", "b", "b", "lib", "b", "another"]);
        let mut used: Vec<&str> = root.uses.iter().map(|(module, _)| module.as_str()).collect();
        used.dedup();
        assert_eq!(used, ["a", "b"]);
    }
}
