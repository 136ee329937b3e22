//! What a run needs, found in one place: the spec as it was read, the plan that follows from it and from what it names, the
//! devices, and how trials are laid out over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clr_host::{HostError, SearchPath};
use clr_plan::{Bounds, Facts, Plan, TrialId};
use clr_spec::{SourceFile, Spec};
use clr_system::regular;
use clr_terminal::words::counted;
use clr_train::device::{self, Devices};
use clr_train::{Layout, Resources};
use clr_worker::{Isolation, Launch};

use crate::arguments;
use crate::cli::{self, DeviceArgs, IsolationArgs, SearchArgs, SpecArgs};
use crate::console::{self, Refused, say, tell};
use crate::gather::{Data, Gathered, Search, gather};
use crate::range_test;
use crate::verify::{Recipe, recipe};

/// A spec, what it names, and the plan that follows.
pub struct Planned {
    pub plan: Plan,
    /// The spec as it was read.
    pub recipe: Recipe,
    pub gathered: Gathered,
    isolation: Isolation,
}

impl Planned {
    /// Of the spec in a file, as a command line names it. Warnings are printed unless `is_quiet`.
    ///
    /// # Errors
    ///
    /// [`Refused`] where the spec has problems, which are printed, all of them.
    pub fn of_spec(path: &Path, args: &SpecArgs, data: Data, is_quiet: bool) -> anyhow::Result<Planned> {
        arguments::spec(path).map_err(anyhow::Error::msg)?;
        let name = path.display().to_string();
        let text = regular::read_text_given(path, clr_spec::LARGEST_SPEC).with_context(|| name.clone())?;
        let recipe = Recipe {
            source: SourceFile { name, text },
            sets: args.sets.clone(),
            // A pipe lies in no folder of the user's: what its text names is looked for in the current one.
            folder: path.parent().filter(|_| !regular::is_open_already(path)).unwrap_or(Path::new("")).to_owned(),
            data: data_roots(&args.search),
        };
        let planned = Planned::new(recipe, &args.search, args.isolation, data, Measured::In(&args.outputs), is_quiet)?;
        let (warnings, source) = (&planned.plan.warnings, &planned.recipe.source);
        if !warnings.is_empty() && (!is_quiet || args.deny_warnings) {
            say(&(console::problems(warnings, source) + "\n"));
        }
        if args.deny_warnings && !warnings.is_empty() {
            tell("error", &format!("{}, and --deny-warnings is set", counted(warnings.len(), "warning")));
            return Err(Refused.into());
        }
        Ok(planned)
    }

    /// Of an output, by its own recipe. Datasets are also looked for where its run found them.
    ///
    /// # Errors
    ///
    /// As [`Planned::of_spec`].
    pub fn of_output(output: &Path, search: &SearchArgs, isolation: IsolationArgs) -> anyhow::Result<Planned> {
        let recipe = recipe(output)?;
        let search = SearchArgs { more_data: recipe.data.clone(), ..search.clone() };
        Planned::new(recipe, &search, isolation, Data::Open, Measured::By(output), false)
    }

    fn new(
        recipe: Recipe,
        args: &SearchArgs,
        kind: IsolationArgs,
        data: Data,
        measured: Measured<'_>,
        is_quiet: bool,
    ) -> anyhow::Result<Planned> {
        let Recipe { source, sets, folder, .. } = &recipe;
        let isolation = isolation(kind, folder, args)?;
        let (spec, mut problems) = clr_spec::parse(source, sets);
        tracing::info!(spec = source.name, bytes = source.text.len(), problems = problems.len(), "spec read");
        let plugins = spec.plugins();
        if let Some(pin) = args.plugin_digests.iter().find(|pin| !plugins.contains(&pin.name)) {
            anyhow::bail!("--plugin-digest pins `{}`, a plugin that the spec does not use", pin.name);
        }
        let mut gathered = gather(&spec, folder, &search(args), &isolation, data);
        if !is_quiet {
            gathered.notes.iter().for_each(|note| tell("note", note));
        }
        if spec.needs_range_tests() && data != Data::Nothing {
            gathered.facts.range_tests = measured.bounds(&spec, &gathered.facts)?;
        }
        let needs_data = match data {
            Data::Open => true,
            Data::Sizes => clr_plan::counts_epochs(&spec, &gathered.facts),
            Data::Nothing => false,
        };
        if !needs_data {
            clr_plan::unchecked(&spec, &gathered.facts).iter().for_each(|note| tell("note", note));
        }
        let planned =
            if needs_data { clr_plan::plan(&spec, &gathered.facts) } else { clr_plan::check(&spec, &gathered.facts) };
        match planned {
            Ok(plan) if problems.is_empty() => {
                tracing::info!(trials = plan.trials.len(), groups = plan.groups.len(), "planned");
                let isolation = isolation.with_opened(gathered.datasets.values());
                return Ok(Planned { plan, recipe, gathered, isolation });
            }
            Ok(_) => {}
            Err(more) => problems.extend(more),
        }
        problems.sort_by(|a, b| a.span.cmp(&b.span));
        say(&console::problems(&problems, source));
        Err(Refused.into())
    }

