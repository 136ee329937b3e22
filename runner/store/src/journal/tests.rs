//! A journal is written from events, torn, gone on with and read.

use std::fs;
use std::path::Path;

use clr_event::example::events;
use clr_event::{Event, Outcome};
use clr_plan::Plan;
use clr_plan::example::Grid;
use expect_test::{Expect, expect};

use super::*;

const GRID: Grid<'static> =
    Grid { policies: &["triangular", "explode"], optimizers: &["sgd"], seeds: &[1], max_lrs: &[], iterations: 12 };

/// Writes the journal of one command.
fn write(folder: &Path, plan: &Plan, attempts: Vec<u32>, events: &[Event], ending: Ending) {
    let mut journal = Journal::start(folder, plan, plan.trials.len(), attempts);
    events.iter().for_each(|event| journal.record(event));
    journal.finish(ending, None);
}

/// The journal without what differs from run to run, and how many lines were skipped.
fn lines(folder: &Path) -> (String, u64) {
    let mut text = String::new();
    let skipped = read(folder, |line| {
        text += &match line.record {
            Record::RunStarted { holder, trials, unfinished, .. } => {
                assert_eq!(holder.pid, std::process::id());
                format!("run_started {unfinished}/{trials}\n")
            }
            Record::Started { label, attempt, step, .. } => format!("started {label} attempt {attempt} at {step}\n"),
            Record::Evaluated { label, step, split, loss, accuracy, .. } => {
                format!("evaluated {label} at {step} on {split} {loss:?} {accuracy:?}\n")
            }
            Record::Saved { label, step, .. } => format!("saved {label} at {step}\n"),
            Record::Retried { labels, message, .. } => format!("retried {labels:?}: {message}\n"),
            Record::Ended { label, step, outcome, message, .. } => {
                format!("ended {label} at {step} {outcome:?} {message:?}\n")
            }
            Record::RunEnded { outcome, message } => format!("run_ended {outcome:?} {message:?}\n"),
            Record::Unknown => "unknown\n".to_owned(),
        };
    });
    (text, skipped.unwrap())
}

#[track_caller]
fn check(folder: &Path, expected_skipped: u64, expected: &Expect) {
    let (text, skipped) = lines(folder);
    expected.assert_eq(&text);
    assert_eq!(skipped, expected_skipped);
}

#[test]
fn a_journal_has_what_happened_but_not_every_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let mut all = events(&plan, 0, 5);
    all.extend(events(&plan, 1, 5));
    write(folder.path(), &plan, vec![0, 2], &all, Ending::Finished);
    check(
        folder.path(),
        0,
        &expect![[r#"
            run_started 2/2
            started triangular sgd seed=1 attempt 1 at 0
            evaluated triangular sgd seed=1 at 0 on test Some(0.06930691) Some(0.9306931)
            evaluated triangular sgd seed=1 at 4 on test Some(0.029702961) Some(0.97029704)
            evaluated triangular sgd seed=1 at 12 on test Some(0.95049506) Some(0.04950495)
            ended triangular sgd seed=1 at 12 Finished None
            started explode sgd seed=1 attempt 3 at 0
            ended explode sgd seed=1 at 7 Diverged None
            run_ended Finished None
        "#]],
    );
    assert!(!folder.path().join(HEARTBEAT).exists(), "nothing runs any more");
}

#[test]
fn a_torn_last_line_is_skipped_and_the_next_command_begins_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let path = folder.path().join(EVENTS);
    write(folder.path(), &plan, vec![0, 0], &[Event::Started { trial: 0, step: 0 }], Ending::Stopped);
    let whole = fs::read(&path).unwrap();
    for cut in 1..40 {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        write(folder.path(), &plan, vec![1, 0], &[Event::Started { trial: 0, step: 8 }], Ending::Finished);
        let (text, skipped) = lines(folder.path());
        let torn = cut > 1;
        assert_eq!(skipped, u64::from(torn), "{cut} bytes cut off");
        let ended = if torn { "" } else { "run_ended Stopped None\n" };
        let expected = format!(
            "run_started 2/2\nstarted triangular sgd seed=1 attempt 1 at 0\n{ended}\
             run_started 2/2\nstarted triangular sgd seed=1 attempt 2 at 8\nrun_ended Finished None\n"
        );
        assert_eq!(text, expected, "{cut} bytes cut off");
    }
}

#[test]
fn what_is_no_line_of_ours_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(EVENTS);
    let mut text = b"{\"time\":\"2026-01-01T00:00:00Z\",\"event\":\"teleported\",\"trial\":\"a\"}\n".to_vec();
    text.extend(b"\n[1,2]\n\xff\xfe\n{\"event\":\"started\"}\n\0\0\0\n");
    text.extend(vec![b'['; 3 << 20]);
    text.extend(b"\n{\"time\":\"\",\"event\":\"saved\",\"trial\":\"a\",\"label\":\"b\",\"step\":7}\n");
    fs::write(&path, &text).unwrap();
    // The line of three MiB is read as pieces of one.
    check(
        folder.path(),
        7,
        &expect![[r#"
            unknown
            saved b at 7
        "#]],
    );
    assert_eq!(lines(tempfile::tempdir().unwrap().path()), (String::new(), 0));
}

#[test]
fn a_failure_has_its_message_and_a_folder_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let outcome = Outcome::Failed { message: "no \"memory\"\n".to_owned() };
    let ended = Event::Ended { trial: 0, outcome, elapsed: Default::default() };
    let retried = Event::Retried { trials: vec![0, 1, 99], message: "killed by signal 11".to_owned() };
    let all = [Event::Started { trial: 0, step: 3 }, retried, ended, Event::Started { trial: 99, step: 0 }];
    write(folder.path(), &plan, vec![0, 0], &all, Ending::Finished);
    check(
        folder.path(),
        0,
        &expect![[r#"
            run_started 2/2
            started triangular sgd seed=1 attempt 1 at 3
            retried ["triangular sgd seed=1", "explode sgd seed=1"]: killed by signal 11
            ended triangular sgd seed=1 at 3 Failed Some("no \"memory\"\n")
            run_ended Finished None
        "#]],
    );
    write(&folder.path().join("nowhere"), &plan, Vec::new(), &all, Ending::Finished);
}

#[test]
fn the_heartbeat_tells_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let mut journal = Journal::start(folder.path(), &plan, 2, vec![0, 0]);
    let first = read_heartbeat(folder.path()).expect("there is one from the start");
    assert_eq!((first.holder.pid, first.holder.lives()), (std::process::id(), Some(true)));
    assert_eq!((first.iterations, first.trials.len()), (0, 0));
    events(&plan, 0, 5)[..4].iter().for_each(|event| journal.record(event));
    let beats_again = || {
        let beat = read_heartbeat(folder.path()).expect("it is replaced, never absent");
        if beat.trials.is_empty() {
            return None;
        }
        Some(beat)
    };
    let beat = std::iter::repeat_with(|| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        beats_again()
    });
    let beat = beat.flatten().next().unwrap();
    let trial = &beat.trials[0];
    assert_eq!(
        (trial.trial.as_str(), trial.label.as_str()),
        (plan.trials[0].id.to_string().as_str(), &*plan.trials[0].label)
    );
    assert_eq!((trial.iterations, trial.step, beat.iterations), (12, trial.step, trial.step));
    drop(journal);
    assert!(folder.path().join(HEARTBEAT).exists(), "a command that was cut off leaves it");
}
