//! A spec made by hand, for the tests of this module and of those above it.

use super::SourceFile;

/// A spec without a fault; tests replace parts of it.
pub const GOOD: &str = r#"[experiment]
name = "good"
seeds = [1, 2]

[model]
plugin = "cifar"
architecture = "cifar10_full"

[data]
dataset = "cifar10"
batch_size = 100

[train]
iterations = 25_000

[policies.tri]
kind = "triangular"
base_lr = 0.001
max_lr = [0.005, 0.006]
step_size = 2000

[optimizers.nesterov]
kind = "nesterov"
"#;

/// A text as that of a file.
pub fn source(text: &str) -> SourceFile {
    SourceFile { name: "a.toml".to_owned(), text: text.to_owned() }
}
