//! The cells of the grid that a spec excludes.

use clr_spec::{Condition, Diagnostic, Exclusion, Problems, Value};
use clr_terminal::suggest;

use super::cell::{Cell, same};
use super::grid::{Pair, axis_names};

/// The exclusions as far as they concern one pair.
pub struct Exclusions<'a> {
    rules: Vec<(usize, Vec<Test<'a>>)>,
}

enum Test<'a> {
    /// Along a dimension: which of its values are meant.
    Dimension(usize, Vec<bool>),
    Seed(&'a Condition),
}

impl<'a> Exclusions<'a> {
    /// Finds what in `pair` the exclusions mean.
    pub fn new(pair: &Pair<'_>, exclusions: &'a [Exclusion]) -> Exclusions<'a> {
        let mut rules = Vec::new();
        'exclusions: for (number, exclusion) in exclusions.iter().enumerate() {
            let mut tests = Vec::new();
            for condition in &exclusion.conditions {
                let name = condition.key.value.as_str();
                let is_name = |name: &str| {
                    condition.values.iter().any(|value| matches!(&value.value, Value::Text(text) if **text == *name))
                };
                let constant = match name {
                    "policy" => is_name(&pair.policy.name.value),
                    "optimizer" => is_name(&pair.optimizer.name.value),
                    "seed" | "init_seed" | "data_seed" => {
                        tests.push(Test::Seed(condition));
                        true
                    }
                    _ => {
                        let settings = pair.matching(name);
                        let meant = |value: &Value| condition.values.iter().any(|wanted| same(&wanted.value, value));
                        let varying = settings.iter().find_map(|index| Some((*index, pair.dimension_of[*index]?)));
                        if let Some((index, dimension)) = varying {
                            let meant: Vec<bool> =
                                pair.settings[index].values.iter().map(|(value, _)| meant(value)).collect();
                            let any = meant.contains(&true);
                            tests.push(Test::Dimension(dimension, meant));
                            any
                        } else {
                            settings
                                .iter()
                                .any(|index| pair.settings[*index].values.iter().any(|(value, _)| meant(value)))
                        }
                    }
                };
                if !constant {
                    continue 'exclusions;
                }
            }
            rules.push((number, tests));
        }
        Exclusions { rules }
    }

    /// The first exclusion that leaves this trial out.
    pub fn find(&self, cell: &Cell<'_, '_>, seeds: &[(&str, u64)]) -> Option<usize> {
        let holds = |test: &Test<'_>| match test {
            Test::Dimension(dimension, meant) => meant[cell.choice[*dimension]],
            Test::Seed(condition) => seeds.iter().any(|(name, seed)| {
                condition.key.value == *name
                    && condition.values.iter().any(|value| value.value == Value::Integer(*seed as i64))
            }),
        };
        self.rules.iter().find(|(_, tests)| tests.iter().all(holds)).map(|(number, _)| *number)
    }
}

/// Reports exclusions that left nothing out: they name a cell that is not there, most likely by mistake.
pub fn unused_exclusions(exclusions: &[Exclusion], used: &[bool], pairs: &[Pair<'_>], problems: &mut Problems) {
    for (exclusion, used) in exclusions.iter().zip(used) {
        if *used {
            continue;
        }
        let mut diagnostic = Diagnostic::new("spec::exclude", exclusion.span.clone(), "this excludes nothing")
            .text("no trial meets all of these conditions");
        for condition in &exclusion.conditions {
            let name = condition.key.value.as_str();
            let known = ["policy", "optimizer", "seed", "init_seed", "data_seed"].contains(&name)
                || pairs.iter().any(|pair| !pair.matching(name).is_empty());
            if !known {
                let names = ["policy", "optimizer", "seed"].into_iter().chain(axis_names(pairs, name));
                diagnostic =
                    diagnostic.also(Some(&condition.key.span), "no key is named so").help(suggest::help(name, names));
            }
        }
        problems.push(diagnostic);
    }
}
