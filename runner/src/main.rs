//! The program `clr-run`: arguments in, one function per command, exit code out.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use clr_run::arguments::{self, Mistake, Place};
use clr_run::checkpoint::{Checkpoint, Format};
use clr_run::cli::{
    AgainArgs, CheckArgs, Command, DataCommand, EvaluateArgs, EvaluateSplit, ExportArgs, ExportFormat, ExportRows,
    Isolation, IsolationArgs, LogArgs, PlanArgs, PluginCommand, RunArgs, ScheduleArgs, SchemaArgs, SearchArgs,
    SpecArgs, StatusArgs, VerifyArgs,
};
use clr_run::dataset;
use clr_run::device;
use clr_run::ensemble::{self, EnsembleError};
use clr_run::estimate;
use clr_run::event::Event;
use clr_run::gather::{Data, Gathered, Search, gather};
use clr_run::host::{HostError, Plugin, SearchPath, Split};
use clr_run::journal::{Ending, Journal};
use clr_run::logs;
use clr_run::manual;
use clr_run::plan::{self, Plan};
use clr_run::progress::{Progress, Style};
use clr_run::recipe;
use clr_run::regular;
use clr_run::show;
use clr_run::signals::Signals;
use clr_run::spec::{self, Keep, Limits, SourceFile};
use clr_run::status;
use clr_run::store::{self, CsvRows, Kept, RunInfo, Snapshots, Status, Store, TrialCsv};
use clr_run::suggest;
use clr_run::terminal::Terminal;
use clr_run::train::{self, Layout, Resources};
use clr_run::verify::again::Proof;
use clr_run::verify::{self, Wanted};
use clr_run::words::{self, counted};
use clr_run::worker::{Known, Launch};

/// Bad input, or nothing that could run.
const BAD_INPUT: u8 = 2;

/// Of a plot that goes into a file.
const PLOT_WIDTH: usize = 100;

