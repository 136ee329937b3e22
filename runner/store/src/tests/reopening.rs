//! Specs that grow, shrink and change over one output folder.

use std::sync::Arc;

use clr_event::Outcome;
use clr_plan::{AxisValue, DataPlan, Shape, Trial};
use clr_spec::LastBatch;

use super::super::Status;
use super::rows::{floats, read};
use super::*;

/// Runs the plans one after the other in one folder. After each, the tables must be those of a run of its own.
#[track_caller]
fn check(steps: &[(Plan, usize)]) {
    let outputs = tempfile::tempdir().unwrap();
    for (index, (plan, expected_runs)) in steps.iter().enumerate() {
        let store = open(outputs.path(), plan, SMALL);
        assert_eq!(store.unfinished().len(), *expected_runs, "trials to run in step {index}");
        drop(store);
        run(outputs.path(), plan, SMALL);
        assert_equal_tables(&tables(outputs.path()), &fresh_tables(plan));
    }
}

#[test]
fn a_finished_spec_runs_nothing_and_rewrites_nothing() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);
    let modified = |outputs: &Path| -> Vec<_> {
        let folder = outputs.join("example/metrics");
        listing(outputs, "metrics")
            .iter()
            .map(|name| fs::metadata(folder.join(name)).unwrap().modified().unwrap())
            .collect()
    };
    let before = modified(outputs.path());
    let store = open(outputs.path(), &plan, SMALL);
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    assert!(store.results().all(|result| result.status.is_done() && result.numbers.rows > 0));
    store.finish().unwrap();
    assert_eq!(modified(outputs.path()), before);
}

/// Older outputs counted the epochs of every `last_batch` as those of "wrap": 12 iterations of 3 images, of 7, are 5.14
/// epochs there, 6 with "drop" and 4 with "keep". That decides no id, so their rows are kept, and counted anew.
#[test]
fn epochs_that_an_older_program_counted_are_counted_anew_and_end_at_whole_numbers() {
    let fed = |last_batch| {
        let mut plan = Grid { seeds: &[1], ..GRID }.plan();
        let mut shape = Shape::clone(&plan.groups[0].shape);
        shape.data = DataPlan { batch_size: 3, train_count: 7, last_batch, ..shape.data };
        let shape = Arc::new(shape);
        let trials = plan.trials.iter().map(|trial| Trial { shape: Arc::clone(&shape), ..trial.clone() });
        plan.trials = trials.collect();
        plan.groups[0].shape = shape;
        plan
    };
    for (last_batch, per_epoch) in [(LastBatch::Drop, 2.0), (LastBatch::Keep, 3.0)] {
        let outputs = tempfile::tempdir().unwrap();
        run(outputs.path(), &fed(LastBatch::Wrap), SMALL);
        let plan = fed(last_batch);
        assert_eq!(unfinished(&open(outputs.path(), &plan, SMALL)), Vec::<usize>::new());
        run(outputs.path(), &plan, SMALL);
        let epochs = |directory: &str| floats(&read(outputs.path(), directory, ""), "epoch");
        assert_eq!(epochs("evals").into_iter().flatten().fold(0.0, f64::max), 12.0 / per_epoch);
        let expected: Vec<_> = (0..12).map(|iteration| Some(f64::from(iteration) / per_epoch)).collect();
        assert_eq!(epochs("metrics")[..12], expected);
        // The layout is that of a run of its own, so that the same command finds nothing left to do.
        for directory in ["metrics", "evals"] {
            let names = listing(outputs.path(), directory);
            let fresh = tempfile::tempdir().unwrap();
            run(fresh.path(), &plan, SMALL);
            assert_eq!(names, listing(fresh.path(), directory));
        }
    }
}

#[test]
fn more_seeds_run_what_is_new() {
    check(&[(GRID.plan(), 8), (Grid { seeds: &[1, 2, 3], ..GRID }.plan(), 4)]);
}

#[test]
fn an_axis_more_adds_a_column_to_every_file() {
    check(&[(GRID.plan(), 8), (Grid { max_lrs: &[0.1, 0.2], ..GRID }.plan(), 8)]);
}

#[test]
fn an_optimizer_more_adds_a_hyper_parameter_to_every_file() {
    check(&[(Grid { optimizers: &["sgd"], ..GRID }.plan(), 4), (GRID.plan(), 4)]);
}

