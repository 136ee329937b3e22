//! The findings of a verification of files.

use std::collections::BTreeSet;
use std::fmt;

/// The outcome of [`super::quick`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Empty where the output is sound.
    pub problems: Vec<Problem>,
    /// Remarks that are no problems.
    pub notes: Vec<String>,
    /// Trials that are done.
    pub trials: usize,
    /// Files that the manifest lists.
    pub files: usize,
    /// Rows of metrics that are done trials'.
    pub rows: u64,
    /// Rows of evaluations that are done trials'.
    pub evaluations: u64,
    /// Files whose rows cannot be trusted or read.
    pub damaged: BTreeSet<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In which file of the output.
    pub file: String,
    /// Of which trials, by label; empty where it is of none in particular.
    pub trials: Vec<String>,
    pub what: String,
}

impl Problem {
    /// Of a file as a whole.
    pub fn of_file(file: &str, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), trials: Vec::new(), what: what.into() }
    }

    /// Of one trial's rows.
    pub fn of_trial(file: &str, label: &str, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), trials: vec![label.to_owned()], what: what.into() }
    }
}

/// Trials that a problem names.
const NAMED: usize = 4;

/// `metrics/00000-0123.parquet: missing (triangular sgd seed=1, exp sgd seed=1)`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)?;
        if self.trials.is_empty() {
            return Ok(());
        }
        let named = self.trials.len().min(NAMED);
        write!(f, " ({}", self.trials[..named].join(", "))?;
        if named < self.trials.len() {
            write!(f, " and {} more", self.trials.len() - named)?;
        }
        write!(f, ")")
    }
}
