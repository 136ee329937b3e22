//! Trials that go on from where they were saved: the tables are those of a run that nothing disturbed.

use std::sync::Arc;

use clr_event::checkpoint::{Checkpoint, Tensor};
use clr_event::work::Work;
use clr_event::{Evaluation, Outcome};
use clr_host::{Role, TensorInfo};
use clr_schedule::{Schedule, Sgdr};
use clr_spec::{Checkpointing, Keep};

use super::super::files::cut;
use super::super::{Status, StoreError};
use super::*;

/// Two trials, the second of which diverges. A cycle ends where there is an evaluation, which is where the events below save.
pub(super) fn plan(keep: Keep) -> Plan {
    let checkpointing = Checkpointing { keep, ..Checkpointing::default() };
    let mut plan = Plan { checkpointing, ..Grid { optimizers: &["sgd"], seeds: &[1], ..GRID }.plan() };
    for trial in Arc::make_mut(&mut plan.trials) {
        let period = trial.eval_every.next(0);
        trial.lr = Schedule::Sgdr(Sgdr::new(0.1, 0.0, period, 1));
    }
    plan
}

fn checkpoint(plan: &Plan, trial: usize, step: u64, evaluated: Option<u64>) -> Arc<Checkpoint> {
    let info = TensorInfo { name: "w".into(), role: Role::Weight, shape: vec![1], element_count: 1 };
    let tensors = vec![Tensor { info, values: vec![step as f32] }];
    Arc::new(Checkpoint { trial_id: plan.trials[trial].id, step, evaluated, tensors })
}

/// The events of a trial that goes on from `work`, saved after every block of rows and, like the driver, after
/// the last evaluation.
pub(super) fn saving_events(plan: &Plan, work: &Work, block: u64) -> Vec<Event> {
    let (trial, first) = (work.trial, work.step());
    let mut sent = Vec::new();
    let mut evaluated = work.sent_evaluation;
    for event in events(plan, trial, block) {
        let elapsed = work.elapsed + Duration::from_secs(1);
        match event {
            Event::Started { .. } => sent.push(Event::Started { trial, step: first }),
            Event::Evaluated(Evaluation { iteration, .. }) if Some(iteration) <= evaluated => {}
            Event::Evaluated(evaluation) => {
                evaluated = Some(evaluation.iteration);
                sent.push(event);
                let checkpoint = checkpoint(plan, trial, evaluation.iteration, evaluated);
                sent.push(Event::Saved { trial, checkpoint, elapsed });
            }
            Event::Rows(mut rows) => {
                rows.skip(first.saturating_sub(rows.first_iteration) as usize);
                let end = rows.first_iteration + rows.count as u64;
                if rows.count > 0 {
                    sent.push(Event::Rows(rows));
                    let checkpoint = checkpoint(plan, trial, end, evaluated);
                    sent.push(Event::Saved { trial, checkpoint, elapsed });
                }
            }
            Event::Saved { .. } | Event::Retried { .. } => {}
            Event::Ended { trial, outcome, .. } => sent.push(Event::Ended { trial, outcome, elapsed }),
        }
    }
    sent
}

/// All that there is to do, two trials at a time.
fn all_events(plan: &Plan, store: &Store, block: u64) -> Vec<Event> {
    let mut all = Vec::new();
    for pair in store.unfinished().chunks(2) {
        let mut queues: Vec<_> = pair.iter().map(|work| saving_events(plan, work, block).into_iter()).collect();
        loop {
            let round: Vec<Event> = queues.iter_mut().filter_map(Iterator::next).collect();
            if round.is_empty() {
                break;
            }
            all.extend(round);
        }
    }
    all
}

/// Records all that there is to do and commits after every `every`-th event.
pub(super) fn go_on(outputs: &Path, plan: &Plan, every: usize) -> Result<Summary, StoreError> {
    let mut store = Store::open_with(outputs, plan, info("example/1 cpu"), SMALL)?;
    for (index, event) in all_events(plan, &store, 3).iter().enumerate() {
        store.record(event)?;
        if index % every == every - 1 {
            store.commit()?;
        }
    }
    store.finish()
}

