//! A planned spec and what it takes to open its sessions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_host::{HostError, LocalSession, PluginInfo, SearchPath, SessionConfig};
use clr_plan::{Plan, Shape, plan};
use clr_run::gather::{Data, Search, gather};
use clr_spec::{SourceFile, parse};
use clr_train::{Isolation, Layout, Resources};
use clr_worker::{Launch, RemoteSession, Worker};

use crate::world::{World, plugins};

pub struct Prepared {
    pub plan: Plan,
    pub resources: Resources,
    /// What workers run.
    pub program: PathBuf,
    world: World,
}

/// All that came of a trial, floats as bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub metrics: Vec<Vec<u32>>,
    pub evaluations: Vec<(u64, u32, u32)>,
    pub outcome: Option<Outcome>,
}

impl Prepared {
    pub fn new(spec: &str) -> Prepared {
        Prepared::with_plugin(spec, None)
    }

    /// With a plugin besides those that all tests have.
    pub fn with_plugin(spec: &str, plugin: Option<PathBuf>) -> Prepared {
        let world = World::new(spec);
        let (spec, problems) = parse(&SourceFile { name: "spec.toml".into(), text: spec.into() }, &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let plugins = SearchPath::new([plugins().to_owned()].into_iter().chain(plugin));
        let search = Search { plugins, data: vec![world.path("data")], cache: None };
        let gathered = gather(&spec, world.folder().path(), &search, &Isolation::None, Data::Open);
        let plan = plan(&spec, &gathered.facts).unwrap();
        let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets).unwrap();
        Prepared { plan, resources, program: PathBuf::from(env!("CARGO_BIN_EXE_clr-run")), world }
    }

    /// In the folder of this spec.
    pub fn path(&self, below: &str) -> PathBuf {
        self.world.path(below)
    }

    pub fn launch(&self) -> Launch {
        Launch {
            folder: PathBuf::new(),
            program: self.program.clone(),
            roots: vec![self.world.path("data")],
            cache: Some(self.world.path("cache")),
            checked: Vec::new(),
        }
    }

    pub fn worker(&self) -> Worker {
        Worker::start(&self.launch(), self.plan.limits).unwrap()
    }

    pub fn shape(&self) -> &Shape {
        &self.plan.groups[0].shape
    }

    pub fn plugin(&self) -> &PluginInfo {
        self.resources.plugin(self.shape()).info()
    }

    /// A session of the first `lanes` trials.
    pub fn config(&self, lanes: usize) -> SessionConfig {
        let layout = Layout::cpu(1, 1);
        self.resources.session_config(&self.plan, &self.plan.groups[0].trials[..lanes], &layout, "cpu")
    }

    pub fn here(&self, lanes: usize) -> LocalSession {
        self.resources.plugin(self.shape()).session(self.config(lanes)).unwrap()
    }

    pub fn there<'w>(&self, worker: &'w mut Worker, lanes: usize) -> Result<RemoteSession<'w>, HostError> {
        worker.open(self.plugin(), &self.config(lanes), &self.shape().data)
    }

    /// Trains everything; in workers where `isolated`.
    pub fn train(&self, layout: &Layout, isolated: bool) -> BTreeMap<String, History> {
        let isolation = if isolated { Isolation::Process(self.launch()) } else { Isolation::None };
        let layout = Layout { isolation, ..layout.clone() };
        let mut histories: BTreeMap<String, History> = BTreeMap::new();
        let label = |trial: usize| self.plan.trials[trial].label.to_string();
        let unfinished = (0..self.plan.trials.len()).map(Work::new).collect();
        let cancel = AtomicBool::new(false);
        let result: Result<(), Infallible> =
            clr_train::run(&self.plan, unfinished, &self.resources, &layout, &cancel, |event| {
                match event {
                    Event::Started { trial, .. } => {
                        assert!(histories.insert(label(trial), History::default()).is_none());
                    }
                    Event::Rows(rows) => {
                        let history = histories.get_mut(&label(rows.trial)).unwrap();
                        history.metrics.resize(rows.metrics.len(), Vec::new());
                        assert_eq!(rows.first_iteration, history.metrics[0].len() as u64, "no gap, nothing twice");
                        for (column, values) in history.metrics.iter_mut().zip(rows.metrics) {
                            column.extend(values.iter().map(|value| value.to_bits()));
                        }
                    }
                    Event::Evaluated(it) => {
                        let evaluation = (it.iteration, it.loss.to_bits(), it.accuracy.to_bits());
                        histories.get_mut(&label(it.trial)).unwrap().evaluations.push(evaluation);
                    }
                    Event::Saved { .. } | Event::Retried { .. } => {}
                    Event::Ended { trial, outcome, .. } => {
                        let history = histories.entry(label(trial)).or_default();
                        assert_eq!(history.outcome.replace(outcome), None, "a trial ends once");
                    }
                }
                Ok(())
            });
        let Ok(()) = result;
        histories
    }
}