#[test]
fn trials_that_a_spec_drops_come_back_when_it_covers_them_again() {
    let narrow = Grid { policies: &["explode"], seeds: &[2], ..GRID };
    let other = Grid { optimizers: &["adam"], seeds: &[3], ..GRID };
    let wide = Grid { max_lrs: &[0.1, 0.2], ..GRID };
    check(&[(GRID.plan(), 8), (narrow.plan(), 0), (other.plan(), 2), (wide.plan(), 8), (GRID.plan(), 0)]);
}

#[test]
fn a_spec_that_drops_everything_keeps_everything() {
    let other = Grid { policies: &["welch"], ..GRID };
    check(&[(GRID.plan(), 8), (other.plan(), 4), (GRID.plan(), 0)]);
}

#[test]
fn reordered_and_renamed_trials_are_not_run_again() {
    let mut renamed = Grid { policies: &["explode", "triangular"], seeds: &[2, 1], ..GRID }.plan();
    for trial in Arc::make_mut(&mut renamed.trials) {
        if let Some(AxisValue::Text(text)) = &mut trial.axes[0] {
            *text = format!("my {}", &**text).into();
        }
    }
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &GRID.plan(), SMALL);
    let before = tables(outputs.path());
    let store = open(outputs.path(), &renamed, SMALL);
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    store.finish().unwrap();
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&renamed));
    assert!(tables(outputs.path()) != before);
}

#[test]
fn failed_trials_run_again_when_asked_and_their_rows_do_not_count() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    for trial in unfinished(&store) {
        let mut events = events(&plan, trial, 5);
        if trial == 3 {
            let outcome = Outcome::Failed { message: "out of memory".to_owned() };
            events.truncate(4);
            events.push(Event::Ended { trial, outcome, elapsed: Duration::from_secs(2) });
        }
        record(&mut store, &events);
    }
    let summary = store.finish().unwrap();
    assert_eq!((summary.count(Status::Failed), summary.count(Status::Finished)), (1, 3));
    assert_eq!(result(&summary, 3).error, Some("out of memory"));
    assert_eq!(result(&summary, 3).numbers.rows, 4);

    let store = open(outputs.path(), &plan, SMALL);
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    let [note] = store.notes() else { panic!("{:?}", store.notes()) };
    assert!(note.starts_with("1 trial failed before; --retry-failed runs it again: "), "{note}");
    assert!(note.ends_with(" (triangular adam seed=2)"), "{note}");
    store.finish().unwrap();

    let retry = RunInfo { retry_failed: true, ..info("example/1 cpu") };
    let mut store = Store::open_with(outputs.path(), &plan, retry, SMALL).unwrap();
    assert_eq!((unfinished(&store), store.notes()), (vec![3], &[][..]));
    record(&mut store, &events(&plan, 3, 5));
    let summary = store.finish().unwrap();
    assert_eq!((result(&summary, 3).error, result(&summary, 3).attempts), (None, 2));
    assert_eq!(result(&summary, 3).seconds, Some(3.234), "both attempts");
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&plan));
}

#[test]
fn other_numerics_run_again_only_when_asked() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);
    let mut other = info("example/1 cuda");
    let store = Store::open_with(outputs.path(), &plan, other.clone(), SMALL).unwrap();
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    drop(store);
    other.rerun_other_numerics = true;
    let mut store = Store::open_with(outputs.path(), &plan, other, SMALL).unwrap();
    assert_eq!(store.unfinished().len(), 8);
    record(&mut store, &events(&plan, 0, 5));
    let summary = store.finish().unwrap();
    let numerics: Vec<&str> = summary.results().filter_map(|result| result.numerics).collect();
    assert_eq!(numerics[..2], ["example/1 cuda", "example/1 cpu"]);
    assert_eq!(numerics.len(), 8);
    // The rows are the same here, so only the column `numerics` of the trials may differ.
    let (found, expected) = (tables(outputs.path()), fresh_tables(&plan));
    assert!(found.iter().all(|(name, bytes)| (*bytes == expected[name]) == (name != "/trials.parquet")));
}

#[test]
fn parts_can_be_read_while_the_run_goes_on() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    record(&mut store, &events(&plan, 0, 5));
    record(&mut store, &events(&plan, 1, 5)[..3]);
    store.seal(true).unwrap();
    let rows = rows::read(outputs.path(), "parts", "metrics-");
    assert_eq!(rows.num_rows(), 12 + 4);
    assert_eq!(rows.schema(), store.columns.layout(super::super::schema::Table::Metrics).schema);
}

/// Every file below a folder, with its content and the time of its last change.
fn everything(folder: &Path) -> BTreeMap<std::path::PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.clone(), (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()));
        }
    }
    found
}

