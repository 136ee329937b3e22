//! Builds plugins for tests, so that they are never stale.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Builds a plugin of this workspace and returns its library.
pub fn cargo_build(package: &str) -> PathBuf {
    cargo_build_target(&["-p", package], &package.replace('-', "_"))
}

/// Builds a target in the profile of these tests and returns the library of that name.
pub fn cargo_build_target(target: &[&str], name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--message-format=json"])
        .args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] })
        .args(target)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo build {target:?}: {}", String::from_utf8_lossy(&output.stderr));
    let file = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|path| path.as_str().map(PathBuf::from))
        .find(|path| path.ends_with(&file))
        .expect("cargo names the library it built")
}

/// Compiles one file of C into a library. None, loudly, where there is no compiler.
pub fn cc(source: &Path, defines: &[&str], folder: &TempDir, name: &str) -> Option<PathBuf> {
    let library =
        folder.path().join(format!("{}clr_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    let output = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2", "-ffp-contract=off", "-shared", "-fPIC"])
        .arg("-I")
        .arg(workspace().join("plugins/abi/include"))
        .args(defines)
        .arg(source)
        .args(["-lm", "-o"])
        .arg(&library)
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: no compiler `cc` here");
        return None;
    };
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    Some(library)
}

/// The plugin that breaks the rule of this number in `faulty.c`.
pub fn faulty(fault: &str, folder: &TempDir) -> Option<PathBuf> {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/faulty.c"));
    cc(source, &[&format!("-DFAULT={fault}")], folder, &format!("faulty_{}", fault.to_lowercase()))
}
