//! Which modules of a crate use which, read from the source: a picture of them, and a ring where they do not only look down.
//!
//! Between crates the compiler keeps the order; within one it does not. A crate's root is a module like the others, `lib`:
//! what it defines is used by whoever names it, what it only exports again stands where it is defined. Tests count for
//! nothing, they may look anywhere.

mod graph;
mod paths;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use graph::Graph;

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub struct Crate {
    /// Its name, `clr-spec`.
    pub name: String,
    /// The crates of the workspace that it depends on.
    pub uses: Vec<String>,
    /// Its top-level modules, `lib` among them.
    pub modules: Graph,
}

/// The crates of the workspace in the folder `root`, in the order of its manifest.
///
/// # Errors
///
/// Where a manifest or a source cannot be read.
pub fn workspace(root: &Path) -> io::Result<Vec<Crate>> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let folders = members.split('"').skip(1).step_by(2).map(|folder| root.join(folder));
    folders.filter(|folder| folder.join("src/lib.rs").exists()).map(|folder| of_crate(&folder)).collect()
}

fn of_crate(folder: &Path) -> io::Result<Crate> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or_default().trim_matches('"');
    let dependencies = manifest.split("\n[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let ours = dependencies.unwrap_or_default().lines().filter(|line| line.starts_with("clr-"));
    let uses = ours.filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect();
    Ok(Crate { name: name.to_owned(), uses, modules: modules(&folder.join("src"))? })
}

/// The top-level modules of the crate whose root is `source/lib.rs`, and which of them each uses.
///
/// # Errors
///
/// Where a source cannot be read.
pub fn modules(source: &Path) -> io::Result<Graph> {
    let root = fs::read_to_string(source.join("lib.rs"))?;
    let root = paths::Root::of(&root);
    let mut graph = Graph::default();
    for (name, path) in &root.uses {
        graph.add("lib", name, path);
    }
    for module in &root.modules {
        graph.node(module);
        for (place, file) in files_of(source, module)? {
            for path in paths::used(&fs::read_to_string(&file)?, &place) {
                if let Some(used) = root.home(&path).filter(|used| used != module) {
                    let file = file.strip_prefix(source).unwrap_or(&file);
                    graph.add(module, used, &format!("{}: crate::{}", file.display(), path.join("::")));
                }
            }
        }
    }
    Ok(graph)
}

/// The files of a module, each with its path within the crate; without those of tests.
fn files_of(source: &Path, module: &str) -> io::Result<Vec<(Vec<String>, PathBuf)>> {
    let mut found = Vec::new();
    let alone = source.join(format!("{module}.rs"));
    if alone.exists() {
        found.push((vec![module.to_owned()], alone));
    }
    let mut folders = vec![(vec![module.to_owned()], source.join(module))];
    while let Some((place, folder)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        entries.sort();
        let tests = entries.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let tests: Vec<String> = tests
            .map(|path| Ok(paths::test_modules(&fs::read_to_string(path)?)))
            .collect::<io::Result<Vec<_>>>()?
            .concat();
        for path in entries {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if tests.contains(&stem) {
                continue;
            }
            let inner = || [&place[..], std::slice::from_ref(&stem)].concat();
            match path.extension() {
                None if path.is_dir() => folders.push((inner(), path)),
                Some(extension) if extension == "rs" => {
                    found.push((if stem == "mod" { place.clone() } else { inner() }, path));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}
