//! Trials that were not computed alike: by other revisions or builds of their plugin, or by other instruction sets or devices.

use std::collections::{BTreeMap, BTreeSet};

use clr_terminal::words;

use super::notes::short_build;

/// The origin of a trial: its plugin with the revision, the arithmetic that it was computed with, and the plugin's build. Trials of
/// different origins are not of one kind.
pub fn origin(plugin: &str, numerics: Option<&str>, build: Option<&str>) -> String {
    format!("{} {}", numerics.unwrap_or(plugin), short_build(build))
}

/// The origins of trials of plugins that have several.
#[derive(Debug, Default)]
pub struct Mixed {
    /// Each with the number of its trials.
    origins: BTreeMap<String, usize>,
    has_builds: bool,
    has_arithmetics: bool,
}

/// What there is to say where trials are of several origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Several {
    /// In what the origins differ: `different instruction sets or devices`.
    pub by: &'static str,
    /// Each with the number of its trials.
    pub list: String,
    /// The options that train trials of others again, and their verb.
    pub switch: &'static str,
}

impl Mixed {
    /// Of trials that are done: the plugin of each, and its [`origin`].
    pub fn of<'m>(trials: impl Iterator<Item = (&'m str, String)>) -> Mixed {
        let mut by_plugin: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for (plugin, origin) in trials {
            *by_plugin.entry(plugin).or_default().entry(origin).or_default() += 1;
        }
        let mut mixed = Mixed::default();
        for origins in by_plugin.into_values().filter(|origins| origins.len() > 1) {
            let parts = |origin: &String| {
                let (revision, rest) = origin.split_once(' ').unwrap_or((origin, ""));
                let (arithmetic, build) = rest.rsplit_once(' ').unwrap_or(("", rest));
                (format!("{revision} {build}"), arithmetic.to_owned())
            };
            let (builds, arithmetics): (BTreeSet<String>, BTreeSet<String>) = origins.keys().map(parts).unzip();
            mixed.has_builds |= builds.len() > 1;
            mixed.has_arithmetics |= arithmetics.len() > 1;
            mixed.origins.extend(origins);
        }
        mixed
    }

    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// True if this is one of several origins.
    pub fn has(&self, origin: &str) -> bool {
        self.origins.contains_key(origin)
    }

    /// In words, where there are several.
    pub fn said(&self) -> Option<Several> {
        let (by, switch) = match (self.has_builds, self.has_arithmetics) {
            (false, false) => return None,
            (true, false) => ("different revisions or builds of a plugin", "--rerun-other-builds trains"),
            (false, true) => ("different instruction sets or devices", "--rerun-other-numerics trains"),
            (true, true) => (
                "different revisions or builds of a plugin, and by different instruction sets or devices",
                "--rerun-other-builds and --rerun-other-numerics train",
            ),
        };
        let origin = |(origin, count): (&String, &usize)| format!("{origin} ({})", words::counted(*count, "trial"));
        let list = self.origins.iter().map(origin).collect::<Vec<_>>().join(", ");
        Some(Several { by, list, switch })
    }
}
