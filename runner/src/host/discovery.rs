//! Where plugins are looked for: what `--plugin` names, then next to the executable, then in `CLR_PLUGIN_PATH`. Never in
//! the current directory, unless it is named.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};

use super::{HostError, Plugin};

/// Files and folders to search, in order. A file is a library of any name; in a folder, `libclr_NAME.so` (or what the
/// system calls libraries) is the plugin NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    entries: Vec<PathBuf>,
}

/// A library that looks like a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the file's name.
    pub name: String,
    /// The library.
    pub path: PathBuf,
}

impl SearchPath {
    /// The search path of this process, after what `--plugin` named: reads the environment.
    pub fn from_environment(named: &[PathBuf]) -> SearchPath {
        let executable = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
        let variable = env::var_os("CLR_PLUGIN_PATH").unwrap_or_default();
        // An empty entry means the current directory to a shell; here it means nothing.
        let folders = env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
        SearchPath::new(named.iter().cloned().chain(executable).chain(folders))
    }

    /// A search path of these files and folders.
    pub fn new(entries: impl IntoIterator<Item = PathBuf>) -> SearchPath {
        SearchPath { entries: entries.into_iter().collect() }
    }

    /// The libraries in it that look like plugins, the first of each name. Nothing is loaded.
    pub fn list(&self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for entry in &self.entries {
            for path in candidates(entry) {
                if let Some(name) = plugin_name(&path)
                    && !found.iter().any(|found| found.name == name)
                {
                    found.push(Found { name, path });
                }
            }
        }
        found
    }

    /// Loads the first plugin of that name. A file that was named and whose own name says nothing is loaded to be asked.
    pub fn load(&self, name: &str) -> Result<Plugin, HostError> {
        for entry in &self.entries {
            if entry.is_file() && plugin_name(entry).is_none_or(|from_file| from_file != name) {
                let plugin = Plugin::load(entry)?;
                if plugin.info().name == name {
                    return Ok(plugin);
                }
                continue;
            }
            if let Some(path) =
                candidates(entry).into_iter().find(|path| plugin_name(path).is_some_and(|it| it == name))
            {
                let plugin = Plugin::load(&path)?;
                if plugin.info().name != name {
                    let problem = format!("the file is that of plugin `{name}`, but it says `{}`", plugin.info().name);
                    return Err(HostError::Refused { path, problems: vec![problem] });
                }
                return Ok(plugin);
            }
        }
        Err(HostError::NotFound {
            name: name.to_owned(),
            available: self.list().into_iter().map(|found| found.name).collect(),
            searched: self.entries.clone(),
        })
    }
}

/// The libraries of an entry, by name: itself where it is a file.
fn candidates(entry: &Path) -> Vec<PathBuf> {
    if entry.is_file() {
        return vec![entry.to_owned()];
    }
    // A folder that is not there or cannot be read holds no plugin.
    let Ok(files) = fs::read_dir(entry) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        files.flatten().map(|file| file.path()).filter(|path| plugin_name(path).is_some() && path.is_file()).collect();
    paths.sort();
    paths
}

/// `cifar` of `libclr_cifar.so`.
fn plugin_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix(DLL_PREFIX)?.strip_prefix("clr_")?.strip_suffix(DLL_SUFFIX)?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, plugin: &str) -> PathBuf {
        let path = folder.join(format!("{DLL_PREFIX}clr_{plugin}{DLL_SUFFIX}"));
        fs::write(&path, "no library").unwrap();
        path
    }

    #[test]
    fn the_first_of_a_name_is_taken_and_other_files_are_not() {
        let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let named = touch(second.path(), "cifar");
        let (a, b, c) = (touch(first.path(), "a"), touch(second.path(), "b"), touch(first.path(), "cifar"));
        touch(second.path(), "a");
        fs::write(first.path().join("notes.txt"), "").unwrap();
        fs::create_dir(first.path().join(format!("{DLL_PREFIX}clr_folder{DLL_SUFFIX}"))).unwrap();
        let missing = first.path().join("missing");
        let found = |entries: &[&Path]| {
            let path = SearchPath::new(entries.iter().map(|entry| entry.to_path_buf()));
            path.list().into_iter().map(|found| (found.name, found.path)).collect::<Vec<_>>()
        };
        let name = |name: &str, path: &Path| (name.to_owned(), path.to_owned());
        assert_eq!(found(&[&missing, first.path(), second.path()]), [name("a", &a), name("cifar", &c), name("b", &b)]);
        assert_eq!(found(&[&named, first.path()]), [name("cifar", &named), name("a", &a)]);
    }

    #[test]
    fn a_missing_plugin_s_message_says_what_there_is_and_where_was_looked() {
        let path = SearchPath::new([PathBuf::from("/no/such/folder")]);
        let message = path.load("cifra").unwrap_err().to_string();
        assert_eq!(message, "no plugin `cifra`: found none; looked in /no/such/folder");
    }
}
