//! The view of a reader of the README's globs while tables are replaced: the rows of before or those of after, none twice.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use arrow_array::Int64Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use clr_event::Outcome;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::StoreError;
use super::super::files::{Way, cut};
use super::*;
use crate::verify;

const WIDE: Grid<'static> = Grid { seeds: &[1, 2, 3], ..GRID };

/// (trial, iteration) of every row of `FOLDER/PREFIX*.parquet`, as a reader finds them.
fn glob(outputs: &Path, directory: &str, prefix: &str) -> Vec<(String, i64)> {
    let folder = outputs.join("example").join(directory);
    let names = super::super::files::names(&folder).unwrap_or_default();
    let mut rows = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".parquet") && name.starts_with(prefix)) {
        let file = fs::File::open(folder.join(name)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let trials = batch.column_by_name("trial").unwrap().as_dictionary::<Int32Type>().clone();
            let trials = trials.downcast_dict::<arrow_array::StringArray>().unwrap().into_iter();
            let iterations: &Int64Array = batch.column_by_name("iteration").unwrap().as_primitive::<Int64Type>();
            rows.extend(trials.zip(iterations.values()).map(|(trial, &at)| (trial.unwrap().to_owned(), at)));
        }
    }
    rows
}

/// Rows of metrics, of evaluations, and both of failed trials.
const GLOBS: [(&str, &str); 4] = [("metrics", "0"), ("evals", "0"), ("failed", "metrics-"), ("failed", "evals-")];

/// The rows of each of [`GLOBS`].
type Seen = [BTreeSet<(String, i64)>; 4];

#[track_caller]
fn see(outputs: &Path) -> Seen {
    let seen = GLOBS.map(|(directory, prefix)| {
        let rows = glob(outputs, directory, prefix);
        let set: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), set.len(), "a row of {directory} is there twice");
        set
    });
    assert!(
        seen[0].is_disjoint(&seen[2]) && seen[1].is_disjoint(&seen[3]),
        "a failed trial is among those that are done"
    );
    seen
}

/// Checks the view of a table that is replaced that way.
#[track_caller]
fn check_seen(seen: &Seen, before: &Seen, after: &Seen, way: Way) {
    for table in 0..GLOBS.len() {
        let (seen, before, after) = (&seen[table], &before[table], &after[table]);
        let is_whole = seen == before || seen == after;
        let is_fine = match way {
            Way::Exchange => is_whole,
            Way::Renames => is_whole || seen.is_empty(),
            Way::OneByOne => seen.is_subset(before) || seen.is_subset(after),
        };
        assert!(is_fine, "{way:?}: {} rows, of {} before and {} after", seen.len(), before.len(), after.len());
    }
}

/// Opens the output for `plan` and trains what is to be trained: failed trials again, of which some fail once more.
fn trained(outputs: &Path, plan: &Plan, failing: &[&str]) -> Store {
    let retry = RunInfo { retry_failed: true, ..info("example/1 cpu") };
    let mut store = Store::open_with(outputs, plan, retry, SMALL).unwrap();
    for trial in unfinished(&store) {
        let mut events = events(plan, trial, 5);
        if failing.contains(&&*plan.trials[trial].label) {
            let outcome = Outcome::Failed { message: "no".to_owned() };
            events.truncate(4);
            events.push(Event::Ended { trial, outcome, elapsed: Duration::ZERO });
        }
        record(&mut store, &events);
    }
    store
}

/// An output of the narrow grid, where two trials failed, and a store in which all of the wide one is trained: of the two one
/// has failed again, the other has not, and a new one has failed.
fn widened(outputs: &Path) -> Store {
    trained(outputs, &GRID.plan(), &["triangular adam seed=1", "triangular sgd seed=2"]).finish().unwrap();
    let mut store = trained(outputs, &WIDE.plan(), &["triangular adam seed=1", "triangular sgd seed=3"]);
    store.commit().unwrap();
    store
}

/// The views before the end of that run and after it, and the bytes of its tables.
fn undisturbed() -> (Seen, Seen, BTreeMap<String, Vec<u8>>) {
    let outputs = tempfile::tempdir().unwrap();
    let store = widened(outputs.path());
    let before = see(outputs.path());
    store.finish().unwrap();
    let after = see(outputs.path());
    assert!((0..GLOBS.len()).all(|table| !before[table].is_empty() && before[table] != after[table]));
    (before, after, tables(outputs.path()))
}

#[test]
fn a_reader_sees_the_rows_of_before_or_of_after_at_every_moment_and_none_twice() {
    let (before, after, _) = undisturbed();
    for way in [Way::Exchange, Way::Renames, Way::OneByOne] {
        let outputs = tempfile::tempdir().unwrap();
        let store = widened(outputs.path());
        fs::write(outputs.path().join("example/metrics/mine.csv"), "mine").unwrap();
        let all = Rc::new(RefCell::new(vec![see(outputs.path())]));
        let (watched, folder) = (Rc::clone(&all), outputs.path().to_owned());
        cut::only(way);
        cut::watch(Some(Box::new(move || watched.borrow_mut().push(see(&folder)))));
        store.finish().unwrap();
        cut::watch(None);
        cut::only(Way::Exchange);
        let mut all = all.take();
        all.push(see(outputs.path()));
        assert!(all.len() > 20 && all.contains(&before) && all.last() == Some(&after));
        all.iter().for_each(|seen| check_seen(seen, &before, &after, way));
        // Nothing is left beside, and what is not ours went along.
        assert!(super::super::swap::is_settled(&outputs.path().join("example")));
        assert_eq!(fs::read(outputs.path().join("example/metrics/mine.csv")).unwrap(), b"mine");
    }
}

/// Cuts the end of a run off after each of its operations on files, looks, and goes on.
#[track_caller]
fn check_every_cut(way: Way) {
    let (before, after, expected) = undisturbed();
    cut::only(way);
    for count in 0.. {
        let outputs = tempfile::tempdir().unwrap();
        let store = widened(outputs.path());
        cut::after(count);
        let finished: Result<Summary, StoreError> = store.finish();
        cut::after(usize::MAX);
        check_seen(&see(outputs.path()), &before, &after, way);
        // A reader of the program's own finds all that the manifest lists.
        let checked = verify::quick(&outputs.path().join("example")).unwrap();
        let lost: Vec<_> = checked.problems.iter().filter(|it| it.what.contains("it is missing")).collect();
        assert!(lost.iter().all(|problem| problem.file == "trials.parquet"), "after {count}: {lost:?}");
        // The next command trains nothing, and a reader sees nothing else while it opens the output.
        let store = open(outputs.path(), &WIDE.plan(), SMALL);
        let notes = store.notes().iter().filter(|note| !note.starts_with("2 trials failed before")).count();
        assert!(store.unfinished().is_empty() && notes == 0, "after {count}: {:?}", store.notes());
        check_seen(&see(outputs.path()), &before, &after, way);
        drop(store);
        run(outputs.path(), &WIDE.plan(), SMALL);
        assert_equal_tables(&tables(outputs.path()), &expected);
        assert!(super::super::swap::is_settled(&outputs.path().join("example")));
        if finished.is_ok() {
            assert!(count > 20, "{count} operations");
            break;
        }
    }
    cut::only(Way::Exchange);
}

#[test]
fn a_reader_sees_no_row_twice_after_a_kill_at_any_moment() {
    check_every_cut(Way::Exchange);
}

#[test]
fn nor_where_folders_cannot_change_places_or_be_moved() {
    check_every_cut(Way::Renames);
    check_every_cut(Way::OneByOne);
}