/// The tables and the checkpoints that are kept.
pub(super) fn kept(outputs: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut kept = tables(outputs);
    let directory = outputs.join("example/checkpoints");
    for name in super::super::files::names(&directory).unwrap_or_default() {
        kept.insert(format!("checkpoints/{name}"), fs::read(directory.join(&name)).unwrap());
    }
    kept
}

pub(super) fn undisturbed(plan: &Plan) -> BTreeMap<String, Vec<u8>> {
    let outputs = tempfile::tempdir().unwrap();
    go_on(outputs.path(), plan, usize::MAX).unwrap();
    kept(outputs.path())
}

#[test]
fn saving_changes_no_table() {
    for keep in [Keep::Nothing, Keep::Last, Keep::Best, Keep::Cycles] {
        let found = undisturbed(&plan(keep));
        let checkpoints = found.keys().filter(|name| name.starts_with("checkpoints/")).count();
        // The one that diverges has a best evaluation, but no state after the last iteration.
        let expected = match keep {
            Keep::Nothing => 0,
            Keep::Last => 1,
            Keep::Best => 2,
            // Three of the one that finishes, and one of the other.
            Keep::Cycles => 4,
        };
        assert_eq!(checkpoints, expected);
        let tables = found.into_iter().filter(|(name, _)| !name.starts_with("checkpoints/")).collect();
        assert_equal_tables(&tables, &fresh_tables(&plan(keep)));
    }
}

/// Cuts a run off after each of its operations on files, goes on, and compares all that is left.
#[track_caller]
fn check_every_cut(keep: Keep, every: usize) {
    let plan = plan(keep);
    let expected = undisturbed(&plan);
    for count in 0.. {
        let outputs = tempfile::tempdir().unwrap();
        cut::after(count);
        let was_cut = go_on(outputs.path(), &plan, every).is_err();
        // Twice, the second time a little later: what the first left is disturbed too.
        cut::after(count / 2 + 3);
        let _ = go_on(outputs.path(), &plan, every);
        cut::after(usize::MAX);
        go_on(outputs.path(), &plan, every).unwrap();
        assert_equal_tables(&kept(outputs.path()), &expected);
        assert_eq!(listing(outputs.path(), "parts"), Vec::<String>::new(), "after {count} operations");
        if !was_cut {
            assert!(count > 20, "{count} operations");
            return;
        }
    }
}

#[test]
fn a_run_cut_off_after_any_operation_goes_on_to_the_same_bytes() {
    check_every_cut(Keep::Last, 7);
    check_every_cut(Keep::Best, 9);
    check_every_cut(Keep::Cycles, 8);
}

#[test]
fn a_run_cut_off_after_any_event_goes_on_from_its_last_commit() {
    let plan = plan(Keep::Best);
    let expected = undisturbed(&plan);
    for every in [1, 3] {
        for count in 1.. {
            let outputs = tempfile::tempdir().unwrap();
            let mut store = open(outputs.path(), &plan, SMALL);
            let events = all_events(&plan, &store, 2);
            for (index, event) in events.iter().take(count).enumerate() {
                store.record(event).unwrap();
                if index % every == every - 1 {
                    store.commit().unwrap();
                }
            }
            drop(store);
            go_on(outputs.path(), &plan, 4).unwrap();
            assert_equal_tables(&kept(outputs.path()), &expected);
            if count >= events.len() {
                break;
            }
        }
    }
}

