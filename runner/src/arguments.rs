//! From the words of a command line to a command. What is a little off is understood where it can only mean one thing, and
//! otherwise explained with the command to type: a mistyped command, options before it, a spec where an output is meant.

use std::env::consts::DLL_SUFFIX;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use clr_spec::LARGEST_SPEC;
use clr_system::regular;
use clr_terminal::suggest;
use clr_terminal::words;

use crate::cli::Cli;

/// Why a command line is none.
#[derive(Debug)]
pub enum Mistake {
    /// In the words of the library that parses them. `--help` too.
    Usage(clap::Error),
    /// The mistake, and what to type instead.
    Explained(String),
}

/// Words by which others know a command: it is named, and never run unasked.
const OTHER_WORDS: [(&str, &str); 34] = [
    ("run", ""),
    ("train", ""),
    ("start", ""),
    ("resume", ""),
    ("continue", ""),
    ("sweep", ""),
    ("fit", ""),
    ("validate", "check"),
    ("lint", "check"),
    ("show", "plan"),
    ("list", "plan"),
    ("ls", "plan"),
    ("dry-run", "plan"),
    ("plot", "schedule"),
    ("schedules", "schedule"),
    ("stat", "status"),
    ("progress", "status"),
    ("watch", "status"),
    ("trials", "status"),
    ("plugins", "plugin list"),
    ("models", "plugin list"),
    ("datasets", "data list"),
    ("download", "data fetch"),
    ("fetch", "data fetch"),
    ("reproduce", "verify"),
    ("weights", "export"),
    ("diff", "compare"),
    ("rank", "compare"),
    ("html", "report"),
    ("dashboard", "report"),
    ("lr-find", "range-test"),
    ("lr_find", "range-test"),
    ("lr-finder", "range-test"),
    ("range_test", "range-test"),
];

/// Reads the arguments after the program's name.
///
/// # Errors
///
/// Where they are no command, and for `--help` and `--version`.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Mistake> {
    let arguments = options_last(arguments.into_iter().collect());
    if let Some(explained) = explain(&arguments, &|word| Path::new(word).exists()) {
        return Err(Mistake::Explained(explained));
    }
    Cli::try_parse_from([OsString::from("clr-run")].into_iter().chain(arguments)).map_err(Mistake::Usage)
}

/// Options that stand before a command, moved behind it: each command has its own.
fn options_last(arguments: Vec<OsString>) -> Vec<OsString> {
    let program = Cli::command();
    let mut place = 0;
    while let Some(word) = arguments.get(place).and_then(|word| word.to_str()) {
        let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else {
            if place == 0 || program.find_subcommand(word).is_none() {
                return arguments;
            }
            let (before, after) = arguments.split_at(place);
            let end = after.iter().position(|word| word == "--").unwrap_or(after.len());
            return [&after[..end], before, &after[end..]].concat();
        };
        let (name, has_value) = option.split_once('=').map_or((option, false), |(name, _)| (name, true));
        let known = program.get_arguments().find(|known| match name.strip_prefix('-') {
            Some(long) => known.get_long() == Some(long),
            None => known.get_short().is_some_and(|short| name.len() == 1 && name.starts_with(short)),
        });
        let Some(known) = known else { return arguments };
        place += if known.get_action().takes_values() && !has_value { 2 } else { 1 };
    }
    arguments
}

/// The mistake in the words that should be commands, if it can be told. `is_there` says if a file is.
fn explain(arguments: &[OsString], is_there: &dyn Fn(&str) -> bool) -> Option<String> {
    let program = Cli::command();
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let (&first, rest) = words.split_first()?;
    if first.is_empty() || first.starts_with('-') || first == "help" {
        return None;
    }
    let typed = |command: &str, rest: &[&str]| command_line(command.split(' ').chain(rest.iter().copied()));
    if let Some(command) = program.find_subcommand(first) {
        // `plugin` and `data` have commands of their own.
        let &word = rest.first().filter(|word| !word.starts_with('-') && **word != "help")?;
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        if names.is_empty() || names.contains(&word) {
            return None;
        }
        let (name, rest) = match suggest::nearest(word, &names) {
            Some(name) => (name, &rest[1..]),
            None if matches!(word, "ls" | "show" | "all") => ("list", &rest[1..]),
            None if matches!(word, "download" | "get") => ("fetch", &rest[1..]),
            None => ("info", rest),
        };
        let right = typed(&format!("{first} {name}"), rest);
        return Some(format!("there is no command `{first} {word}`; did you mean `{right}`?"));
    }
    if is_there(first) {
        // The command behind what it is about.
        let &command = rest.first().filter(|word| program.find_subcommand(word).is_some())?;
        let right = typed(command, &[&[first], &rest[1..]].concat());
        return Some(format!("the command comes first; did you mean `{right}`?"));
    }
    if first.contains(['/', '\\', '.']) {
        return None;
    }
    if let Some((_, command)) = OTHER_WORDS.iter().find(|(other, _)| *other == first) {
        let right = match *command {
            "" => command_line(rest.iter().copied().chain(rest.is_empty().then_some("SPEC.toml"))),
            command => typed(command, rest),
        };
        return Some(match *command {
            "" => format!("there is no command `{first}`: a spec is run, or gone on with, without one: `{right}`"),
            _ => format!("there is no command `{first}`; did you mean `{right}`?"),
        });
    }
    let names: Vec<&str> =
        program.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name).collect();
    if let Some(name) = suggest::nearest(first, &names) {
        return Some(format!("there is no command `{first}`; did you mean `{}`?", typed(name, rest)));
    }
    let is_command_like = rest.first().is_some_and(|word| !word.starts_with('-'));
    is_command_like.then(|| {
        let all = suggest::all_of(&names);
        format!("there is no command `{first}`, and no file of that name to run; there are {all}")
    })
}

