//! A trial's numbers depend on nothing but what was asked: not on neighbours, threads, calls or luck.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_host::SearchPath;
use clr_plan::{Plan, plan};
use clr_run::gather::{Data, Search, gather};
use clr_spec::{SourceFile, parse};
use clr_train::{Isolation, Layout, Resources};

use crate::world::{MIX, World, plugins};

#[test]
fn two_runs_of_a_spec_and_any_number_of_jobs_give_equal_files() {
    let world = World::new(MIX);
    world.train(&["--outputs", "first", "--jobs", "1"]);
    let first = world.tables("first/mix");
    for (outputs, jobs) in [("again", "1"), ("two", "2"), ("five", "5")] {
        world.train(&["--outputs", outputs, "--jobs", jobs]);
        assert!(world.tables(&format!("{outputs}/mix")) == first, "--jobs {jobs} gives other bytes");
    }
    world.train(&["--outputs", "here", "--jobs", "2", "--isolation", "none"]);
    assert!(world.tables("here/mix") == first, "without workers there are other bytes");
}

#[test]
fn a_single_trial_s_threads_change_no_byte() {
    // With one trial, all jobs are threads inside it.
    let world = World::new(MIX);
    let others = r#"grid.exclude=[{policy=["hot","one_cycle"]},{optimizer=["sgd","nesterov","adamw","rmsprop","adagrad","adadelta"]}]"#;
    let only_adam = |jobs, outputs| {
        let ran =
            world.train(&["--set", "experiment.seeds=[1]", "--set", others, "--jobs", jobs, "--outputs", outputs]);
        assert!(ran.stdout.contains("1 trial: 1 finished"), "{ran:?}");
        world.tables(&format!("{outputs}/mix"))
    };
    let single = only_adam("1", "one");
    assert!(only_adam("2", "two") == single);
    assert!(only_adam("4", "four") == single);
}

/// All that a trial's rows and evaluations hold, floats as bits.
#[derive(Clone, Debug, Default, PartialEq)]
struct History {
    hypers: Vec<Vec<u64>>,
    metrics: Vec<Vec<u32>>,
    evaluations: Vec<(u64, String, u32, u32)>,
    outcome: String,
}

/// A planned spec and what it takes to train it.
pub struct Prepared {
    pub plan: Plan,
    pub resources: Resources,
    pub world: World,
}

impl Prepared {
    pub fn new(spec: &str) -> Prepared {
        let world = World::new(spec);
        let (spec, problems) = parse(&SourceFile { name: "spec.toml".into(), text: spec.into() }, &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let search =
            Search { plugins: SearchPath::new([plugins().to_owned()]), data: vec![world.path("data")], cache: None };
        let gathered = gather(&spec, world.folder().path(), &search, &Isolation::None, Data::Open);
        let plan = plan(&spec, &gathered.facts).unwrap();
        let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets).unwrap();
        Prepared { plan, resources, world }
    }

    fn train(&self, trials: &[usize], layout: &Layout) -> BTreeMap<usize, History> {
        let mut histories: BTreeMap<usize, History> = BTreeMap::new();
        let work = trials.iter().map(|&trial| Work::new(trial)).collect();
        let result: Result<(), Infallible> =
            clr_train::run(&self.plan, work, &self.resources, layout, &AtomicBool::new(false), |event| {
                match event {
                    Event::Started { trial, .. } => assert!(histories.insert(trial, History::default()).is_none()),
                    Event::Rows(rows) => {
                        let history = histories.get_mut(&rows.trial).unwrap();
                        history.hypers.resize(rows.hypers.len(), Vec::new());
                        history.metrics.resize(rows.metrics.len(), Vec::new());
                        assert_eq!(rows.first_iteration, history.metrics[0].len() as u64);
                        for (column, values) in history.hypers.iter_mut().zip(rows.hypers) {
                            column.extend(values.iter().map(|value| value.to_bits()));
                        }
                        for (column, values) in history.metrics.iter_mut().zip(rows.metrics) {
                            column.extend(values.iter().map(|value| value.to_bits()));
                        }
                    }
                    Event::Evaluated(it) => histories.get_mut(&it.trial).unwrap().evaluations.push((
                        it.iteration,
                        format!("{:?}", it.split),
                        it.loss.to_bits(),
                        it.accuracy.to_bits(),
                    )),
                    Event::Saved { .. } | Event::Retried { .. } => {}
                    Event::Ended { trial, outcome, .. } => {
                        assert!(!matches!(outcome, Outcome::Stopped | Outcome::Failed { .. }), "{outcome:?}");
                        histories.get_mut(&trial).unwrap().outcome = format!("{outcome:?}");
                    }
                }
                Ok(())
            });
        let Ok(()) = result;
        histories
    }
}

fn two_sessions() -> Vec<String> {
    vec!["cpu".to_owned(); 2]
}

/// One trial after the other, on one thread, with as many steps a call as there can be.
pub fn plainest() -> Layout {
    Layout { threads_per_session: 1, ..Layout::cpu(1, 1) }
}

#[test]
fn the_layout_of_a_run_changes_no_bit() {
    let prepared = Prepared::new(MIX);
    let all: Vec<usize> = (0..prepared.plan.trials.len()).collect();
    let expected = prepared.train(&all, &plainest());
    assert_eq!(expected.len(), 32);
    // The spec has what makes the comparison worth something.
    let diverged = expected.values().filter(|history| history.outcome.starts_with("Diverged")).count();
    assert_eq!(diverged, 4, "sgd and adam, two seeds");
    assert!(
        expected.values().filter(|history| history.outcome == "Finished").all(|history| history.metrics[0].len() == 11)
    );

    let layouts = [
        ("two threads a session", Layout { threads_per_session: 2, ..plainest() }),
        ("three threads a session", Layout { threads_per_session: 3, ..plainest() }),
        ("two sessions", Layout { devices: two_sessions(), ..plainest() }),
        ("one step a call", Layout { steps_per_call: 1, ..plainest() }),
        ("at most three steps a call", Layout { steps_per_call: 3, ..plainest() }),
        ("16 lanes", Layout { lanes: vec![16], ..plainest() }),
        ("16 lanes, one step a call", Layout { lanes: vec![16], steps_per_call: 1, ..plainest() }),
        ("5 lanes, refilled", Layout { lanes: vec![5], ..plainest() }),
        (
            "two sessions of 3 lanes and 2 threads",
            Layout { devices: two_sessions(), lanes: vec![3], threads_per_session: 2, ..plainest() },
        ),
    ];
    for (name, layout) in layouts {
        assert!(prepared.train(&all, &layout) == expected, "{name}: other bits");
    }
}

#[test]
fn a_trial_alone_and_as_first_and_last_of_16_lanes_has_equal_bits() {
    let prepared = Prepared::new(MIX);
    // The first 16 of the group are those of seed 1: lane 0 to lane 15 of the first fill.
    let together = &prepared.plan.groups[0].trials[..16];
    let reversed: Vec<usize> = together.iter().rev().copied().collect();
    let lanes = Layout { lanes: vec![16], ..plainest() };
    let among_others = prepared.train(together, &lanes);
    assert_eq!(among_others, prepared.train(&reversed, &lanes), "the order of what is unfinished decides nothing");
    for trial in [together[0], together[15]] {
        assert_eq!(prepared.train(&[trial], &plainest())[&trial], among_others[&trial]);
        assert_eq!(prepared.train(&[trial], &lanes)[&trial], among_others[&trial]);
    }
}
