//! Outputs in every state, made by the store and the journal.

use std::fs;
use std::path::{Path, PathBuf};

use clr_event::example::events;
use clr_event::{Event, Outcome};
use clr_plan::example::Grid;
use clr_plan::{AxisKind, Plan};
use clr_store::journal::Journal;
use clr_store::{KeptSpec, RunInfo, Store};
use clr_terminal::terminal::Terminal;
use expect_test::{Expect, expect};

use super::*;
use crate::show::status as text;

/// `triangular` and `explode`, two seeds each; `explode` diverges at 6.
const GRID: Grid<'static> =
    Grid { policies: &["triangular", "explode"], optimizers: &["sgd"], seeds: &[1, 2], max_lrs: &[], iterations: 12 };

fn open(outputs: &Path, plan: &Plan) -> Store {
    let info = RunInfo {
        spec: KeptSpec { text: "[experiment]\n".to_owned(), ..KeptSpec::default() },
        numerics: vec!["example/1 cpu".to_owned()],
        ..RunInfo::default()
    };
    Store::open(outputs, plan, info).unwrap()
}

/// A command that is at work, or was cut off if it is dropped.
struct Command<'a> {
    store: Store,
    journal: Journal<'a>,
}

impl<'a> Command<'a> {
    fn begin(outputs: &Path, plan: &'a Plan) -> Command<'a> {
        let store = open(outputs, plan);
        let attempts = store.results().map(|result| result.attempts).collect();
        let journal = Journal::start(store.folder(), plan, store.unfinished().len(), attempts);
        Command { store, journal }
    }

    fn record(&mut self, events: &[Event]) {
        for event in events {
            self.journal.record(event);
            self.store.record(event).unwrap();
        }
    }

    fn finish(self) {
        self.store.finish().unwrap();
        self.journal.finish(Ending::Finished, None);
    }
}

fn failure(trial: usize, message: &str) -> [Event; 2] {
    let outcome = Outcome::Failed { message: message.to_owned() };
    [Event::Started { trial, step: 0 }, Event::Ended { trial, outcome, elapsed: Default::default() }]
}

/// The state as text, without what differs from run to run.
fn show(folder: &Path, all_trials: bool) -> String {
    let mut report = read(folder).unwrap();
    report.folder = PathBuf::from("outputs/example");
    for note in &mut report.notes {
        *note = note.replace(&folder.display().to_string(), "outputs/example");
    }
    if let Some(holder) = &mut report.holder {
        assert_eq!((holder.pid, report.heartbeat_seconds.is_some()), (std::process::id(), true));
        *holder = Holder { pid: 1, host: "host".to_owned(), since: "T".to_owned(), born: None };
    }
    report.heartbeat_seconds = report.heartbeat_seconds.map(|_| 3.0);
    report.memory_bytes = report.memory_bytes.map(|_| 85 << 20);
    report.per_second = report.per_second.map(|_| 2.0);
    report.seconds_left = report.seconds_left.map(|_| 65.0);
    report.trials.iter_mut().for_each(|trial| trial.per_second = trial.per_second.map(|_| 2.0));
    report.last_error.iter_mut().for_each(|error| error.time = "T".to_owned());
    text(&report, all_trials, &Terminal::default())
}

#[track_caller]
fn check(folder: &Path, expected: &Expect) {
    expected.assert_eq(&show(folder, false));
}

/// Rewrites the heartbeat as that of another process.
fn change_heartbeat(folder: &Path, change: impl Fn(&mut serde_json::Value)) {
    let path = folder.join(journal::HEARTBEAT);
    let mut beat = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut beat);
    fs::write(&path, beat.to_string()).unwrap();
}

