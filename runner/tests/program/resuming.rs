//! Trials that go on from a checkpoint, in real sessions: the same bits, wherever they were cut off.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clr_event::checkpoint::Checkpoint;
use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_plan::Plan;
use clr_run::recipe;
use clr_spec::{Checkpointing, Every, Keep};
use clr_store::{Store, StoreError, Summary};
use clr_train::Layout;

use crate::equal_bytes::{Prepared, plainest};
use crate::world::BOWL;

/// Dropout has no say here, but flips, crops, a short last batch and a validation split have; two trials of four diverge.
const QUICK: &str = r#"
[experiment]
name  = "quick"

[model]
plugin       = "cifar"
architecture = "cifar10_quick"

[data]
dataset    = "speckles"
batch_size = 7
validation = 11
last_batch = "keep"
flip       = true
pad        = 2

[train]
iterations = 9
eval_every = 4

[policies.triangular]
kind      = "triangular"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 3

[policies.hot]
kind    = "fixed"
base_lr = 1e20

[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 3 }

[optimizers.adam]
kind = "adam"
"#;

fn prepared(spec: &str, every: Every, keep: Keep) -> Prepared {
    let mut prepared = Prepared::new(spec);
    prepared.plan.checkpointing = Checkpointing { every, keep };
    prepared
}

fn iterations(count: u64) -> Every {
    Every::Training(clr_spec::duration::Duration::iterations(count))
}

fn lanes(count: usize) -> Layout {
    Layout { lanes: vec![count], ..plainest() }
}

/// What was sent of a trial, floats as bits.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sent {
    started: Option<u64>,
    /// By iteration.
    rows: BTreeMap<u64, Vec<u64>>,
    /// By iteration and split.
    evaluations: BTreeMap<(u64, String), [u32; 2]>,
    outcome: Option<Outcome>,
    checkpoints: Vec<Arc<Checkpoint>>,
}

fn train(prepared: &Prepared, work: Vec<Work>, layout: &Layout) -> BTreeMap<usize, Sent> {
    let mut all: BTreeMap<usize, Sent> = BTreeMap::new();
    let cancel = AtomicBool::new(false);
    let result: Result<(), Infallible> =
        clr_train::run(&prepared.plan, work, &prepared.resources, layout, &cancel, |event| {
            match event {
                Event::Started { trial, step } => {
                    assert_eq!(all.entry(trial).or_default().started.replace(step), None);
                }
                Event::Rows(rows) => {
                    for row in 0..rows.count {
                        let hypers = rows.hypers.iter().map(|column| column[row].to_bits());
                        let metrics = rows.metrics.iter().map(|column| u64::from(column[row].to_bits()));
                        let values = hypers.chain(metrics).collect();
                        let known = &mut all.entry(rows.trial).or_default().rows;
                        assert_eq!(known.insert(rows.first_iteration + row as u64, values), None, "a row twice");
                    }
                }
                Event::Evaluated(it) => {
                    let key = (it.iteration, format!("{:?}", it.split));
                    let known = &mut all.entry(it.trial).or_default().evaluations;
                    let values = [it.loss.to_bits(), it.accuracy.to_bits()];
                    assert_eq!(known.insert(key, values), None, "an evaluation twice");
                }
                Event::Saved { trial, checkpoint, .. } => {
                    let sent = all.entry(trial).or_default();
                    sent.checkpoints.push(checkpoint);
                }
                Event::Retried { message, .. } => panic!("a session failed: {message}"),
                Event::Ended { trial, outcome, .. } => {
                    assert_eq!(all.entry(trial).or_default().outcome.replace(outcome), None);
                }
            }
            Ok(())
        });
    let Ok(()) = result;
    all
}

/// Goes on from every checkpoint of every trial, as a new command does and as after a worker's death.
#[track_caller]
fn check_every_checkpoint(spec: &str, layout: &Layout) {
    let prepared = prepared(spec, iterations(1), Keep::Nothing);
    let trials = prepared.plan.trials.len();
    let whole = train(&prepared, (0..trials).map(Work::new).collect(), layout);
    assert!(whole.values().any(|sent| matches!(sent.outcome, Some(Outcome::Diverged { .. }))));
    let most = whole.values().map(|sent| sent.checkpoints.len()).max().unwrap();
    assert!(most as u64 >= prepared.plan.trials[0].iterations - 1, "{most}");
    for index in 0..most {
        for more_rows in [0, 2] {
            let work = |trial: usize| {
                // Trials of several lengths side by side.
                let checkpoints = &whole[&trial].checkpoints;
                let Some(checkpoint) = checkpoints.get((index + trial) % (most + 1)) else { return Work::new(trial) };
                // The row after which a trial has diverged is sent together with its end.
                let is_cut = !matches!(whole[&trial].outcome, Some(Outcome::Finished));
                let most_rows = whole[&trial].rows.len() as u64 - u64::from(is_cut);
                Work {
                    trial,
                    started: more_rows > 0,
                    sent_rows: (checkpoint.step + more_rows).min(most_rows),
                    sent_evaluation: checkpoint.evaluated,
                    checkpoint: Some(checkpoint.clone()),
                    elapsed: Duration::from_secs(100),
                    ..Work::default()
                }
            };
            let work: Vec<Work> = (0..trials).map(work).collect();
            let rest = train(&prepared, work.clone(), layout);
            for Work { trial, sent_rows, sent_evaluation, started, checkpoint, .. } in work {
                let (sent, whole) = (&rest[&trial], &whole[&trial]);
                let step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
                let at = format!("trial {trial} from step {step}, {sent_rows} rows sent");
                assert_eq!(sent.started, (!started || checkpoint.is_none()).then_some(step), "{at}");
                assert_eq!(sent.outcome, whole.outcome, "{at}");
                assert!(sent.rows.iter().eq(whole.rows.range(sent_rows..)), "{at}");
                let due = whole.evaluations.iter().filter(|((iteration, _), _)| Some(*iteration) > sent_evaluation);
                assert!(sent.evaluations.iter().eq(due), "{at}");
                let later = whole.checkpoints.iter().filter(|later| later.step > step);
                assert!(sent.checkpoints.iter().eq(later), "{at}: the same states are saved again");
            }
        }
    }
}

