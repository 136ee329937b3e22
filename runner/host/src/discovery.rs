//! Where plugins are looked for: what `--plugin` names, then next to the executable, then where an installed program has its
//! plugins ([`INSTALLED`]), then in `CLR_PLUGIN_PATH`. Never in the current directory, unless `--plugin` names it: a variable
//! that is set once and for all names it by accident.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::library::digest;
use super::{HostError, Plugin, PluginInfo};

/// The folder of an installed program's plugins, from the folder above that of the executable: `PREFIX/lib/clr-run/plugins` of
/// `PREFIX/bin/clr-run`.
const INSTALLED: &str = "lib/clr-run/plugins";

/// Files and folders to search, in order. A file is a library of any name; in a folder, `libclr_NAME.so` (or what the
/// system calls libraries) is the plugin NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    entries: Vec<PathBuf>,
    pins: Vec<Pin>,
    ignored: Vec<PathBuf>,
}

/// The digest that a plugin's file must have: `--plugin-digest NAME=HEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub name: String,
    /// BLAKE3, 64 hexadecimal digits.
    pub digest: String,
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Pin, String> {
        let (name, digest) = text.split_once('=').ok_or("expected NAME=HEX")?;
        let digest = digest.to_ascii_lowercase();
        if name.is_empty() || digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(
                "expected a name and 64 hexadecimal digits, as `clr-run plugin info NAME` prints them".to_owned()
            );
        }
        Ok(Pin { name: name.to_owned(), digest })
    }
}

/// A library that looks like a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the file's name.
    pub name: String,
    pub path: PathBuf,
}

impl SearchPath {
    /// The search path of this process, after what `--plugin` named: reads the environment.
    pub fn from_environment(named: &[PathBuf], pins: &[Pin]) -> SearchPath {
        let executable = env::current_exe().ok();
        let variable = env::var_os("CLR_PLUGIN_PATH").unwrap_or_default();
        SearchPath::of(named, pins, executable.as_deref(), &variable)
    }

    fn of(named: &[PathBuf], pins: &[Pin], executable: Option<&Path>, variable: &OsStr) -> SearchPath {
        let beside = executable.and_then(Path::parent);
        let installed = beside.and_then(Path::parent).map(|prefix| prefix.join(INSTALLED));
        // An empty entry means the current directory to a shell; here it means nothing.
        let listed = env::split_paths(variable).filter(|path| !path.as_os_str().is_empty());
        let (folders, ignored): (Vec<PathBuf>, Vec<PathBuf>) = listed.partition(|path| path.is_absolute());
        let entries = named.iter().cloned().chain(beside.map(Path::to_owned)).chain(installed).chain(folders).collect();
        SearchPath { entries, pins: pins.to_vec(), ignored }
    }

    /// A search path of these files and folders.
    pub fn new(entries: impl IntoIterator<Item = PathBuf>) -> SearchPath {
        SearchPath { entries: entries.into_iter().collect(), pins: Vec::new(), ignored: Vec::new() }
    }

    /// The same, with plugins of these names pinned: no file of another digest is loaded for one.
    pub fn with_pins(self, pins: &[Pin]) -> SearchPath {
        SearchPath { pins: pins.to_vec(), ..self }
    }

    /// The files and folders, in order.
    pub fn entries(&self) -> &[PathBuf] {
        &self.entries
    }