/// As one would type it.
fn command_line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let plain = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
    let quoted = |word: &'a str| match plain(&word) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    ["clr-run".to_owned()].into_iter().chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

/// The kind of thing at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Nothing,
    /// The folder of a run.
    Output,
    /// A folder with others in it that are outputs.
    Outputs(Vec<PathBuf>),
    /// A file of the output in this folder.
    InOutput(PathBuf),
    /// A file that is TOML by its name.
    Spec,
    Library,
    /// Another folder, and the specs in it.
    Folder(Vec<PathBuf>),
    File,
}

impl Place {
    /// Looks at the file system.
    pub fn of(path: &Path) -> Place {
        let Ok(metadata) = fs::metadata(path) else { return Place::Nothing };
        if metadata.is_dir() {
            if is_output(path) {
                return Place::Output;
            }
            let mut inside: Vec<PathBuf> =
                fs::read_dir(path).map_or(Vec::new(), |files| files.flatten().map(|file| file.path()).collect());
            inside.sort();
            let outputs: Vec<PathBuf> = inside.iter().filter(|path| is_output(path)).cloned().collect();
            if !outputs.is_empty() {
                return Place::Outputs(outputs);
            }
            return Place::Folder(
                inside.into_iter().filter(|path| path.extension() == Some(OsStr::new("toml"))).collect(),
            );
        }
        if path.to_string_lossy().ends_with(DLL_SUFFIX) {
            return Place::Library;
        }
        let folders = path.ancestors().skip(1).take(2);
        if let Some(output) = folders.filter(|folder| !folder.as_os_str().is_empty()).find(|folder| is_output(folder)) {
            return Place::InOutput(output.to_owned());
        }
        if path.extension() == Some(OsStr::new("toml")) { Place::Spec } else { Place::File }
    }
}

fn is_output(folder: &Path) -> bool {
    ["manifest.json", "plan.json"].iter().any(|name| folder.join(name).is_file())
}

/// Refuses what cannot be a spec, with what it is instead. What may be one is for the parser to judge.
///
/// # Errors
///
/// What to type instead.
pub fn spec(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match Place::of(path) {
        Place::Nothing => {
            let with_ending = PathBuf::from(format!("{shown}.toml"));
            let output = Path::new("outputs").join(path);
            if path.extension().is_none() && with_ending.is_file() {
                Err(format!("there is no file {shown}; did you mean {}?", with_ending.display()))
            } else if is_output(&output) {
                let output = output.display();
                Err(format!("there is no file {shown}; to see the run of that name: `clr-run status {output}`"))
            } else {
                let near = neighbour(path).map(|near| format!("; did you mean {}?", near.display()));
                Err(format!("there is no file {shown}{}", near.unwrap_or_default()))
            }
        }
        Place::Output => Err(format!(
            "{shown} is the folder of a run, not a spec; its spec is {}, and `clr-run status {shown}` shows how far it is",
            path.join("spec.toml").display()
        )),
        Place::Outputs(_) => Err(format!("{shown} is a folder of runs, not a spec; a spec is a TOML file")),
        Place::Folder(specs) if specs.is_empty() => Err(format!("{shown} is a folder, and a spec is a TOML file")),
        Place::Folder(specs) => {
            let specs: Vec<String> = specs.iter().map(|spec| spec.display().to_string()).collect();
            Err(format!("{shown} is a folder, and a spec is a TOML file; it has {}", words::some_of(&specs)))
        }
        Place::Library => Err(format!(
            "{shown} is a library, not a spec; `clr-run plugin info {shown}` shows what it offers, and `clr-run plugin check \
             {shown}` tests it"
        )),
        Place::InOutput(output) if path.extension() != Some(OsStr::new("toml")) => Err(format!(
            "{shown} is a file of the run {}, not a spec; `clr-run status {}` shows how far it is",
            output.display(),
            output.display()
        )),
        Place::InOutput(_) | Place::Spec | Place::File => Ok(()),
    }
}