fn main() -> ExitCode {
    // Before anything else, so that none of these ends the command without a word. A worker leaves them to its supervisor.
    let is_worker = std::env::args_os().nth(1).is_some_and(|command| command == "worker");
    let signals = match (!is_worker).then(Signals::install).transpose() {
        Ok(signals) => signals,
        Err(error) => {
            tell("error", &format!("signals cannot be handled: {error}"));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let cli = match arguments::read(std::env::args_os().skip(1)) {
        Ok(cli) => cli,
        Err(Mistake::Usage(error)) => error.exit(),
        Err(Mistake::Explained(error)) => {
            tell("error", &error);
            return ExitCode::from(BAD_INPUT);
        }
    };
    // A worker closes all that is open, so that it keeps nothing that it inherits: it must not have opened anything.
    let is_worker = matches!(cli.command, Some(Command::Worker));
    if let Some(filter) = cli.log.filter().filter(|_| !is_worker)
        && let Err(error) = logs::install(filter, cli.log.log_file.as_deref())
    {
        tell("error", &error.to_string());
        return ExitCode::from(BAD_INPUT);
    }
    let result = match cli.command {
        None => run(&cli.run, &cli.log, signals.as_ref()),
        Some(Command::Check(args)) => check(&args),
        Some(Command::Plan(args)) => show_plan(&args),
        Some(Command::Schedule(args)) => schedule(&args),
        Some(Command::Status(args)) => show_status(&args),
        Some(Command::Verify(args)) => verify_output(&args, &cli.log, signals.as_ref()),
        Some(Command::Plugin(command)) => plugin(&command),
        Some(Command::Data(command)) => data(&command),
        Some(Command::Export(args)) => export(&args, &cli.log, signals.as_ref()),
        Some(Command::Evaluate(args)) => evaluate(&args, signals.as_ref()),
        Some(Command::Schema(args)) => schema(&args),
        Some(Command::Completions { shell }) => print_bytes(&manual::completions(shell)),
        Some(Command::Man { dir }) => man(dir.as_deref()),
        Some(Command::Worker) => worker(),
    };
    result.unwrap_or_else(|error| {
        // A reader that has seen enough (`clr-run schedule SPEC --csv | head`) is no failure.
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        tell("error", &format!("{error:#}"));
        ExitCode::from(BAD_INPUT)
    })
}

fn run(args: &RunArgs, log: &LogArgs, signals: Option<&Signals>) -> anyhow::Result<ExitCode> {
    let signals = signals.context("a worker does not train by itself")?;
    let path = args.path.as_deref().context("no spec given")?;
    let Some((source, gathered, plan)) = resolve(path, &args.spec, Data::Open, args.quiet)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let jobs = jobs(args.device.jobs);
    let isolation = isolation(args.spec.isolation, &args.spec.search)?.with_opened(gathered.datasets.values());
    let devices = device::choose(&args.device.device, &plan, &resources, &isolation)?;
    let layout = devices.layout(&plan, &resources, &all_trials(&plan), jobs, &isolation)?.with_lanes(args.device.lanes);
    let spec = recipe::kept_spec(&source, &args.spec.sets, gathered.facts.tables.keys(), folder_of(path));
    let data = data_roots(&args.spec.search).iter().filter_map(|root| std::path::absolute(root).ok()).collect();
    let recipe = recipe::of_run(spec, &plan, &resources, &layout, args.rerun_other_numerics)?;
    let recipe = RunInfo {
        sets: args.spec.sets.clone(),
        data,
        retry_failed: args.retry_failed,
        rerun_other_builds: args.rerun_other_builds,
        ..recipe
    };
    signals.begin_run();
    let mut store = Store::open(&args.outputs, &plan, recipe)?;
    let work = store.unfinished();
    let unfinished: Vec<usize> = work.iter().map(|work| work.trial).collect();
    let nothing_to_do = unfinished.is_empty();
    let without_state = plugins_without_state(&plan, &resources);
    if !args.quiet {
        store.notes().iter().chain(&without_state).for_each(|note| tell("note", note));
        if nothing_to_do {
            say(&words::wrapped(&show::nothing_to_run(store.results()), Terminal::stderr().width, 2));
        }
    }

    let mut journal = store.is_writing().then(|| {
        let attempts = store.results().map(|result| result.attempts).collect();
        Journal::start(store.folder(), &plan, unfinished.len(), attempts)
    });
    let mut progress =
        Progress::new(&plan, &unfinished, Style::for_stderr(args.quiet || nothing_to_do, log.is_on_stderr()));
    let layout = devices.layout(&plan, &resources, &unfinished, jobs, &isolation)?.with_lanes(args.device.lanes);
    let trained = train::run_with_pauses(&plan, work, &resources, &layout, signals.cancel(), |event| {
        let Some(event) = event else { return store.commit_if_due() };
        progress.show(&event);
        journal.iter_mut().for_each(|journal| journal.record(&event));
        store.record(&event)
    });
    progress.finish();
    let finished = trained.and_then(|()| store.finish());
    if let Some(journal) = journal {
        match &finished {
            Ok(_) if signals.exit_code().is_some() => journal.finish(Ending::Stopped, None),
            Ok(_) => journal.finish(Ending::Finished, None),
            Err(error) => journal.finish(Ending::Failed, Some(&words::chain(error))),
        }
    }
    let summary = match finished {
        Ok(summary) => summary,
        Err(error) => {
            let error = words::chain(&error);
            tell(
                "error",
                &format!("the results could not be written: {error}\nfinished trials are kept; run again to go on"),
            );
            return Ok(ExitCode::FAILURE);
        }
    };
    let printed = write!(io::stdout(), "{}", summary.text(&Terminal::stdout()));
    // The results are in the tables: a reader that went away changes no exit code.
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(error).context("cannot print the results, which are written");
    }
    let is_of_interest = !nothing_to_do || plan.checkpointing.keep != Keep::Nothing;
    if let Some(note) = summary.weights().filter(|_| without_state.is_empty() && is_of_interest && !args.quiet) {
        tell("note", &note);
    }
    let interrupted = summary.results().filter(|result| result.is_interrupted()).count();
    if interrupted > 0 {
        say(&show::interrupted(interrupted));
    }
    let failed = interrupted > 0 || summary.results().any(|result| result.status.is_failure());
    Ok(signals.exit_code().unwrap_or(ExitCode::from(u8::from(failed))))
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let Some((_, gathered, plan)) = resolve(&args.path, &args.spec, Data::Nothing, false)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let (trials, groups) = (counted(plan.trials.len(), "trial"), counted(plan.groups.len(), "group"));
    let found = match plan.warnings.len() {
        0 => "no problems".to_owned(),
        count => counted(count, "warning"),
    };
    let without = if gathered.facts.absent().next().is_some() { " without the data" } else { "" };
    writeln!(io::stdout(), "{}: {found}{without}; {trials} in {groups}", args.path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn show_plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let Some((_, gathered, plan)) = resolve(&args.path, &args.spec, Data::Open, false)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let isolation = isolation(args.spec.isolation, &args.spec.search)?;
    let devices = device::choose(&args.device.device, &plan, &resources, &isolation)?;
    let layout = devices
        .layout(&plan, &resources, &all_trials(&plan), jobs(args.device.jobs), &isolation)?
        .with_lanes(args.device.lanes);
    let estimates = estimate::of_plan(&plan, &resources, &layout, !args.no_probe)?;
    if args.json {
        let mut out = BufWriter::new(io::stdout().lock());
        plan::show::write_json(&plan, &estimates, &mut out)?;
        out.flush()?;
    } else {
        let text = plan::show::text(&plan, &estimates, args.trials, &Terminal::stdout());
        write!(io::stdout(), "{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn schedule(args: &ScheduleArgs) -> anyhow::Result<ExitCode> {
    let Some((_, _, plan)) = resolve(&args.path, &args.spec, Data::Sizes, false)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    if args.csv {
        clr_run::plot::csv(&plan, args.every, &mut out)?;
    } else {
        let width = Terminal::stdout().width.unwrap_or(PLOT_WIDTH);
        write!(out, "{}", clr_run::plot::plot(&plan, &args.hyper, width, args.limit))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show_status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let output = output(&args.output, "status")?;
    let report = status::read(&output)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", status::text(&report, args.trials, &Terminal::stdout()))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Files first; what they show to be sound is trained again.
fn verify_output(args: &VerifyArgs, log: &LogArgs, signals: Option<&Signals>) -> anyhow::Result<ExitCode> {
    let signals = signals.context("a worker does not train by itself")?;
    let output = output(&args.output, "verify")?;
    let checked = verify::quick(&output)?;
    print(&show::checked(&output, &checked))?;
    if args.quick {
        return Ok(ExitCode::from(u8::from(!checked.problems.is_empty())));
    }
    let Some(again) = again(&output, &args.trials, &checked, &args.again)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let wanted = Wanted { rows: args.rows.clone().unwrap_or(0..u64::MAX), keep: Keep::Nothing };
    signals.begin_run();
    let proof = again.train(&output, wanted, signals, args.again.quiet, log, |_| {})?;
    print(&show::proof(&again.plan, &again.selection, &proof))?;
    let code = match () {
        () if !checked.problems.is_empty() || !proof.differences.is_empty() => ExitCode::FAILURE,
        // Stopped by the machine, where no signal came.
        () if !again.selection.unproven.is_empty() || proof.stopped > 0 => ExitCode::from(BAD_INPUT),
        () => ExitCode::SUCCESS,
    };
    Ok(signals.exit_code().unwrap_or(code))
}

/// Trials of an output, ready to be trained again.
struct Again {
    plan: Plan,
    resources: Resources,
    layout: train::Layout,
    selection: verify::Selection,
}

/// Plans again from an output's own recipe, and selects the trials that are `asked` for. Where the recipe has problems, prints
/// them and returns none.
fn again(
    output: &Path,
    asked: &[String],
    checked: &verify::Checked,
    AgainArgs { device, search, isolation: kind, .. }: &AgainArgs,
) -> anyhow::Result<Option<Again>> {
    let recipe = verify::recipe(output)?;
    let search = where_it_was_run(&recipe, search);
    let isolation = isolation(*kind, &search)?;
    let Some((gathered, plan)) = resolve_recipe(&recipe, &search, &isolation)? else { return Ok(None) };
    let isolation = isolation.with_opened(gathered.datasets.values());
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let (jobs, lanes) = (jobs(device.jobs), device.lanes);
    let devices = device::choose(&device.device, &plan, &resources, &isolation)?;
    let layout = devices.layout(&plan, &resources, &all_trials(&plan), jobs, &isolation)?.with_lanes(lanes);
    let numerics = recipe::numerics(&plan, &resources, &layout)?;
    let selection = verify::select(output, &plan, &numerics, checked, asked)?;
    let layout = devices.layout(&plan, &resources, &selection.trials, jobs, &isolation)?.with_lanes(lanes);
    Ok(Some(Again { plan, resources, layout, selection }))
}

impl Again {
    /// Trains and compares, with progress.
    fn train(
        &self,
        output: &Path,
        wanted: Wanted,
        signals: &Signals,
        quiet: bool,
        log: &LogArgs,
        mut watch: impl FnMut(&Event) + Send,
    ) -> anyhow::Result<Proof> {
        let Again { plan, resources, layout, selection } = self;
        let mut progress = Progress::new(plan, &selection.trials, Style::for_stderr(quiet, log.is_on_stderr()));
        let proof = verify::again(output, plan, selection, wanted, resources, layout, signals.cancel(), |event| {
            progress.show(event);
            watch(event);
        });
        progress.finish();
        Ok(proof?)
    }
}

/// In this process, on the CPU.
fn evaluate(args: &EvaluateArgs, signals: Option<&Signals>) -> anyhow::Result<ExitCode> {
    let signals = signals.context("a worker does not evaluate by itself")?;
    let output = output(&args.output, "evaluate")?;
    let recipe = verify::recipe(&output)?;
    let search = where_it_was_run(&recipe, &args.search);
    let Some((gathered, plan)) = resolve_recipe(&recipe, &search, &train::Isolation::None)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let snapshots = Snapshots::open(&output)?;
    let trials = ensemble::trials(&snapshots, &plan, &args.trials)?;
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let layout = Layout::cpu(jobs(args.jobs), 1);
    let wanted = ensemble::Wanted {
        last: args.last.map_or(usize::MAX, |last| last as usize),
        average: args.ensemble,
        split: match args.split {
            EvaluateSplit::Validation => Split::Validation,
            EvaluateSplit::Test => Split::Test,
        },
    };
    signals.begin_run();
    let mut found = Vec::new();
    for trial in trials {
        match ensemble::evaluate(&snapshots, &plan, trial, wanted, &resources, &layout, signals.cancel()) {
            Ok(evaluated) if args.json => found.push(evaluated),
            Ok(evaluated) => print(&show::evaluated(&evaluated, args.ensemble, &Terminal::stdout()))?,
            Err(EnsembleError::Stopped) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if args.json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&found)?)?;
    }
    Ok(signals.exit_code().unwrap_or(ExitCode::SUCCESS))
}

fn plugin(command: &PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List { search: args, isolation: kind } => {
            let plugins = search(args).plugins;
            write!(io::stdout(), "{}", show::plugins(&plugins, &isolation(*kind, args)?, &Terminal::stdout()))?;
        }
        PluginCommand::Info { name, search: args, isolation: kind } => {
            let (plugins, isolation) = (search(args).plugins, isolation(*kind, args)?);
            let path = Path::new(name);
            let known = match Place::of(path) {
                Place::Library => Known::of_file(path, &isolation, Limits::default()),
                _ => Known::find(&plugins, name, &isolation, Limits::default()),
            };
            let known = known.map_err(|error| no_plugin(name, error, &plugins, Some(&isolation)))?;
            write!(io::stdout(), "{}", show::plugin(known.info(), &Terminal::stdout()))?;
        }
        PluginCommand::Check { path, search: args, device, side } => {
            let plugins = search(args).plugins;
            let found = plugins.list().into_iter().find(|found| path.as_os_str() == found.name.as_str());
            let named = found.filter(|_| !path.is_file()).map(|found| found.path);
            let path = named.as_deref().unwrap_or(path);
            let plugin =
                Plugin::load(path).map_err(|error| no_plugin(&path.display().to_string(), error, &plugins, None))?;
            let size = clr_conformance::DataSize { height: *side, width: *side, ..Default::default() };
            let mut report = clr_conformance::run_on(device, plugin.api(), &size);
            if let Some(left) = plugin.left_by_loading() {
                report.add_failure("loading the library", left);
            }
            writeln!(io::stdout(), "{report}")?;
            return Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why `name` is no plugin: it is something else, or a model of one, or nothing.
fn no_plugin(
    name: &str,
    error: HostError,
    plugins: &SearchPath,
    isolation: Option<&train::Isolation>,
) -> anyhow::Error {
    let is_dataset = dataset::well_known().iter().any(|known| known.name == name);
    if let Some(other) = arguments::other_kind(name, is_dataset, false).filter(|_| !is_library(name)) {
        return anyhow::anyhow!("no plugin `{name}`: {other}");
    }
    let found = plugins.list();
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    if names.contains(&name) {
        // It is there, and something is wrong with it.
        return error.into();
    }
    if Place::of(Path::new(name)) == Place::Nothing && !name.contains(['/', '\\']) {
        let offers = |plugin: &&str| {
            let known = Known::find(plugins, plugin, isolation?, Limits::default()).ok()?;
            known.info().models.iter().any(|model| model.name == name).then_some(())
        };
        if let Some(plugin) = names.iter().find(|plugin| offers(plugin).is_some()) {
            return anyhow::anyhow!(
                "no plugin `{name}`: it is a model of `{plugin}`; `clr-run plugin info {plugin}` shows it"
            );
        }
        let help = suggest::help(name, names.iter().copied());
        return match error {
            HostError::NotFound { .. } if suggest::nearest(name, &names).is_some() => {
                anyhow::anyhow!("{error}; {help}")
            }
            HostError::NotFound { .. } => error.into(),
            _ => anyhow::anyhow!("there is no file and no plugin `{name}`; {help}"),
        };
    }
    let is_folder = matches!(Place::of(Path::new(name)), Place::Folder(_) | Place::Outputs(_));
    if is_folder {
        let inside: Vec<String> =
            SearchPath::new([name.into()]).list().iter().map(|found| found.path.display().to_string()).collect();
        return match inside.is_empty() {
            true => anyhow::anyhow!("{name} is a folder without plugins; name the library of one"),
            false => anyhow::anyhow!("{name} is a folder; name one of its plugins: {}", words::some_of(&inside)),
        };
    }
    error.into()
}

fn is_library(name: &str) -> bool {
    Place::of(Path::new(name)) == Place::Library
}

fn data(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::List { search: args } => {
            write!(io::stdout(), "{}", show::datasets(&search(args).data, &Terminal::stdout()))?
        }
        DataCommand::Info { name, search: args } => {
            let Search { data: roots, cache, .. } = search(args);
            let dataset = dataset::open(name, &roots, cache.as_deref()).map_err(|error| {
                let plugins = SearchPath::from_environment(&args.plugins, &[]);
                let is_plugin = plugins.list().iter().any(|found| found.name == *name);
                match arguments::other_kind(name, false, is_plugin) {
                    Some(other) => anyhow::anyhow!("no dataset `{name}`: {other}"),
                    None => error.into(),
                }
            })?;
            dataset.notes.iter().for_each(|note| say(&format!("note: {note}\n")));
            write!(io::stdout(), "{}", show::dataset(&dataset, &Terminal::stdout()))?;
        }
        DataCommand::Fetch { name, search } => {
            let root = dataset::places::fetch_root(search.data.as_deref())
                .context("no folder to download to: give --data DIR, or set CLR_DATA or HOME")?;
            let is_published = dataset::fetch::names().any(|published| published == name);
            if let Some(found) = dataset::search::find(name, &data_roots(search)).ok().filter(|_| is_published) {
                print(&format!("{name} is there already: {found}; delete that to download it again\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut bar = show::DownloadBar::new(Terminal::stderr().redraws);
            let folder = dataset::fetch::fetch(name, &root, None, &mut |progress| bar.show(progress))?;
            bar.finish();
            writeln!(io::stdout(), "{name} is in {}", folder.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs, log: &LogArgs, signals: Option<&Signals>) -> anyhow::Result<ExitCode> {
    let output = output(&args.output, "export")?;
    let trial = args.trial.as_deref();
    let format = match args.format {
        ExportFormat::Csv if trial.is_none() => return export_all(args, &output),
        ExportFormat::Csv => {
            let TrialCsv { label, rows, text } = store::csv(&output, trial)?;
            return write_export(
                args,
                text.as_bytes(),
                &label,
                "csv",
                &format!("{} of `{label}`", counted(rows, "row")),
            );
        }
        ExportFormat::Safetensors => Format::Safetensors,
        ExportFormat::Npz => Format::Npz,
    };
    let Kept { id, handle, label, status, best_iteration, checkpoint } = store::kept(&output, trial)?;
    let is_wanted = |checkpoint: &Checkpoint| !args.best || best_iteration == Some(checkpoint.step);
    let mut proven = String::new();
    let checkpoint = match checkpoint.filter(is_wanted) {
        Some(checkpoint) => checkpoint,
        None if !status.is_done() => anyhow::bail!(
            "`{label}` is {}, and has no weights {}; the same command that trained it goes on with it",
            status.name(),
            if args.best { "of a best evaluation yet" } else { "saved" }
        ),
        None if status == Status::Diverged && !args.best => {
            anyhow::bail!("`{label}` diverged, and has no last weights; `--best` gives those of its best evaluation")
        }
        None => {
            if !args.again.quiet {
                tell("note", &format!("the weights of {handle} ({label}) were not kept, so it is trained again"));
            }
            let (checkpoint, what) = match retrained(args, (log, signals), &output, &id.to_string(), best_iteration)? {
                Ok(retrained) => retrained,
                Err(code) => return Ok(code),
            };
            proven = format!("\ntrained again, it gave the stored rows, bit for bit: {what}");
            checkpoint
        }
    };
    let extension = if format == Format::Npz { "npz" } else { "safetensors" };
    let (count, step) =
        (counted(checkpoint.weights().count(), "tensor"), counted(checkpoint.step as usize, "iteration"));
    let code = write_export(
        args,
        &checkpoint.export(&label, format)?,
        &label,
        extension,
        &format!("{count} of `{label}` after {step}"),
    )?;
    if !proven.is_empty() {
        print(&(proven.trim_start().to_owned() + "\n"))?;
    }
    Ok(code)
}

/// The weights of a trial that is over, by training it again and comparing its rows with those stored: the last, or the best.
/// The error is the exit code, where what is wrong was printed.
fn retrained(
    args: &ExportArgs,
    (log, signals): (&LogArgs, Option<&Signals>),
    output: &Path,
    id: &str,
    best_iteration: Option<u64>,
) -> anyhow::Result<Result<(Checkpoint, String), ExitCode>> {
    let checked = verify::Checked::default();
    let Some(again) = again(output, &[id.to_owned()], &checked, &args.again)? else {
        return Ok(Err(ExitCode::from(BAD_INPUT)));
    };
    if let Some((label, why)) = again.selection.unproven.first() {
        anyhow::bail!("`{label}` cannot be trained again to its weights: {why}");
    }
    let wanted = Wanted { rows: 0..u64::MAX, keep: if args.best { Keep::Best } else { Keep::Last } };
    let signals = signals.context("a worker does not train by itself")?;
    signals.begin_run();
    let mut found = None;
    let proof = again.train(output, wanted, signals, args.again.quiet, log, |event| {
        if let Event::Saved { checkpoint, .. } = event
            && (!args.best || best_iteration == Some(checkpoint.step))
        {
            found = Some(checkpoint.clone());
        }
    })?;
    if let Some((label, what)) = proof.differences.first() {
        tell("error", &format!("`{label}` does not come out as it is stored, so its weights are lost: {what}"));
        return Ok(Err(ExitCode::FAILURE));
    }
    match (found, signals.exit_code()) {
        (_, Some(code)) => Ok(Err(code)),
        (Some(checkpoint), None) => {
            let what = format!(
                "{} and {}",
                counted(proof.rows as usize, "row"),
                counted(proof.evaluations as usize, "evaluation")
            );
            Ok(Ok((Checkpoint::clone(&checkpoint), what)))
        }
        (None, None) => anyhow::bail!("it was trained again, and its plugin cannot save its state"),
    }
}

/// Writes a file of a trial and says so.
fn write_export(args: &ExportArgs, bytes: &[u8], label: &str, extension: &str, what: &str) -> anyhow::Result<ExitCode> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._=-".contains(c) { c } else { '_' };
    let file_name = || PathBuf::from(format!("{}.{extension}", label.chars().map(plain).collect::<String>()));
    let out = args.out.clone().unwrap_or_else(file_name);
    store::write(&out, bytes)?;
    print(&format!("{what} in {}\n", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The rows of all trials as one file.
fn export_all(args: &ExportArgs, output: &Path) -> anyhow::Result<ExitCode> {
    let (rows, name) = match args.rows {
        ExportRows::Metrics => (CsvRows::Metrics, "metrics"),
        ExportRows::Evals => (CsvRows::Evals, "evals"),
    };
    let folder = output.canonicalize().unwrap_or_else(|_| output.to_owned());
    let run = folder.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy());
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{run}-{name}.csv")));
    let written = store::csv_of_all(output, rows, &out)?;
    let (rows, trials) = (counted(written.rows as usize, "row"), counted(written.trials, "trial"));
    writeln!(io::stdout(), "{rows} of {trials} in {}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

fn schema(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    match args.markdown {
        true => write!(io::stdout(), "{}", spec::reference())?,
        false => writeln!(io::stdout(), "{:#}", spec::json_schema())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn man(dir: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Some(dir) = dir else { return print_bytes(&manual::page()?) };
    manual::write_pages(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn print_bytes(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    io::stdout().write_all(bytes)?;
    Ok(ExitCode::SUCCESS)
}

fn worker() -> anyhow::Result<ExitCode> {
    match clr_run::worker::serve()? {}
}

/// Reads, gathers and plans. Where the spec has problems, prints all of them and returns none. Warnings are printed unless
/// `is_quiet`.
fn resolve(
    path: &Path,
    args: &SpecArgs,
    data: Data,
    is_quiet: bool,
) -> anyhow::Result<Option<(SourceFile, Gathered, Plan)>> {
    arguments::spec(path).map_err(anyhow::Error::msg)?;
    let name = path.display().to_string();
    let text = regular::read_text_given(path, spec::LARGEST_SPEC).with_context(|| name.clone())?;
    let source = SourceFile { name, text };
    let isolation = isolation(args.isolation, &args.search)?;
    let resolved = resolve_source(&source, &args.sets, folder_of(path), &args.search, &isolation, data)?;
    let Some((gathered, plan)) = resolved else { return Ok(None) };
    if !plan.warnings.is_empty() && (!is_quiet || args.deny_warnings) {
        say(&render(&plan.warnings, &source));
        say("\n");
    }
    if args.deny_warnings && !plan.warnings.is_empty() {
        say(&format!("error: {}, and --deny-warnings is set\n", counted(plan.warnings.len(), "warning")));
        return Ok(None);
    }
    Ok(Some((source, gathered, plan)))
}

fn render(problems: &[spec::Diagnostic], source: &SourceFile) -> String {
    let Terminal { width, colour, .. } = Terminal::stderr();
    spec::render_for(problems, source, width, colour)
}

/// As [`resolve`], for a spec that was read; `folder` is where its tables of values are.
fn resolve_source(
    source: &SourceFile,
    sets: &[String],
    folder: &Path,
    args: &SearchArgs,
    isolation: &train::Isolation,
    data: Data,
) -> anyhow::Result<Option<(Gathered, Plan)>> {
    let (spec, mut problems) = spec::parse(source, sets);
    tracing::info!(spec = source.name, bytes = source.text.len(), problems = problems.len(), "spec read");
    let plugins = spec.plugins();
    if let Some(pin) = args.plugin_digests.iter().find(|pin| !plugins.contains(&pin.name)) {
        anyhow::bail!("--plugin-digest pins `{}`, a plugin that the spec does not use", pin.name);
    }
    let gathered = gather(&spec, folder, &search(args), isolation, data);
    gathered.notes.iter().for_each(|note| say(&format!("note: {note}\n")));
    let needs_data = match data {
        Data::Open => true,
        Data::Sizes => plan::counts_epochs(&spec, &gathered.facts),
        Data::Nothing => false,
    };
    if !needs_data {
        plan::unchecked(&spec, &gathered.facts).iter().for_each(|note| tell("note", note));
    }
    let planned = if needs_data { plan::plan(&spec, &gathered.facts) } else { plan::check(&spec, &gathered.facts) };
    match planned {
        Ok(plan) if problems.is_empty() => {
            tracing::info!(trials = plan.trials.len(), groups = plan.groups.len(), "planned");
            return Ok(Some((gathered, plan)));
        }
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    problems.sort_by(|a, b| a.span.cmp(&b.span));
    say(&render(&problems, source));
    Ok(None)
}

/// Where a run found its datasets, a command about its output may find them too.
fn where_it_was_run(recipe: &verify::Recipe, search: &SearchArgs) -> SearchArgs {
    SearchArgs { more_data: recipe.data.clone(), ..search.clone() }
}

/// As [`resolve_source`], for the spec of an output.
fn resolve_recipe(
    recipe: &verify::Recipe,
    search: &SearchArgs,
    isolation: &train::Isolation,
) -> anyhow::Result<Option<(Gathered, Plan)>> {
    resolve_source(&recipe.source, &recipe.sets, &recipe.folder, search, isolation, Data::Open)
}

/// The output that is meant. Where that is not what was typed, says which.
fn output(path: &Path, command: &str) -> anyhow::Result<PathBuf> {
    let output = arguments::output(path, command).map_err(anyhow::Error::msg)?;
    if output != path {
        tell("note", &format!("this is about {}", output.display()));
    }
    Ok(output)
}

/// The folder of a file; empty where that is the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn isolation(args: IsolationArgs, search: &SearchArgs) -> anyhow::Result<train::Isolation> {
    Ok(match args.isolation {
        Isolation::None => train::Isolation::None,
        Isolation::Process => {
            let data = data_roots(search);
            // Before the first worker: from here on this process starts no others.
            clr_run::worker::adopt_strays();
            train::Isolation::Process(Launch::this_program(data, dataset::places::cache_dir())?)
        }
    })
}

fn search(args: &SearchArgs) -> Search {
    let plugins = SearchPath::from_environment(&args.plugins, &args.plugin_digests);
    for folder in plugins.ignored() {
        let folder = folder.display();
        tell("warning", &format!("CLR_PLUGIN_PATH has `{folder}`, which is not searched: it is not an absolute path"));
    }
    Search { plugins, data: data_roots(args), cache: dataset::places::cache_dir() }
}

fn data_roots(args: &SearchArgs) -> Vec<PathBuf> {
    let mut roots = dataset::places::roots(args.data.as_deref());
    roots.extend(args.more_data.iter().cloned());
    roots
}

/// A note for each plugin in use whose trials cannot be saved.
fn plugins_without_state(plan: &Plan, resources: &Resources) -> Vec<String> {
    let used = plan.groups.iter().map(|group| resources.plugin(&group.shape).info());
    let lacking: BTreeSet<&str> = used.filter(|info| !info.has_state).map(|info| info.name.as_str()).collect();
    let note = |name| format!("the plugin `{name}` cannot save trials; one that is interrupted starts over");
    lacking.into_iter().map(note).collect()
}

/// Prints an `error`, a `warning` or a `note` to standard error, in lines that are broken between words.
fn tell(kind: &str, text: &str) {
    say(&(words::wrapped(&format!("{kind}: {text}"), Terminal::stderr().width, 2) + "\n"));
}

/// Prints sentences to standard output, in lines that are broken between words.
fn print(text: &str) -> io::Result<()> {
    write!(io::stdout(), "{}", words::wrapped(text, Terminal::stdout().width, 2))
}

/// Prints to standard error. `eprint!` would panic where nobody reads it any more.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn all_trials(plan: &Plan) -> Vec<usize> {
    (0..plan.trials.len()).collect()
}

fn jobs(asked: Option<u32>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.map_or_else(cores, |jobs| jobs as usize)
}