    /// Relative entries of `CLR_PLUGIN_PATH`, which are not searched: they mean another folder in each directory.
    pub fn ignored(&self) -> &[PathBuf] {
        &self.ignored
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

    /// Loads the first plugin of that name into this process.
    pub fn load(&self, name: &str) -> Result<Plugin, HostError> {
        self.find(name, Plugin::load_pinned, Plugin::info)
    }

    /// The first plugin of that name. `ask` loads the library of a path if it has the digest, here or elsewhere, and `info`
    /// is what was heard from it. A file that was named and whose own name says nothing is asked for its name.
    pub fn find<P>(
        &self,
        name: &str,
        ask: impl Fn(&Path, &str) -> Result<P, HostError>,
        info: impl Fn(&P) -> &PluginInfo,
    ) -> Result<P, HostError> {
        let mut refused = None;
        for entry in &self.entries {
            if entry.is_file() && plugin_name(entry).is_none_or(|from_file| from_file != name) {
                let plugin = match self.ask_file(name, entry, &ask) {
                    // Of a pinned plugin only the very file is asked for its name: to ask is to run it.
                    Err(error @ HostError::Refused { .. }) if self.is_pinned(name) => {
                        refused.get_or_insert(error);
                        continue;
                    }
                    plugin => plugin?,
                };
                if info(&plugin).name == name {
                    return Ok(plugin);
                }
                continue;
            }
            if let Some(path) =
                candidates(entry).into_iter().find(|path| plugin_name(path).is_some_and(|it| it == name))
            {
                let plugin = self.ask_file(name, &path, &ask)?;
                let said = &info(&plugin).name;
                if said != name {
                    let problem = format!("the file is that of plugin `{name}`, but it says `{said}`");
                    return Err(HostError::Refused { path, problems: vec![problem] });
                }
                return Ok(plugin);
            }
        }
        Err(refused.unwrap_or_else(|| HostError::NotFound {
            name: name.to_owned(),
            available: self.list().into_iter().map(|found| found.name).collect(),
            searched: self.entries.clone(),
        }))
    }

    /// Asks one file, whatever its name: a path and not a plugin's name was given.
    pub fn ask<P>(path: &Path, ask: impl Fn(&Path, &str) -> Result<P, HostError>) -> Result<P, HostError> {
        SearchPath::new([]).ask_file("", path, ask)
    }

    fn is_pinned(&self, name: &str) -> bool {
        self.pins.iter().any(|pin| pin.name == name)
    }

    /// Asks a file that may be the plugin `name`.
    fn ask_file<P>(
        &self,
        name: &str,
        path: &Path,
        ask: impl Fn(&Path, &str) -> Result<P, HostError>,
    ) -> Result<P, HostError> {
        let failed = |error: std::io::Error| HostError::Load { path: path.to_owned(), message: error.to_string() };
        let found = digest(path).map_err(failed)?;
        if let Some(Pin { digest, .. }) = self.pins.iter().find(|pin| pin.name == name && pin.digest != found) {
            let problem = format!("its BLAKE3 digest is {found}, and --plugin-digest pins `{name}` to {digest}");
            return Err(HostError::Refused { path: path.to_owned(), problems: vec![problem] });
        }
        ask(path, &found)
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

/// The plugin's name in that of its file: `cifar` of `libclr_cifar.so`.
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

    /// The names of the plugins that a variable and a link lead to.
    #[track_caller]
    fn check_variable(variable: &str, found: &[&str], ignored: &[&str]) {
        let path = SearchPath::of(&[], &[], None, OsStr::new(variable));
        let names: Vec<String> = path.list().into_iter().map(|found| found.name).collect();
        assert_eq!(names, found);
        assert_eq!(path.ignored(), ignored.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    /// No test may change its process's directory, but every relative path means a place in it.
    #[test]
    fn the_variable_names_no_place_in_the_current_directory() {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path(), "a");
        let here = env::current_dir().unwrap();
        let up = "../".repeat(here.components().count() - 1);
        let relative = format!("{up}{}", folder.path().strip_prefix("/").unwrap().display());
        assert!(Path::new(&relative).is_dir());
        let absolute = folder.path().display();
        check_variable(&relative, &[], &[&relative]);
        check_variable(&format!(":{relative}:.::{absolute}:"), &["a"], &[&relative, "."]);
        check_variable("", &[], &[]);
        check_variable(":", &[], &[]);
    }

    #[test]
    fn an_installed_program_s_plugins_are_in_lib_beside_its_folder() {
        let prefix = tempfile::tempdir().unwrap();
        let [bin, lib] = ["bin", "lib/clr-run/plugins"].map(|folder| prefix.path().join(folder));
        [&bin, &lib].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let (beside, _, installed) = (touch(&bin, "both"), touch(&lib, "both"), touch(&lib, "installed"));
        let path = SearchPath::of(&[], &[], Some(&bin.join("clr-run")), OsStr::new(""));
        let paths: Vec<PathBuf> = path.list().into_iter().map(|found| found.path).collect();
        assert_eq!(paths, [beside, installed]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_broken_ones_are_no_plugins() {
        use std::os::unix::fs::symlink;
        let [folder, elsewhere] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let real = touch(elsewhere.path(), "real");
        let link = |name: &str, target: &Path| {
            symlink(target, folder.path().join(format!("{DLL_PREFIX}clr_{name}{DLL_SUFFIX}"))).unwrap();
        };
        link("linked", &real);
        link("gone", &elsewhere.path().join("missing"));
        link("folder", elsewhere.path());
        link("round", &folder.path().join(format!("{DLL_PREFIX}clr_round{DLL_SUFFIX}")));
        symlink(folder.path(), elsewhere.path().join("plugins")).unwrap();
        check_variable(&elsewhere.path().join("plugins").display().to_string(), &["linked"], &[]);
    }

    #[test]
    fn a_pin_is_a_name_and_a_digest() {
        let digest = "0f".repeat(32);
        let pin = Pin { name: "cifar".to_owned(), digest: digest.clone() };
        assert_eq!(format!("cifar={digest}").parse(), Ok(pin.clone()));
        assert_eq!(format!("cifar={}", digest.to_uppercase()).parse(), Ok(pin));
        for text in ["cifar", "cifar=", "=00", &format!("={digest}"), "cifar=0f", &format!("cifar={}", "0g".repeat(32))]
        {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_file_of_another_digest_is_loaded_for_a_pinned_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let path = touch(folder.path(), "cifar");
        let anonymous = folder.path().join("plugin.so");
        fs::write(&anonymous, "no library either").unwrap();
        let found = blake3::hash(b"no library").to_hex().to_string();
        let pinned = "0".repeat(64);
        let search = |entry: &Path, digest: &str| {
            let pin = Pin { name: "cifar".to_owned(), digest: digest.to_owned() };
            SearchPath::new([entry.to_owned()]).with_pins(&[pin]).load("cifar").unwrap_err().to_string()
        };
        let message = search(folder.path(), &pinned);
        let expected = format!("its BLAKE3 digest is {found}, and --plugin-digest pins `cifar` to {pinned}");
        assert_eq!(message, format!("refused the plugin {}: {expected}", path.display()));
        assert!(search(&anonymous, &pinned).contains("and --plugin-digest pins `cifar` to"), "not loaded to be asked");
        // With the right digest it is loaded, and found to be no library.
        assert!(search(folder.path(), &found).starts_with("cannot load the plugin"));
        let error = Plugin::load_pinned(&path, &pinned).unwrap_err().to_string();
        assert!(error.ends_with(&format!("its BLAKE3 digest is {found}, and it is pinned to {pinned}")), "{error}");
    }
}