#[test]
fn where_all_is_there_nothing_is_written_and_no_lock_is_taken() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    let summary = run(outputs.path(), &plan, SMALL);
    let before = everything(outputs.path());
    let [first, second] = [open(outputs.path(), &plan, SMALL), open(outputs.path(), &plan, SMALL)];
    assert!(!first.is_writing() && !second.is_writing());
    assert!(first.finish().unwrap().results().eq(summary.results()));
    drop(second);
    assert!(everything(outputs.path()) == before);

    // Whatever is not as a run would leave it is written anew.
    let check = |disturb: &dyn Fn(&Path)| {
        disturb(&outputs.path().join("example"));
        let store = open(outputs.path(), &plan, SMALL);
        assert!(store.is_writing());
        store.finish().unwrap();
        assert_equal_tables(&tables(outputs.path()), &fresh_tables(&plan));
        assert!(!open(outputs.path(), &plan, SMALL).is_writing());
    };
    check(&|folder| fs::write(folder.join("spec.toml"), "# another comment").unwrap());
    check(&|folder| fs::remove_file(folder.join("plan.json")).unwrap());
    check(&|folder| fs::remove_file(folder.join("trials.parquet")).unwrap());
    check(&|folder| {
        let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
        fs::write(folder.join("manifest.json"), text.replace("\"timings.parquet\"", "\"times.parquet\"")).unwrap();
    });
}

/// The same revision and numerics, from another file.
#[test]
fn trials_of_another_build_of_the_plugin_are_said_and_run_again_only_when_asked() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    let built = |build: &str, rerun_other_builds| RunInfo {
        builds: vec![build.to_owned()],
        rerun_other_builds,
        ..info("example/1 cpu")
    };
    let mut store = Store::open_with(outputs.path(), &plan, built("aaaaaaaaaaaa", false), SMALL).unwrap();
    for trial in [0, 1, 2] {
        record(&mut store, &events(&plan, trial, 5));
    }
    store.finish().unwrap();
    let mut store = Store::open_with(outputs.path(), &plan, built("bbbbbbbbbbbb", false), SMALL).unwrap();
    let [note] = store.notes() else { panic!("{:?}", store.notes()) };
    assert!(note.starts_with("3 trials here were trained by another build of `example` (now bbbbbbbb)"), "{note}");
    assert_eq!(unfinished(&store), [3, 4, 5, 6, 7]);
    for trial in unfinished(&store) {
        record(&mut store, &events(&plan, trial, 5));
    }
    let summary = store.finish().unwrap();
    let origins = crate::summary::mixed(&plan, summary.results()).said().unwrap().list;
    assert_eq!(origins, "example/1 cpu aaaaaaaa (3 trials), example/1 cpu bbbbbbbb (5 trials)");
    let trials = read(outputs.path(), "", "trials");
    let builds = super::rows::texts(&trials, "plugin_digest");
    assert_eq!((builds[0], builds[7]), (Some("aaaaaaaaaaaa"), Some("bbbbbbbbbbbb")));

    let store = Store::open_with(outputs.path(), &plan, built("bbbbbbbbbbbb", true), SMALL).unwrap();
    assert_eq!(unfinished(&store), [0, 1, 2]);
}

/// Earlier versions noted the builds of each command, and none of a trial.
#[test]
fn the_build_of_an_earlier_versions_trials_is_known_where_all_commands_had_one() {
    let plan = Grid { policies: &["triangular"], ..GRID }.plan();
    for (versions, known) in [(["a b", "a b"], true), (["a b", "a c"], false)] {
        let outputs = tempfile::tempdir().unwrap();
        run(outputs.path(), &plan, SMALL);
        let path = outputs.path().join("example/manifest.json");
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let run = manifest["runs"][0].clone();
        manifest["runs"] = versions
            .map(|version| {
                let mut run = run.clone();
                run["versions"] = serde_json::json!({ "plugin example": version.replace("a ", "1.0 blake3:") });
                run
            })
            .to_vec()
            .into();
        (manifest["format"], manifest["layout"]) = (1.into(), "an earlier one".into());
        // They sealed and copied none either.
        manifest.as_object_mut().unwrap().remove("blake3");
        fs::write(&path, manifest.to_string()).unwrap();
        fs::remove_file(path.with_file_name("manifest.backup.json")).unwrap();
        let store = open(outputs.path(), &plan, SMALL);
        let builds: Vec<_> = store.results().map(|result| result.build.map(str::to_owned)).collect();
        assert_eq!(builds, vec![known.then(|| "b".to_owned()); 4]);
        // What an earlier version wrote is brought up to date.
        store.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"format\": 2"), "{text}");
    }
}