    /// Prepares the data, and chooses devices.
    ///
    /// # Errors
    ///
    /// What is wrong with a device that was asked for, or what a plugin has against the configuration of a group.
    pub fn ready(self, args: &DeviceArgs) -> anyhow::Result<Ready> {
        let Planned { plan, gathered, isolation, .. } = self;
        let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
        let devices = device::choose(&args.device, &plan, &resources, &isolation)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = args.jobs.map_or_else(cores, |jobs| jobs as usize);
        let all: Vec<usize> = (0..plan.trials.len()).collect();
        let layout = devices.layout(&plan, &resources, &all, jobs, &isolation)?.with_lanes(args.lanes);
        Ok(Ready { plan, resources, layout, devices, jobs, lanes: args.lanes })
    }
}

/// Where the bounds are that a range test showed.
#[derive(Clone, Copy)]
enum Measured<'a> {
    /// Among the outputs in a folder: in that of the spec's range tests.
    In(&'a Path),
    /// In the plan of an output, which has what it was made with.
    By(&'a Path),
}

impl Measured<'_> {
    fn bounds(self, spec: &Spec, facts: &Facts) -> anyhow::Result<BTreeMap<TrialId, Result<Bounds, String>>> {
        match self {
            Measured::By(output) => Ok(clr_store::sweeps::bounds(output)?),
            // Without a plan of the range tests, the spec has problems, which are reported.
            Measured::In(outputs) => match clr_plan::plan(&spec.range_tests_alone(), facts) {
                Ok(tests) => Ok(range_test::bounds(&outputs.join(&tests.name), &tests)?),
                Err(_) => Ok(BTreeMap::new()),
            },
        }
    }
}

/// All that training needs.
pub struct Ready {
    pub plan: Plan,
    pub resources: Resources,
    /// All trials of the plan, spread over the devices.
    pub layout: Layout,
    devices: Devices,
    jobs: usize,
    lanes: Option<u32>,
}

impl Ready {
    /// These trials of the plan, spread over the devices.
    ///
    /// # Errors
    ///
    /// As [`Devices::layout`].
    pub fn layout_of(&self, trials: &[usize]) -> Result<Layout, HostError> {
        let Ready { plan, resources, layout, devices, jobs, lanes } = self;
        Ok(devices.layout(plan, resources, trials, *jobs, &layout.isolation)?.with_lanes(*lanes))
    }
}

/// Where plugins compute, as a command line says. Paths of datasets are relative to `folder`.
///
/// # Errors
///
/// Where this program cannot find itself, to start workers.
pub fn isolation(args: IsolationArgs, folder: &Path, search: &SearchArgs) -> anyhow::Result<Isolation> {
    Ok(match args.isolation {
        cli::Isolation::None => Isolation::None,
        cli::Isolation::Process => {
            // Before the first worker: from here on this process starts no others.
            clr_worker::adopt_strays();
            Isolation::Process({
                let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
                Launch::this_program(folder, data_roots(search), clr_dataset::places::cache_dir())?
            })
        }
    })
}

/// Where plugins and datasets are looked for, as a command line and the environment say.
pub fn search(args: &SearchArgs) -> Search {
    let plugins = SearchPath::from_environment(&args.plugins, &args.plugin_digests);
    for folder in plugins.ignored() {
        let folder = folder.display();
        tell("warning", &format!("CLR_PLUGIN_PATH has `{folder}`, which is not searched: it is not an absolute path"));
    }
    Search { plugins, data: data_roots(args), cache: clr_dataset::places::cache_dir() }
}

/// The folders in which datasets are looked for.
pub fn data_roots(args: &SearchArgs) -> Vec<PathBuf> {
    let mut roots = clr_dataset::places::roots(args.data.as_deref());
    roots.extend(args.more_data.iter().cloned());
    roots
}