#[test]
fn a_run_at_work_has_more_than_the_manifest_knows() {
    let outputs = tempfile::tempdir().unwrap();
    let (plan, folder) = (GRID.plan(), outputs.path().join("example"));
    let mut command = Command::begin(outputs.path(), &plan);
    command.record(&events(&plan, 2, 5));
    command.record(&failure(0, "out of luck\nsecond line\n"));
    command.record(&events(&plan, 1, 5)[..4]);
    // Both files are brought up to date in the background.
    while !read(&folder).unwrap().trials.iter().any(|trial| trial.per_second.is_some()) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    check(
        &folder,
        &expect![[r#"
            outputs/example: running, process 1 on host since T
            4 trials: 0 finished, 1 diverged, 1 failed, 1 running, 1 left
            58%, 28 of 48 iterations, 2.0/s, 1m 5s left, 85.0 MiB of memory

            all trials: optimizer=sgd
            status   trial  policy      seed  iteration   rate
            running  ef24   triangular     2       4/12  2.0/s

            failed 01d5 (triangular seed=1) at iteration 0 of 12
            last error, T: triangular sgd seed=1: out of luck
            second line
        "#]],
    );
    assert_eq!(read(&folder).unwrap().state, State::Running);
    // Killed: nothing was committed.
    drop(command);
    change_heartbeat(&folder, |beat| beat["born"] = 1.into());
    if cfg!(target_os = "linux") {
        assert_eq!(read(&folder).unwrap().state, State::Killed);
        let killed = read(&folder).unwrap().counts;
        assert_eq!((killed.left, killed.running, killed.trials), (4, 0, 4));
    }
}

#[test]
fn another_host_s_process_runs_while_it_is_heard_of() {
    let outputs = tempfile::tempdir().unwrap();
    let (plan, folder) = (GRID.plan(), outputs.path().join("example"));
    drop(Command::begin(outputs.path(), &plan));
    change_heartbeat(&folder, |beat| beat["host"] = "elsewhere.invalid".into());
    check(
        &folder,
        &expect![[r#"
            outputs/example: running, process 1 on host since T, heard of 3.0s ago
            4 trials: 0 finished, 4 left
            0%, 0 of 48 iterations, 2.0/s, 85.0 MiB of memory
        "#]],
    );
    change_heartbeat(&folder, |beat| beat["time"] = "2026-01-01T00:00:00Z".into());
    check(
        &folder,
        &expect![[r#"
            outputs/example: silent: process 1 on host since T, heard of 3.0s ago; if it is gone, the same command goes on
            4 trials: 0 finished, 4 left
            0%, 0 of 48 iterations
        "#]],
    );
}

#[test]
fn what_is_done_stays_done_and_failures_are_told() {
    let outputs = tempfile::tempdir().unwrap();
    let (plan, folder) = (GRID.plan(), outputs.path().join("example"));
    let mut command = Command::begin(outputs.path(), &plan);
    (1..3).for_each(|trial| command.record(&events(&plan, trial, 5)));
    command.record(&failure(0, "out of luck"));
    command.finish();
    check(
        &folder,
        &expect![[r#"
            outputs/example: stopped; the same command goes on
            4 trials: 1 finished, 1 diverged, 1 failed, 1 left
            75%, 36 of 48 iterations

            failed 01d5 (triangular seed=1) at iteration 0 of 12: out of luck
        "#]],
    );
    expect![[r#"
        outputs/example: stopped; the same command goes on
        4 trials: 1 finished, 1 diverged, 1 failed, 1 left
        75%, 36 of 48 iterations

        all trials: optimizer=sgd
        status      trial  policy      seed  iteration
        failed      01d5   triangular     1       0/12
        finished    ef24   triangular     2      12/12
        diverged    43f3   explode        1       7/12
        unfinished  751a   explode        2       0/12

        failed 01d5 (triangular seed=1) at iteration 0 of 12: out of luck
    "#]]
    .assert_eq(&show(&folder, true));

    let mut command = Command::begin(outputs.path(), &plan);
    command.record(&events(&plan, 3, 5));
    command.finish();
    check(
        &folder,
        &expect![[r#"
            outputs/example: done
            4 trials: 1 finished, 2 diverged, 1 failed
            100%, 48 of 48 iterations

            failed 01d5 (triangular seed=1) at iteration 0 of 12: out of luck
        "#]],
    );
}

#[test]
fn torn_and_missing_files_are_named_and_the_rest_is_told() {
    let outputs = tempfile::tempdir().unwrap();
    let (plan, folder) = (GRID.plan(), outputs.path().join("example"));
    let mut command = Command::begin(outputs.path(), &plan);
    (0..2).for_each(|trial| command.record(&events(&plan, trial, 5)));
    command.finish();
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    for cut in [0, 1, manifest.len() / 2, manifest.len() - 3] {
        fs::write(folder.join("manifest.json"), &manifest[..cut]).unwrap();
        let report = read(&folder).unwrap();
        assert_eq!((report.notes.len(), report.trials.len(), report.counts.left), (1, 4, 4), "cut at {cut}");
    }
    fs::write(folder.join("manifest.json"), &manifest).unwrap();
    fs::write(folder.join("plan.json"), "{\"trials\": [7]}").unwrap();
    fs::write(folder.join(journal::EVENTS), "x\ny\n").unwrap();
    fs::write(folder.join(journal::HEARTBEAT), "{").unwrap();
    check(
        &folder,
        &expect![[r#"
            outputs/example: damaged: 1 file of this output is missing or changed; the same command mends that
            2 trials: 2 finished
            100%, 24 of 24 iterations
            damaged: plan.json: it is cut off: 15 bytes instead of 3728
            note: outputs/example/plan.json: invalid type: integer `7`, expected struct PlannedTrial at line 1 column 13
            note: outputs/example/events.jsonl: 2 lines were cut off or are not ours
            note: without plan.json, only trials that began are known
        "#]],
    );
    fs::remove_file(folder.join("plan.json")).unwrap();
    check(
        &folder,
        &expect![[r#"
            outputs/example: damaged: 1 file of this output is missing or changed; the same command mends that
            2 trials: 2 finished
            100%, 24 of 24 iterations
            damaged: plan.json: it is missing
            note: outputs/example/events.jsonl: 2 lines were cut off or are not ours
            note: without plan.json, only trials that began are known
        "#]],
    );
    let error = read(outputs.path()).unwrap_err().to_string();
    assert!(error.ends_with("is no output of a run: it has no plan.json, manifest.json or events.jsonl"), "{error}");
}

/// A trial of an output, by its label.
fn trial(label: &str, status: TrialStatus, step: u64) -> TrialState {
    TrialState {
        trial: blake3::hash(label.as_bytes()).to_hex()[..32].to_owned(),
        label: label.to_owned(),
        status,
        step,
        iterations: 25_000,
        per_second: (status == TrialStatus::Running).then_some(61.2),
        error: (status == TrialStatus::Failed).then(|| "the plugin has no memory left for the 4,096 images".to_owned()),
        values: Vec::new(),
    }
}

#[test]
fn a_status_fits_80_columns() {
    let axis = |name: &str, kind| Axis { name: name.to_owned(), kind };
    let rows = [
        ("triangular2", "nesterov", 0.054_772_255_750_516_61, 1, TrialStatus::Running, 11_520),
        ("triangular2", "nesterov", 0.3, 2, TrialStatus::Running, 960),
        ("triangular2", "adam", 0.3, 1, TrialStatus::Failed, 1),
        ("one_cycle", "adam", 0.3, 1, TrialStatus::Unfinished, 0),
    ];
    let trials = rows.map(|(policy, optimizer, max_lr, seed, status, step)| {
        let text = |text: &str| Some(AxisValue::Text(text.into()));
        let values = vec![
            text(policy),
            text(optimizer),
            Some(AxisValue::Integer(seed)),
            Some(AxisValue::Float(max_lr)),
            Some(AxisValue::Float(0.9)),
        ];
        TrialState { values, ..trial(&format!("{policy} {optimizer} max_lr={max_lr} seed={seed}"), status, step) }
    });
    let report = Report {
        folder: PathBuf::from("outputs/cifar10-policies"),
        name: "cifar10-policies".to_owned(),
        state: State::Running,
        holder: Some(Holder {
            pid: 40721,
            host: "node3".to_owned(),
            since: "2026-11-23T17:32:08Z".to_owned(),
            born: None,
        }),
        holder_lives: Some(true),
        heartbeat_seconds: Some(1.0),
        memory_bytes: Some(1 << 30),
        counts: count(&trials),
        iterations_done: 12_481,
        iterations: 100_000,
        per_second: Some(122.4),
        seconds_left: Some(715.0),
        last_error: None,
        damage: Vec::new(),
        notes: Vec::new(),
        trials: trials.to_vec(),
        axes: vec![
            axis("policy", AxisKind::Text),
            axis("optimizer", AxisKind::Text),
            axis("seed", AxisKind::Integer),
            axis("max_lr", AxisKind::Float),
            axis("optimizer.momentum", AxisKind::Float),
        ],
    };
    let shown = |all_trials| {
        let text = text(&report, all_trials, &Terminal::plain(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        text
    };
    expect![[r#"
        outputs/cifar10-policies: running, process 40721 on node3 since
          2026-11-23T17:32:08Z
        4 trials: 0 finished, 1 failed, 2 running, 1 left
        12%, 12,481 of 100,000 iterations, 122/s, 11m 55s left, 1.0 GiB of memory

        all trials: momentum=0.9
        status   trial  policy       optimizer   max_lr  seed    iteration  rate
        running  d898   triangular2  nesterov   0.05477     1  11520/25000  61/s
        running  0700   triangular2  nesterov       0.3     2    960/25000  61/s

        failed de4f (triangular2 adam max_lr=0.3 seed=1) at iteration 1 of 25000: the
          plugin has no memory left for the 4,096 images
    "#]]
    .assert_eq(&shown(false));
    expect![[r#"
        outputs/cifar10-policies: running, process 40721 on node3 since
          2026-11-23T17:32:08Z
        4 trials: 0 finished, 1 failed, 2 running, 1 left
        12%, 12,481 of 100,000 iterations, 122/s, 11m 55s left, 1.0 GiB of memory

        all trials: momentum=0.9
        status      trial  policy       optimizer   max_lr  seed    iteration  rate
        running     d898   triangular2  nesterov   0.05477     1  11520/25000  61/s
        running     0700   triangular2  nesterov       0.3     2    960/25000  61/s
        failed      de4f   triangular2  adam           0.3     1      1/25000
        unfinished  4430   one_cycle    adam           0.3     1      0/25000

        failed de4f (triangular2 adam max_lr=0.3 seed=1) at iteration 1 of 25000: the
          plugin has no memory left for the 4,096 images
    "#]]
    .assert_eq(&shown(true));
}

/// `cargo test --release -p clr-run --lib -- --ignored --nocapture status::tests::cost`
#[test]
#[ignore = "measures time"]
fn cost_of_ten_thousand_trials() {
    let seeds: Vec<i64> = (0..10_000).collect();
    let plan = Grid { policies: &["triangular"], seeds: &seeds, iterations: 10, ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut command = Command::begin(outputs.path(), &plan);
    let all: Vec<Event> = (0..plan.trials.len()).flat_map(|trial| events(&plan, trial, 10)).collect();
    let start = std::time::Instant::now();
    all.iter().for_each(|event| command.journal.record(event));
    eprintln!("{} events to the journal: {:?}", all.len(), start.elapsed());
    command.record(&all);
    command.finish();
    let folder = outputs.path().join("example");
    for name in ["plan.json", "manifest.json", journal::EVENTS] {
        eprintln!("{name}: {} bytes", fs::metadata(folder.join(name)).unwrap().len());
    }
    let start = std::time::Instant::now();
    let report = read(&folder).unwrap();
    let listed = text(&report, true, &Terminal::default()).len();
    eprintln!("{} trials, {listed} bytes: {:?}", report.trials.len(), start.elapsed());
}

#[test]
fn missing_and_cut_off_tables_are_no_done_output() {
    let outputs = tempfile::tempdir().unwrap();
    let plan = GRID.plan();
    let mut command = Command::begin(outputs.path(), &plan);
    (0..plan.trials.len()).for_each(|trial| command.record(&events(&plan, trial, 5)));
    command.finish();
    let folder = outputs.path().join("example");
    assert_eq!((read(&folder).unwrap().state, read(&folder).unwrap().damage), (State::Done, vec![]));

    let of = |table: &str| fs::read_dir(folder.join(table)).unwrap().next().unwrap().unwrap().path();
    let metrics = of("metrics");
    let whole = fs::read(&metrics).unwrap();
    fs::write(&metrics, &whole[..whole.len() - 1]).unwrap();
    fs::remove_file(of("evals")).unwrap();
    // As long as it was, and no table any more.
    let trials = fs::read(folder.join("trials.parquet")).unwrap();
    fs::write(folder.join("trials.parquet"), vec![0; trials.len()]).unwrap();
    let report = read(&folder).unwrap();
    assert_eq!(report.state, State::Damaged);
    let damage = report.damage.join("\n");
    for (file, what) in [("evals/", "it is missing"), ("metrics/", "bytes instead of"), ("trials.parquet", "footer")] {
        let line = damage.lines().find(|line| line.starts_with(file)).unwrap_or_else(|| panic!("{file}: {damage}"));
        assert!(line.contains(what), "{line}");
    }
    let text = text(&report, false, &Terminal::plain(80));
    assert!(text.contains("damaged: 3 files of this output are missing or changed"), "{text}");
}
