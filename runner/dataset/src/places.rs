//! Which folders hold data and cache: what the command line and the environment say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The roots to look below: `given` (`--data`), else the folders that `CLR_DATA` lists; then `$XDG_DATA_HOME/clr-run` or
/// `~/.local/share/clr-run`, where fetched archives go.
pub fn roots(given: Option<&Path>) -> Vec<PathBuf> {
    roots_from(given, environment)
}

/// The folder for fetched archives: the first of [`roots`]. None without an option and a home.
pub fn fetch_root(given: Option<&Path>) -> Option<PathBuf> {
    roots(given).into_iter().next()
}

/// The folder of decoded sets: `CLR_CACHE`, else `$XDG_CACHE_HOME/clr-run`, else `~/.cache/clr-run`.
pub fn cache_dir() -> Option<PathBuf> {
    cache_dir_from(environment)
}

/// A variable that is set and not empty. (An empty `XDG_CACHE_HOME` counts as unset, says the XDG specification.)
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn roots_from(given: Option<&Path>, get: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = match (given, get("CLR_DATA")) {
        (Some(folder), _) => vec![folder.to_owned()],
        (None, Some(listed)) => std::env::split_paths(&listed).filter(|folder| *folder != Path::new("")).collect(),
        (None, None) => Vec::new(),
    };
    roots.extend(xdg("XDG_DATA_HOME", ".local/share", get));
    roots
}

fn cache_dir_from(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    get("CLR_CACHE").map(PathBuf::from).or_else(|| xdg("XDG_CACHE_HOME", ".cache", get))
}

fn xdg(variable: &str, below_home: &str, get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let base = get(variable).map(PathBuf::from).or_else(|| Some(Path::new(&get("HOME")?).join(below_home)))?;
    Some(base.join("clr-run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment_of<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + Copy + 'a {
        move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], given: Option<&str>, roots: &[&str], cache: Option<&str>) {
        let get = environment_of(variables);
        let expected: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        assert_eq!(roots_from(given.map(Path::new), get), expected);
        assert_eq!(cache_dir_from(get), cache.map(PathBuf::from));
    }

    #[test]
    fn options_come_before_variables_and_variables_before_the_home() {
        let home = ("HOME", "/home/me");
        check(&[], None, &[], None);
        check(&[home], None, &["/home/me/.local/share/clr-run"], Some("/home/me/.cache/clr-run"));
        check(&[home], Some("d"), &["d", "/home/me/.local/share/clr-run"], Some("/home/me/.cache/clr-run"));
        check(&[("CLR_DATA", "/a"), ("CLR_CACHE", "/c")], None, &["/a"], Some("/c"));
        check(&[("CLR_DATA", "/a")], Some("/b"), &["/b"], None);
        check(&[home, ("XDG_DATA_HOME", "/x"), ("XDG_CACHE_HOME", "/y")], None, &["/x/clr-run"], Some("/y/clr-run"));
    }
}
