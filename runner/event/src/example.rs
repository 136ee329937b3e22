//! The events that a run of a hand-made plan would give, for tests.

use std::time::Duration;

use clr_host::Split;
use clr_plan::Plan;

use super::{Evaluation, Event, Outcome, Rows};

/// Row at which `explode` diverges.
pub const DIVERGED_AT: u64 = 6;

/// All events of one trial, its rows in blocks of `block`.
pub fn events(plan: &Plan, trial: usize, block: u64) -> Vec<Event> {
    let asked = &plan.trials[trial];
    let diverges = asked.label.starts_with("explode");
    let row_count = if diverges { DIVERGED_AT + 1 } else { asked.iterations };
    let number = u64::from_str_radix(&asked.id.to_string()[..8], 16).unwrap();
    let evaluation = |iteration: u64| {
        let accuracy = ((number + iteration) % 101) as f32 / 101.0;
        Event::Evaluated(Evaluation { trial, iteration, split: Split::Test, loss: 1.0 - accuracy, accuracy })
    };
    let mut events = vec![Event::Started { trial, step: 0 }, evaluation(0)];
    let mut first = 0;
    while first < row_count {
        let next_evaluation = asked.eval_every.next(first);
        let end = (first + block).min(row_count).min(next_evaluation);
        let loss = |iteration: u64| match diverges && iteration == DIVERGED_AT {
            true => f32::NAN,
            false => ((number ^ iteration) % 1009) as f32 / 1009.0,
        };
        events.push(Event::Rows(Rows {
            trial,
            first_iteration: first,
            count: (end - first) as usize,
            hypers: vec![(first..end).map(|i| 0.1 / (i + 1) as f64).collect(), vec![0.9; (end - first) as usize]],
            metrics: vec![(first..end).map(loss).collect(), (first..end).map(|i| (i % 11) as f32 / 10.0).collect()],
        }));
        let is_last = end == row_count;
        if (end == next_evaluation && !is_last) || (is_last && !diverges) {
            events.push(evaluation(end));
        }
        first = end;
    }
    let outcome = if diverges { Outcome::Diverged { iteration: DIVERGED_AT } } else { Outcome::Finished };
    events.push(Event::Ended { trial, outcome, elapsed: Duration::from_millis(1234) });
    events
}