/// Cuts the first trial off after a commit at step 7 of 12, disturbs the folder, and opens it again.
#[track_caller]
fn check_reopened(numerics: &str, disturb: impl Fn(&Path), expected_step: u64, expected_note: &str) {
    let plan = plan(Keep::Nothing);
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    let events = saving_events(&plan, &Work::new(0), 3);
    let position = |event: &Event| matches!(event, Event::Saved { checkpoint, .. } if checkpoint.step == 7);
    record(&mut store, &events[..=events.iter().position(position).unwrap()]);
    store.commit().unwrap();
    drop(store);
    disturb(&outputs.path().join("example"));

    let store = Store::open_with(outputs.path(), &plan, info(numerics), SMALL).unwrap();
    let work = &store.unfinished()[0];
    assert_eq!((work.trial, work.step(), work.sent_rows), (0, expected_step, expected_step), "{:?}", store.notes());
    let notes = store.notes().join("\n");
    assert!(if expected_note.is_empty() { notes.is_empty() } else { notes.contains(expected_note) }, "{notes}");
    drop(store);
    let mut store = Store::open_with(outputs.path(), &plan, info(numerics), SMALL).unwrap();
    let events = all_events(&plan, &store, 5);
    record(&mut store, &events);
    let summary = store.finish().unwrap();
    assert_eq!(result(&summary, 0).attempts, 2);
    assert_eq!(result(&summary, 0).seconds, Some(2.0), "all attempts count");
    if numerics == "example/1 cpu" {
        assert_equal_tables(&kept(outputs.path()), &undisturbed(&plan));
    }
}

/// The one checkpoint in a folder.
fn only_checkpoint(folder: &Path) -> std::path::PathBuf {
    let names = super::super::files::names(&folder.join("checkpoints")).unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    folder.join("checkpoints").join(&names[0])
}

