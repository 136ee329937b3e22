//! The outcomes of the checks.

use std::fmt;

/// The checks of one plugin, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The plugin's name, as it says.
    pub plugin: String,
    /// Each with what came of it.
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The check's name, with the model.
    pub name: String,
    /// The outcome of the check.
    pub outcome: Outcome,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the header has it.
    Passed,
    /// Not so: what was expected, and what was found.
    Failed(String),
    /// The plugin does not offer what is checked.
    Skipped(String),
}

impl Report {
    /// True if no check failed.
    pub fn passed(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Failed(_)))
    }

    /// Adds a check that failed before the suite began.
    pub fn add_failure(&mut self, name: &str, reason: &str) {
        self.checks.insert(0, Check { name: name.to_owned(), outcome: Outcome::Failed(reason.to_owned()) });
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, verdict: Verdict) {
        self.checks.push(Check { name: name.into(), outcome: verdict });
    }
}

/// One line for each check, and a last one that counts.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for Check { name, outcome } in &self.checks {
            match outcome {
                Outcome::Passed => {
                    passed += 1;
                    writeln!(formatter, "pass  {name}")?;
                }
                Outcome::Failed(reason) => {
                    failed += 1;
                    writeln!(formatter, "FAIL  {name}: {reason}")?;
                }
                Outcome::Skipped(reason) => {
                    skipped += 1;
                    writeln!(formatter, "skip  {name}: {reason}")?;
                }
            }
        }
        let plugin = if self.plugin.is_empty() { "the plugin" } else { &self.plugin };
        write!(formatter, "{plugin}: {passed} passed, {failed} failed, {skipped} skipped")
    }
}

pub(crate) type Verdict = Outcome;

/// A check is written with `?`: what it stops at is its verdict.
impl From<Result<(), Verdict>> for Verdict {
    fn from(result: Result<(), Verdict>) -> Verdict {
        match result {
            Ok(()) => Verdict::Passed,
            Err(verdict) => verdict,
        }
    }
}

impl From<String> for Verdict {
    fn from(problem: String) -> Verdict {
        Verdict::Failed(problem)
    }
}
