//! The bounds of a learning rate that a policy leaves to a range test.

use std::sync::Arc;

use clr_schedule::{RangeTest, Schedule};
use clr_spec::{Diagnostic, Problems, Value};

use super::{Body, Resolver};
use crate::TrialId;
use crate::cell::Cell;
use crate::grid::Pair;
use crate::range_tests::{Bounds, Measurement, Taken, choices, policy};

impl Resolver<'_> {
    /// The bounds of a cell whose policy leaves some to be measured; `None` after reporting why there are none.
    pub fn measured(&mut self, cell: &Cell<'_, '_>, problems: &mut Problems) -> Option<Taken> {
        let policy = policy(self.spec, cell.pair);
        let pair = Pair::new(self.spec, &policy, cell.pair.optimizer);
        let choices = choices(&pair, cell);
        let tests =
            choices.iter().map(|choice| self.apart(|resolver| resolver.body(&Cell { pair: &pair, choice }, problems)));
        // All are resolved before giving up, so that each wrong one is reported.
        let tests: Vec<Option<Body>> = tests.collect();
        let tests: Vec<Body> = tests.into_iter().collect::<Option<_>>()?;
        let (first, last) = (tests.first()?, tests.last()?);
        let ends = match (&first.lr, &last.lr) {
            (Schedule::RangeTest(RangeTest { min, max, .. }), _) => Bounds { base: *min, max: *max },
            (low, high) => Bounds { base: low.at(0), max: high.at(0) },
        };
        let trials: Vec<TrialId> = tests
            .iter()
            .flat_map(|test| self.test_seedings.iter().map(|seeding| seeding.id(&test.canonical)))
            .collect();
        let found = trials.iter().find_map(|trial| self.facts.range_tests.get(trial));
        let bounds = match found {
            Some(Ok(bounds)) => Some(*bounds),
            Some(Err(reason)) => {
                problems.push(no_bounds(cell, reason));
                return None;
            }
            None => None,
        };
        self.note(cell, first.iterations, trials, bounds);
        Some(Taken { bounds: bounds.unwrap_or(ends), is_measured: bounds.is_some() })
    }

    fn note(&mut self, cell: &Cell<'_, '_>, iterations: u64, trials: Vec<TrialId>, bounds: Option<Bounds>) {
        let (policy, optimizer) = (&cell.pair.policy.name.value, &cell.pair.optimizer.name.value);
        let known = self.measurements.iter_mut().find(|known| known.trials == trials);
        match known {
            Some(known) if known.policies.contains(policy) => {}
            Some(known) => known.policies.push(Arc::clone(policy)),
            None => self.measurements.push(Measurement {
                trials,
                iterations,
                policies: vec![Arc::clone(policy)],
                optimizer: Arc::clone(optimizer),
                bounds,
            }),
        }
    }
}

/// The place of a cell's first bound that is to be measured.
fn no_bounds(cell: &Cell<'_, '_>, reason: &str) -> Diagnostic {
    let is_auto = |setting: &usize| {
        cell.pair.settings[*setting].path.starts_with("policy.")
            && cell.at(*setting).is_some_and(|(value, _)| *value == Value::Auto)
    };
    let place = (0..cell.pair.settings.len()).find(is_auto).and_then(|setting| cell.at(setting)?.1.clone());
    let place = place.unwrap_or_else(|| cell.pair.policy.name.span.clone());
    Diagnostic::new("spec::range_test", place, "the range test shows no bounds")
        .text(reason)
        .also(Some(&cell.pair.optimizer.name.span), "with this optimizer")
        .help("change `[range_test]`, which says how the test is made, or write a number here")
}