#[test]
fn a_trial_goes_on_from_its_checkpoint_or_says_why_it_starts_over() {
    check_reopened("example/1 cpu", |_| {}, 7, "");
    check_reopened("example/1 cuda", |_| {}, 0, "1 trial starts over, as it was saved under other arithmetic");
    check_reopened(
        "example/1 cpu",
        |folder| fs::remove_file(only_checkpoint(folder)).unwrap(),
        0,
        ".safetensors: it is missing; 1 trial starts over: 01d5 (triangular sgd seed=1)",
    );
    check_reopened(
        "example/1 cpu",
        |folder| {
            let path = only_checkpoint(folder);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        0,
        ".safetensors: its bytes have changed: BLAKE3 ",
    );
    let edit = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            edit_manifest(folder, |manifest| {
                let text = manifest.to_string();
                assert!(text.contains(from), "{text}");
                *manifest = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            });
        }
    };
    check_reopened("example/1 cpu", edit(r#""step":7"#, r#""step":5"#), 0, "damaged (");
    check_reopened("example/1 cpu", edit(r#""evaluated":4"#, r#""evaluated":null"#), 0, "damaged (");
}

#[test]
fn a_checkpoint_outside_its_folder_is_not_looked_at() {
    let plan = plan(Keep::Nothing);
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    record(&mut store, &saving_events(&plan, &Work::new(0), 3)[..4]);
    store.commit().unwrap();
    drop(store);
    edit_manifest(&outputs.path().join("example"), |manifest| {
        let text = manifest.to_string().replace(r#""checkpoint":"checkpoints/"#, r#""checkpoint":"../../"#);
        *manifest = serde_json::from_str(&text).unwrap();
    });
    let store = open(outputs.path(), &plan, SMALL);
    assert!(store.notes()[0].contains("has a checkpoint `../../"), "{:?}", store.notes());
    assert_eq!(store.unfinished(), [Work::new(0), Work::new(1)]);
}

#[test]
fn stopped_interrupted_and_failed_trials_keep_what_was_saved() {
    let plan = plan(Keep::Nothing);
    for outcome in [
        Outcome::Stopped,
        Outcome::Interrupted { message: "no room".into() },
        Outcome::Failed { message: "no".into() },
        Outcome::Crashed { message: "9".into() },
    ] {
        let outputs = tempfile::tempdir().unwrap();
        let mut store = open(outputs.path(), &plan, SMALL);
        let events = saving_events(&plan, &Work::new(0), 3);
        let saved = |event: &Event| matches!(event, Event::Saved { checkpoint, .. } if checkpoint.step == 7);
        record(&mut store, &events[..=events.iter().position(saved).unwrap()]);
        let status = match &outcome {
            Outcome::Failed { .. } => Status::Failed,
            Outcome::Crashed { .. } => Status::Crashed,
            _ => Status::Unfinished,
        };
        let is_interrupted = matches!(outcome, Outcome::Interrupted { .. });
        record(&mut store, &[Event::Ended { trial: 0, outcome, elapsed: Duration::from_secs(3) }]);
        let summary = store.finish().unwrap();
        assert_eq!((result(&summary, 0).status, result(&summary, 0).seconds), (status, Some(3.0)));
        assert_eq!(result(&summary, 0).is_interrupted(), is_interrupted);

        let retry = RunInfo { retry_failed: true, ..info("example/1 cpu") };
        let store = Store::open_with(outputs.path(), &plan, retry, SMALL).unwrap();
        assert_eq!(store.unfinished()[0].step(), 7);
        drop(store);
        let again = open(outputs.path(), &plan, SMALL);
        assert_eq!(again.unfinished().len(), plan.trials.len() - usize::from(status != Status::Unfinished));
    }
}

#[test]
fn a_spec_that_changed_says_what_it_no_longer_covers() {
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &GRID.plan(), SMALL);
    let narrow = Grid { policies: &["explode"], ..GRID }.plan();
    let open = || Store::open_with(outputs.path(), &narrow, info("example/1 cpu"), SMALL).unwrap();
    let notes = open().notes().join("");
    assert!(notes.starts_with("4 trials of this output are no longer in the spec; they are kept"), "{notes}");
    assert!(notes.contains("(triangular sgd seed=1)"), "{notes}");
    assert_eq!(open().notes(), &[] as &[String], "said once");
}

#[test]
fn keep_set_after_the_trials_were_trained_is_said() {
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan(Keep::Nothing), SMALL);
    assert_eq!(open(outputs.path(), &plan(Keep::Nothing), SMALL).notes(), &[] as &[String]);
    for keep in [Keep::Last, Keep::Best] {
        let store = open(outputs.path(), &plan(keep), SMALL);
        let [note] = store.notes() else { panic!("{:?}", store.notes()) };
        // The other one diverged: of that nothing would have been kept.
        let said =
            "`checkpoint.keep` is set, and 1 finished trial of this output left no weights: it was trained before";
        assert!(note.starts_with(said) && note.ends_with(" (triangular)"), "{note}");
    }
}

/// The files of trials that failed.
fn failed(outputs: &Path) -> BTreeMap<String, Vec<u8>> {
    let directory = outputs.join("example/failed");
    let names = super::super::files::names(&directory).unwrap_or_default();
    names.into_iter().map(|name| (name.clone(), fs::read(directory.join(name)).unwrap())).collect()
}

/// The events of the first trial, which fails after 7 rows, from `work` on; the second trial finishes.
fn failing_events(plan: &Plan, work: &Work) -> Vec<Event> {
    let mut events = saving_events(plan, work, 3);
    let is_beyond = |event: &Event| match event {
        Event::Rows(rows) => rows.first_iteration >= 7,
        Event::Evaluated(evaluation) => evaluation.iteration > 7,
        Event::Saved { checkpoint, .. } => checkpoint.step > 7,
        _ => false,
    };
    events.truncate(events.iter().position(is_beyond).unwrap());
    let outcome = Outcome::Failed { message: "no".into() };
    events.push(Event::Ended { trial: 0, outcome, elapsed: Duration::from_secs(1) });
    events
}

#[test]
fn rows_before_a_failure_are_kept_apart_with_the_same_bytes_however_often_it_was_stopped() {
    let plan = plan(Keep::Nothing);
    let fail = |outputs: &Path, stop_after: Option<usize>| {
        if let Some(count) = stop_after {
            let mut store = open(outputs, &plan, SMALL);
            let events = failing_events(&plan, &Work::new(0));
            record(&mut store, &events[..count]);
            record(&mut store, &[Event::Ended { trial: 0, outcome: Outcome::Stopped, elapsed: Duration::ZERO }]);
            store.finish().unwrap();
        }
        let mut store = open(outputs, &plan, SMALL);
        for work in store.unfinished() {
            let events = if work.trial == 0 { failing_events(&plan, &work) } else { saving_events(&plan, &work, 3) };
            record(&mut store, &events);
        }
        store.finish().unwrap()
    };
    let whole = tempfile::tempdir().unwrap();
    let summary = fail(whole.path(), None);
    assert_eq!((result(&summary, 0).status, result(&summary, 0).numbers.rows), (Status::Failed, 7));
    assert_eq!(result(&summary, 0).numbers.final_train_loss, None);
    let metrics = super::rows::read(whole.path(), "failed", "metrics");
    assert_eq!(metrics.num_rows(), 7);
    assert!(super::rows::texts(&metrics, "status").iter().all(|status| *status == Some("failed")));
    // At 0 and at 4.
    assert_eq!(super::rows::read(whole.path(), "failed", "evals").num_rows(), 2);
    // The tables have no row of it.
    let id = plan.trials[0].id.to_string();
    let metrics = super::rows::read(whole.path(), "metrics", "");
    assert!(!super::rows::texts(&metrics, "trial").contains(&Some(&*id)));
    assert_eq!(crate::verify::quick(&whole.path().join("example")).unwrap().problems, []);

    for count in 1..failing_events(&plan, &Work::new(0)).len() {
        let outputs = tempfile::tempdir().unwrap();
        fail(outputs.path(), Some(count));
        assert_equal_tables(&failed(outputs.path()), &failed(whole.path()));
        assert_equal_tables(&tables(outputs.path()), &tables(whole.path()));
    }

    // A retry takes their place, and one that is stopped in between takes them away.
    for stops in [false, true] {
        let retry = RunInfo { retry_failed: true, ..info("example/1 cpu") };
        let mut store = Store::open_with(whole.path(), &plan, retry, SMALL).unwrap();
        let work = store.unfinished().remove(0);
        assert_eq!(work.step(), 7);
        let mut events = saving_events(&plan, &work, 3);
        if !stops {
            events.truncate(2);
            events.push(Event::Ended { trial: 0, outcome: Outcome::Stopped, elapsed: Duration::ZERO });
        }
        record(&mut store, &events);
        store.finish().unwrap();
        assert_eq!(failed(whole.path()), BTreeMap::new());
        assert_eq!(crate::verify::quick(&whole.path().join("example")).unwrap().problems, []);
    }
    assert_equal_tables(&tables(whole.path()), &fresh_tables(&plan));
}

#[test]
fn losses_that_are_not_finite_are_counted_across_a_stop() {
    let mut plan = plan(Keep::Nothing);
    Arc::make_mut(&mut plan.trials)[0].divergence.non_finite = false;
    let spoil = |events: &mut Vec<Event>| {
        for event in events {
            let Event::Rows(rows) = event else { continue };
            for (iteration, loss) in (rows.first_iteration..).zip(&mut rows.metrics[0]) {
                if iteration % 5 == 2 {
                    *loss = f32::NAN;
                }
            }
        }
    };
    let outputs = tempfile::tempdir().unwrap();
    for count in [6, usize::MAX] {
        let mut store = open(outputs.path(), &plan, SMALL);
        let mut events = saving_events(&plan, &store.unfinished()[0], 3);
        spoil(&mut events);
        events.truncate(count);
        record(&mut store, &events);
        let summary = store.finish().unwrap();
        if count == usize::MAX {
            let numbers = result(&summary, 0).numbers;
            assert_eq!((numbers.non_finite_losses, numbers.first_non_finite_loss), (Some(2), Some(2)));
        }
    }
    assert_eq!(crate::verify::quick(&outputs.path().join("example")).unwrap().problems, []);
}
