//! Equal trials give equal bytes, in whatever order things happened and whatever interrupted them.

use clr_event::Outcome;

use super::*;

/// All trials' events, merged in an order drawn from `seed`; each trial's own order is kept.
fn merged(plan: &Plan, block: u64, mut seed: u64) -> Vec<Event> {
    let mut queues: Vec<Vec<Event>> = (0..plan.trials.len()).map(|trial| events(plan, trial, block)).collect();
    queues.iter_mut().for_each(|queue| queue.reverse());
    let mut merged = Vec::new();
    while !queues.is_empty() {
        // Knuth's MMIX generator; its high bits are good enough to choose a queue.
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let choice = (seed >> 33) as usize % queues.len();
        match queues[choice].pop() {
            Some(event) => merged.push(event),
            None => drop(queues.remove(choice)),
        }
    }
    merged
}

/// Records events, and commits after each if asked.
fn record_committing(store: &mut Store, events: &[Event], commits: bool) {
    for event in events {
        store.record(event).unwrap();
        if commits {
            store.commit().unwrap();
        }
    }
}

#[track_caller]
fn check(block: u64, seed: u64, part_rows: usize, commits: bool) {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, Limits { part_rows, ..SMALL });
    record_committing(&mut store, &merged(&plan, block, seed), commits);
    store.finish().unwrap();
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&plan));
    assert_eq!(listing(outputs.path(), "parts"), Vec::<String>::new());
}

#[test]
fn the_order_of_events_between_trials_does_not_matter() {
    for seed in 0..6 {
        check(5, seed, 20, false);
    }
}

#[test]
fn the_size_of_blocks_does_not_matter() {
    for block in [1, 2, 3, 100] {
        check(block, 7, 20, false);
    }
}

#[test]
fn when_rows_are_sealed_and_committed_does_not_matter() {
    for part_rows in [1, 13, 1 << 20] {
        check(5, 8, part_rows, false);
    }
    check(5, 8, 1 << 20, true);
}

#[test]
fn metrics_are_cut_into_several_files() {
    let tables = fresh_tables(&GRID.plan());
    // 4 trials of 12 rows and 4 of 7 are 76 rows in files of 16.
    assert_eq!(tables.keys().filter(|name| name.starts_with("metrics/")).count(), 5);
}

#[test]
fn a_run_cut_off_anywhere_and_started_again_gives_the_same_bytes() {
    let plan = GRID.plan();
    let expected = fresh_tables(&plan);
    let all = merged(&plan, 5, 9);
    // Commits at every event, so that each cut finds another manifest; and none, so that everything is lost.
    for commits in [true, false] {
        for cut in (0..all.len()).step_by(5) {
            let outputs = tempfile::tempdir().unwrap();
            let mut store = open(outputs.path(), &plan, SMALL);
            record_committing(&mut store, &all[..cut], commits);
            drop(store);
            // What a kill in the middle of a write leaves.
            fs::write(outputs.path().join("example/parts/.half.tmp"), b"PAR1").unwrap();
            fs::write(outputs.path().join("example/parts/metrics-999999.parquet"), b"PAR1").unwrap();

            let ended = all[..cut].iter().filter(|event| matches!(event, Event::Ended { .. })).count();
            let store = open(outputs.path(), &plan, SMALL);
            let kept = if commits { ended } else { 0 };
            assert_eq!(store.unfinished().len(), plan.trials.len() - kept, "cut at {cut}");
            drop(store);
            run(outputs.path(), &plan, SMALL);
            assert_equal_tables(&tables(outputs.path()), &expected);
            assert_eq!(listing(outputs.path(), "parts"), Vec::<String>::new());
        }
    }
}

#[test]
fn a_run_cut_off_while_tables_are_replaced_gives_the_same_bytes() {
    let (narrow, wide) = (Grid { policies: &["triangular"], ..GRID }.plan(), GRID.plan());
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(old.path(), &narrow, SMALL);
    let mut store = open(old.path(), &wide, SMALL);
    for trial in unfinished(&store) {
        record(&mut store, &events(&wide, trial, 5));
    }
    store.commit().unwrap();
    drop(store);
    // The new tables have their names, and the manifest still speaks of the old ones and of parts.
    run(new.path(), &wide, SMALL);
    let expected = tables(new.path());
    for (name, bytes) in expected.iter().filter(|(name, _)| !name.starts_with("/")) {
        fs::write(old.path().join("example").join(name), bytes).unwrap();
    }
    let store = open(old.path(), &wide, SMALL);
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    store.finish().unwrap();
    assert_equal_tables(&tables(old.path()), &expected);
}

#[test]
fn a_trial_that_starts_over_leaves_no_rows_of_its_first_attempt() {
    let plan = GRID.plan();
    for part_rows in [1, 1 << 20] {
        let outputs = tempfile::tempdir().unwrap();
        let mut store = open(outputs.path(), &plan, Limits { part_rows, ..SMALL });
        for trial in 0..plan.trials.len() {
            let whole = events(&plan, trial, 5);
            record(&mut store, &whole[..4]);
            if trial % 2 == 0 {
                let stopped = Event::Ended { trial, outcome: Outcome::Stopped, elapsed: Duration::ZERO };
                store.record(&stopped).unwrap();
            }
            record(&mut store, &whole);
        }
        let summary = store.finish().unwrap();
        assert!(summary.results().all(|result| result.attempts == 2));
        assert_equal_tables(&tables(outputs.path()), &fresh_tables(&plan));
    }
}
