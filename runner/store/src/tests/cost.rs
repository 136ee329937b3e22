//! The cost of storing: files, memory, time. Times are printed, not asserted.

use std::time::Instant;

use clr_event::example::events;
use clr_event::{Outcome, Rows};

use super::*;

#[test]
fn ten_thousand_short_trials_make_few_parts() {
    let seeds: Vec<i64> = (0..5000).collect();
    let plan = Grid { policies: &["triangular"], seeds: &seeds, iterations: 10, ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    // Commits are a matter of time, and a slow machine would have more of them.
    let limits = Limits { commit_every: Duration::from_secs(3600), part_trials: 2000, ..Limits::default() };
    let mut store = open(outputs.path(), &plan, limits);
    for trial in 0..plan.trials.len() {
        record(&mut store, &events(&plan, trial, 10));
    }
    assert_eq!(listing(outputs.path(), "parts").len(), 2 * 5);
    let summary = store.finish().unwrap();
    assert_eq!(summary.results().map(|result| result.numbers.rows).sum::<u64>(), 100_000);
    assert_eq!((listing(outputs.path(), "metrics").len(), listing(outputs.path(), "evals").len()), (1, 1));
    assert_eq!(rows::read(outputs.path(), "metrics", "").num_rows(), 100_000);
}

/// `cargo test --release -p clr-run --lib -- --ignored --nocapture cost`
#[test]
#[ignore = "measures time"]
fn cost_of_a_row() {
    const ROWS: u64 = 125_000;
    let seeds: Vec<i64> = (0..16).collect();
    let plan = Grid { policies: &["triangular"], seeds: &seeds, iterations: ROWS, ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    let trials = 0..plan.trials.len();
    // 32 lanes side by side in blocks of 100, as a GPU would send them.
    let blocks: Vec<Vec<Event>> = (0..ROWS / 100)
        .map(|block| {
            let event = |trial| {
                let values = |scale: f64| (0..100).map(move |i| scale / (1 + block * 100 + i + trial as u64) as f64);
                let noise = |salt: u64| (0..100).map(|i| ((block * 100 + i) * salt % 10_007) as f32 / 3.0).collect();
                Event::Rows(Rows {
                    trial,
                    first_iteration: block * 100,
                    count: 100,
                    hypers: vec![values(0.1).collect(), vec![0.9; 100]],
                    metrics: vec![noise(7919), noise(104_729)],
                })
            };
            trials.clone().map(event).collect()
        })
        .collect();

    let mut store = open(outputs.path(), &plan, Limits::default());
    let start = Instant::now();
    trials.clone().for_each(|trial| record(&mut store, &[Event::Started { trial, step: 0 }]));
    blocks.iter().for_each(|events| record(&mut store, events));
    for trial in trials {
        record(&mut store, &[Event::Ended { trial, outcome: Outcome::Finished, elapsed: Duration::ZERO }]);
    }
    let recorded = start.elapsed();
    let parts = listing(outputs.path(), "parts").len();
    let summary = store.finish().unwrap();
    let finished = start.elapsed();
    let rows = 32.0 * ROWS as f64;
    let each = |duration: Duration| 1e6 * duration.as_secs_f64() / rows;
    let bytes = summary.bytes() as f64 / rows;
    eprintln!(
        "{rows} rows in {parts} parts: {:.3} us a row to seal, {:.3} us with compaction, {bytes:.1} bytes",
        each(recorded),
        each(finished)
    );
}
