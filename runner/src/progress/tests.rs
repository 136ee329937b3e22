//! A run of two trials, for the tests of the displays and of the board.

use std::time::Duration;

use clr_event::{Evaluation, Event, Outcome, Rows};
use clr_host::Split;
use clr_plan::Plan;
use clr_plan::example::Grid;

use super::board::{Best, Board};

/// Two trials of ten iterations.
pub(super) fn plan() -> Plan {
    Grid { policies: &["fixed", "exp"], optimizers: &["sgd"], seeds: &[1], max_lrs: &[], iterations: 10 }.plan()
}

/// Both start, do five iterations, one is measured; then one finishes and the other diverges.
pub(super) fn events() -> Vec<Event> {
    let rows = |trial, first_iteration, loss| {
        Event::Rows(Rows {
            trial,
            first_iteration,
            count: 5,
            hypers: vec![vec![0.012345; 5], vec![0.9; 5]],
            metrics: vec![vec![loss; 5], vec![0.5; 5]],
        })
    };
    let evaluation = Evaluation { trial: 1, iteration: 5, split: Split::Test, loss: 1.0, accuracy: 0.5 };
    let elapsed = Duration::from_millis(1500);
    vec![
        Event::Started { trial: 0, step: 0 },
        Event::Started { trial: 1, step: 0 },
        rows(0, 0, 2.0),
        rows(1, 0, 1.0),
        Event::Evaluated(evaluation),
        rows(0, 5, 1.5),
        Event::Ended { trial: 0, outcome: Outcome::Finished, elapsed },
        Event::Ended { trial: 1, outcome: Outcome::Diverged { iteration: 4 }, elapsed },
    ]
}

#[test]
fn the_board_counts_iterations_trials_and_the_best() {
    let mut board = Board::new(&plan(), &[0, 1]);
    let seen: Vec<(u64, u64, usize, usize)> = events()
        .iter()
        .map(|event| {
            board.apply(event);
            (board.done_iterations, board.total_iterations, board.ended_trials, board.lanes.len())
        })
        .collect();
    let expected = [
        (0, 20, 0, 1),
        (0, 20, 0, 2),
        (5, 20, 0, 2),
        (10, 20, 0, 2),
        (10, 20, 0, 2),
        (15, 20, 0, 2),
        (15, 20, 1, 1),
        (15, 15, 2, 0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(board.best, Some(Best { trial: 1, iteration: 5, accuracy: 0.5 }));
}

#[test]
fn a_trial_that_starts_over_is_not_counted_twice() {
    let mut board = Board::new(&plan(), &[0, 1]);
    let events = events();
    for event in [&events[0], &events[2], &events[0], &events[2]] {
        board.apply(event);
    }
    assert_eq!(board.done_iterations, 5);
}
