//! Refusals of the store, and their words.

use std::sync::Arc;

use clr_event::{Evaluation, Outcome, Rows};
use clr_host::Split;
use clr_schedule::Schedule;
use clr_vetted::craft::Craft;

use super::super::StoreError;
use super::super::source::{open_table, project};
use super::*;

#[track_caller]
fn check_message<T>(result: Result<T, StoreError>, expected: &str) {
    let message = result.err().expect("an error").to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn files_of_the_user_are_left_alone() {
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &GRID.plan(), SMALL);
    let notes = ["notes.md", "mine.parquet", "parts/mine.parquet", "metrics/mine-1.parquet"];
    for name in notes {
        fs::write(outputs.path().join("example").join(name), b"mine").unwrap();
    }
    run(outputs.path(), &Grid { seeds: &[1, 2, 3], ..GRID }.plan(), SMALL);
    for name in notes {
        assert_eq!(fs::read(outputs.path().join("example").join(name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn two_commands_cannot_write_one_folder() {
    let outputs = tempfile::tempdir().unwrap();
    let store = open(outputs.path(), &GRID.plan(), SMALL);
    check_message(Store::open(outputs.path(), &GRID.plan(), info("")), "another command is writing");
    drop(store);
    open(outputs.path(), &GRID.plan(), SMALL);
}

#[test]
fn names_that_leave_the_outputs_are_refused() {
    let outputs = tempfile::tempdir().unwrap();
    for name in ["", "..", "a/b", "/a", "a/", "."] {
        let plan = Plan { name: name.to_owned(), ..GRID.plan() };
        check_message(Store::open(outputs.path(), &plan, info("")), "cannot name a folder");
    }
    assert_eq!(fs::read_dir(outputs.path()).unwrap().count(), 0);
}

#[test]
fn plans_that_make_no_table_are_refused() {
    let outputs = tempfile::tempdir().unwrap();
    let check = |change: fn(&mut Plan), expected: &str| {
        let mut plan = GRID.plan();
        change(&mut plan);
        check_message(Store::open(outputs.path(), &plan, info("")), expected);
    };
    check(|plan| Arc::make_mut(&mut plan.trials)[1].id = plan.trials[0].id, "have one id");
    check(|plan| drop(Arc::make_mut(&mut plan.trials)[1].axes.pop()), "do not fit the plan's");
    check(|plan| Arc::make_mut(&mut plan.trials)[1].axes.reverse(), "do not fit the plan's");
    check(|plan| plan.groups.clear(), "1 numerics were given for 0 groups");
    check(
        |plan| {
            let optimizer = &mut Arc::make_mut(&mut plan.trials)[0].optimizer;
            Arc::make_mut(optimizer).hypers = vec![("loss".into(), Schedule::Constant(1.0))];
        },
        "has a hyper-parameter `loss`",
    );
    check(
        |plan| {
            let mut shape = (*plan.trials[0].shape).clone();
            shape.metrics[1] = "epoch".to_owned();
            Arc::make_mut(&mut plan.trials)[0].shape = Arc::new(shape);
        },
        "has a metric `epoch`",
    );
}

#[test]
fn events_that_do_not_fit_are_refused() {
    let outputs = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let rows = |first_iteration, count: usize, metric_count| {
        let metrics = vec![vec![0.5; count]; metric_count];
        Event::Rows(Rows { trial: 0, first_iteration, count, hypers: vec![vec![0.1; count]; 2], metrics })
    };
    let evaluation =
        |iteration| Event::Evaluated(Evaluation { trial: 0, iteration, split: Split::Test, loss: 1.0, accuracy: 0.5 });
    let ended = |outcome| Event::Ended { trial: 0, outcome, elapsed: Duration::ZERO };
    let check = |before: &[Event], event: Event, expected: &str| {
        let mut store = open(outputs.path(), &plan, SMALL);
        record(&mut store, before);
        check_message(store.record(&event), expected);
    };
    let start = Event::Started { trial: 0, step: 0 };
    check(&[], Event::Started { trial: 8, step: 0 }, "the plan has 8 trials");
    check(&[], rows(0, 1, 2), "`triangular sgd seed=1`: it has not started");
    check(std::slice::from_ref(&start), rows(1, 1, 2), "rows from iteration 1 came after 0 rows");
    check(&[start.clone(), rows(0, 2, 2)], rows(0, 2, 2), "rows from iteration 0 came after 2 rows");
    check(std::slice::from_ref(&start), rows(0, 1, 3), "2 hyper-parameters and 3 metrics instead of 2 and 2");
    let ragged =
        Rows { trial: 0, first_iteration: 0, count: 2, hypers: vec![vec![0.1; 2]; 2], metrics: vec![vec![0.5; 3]; 2] };
    check(std::slice::from_ref(&start), Event::Rows(ragged), "a column of 3 values came in a block of 2 rows");
    check(&[start.clone(), evaluation(4)], evaluation(0), "an evaluation at 0 came after one at 4");
    check(&[start.clone(), rows(0, 2, 2)], ended(Outcome::Finished), "after 2 rows instead of 12");
    check(&[start], ended(Outcome::Diverged { iteration: u64::MAX }), "after 0 rows instead of");
}

/// Each of a hundred thousand rows may repeat a text that the file has once.
#[test]
fn tables_of_long_texts_or_groups_are_refused() {
    #[track_caller]
    fn check(craft: &Craft, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.parquet");
        fs::write(&path, craft.bytes()).unwrap();
        let read = open_table(&path).and_then(|table| project(&table, [0, 1]));
        let message = read.expect_err("a fault").to_string();
        assert!(message.contains(expected), "{message}");
    }
    check(&Craft::images(&[b'a'; 257], 9), "texts of at most 256 bytes, found one of 257");
    check(&Craft::images(b"a", 131_073), "row groups of at most 131072 rows, found one of 131073");
}
