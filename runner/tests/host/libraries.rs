//! The plugins that only these tests need.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{cargo_build_target, cc, workspace};

/// Builds the example of the SDK and returns its library.
pub fn one_weight() -> PathBuf {
    cargo_build_target(&["-p", "clr-plugin", "--example", "one_weight"], "one_weight")
}

/// The plugin `quadratic_c`.
pub fn quadratic_c(folder: &TempDir) -> Option<PathBuf> {
    cc(&workspace().join("plugins/quadratic-c/quadratic.c"), &[], folder, "quadratic_c")
}

/// A library without the symbol.
pub fn no_plugin(folder: &TempDir) -> Option<PathBuf> {
    let source = folder.path().join("no_plugin.c");
    std::fs::write(&source, "int nothing;\n").expect("a temporary folder can be written to");
    cc(&source, &[], folder, "no_plugin")
}