/// The file beside where `path` would be whose name is nearest.
fn neighbour(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let files = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> = files.flatten().filter_map(|file| file.file_name().into_string().ok()).collect();
    let specs: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.ends_with(".toml")).collect();
    let nearest = suggest::nearest(path.file_name()?.to_str()?, &specs)?;
    Some(folder.map_or(PathBuf::from(nearest), |folder| folder.join(nearest)))
}

/// The output that is meant by `path`: a run's folder, a file in it, its name, its spec, or the one run in a folder. Whatever
/// else it may be is for `command` to judge.
///
/// # Errors
///
/// Where it is something else, what to type instead.
pub fn output(path: &Path, command: &str) -> Result<PathBuf, String> {
    let shown = path.display();
    match Place::of(path) {
        Place::Output | Place::Folder(_) => Ok(path.to_owned()),
        Place::File => Err(format!("{shown} is a file, and a run has a folder, such as outputs/NAME")),
        Place::InOutput(output) => Ok(output),
        Place::Nothing => {
            let named = Path::new("outputs").join(path);
            if path.is_relative() && is_output(&named) {
                return Ok(named);
            }
            match Place::of(Path::new("outputs")) {
                Place::Outputs(outputs) => Err(format!(
                    "{shown} is no output of a run: nothing of that name is here; there are {}",
                    words::some_of(&shown_paths(&outputs))
                )),
                _ => Ok(path.to_owned()),
            }
        }
        Place::Outputs(outputs) => match &outputs[..] {
            [one] => Ok(one.clone()),
            [first, ..] => Err(format!(
                "{shown} has several outputs, {}; choose one, as in `clr-run {command} {}`",
                words::some_of(&shown_paths(&outputs)),
                first.display()
            )),
            [] => Ok(path.to_owned()),
        },
        Place::Spec => match name_of_experiment(path) {
            Some(name) if is_output(&Path::new("outputs").join(&name)) => Ok(Path::new("outputs").join(name)),
            Some(name) => {
                let output = Path::new("outputs").join(name);
                let output = output.display();
                Err(format!(
                    "{shown} is a spec, and {output}, where its results would be, is not there; `clr-run {shown}` makes it. \
                     For results elsewhere, give their folder: `clr-run {command} FOLDER`"
                ))
            }
            None => Err(format!("{shown} is no folder of a run, such as outputs/NAME")),
        },
        Place::Library => Err(format!("{shown} is a library, and no folder of a run, such as outputs/NAME")),
    }
}

fn shown_paths(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// `[experiment] name` of a spec, if that much of it can be read.
fn name_of_experiment(path: &Path) -> Option<String> {
    let text = regular::read_text_given(path, LARGEST_SPEC).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("experiment")?.get("name")?.as_str()?.to_owned())
}

