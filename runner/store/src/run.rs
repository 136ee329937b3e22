//! A run's circumstances: what is kept of it besides its plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A run's circumstances, besides its plan: kept in the folder so that results carry their recipe.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// The spec, as it is kept.
    pub spec: KeptSpec,
    /// The arguments of `--set`.
    pub sets: Vec<String>,
    /// The folders in which datasets were looked for.
    pub data: Vec<PathBuf>,
    pub command: Vec<String>,
    /// How many trials or threads ran at once.
    pub jobs: usize,
    /// For each of [`clr_plan::Plan::groups`]: what decides bits besides the plan, such as `cifar/1 cpu-avx2`.
    pub numerics: Vec<String>,
    /// For each of [`clr_plan::Plan::groups`]: the digest of its plugin's file. Empty where that is not known.
    pub builds: Vec<String>,
    /// The devices used, in words.
    pub devices: Vec<String>,
    /// Versions of the program, its plugins and drivers, and digests of the plugins' files.
    pub versions: BTreeMap<String, String>,
    /// Run finished trials again whose numerics differ.
    pub rerun_other_numerics: bool,
    /// Run trials again that another build of their plugin trained, or an unknown one.
    pub rerun_other_builds: bool,
    /// Run trials again that failed or crashed.
    pub retry_failed: bool,
}

/// Between the digests of a trial that went on under another build of its plugin.
pub const BUILDS: char = '+';

/// A spec as it is kept with its results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptSpec {
    /// `spec.toml`.
    pub text: String,
    /// True if `text` gives the same trials by itself: what `--set` changed is written into it, and the files of its `table`
    /// schedules lie beside it.
    pub is_whole: bool,
    /// Those files, by their paths in the output.
    pub tables: BTreeMap<String, String>,
    /// The folder of the spec that was read, in which tables are looked for where they are not kept.
    pub folder: PathBuf,
}
