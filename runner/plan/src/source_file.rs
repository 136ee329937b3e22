//! Files that options name: their text is part of what is asked for, and so of a trial's id; where they lie is not.
//!
//! A plugin says so in its JSON Schema (`"format": "file"`), and gets `{"file": "models.py", "text": "..."}`.

use std::path::Path;

use serde_json::{Value as Json, json};

/// Digits of a digest that stand before the name of a file that is kept with results, and of one that is shown.
const DIGITS: usize = 12;

/// The value of an option for a plugin.
pub fn json(path: &str, text: &str) -> Json {
    json!({ "file": name(path), "text": text })
}

/// The name and the text of a file, where an option's value is one.
pub fn of(json: &Json) -> Option<(&str, &str)> {
    let fields = json.as_object().filter(|fields| fields.len() == 2)?;
    Some((fields.get("file")?.as_str()?, fields.get("text")?.as_str()?))
}

/// `models.py, blake3 0123456789ab`: for columns.
pub fn shown(name: &str, text: &str) -> String {
    format!("{name}, blake3 {}", &blake3::hash(text.as_bytes()).to_hex()[..DIGITS])
}

/// The file's own name, also of the copy that is kept with results.
pub fn name(path: &str) -> String {
    let name = Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned());
    match name.split_at_checked(DIGITS) {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && rest.len() > 1 => {
            rest.strip_prefix('-').map_or(name.clone(), str::to_owned)
        }
        _ => name,
    }
}

/// True if an option with this schema names a file.
pub fn is_named_by(property: &Json) -> bool {
    has_format(property, "file")
}

/// True if an option with this schema names a program to start. It does not say what is to be trained.
pub fn is_program(property: &Json) -> bool {
    has_format(property, "program")
}

fn has_format(property: &Json, format: &str) -> bool {
    property.get("format").and_then(Json::as_str) == Some(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_its_kept_copy_have_one_name() {
        for path in ["models.py", "../a/models.py", "tables/0123456789ab-models.py"] {
            assert_eq!(name(path), "models.py");
        }
        assert_eq!(name("0123456789ab-"), "0123456789ab-");
        assert_eq!(name("0123456789abmodels.py"), "0123456789abmodels.py");
        assert_eq!(of(&json("a/b.py", "x = 1")), Some(("b.py", "x = 1")));
        assert_eq!(of(&json!({ "file": "a", "text": "b", "more": 1 })), None);
    }
}