/// The command to type for a `name` that is a plugin or a dataset but was taken for the other.
pub fn other_kind(name: &str, is_dataset: bool, is_plugin: bool) -> Option<String> {
    let path = Path::new(name);
    match Place::of(path) {
        Place::Spec => Some(format!("{name} is a spec; `clr-run check {name}` reports its problems")),
        Place::Output => Some(format!("{name} is the folder of a run; `clr-run status {name}` shows it")),
        Place::Library if !is_plugin => {
            Some(format!("{name} is a library; `clr-run plugin info {name}` shows what it offers"))
        }
        _ if is_dataset => Some(format!("{name} is a dataset; `clr-run data info {name}` shows it")),
        _ if is_plugin => Some(format!("{name} is a plugin; `clr-run plugin info {name}` shows it")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn options_before_the_command_are_understood() {
        let cases = [
            ("--plugin X check s.toml", "check s.toml --plugin X"),
            ("--plugin=X --log info plan s.toml --json", "plan s.toml --json --plugin=X --log info"),
            ("-q verify outputs/a", "verify outputs/a -q"),
            ("--data D plugin info cifar -- x", "plugin info cifar --data D -- x"),
            // These are as they should be, or not known.
            ("check s.toml --plugin X", "check s.toml --plugin X"),
            ("--outputs check s.toml", "--outputs check s.toml"),
            ("--unknown check s.toml", "--unknown check s.toml"),
            ("s.toml --set a=1", "s.toml --set a=1"),
        ];
        for (typed, meant) in cases {
            assert_eq!(options_last(words(typed)), words(meant), "{typed}");
        }
    }

    #[test]
    fn a_mistyped_command_is_explained_with_the_right_one() {
        let cases = [
            ("chek s.toml", "there is no command `chek`; did you mean `clr-run check s.toml`?"),
            ("chek", "there is no command `chek`; did you mean `clr-run check`?"),
            (
                "verfiy outputs/a --trial a b",
                "there is no command `verfiy`; did you mean `clr-run verify outputs/a --trial a b`?",
            ),
            (
                "run s.toml --quiet",
                "there is no command `run`: a spec is run, or gone on with, without one: `clr-run s.toml --quiet`",
            ),
            ("train", "there is no command `train`: a spec is run, or gone on with, without one: `clr-run SPEC.toml`"),
            ("validate s.toml", "there is no command `validate`; did you mean `clr-run check s.toml`?"),
            ("download mnist", "there is no command `download`; did you mean `clr-run data fetch mnist`?"),
            ("plugin cifar", "there is no command `plugin cifar`; did you mean `clr-run plugin info cifar`?"),
            ("plugin chekc cifar", "there is no command `plugin chekc`; did you mean `clr-run plugin check cifar`?"),
            ("data ls", "there is no command `data ls`; did you mean `clr-run data list`?"),
            ("here.toml check", "the command comes first; did you mean `clr-run check here.toml`?"),
            (
                "optimise s.toml",
                "there is no command `optimise`, and no file of that name to run; there are `check`, `plan`, `schedule`, \
                 `status`, `compare`, `report`, `verify`, `plugin`, `data`, `export`, `evaluate`, `range-test`, `schema`, `completions` and `man`",
            ),
        ];
        for (typed, expected) in cases {
            let explained = explain(&words(typed), &|word| word == "here.toml");
            assert_eq!(explained.as_deref(), Some(expected), "{typed}");
        }
        for fine in
            ["check s.toml", "here.toml", "nowhere.toml", "plugin list", "--help", "help check", "my-experiment"]
        {
            assert_eq!(explain(&words(fine), &|word| word == "here.toml"), None, "{fine}");
        }
    }

    #[test]
    fn every_word_of_others_leads_to_a_command_that_there_is() {
        for (word, command) in OTHER_WORDS {
            let mut program = Cli::command();
            for name in command.split(' ').filter(|name| !name.is_empty()) {
                program = program.find_subcommand(name).unwrap_or_else(|| panic!("{word}: {command}")).clone();
            }
            assert!(Cli::command().find_subcommand(word).is_none(), "{word} is a command");
        }
    }

    #[test]
    fn what_is_typed_again_is_quoted_for_a_shell() {
        let line = command_line(["export", "a b", "it's", "max_lr=0.1"].into_iter());
        assert_eq!(line, r"clr-run export 'a b' 'it'\''s' max_lr=0.1");
    }

    #[test]
    fn an_output_is_found_by_its_folder_a_file_in_it_and_the_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        let at = |below: &str| folder.path().join(below);
        for name in ["one/a/metrics", "two/a", "two/b"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in
            ["one/a/manifest.json", "one/a/spec.toml", "one/a/metrics/0.parquet", "two/a/plan.json", "two/b/plan.json"]
        {
            fs::write(at(name), "").unwrap();
        }
        for meant in ["one/a", "one", "one/a/spec.toml", "one/a/metrics/0.parquet"] {
            assert_eq!(output(&at(meant), "status"), Ok(at("one/a")), "{meant}");
        }
        let several = output(&at("two"), "verify").unwrap_err();
        assert!(several.contains("choose one, as in `clr-run verify ") && several.ends_with("two/a`"), "{several}");
        assert_eq!(output(&at("nowhere"), "status"), Ok(at("nowhere")), "for the command to judge");

        assert!(spec(&at("one/a")).unwrap_err().contains("is the folder of a run, not a spec; its spec is "));
        assert!(spec(&at("one/a/metrics/0.parquet")).unwrap_err().contains("is a file of the run "));
        assert_eq!(spec(&at("one/a/spec.toml")), Ok(()));
        fs::write(at("mine.toml"), "").unwrap();
        assert!(spec(folder.path()).unwrap_err().contains("is a folder, and a spec is a TOML file; it has "));
        assert!(spec(&at("mine")).unwrap_err().ends_with("mine.toml?"));
        assert!(spec(&at("mien.toml")).unwrap_err().ends_with("mine.toml?"));
        fs::write(at(&format!("x{DLL_SUFFIX}")), "").unwrap();
        assert!(spec(&at(&format!("x{DLL_SUFFIX}"))).unwrap_err().contains("is a library, not a spec"));
    }
}