#[test]
fn a_trial_goes_on_from_any_of_its_checkpoints_with_the_same_bits() {
    for layout in [lanes(1), lanes(3)] {
        check_every_checkpoint(QUICK, &layout);
        check_every_checkpoint(BOWL, &layout);
    }
}

/// Trains what an output lacks, and cancels after so many blocks of rows.
fn go_on(prepared: &Prepared, outputs: &Path, layout: &Layout, cancel_after: usize) -> Result<Summary, StoreError> {
    let Prepared { plan, resources, .. } = prepared;
    let mut store = Store::open(outputs, plan, recipe::of_run(Default::default(), plan, resources, layout).unwrap())?;
    let (cancel, mut count) = (AtomicBool::new(false), 0);
    clr_train::run(plan, store.unfinished(), resources, layout, &cancel, |event| {
        count += usize::from(matches!(event, Event::Rows(_)));
        cancel.fetch_or(count >= cancel_after, Ordering::Relaxed);
        store.record(&event)
    })?;
    store.finish()
}

/// Cancels a run again and again, each time after so many blocks of rows, until it is done.
#[track_caller]
fn check_cancelled(spec: &str, every: Every, keep: Keep, layout: &Layout) {
    let prepared = prepared(spec, every, keep);
    let name = prepared.plan.name.clone();
    let tables = |outputs: &str| {
        let mut tables = prepared.world.tables(&format!("{outputs}/{name}"));
        for file in
            std::fs::read_dir(prepared.world.path(&format!("{outputs}/{name}/checkpoints"))).into_iter().flatten()
        {
            let path = file.unwrap().path();
            tables.insert(path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap());
        }
        tables
    };
    go_on(&prepared, &prepared.world.path("whole"), layout, usize::MAX).unwrap();
    let expected = tables("whole");
    let kept = expected.keys().filter(|name| name.ends_with(".safetensors")).count();
    assert_eq!(kept > 0, keep != Keep::Nothing);
    for cancel_after in [1, 2, 4, 7] {
        let outputs = format!("cancelled-{cancel_after}");
        let is_over = |summary: &Summary| summary.results().all(|result| result.status.is_done());
        let mut runs = 0;
        while !is_over(&go_on(&prepared, &prepared.world.path(&outputs), layout, cancel_after).unwrap()) {
            runs += 1;
            assert!(runs < 100, "every run gets on");
        }
        let found = tables(&outputs);
        let differ = expected.keys().chain(found.keys()).filter(|name| found.get(*name) != expected.get(*name));
        let differ: Vec<&String> = differ.collect();
        assert!(differ.is_empty(), "{differ:?} differ, cancelled after {cancel_after} blocks, {runs} times");
    }
}

#[test]
fn a_run_cancelled_again_and_again_gives_equal_files() {
    let small_steps = |count| Layout { steps_per_call: 2, ..lanes(count) };
    check_cancelled(QUICK, iterations(2), Keep::Best, &small_steps(3));
    check_cancelled(QUICK, Every::Time(Duration::from_secs(30)), Keep::Last, &small_steps(1));
    check_cancelled(BOWL, Every::Time(Duration::from_secs(30)), Keep::Nothing, &small_steps(3));
    check_cancelled(BOWL, iterations(7), Keep::Best, &small_steps(1));
}

#[test]
fn a_short_trial_is_never_saved() {
    let prepared = prepared(BOWL, Checkpointing::default().every, Keep::Nothing);
    let whole = train(&prepared, (0..prepared.plan.trials.len()).map(Work::new).collect(), &plainest());
    assert!(whole.values().all(|sent| sent.checkpoints.is_empty()));
}

#[test]
fn a_checkpoint_that_does_not_fit_is_not_used() {
    let prepared = prepared(BOWL, iterations(10), Keep::Nothing);
    let Plan { trials, .. } = &prepared.plan;
    let whole = train(&prepared, vec![Work::new(0)], &plainest());
    let sound = &whole[&0].checkpoints[0];
    let too_far = Checkpoint { step: trials[0].iterations + 1, ..(**sound).clone() };
    let without_tensors = Checkpoint { tensors: Vec::new(), ..(**sound).clone() };
    for checkpoint in [too_far, without_tensors] {
        let (sent_rows, sent_evaluation) = (checkpoint.step, checkpoint.evaluated);
        let checkpoint = Some(Arc::new(checkpoint));
        let work = Work { checkpoint, sent_rows, sent_evaluation, ..Work::new(0) };
        assert_eq!(train(&prepared, vec![work], &plainest()), whole, "it starts over");
    }
}
