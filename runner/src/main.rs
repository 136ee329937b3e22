//! The program `clr-run`: arguments in, one function per command, exit code out.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use clr_run::checkpoint::Format;
use clr_run::cli::{
    CheckArgs, Cli, Command, DataCommand, DeviceArgs, ExportArgs, ExportFormat, Isolation, IsolationArgs, LogArgs,
    PlanArgs, PluginCommand, RunArgs, ScheduleArgs, SearchArgs, SpecArgs, StatusArgs, VerifyArgs,
};
use clr_run::gather::{Data, Gathered, Search, gather, read_text};
use clr_run::host::{Plugin, SearchPath};
use clr_run::journal::{Ending, Journal};
use clr_run::limits::Limits;
use clr_run::plan::{Plan, plan};
use clr_run::progress::{Progress, Style};
use clr_run::signals::Signals;
use clr_run::spec::{self, SourceFile};
use clr_run::store::{self, Kept, RunInfo, Store, TrialCsv};
use clr_run::terminal::Terminal;
use clr_run::train::{self, Resources};
use clr_run::words::{self, counted};
use clr_run::worker::{Known, Launch};
use clr_run::{dataset, device, estimate, logs, recipe, show, status, verify};

/// Bad input, or nothing that could run.
const BAD_INPUT: u8 = 2;

/// Of a plot that goes into a file.
const PLOT_WIDTH: usize = 100;

/// More bytes than anyone writes into a spec.
const LARGEST_SPEC: u64 = 1 << 22;

fn main() -> ExitCode {
    // Before anything else, so that none of these ends the command without a word. A worker leaves them to its supervisor.
    let is_worker = std::env::args_os().nth(1).is_some_and(|command| command == "worker");
    let signals = match (!is_worker).then(Signals::install).transpose() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("error: signals cannot be handled: {error}\n"));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let cli = Cli::parse();
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
        Some(Command::Export(args)) => export(&args),
        Some(Command::Schema) => schema(),
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
    let jobs = jobs(&args.device);
    let isolation = isolation(args.spec.isolation, &args.spec.search)?;
    let devices = device::choose(&args.device.device, &plan, &resources, &isolation)?;
    let layout = devices.layout(&plan, &resources, &all_trials(&plan), jobs, &isolation)?.with_lanes(args.device.lanes);
    let spec = recipe::kept_spec(&source, &args.spec.sets, gathered.facts.tables.keys(), folder_of(path));
    let data = data_roots(&args.spec.search).iter().filter_map(|root| std::path::absolute(root).ok()).collect();
    let recipe = recipe::of_run(spec, &plan, &resources, &layout, args.rerun_other_numerics)?;
    let recipe = RunInfo { sets: args.spec.sets.clone(), data, retry_failed: args.retry_failed, ..recipe };
    signals.begin_run();
    let mut store = Store::open(&args.outputs, &plan, recipe)?;
    let work = store.unfinished();
    let unfinished: Vec<usize> = work.iter().map(|work| work.trial).collect();
    let nothing_to_do = unfinished.is_empty();
    if !args.quiet {
        let without_state = plugins_without_state(&plan, &resources);
        store.notes().iter().chain(&without_state).for_each(|note| tell("note", note));
        if nothing_to_do {
            say(&show::nothing_to_run(store.results()));
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
            Err(error) => journal.finish(Ending::Failed, Some(&show::chain(error))),
        }
    }
    let summary = match finished {
        Ok(summary) => summary,
        Err(error) => {
            let error = show::chain(&error);
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
    let interrupted = summary.results().filter(|result| result.is_interrupted()).count();
    if interrupted > 0 {
        say(&show::interrupted(interrupted));
    }
    let failed = interrupted > 0 || summary.results().any(|result| result.status.is_failure());
    Ok(signals.exit_code().unwrap_or(ExitCode::from(u8::from(failed))))
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let Some((_, _, plan)) = resolve(&args.path, &args.spec, Data::Sizes, false)? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    let (trials, groups) = (counted(plan.trials.len(), "trial"), counted(plan.groups.len(), "group"));
    let found = match plan.warnings.len() {
        0 => "no problems".to_owned(),
        count => counted(count, "warning"),
    };
    writeln!(io::stdout(), "{}: {found}; {trials} in {groups}", args.path.display())?;
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
        .layout(&plan, &resources, &all_trials(&plan), jobs(&args.device), &isolation)?
        .with_lanes(args.device.lanes);
    let estimates = estimate::of_plan(&plan, &resources, &layout, !args.no_probe)?;
    if args.json {
        let mut out = BufWriter::new(io::stdout().lock());
        clr_run::plan::show::write_json(&plan, &estimates, &mut out)?;
        out.flush()?;
    } else {
        let text = clr_run::plan::show::text(&plan, &estimates, args.trials, &Terminal::stdout());
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
        clr_run::schedule::show::csv(&plan, args.every, &mut out)?;
    } else {
        let width = Terminal::stdout().width.unwrap_or(PLOT_WIDTH);
        write!(out, "{}", clr_run::schedule::show::plot(&plan, &args.hyper, width, args.limit))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show_status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let report = status::read(&args.output)?;
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
    let checked = verify::quick(&args.output)?;
    write!(io::stdout(), "{}", show::checked(&args.output, &checked))?;
    if args.quick {
        return Ok(ExitCode::from(u8::from(!checked.problems.is_empty())));
    }
    let recipe = verify::recipe(&args.output)?;
    // Where a run found its datasets, one that is proven may find them too.
    let search = SearchArgs { more_data: recipe.data.clone(), ..args.search.clone() };
    let isolation = isolation(args.isolation, &search)?;
    let resolved = resolve_source(&recipe.source, &recipe.sets, &recipe.folder, &search, &isolation, Data::Open)?;
    let Some((gathered, plan)) = resolved else { return Ok(ExitCode::from(BAD_INPUT)) };
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let jobs = jobs(&args.device);
    let devices = device::choose(&args.device.device, &plan, &resources, &isolation)?;
    let layout = devices.layout(&plan, &resources, &all_trials(&plan), jobs, &isolation)?.with_lanes(args.device.lanes);
    let numerics = recipe::numerics(&plan, &resources, &layout)?;
    let selection = verify::select(&args.output, &plan, &numerics, &checked, &args.trials)?;
    let layout = devices.layout(&plan, &resources, &selection.trials, jobs, &isolation)?.with_lanes(args.device.lanes);
    signals.begin_run();
    let mut progress = Progress::new(&plan, &selection.trials, Style::for_stderr(args.quiet, log.is_on_stderr()));
    let rows = args.rows.clone().unwrap_or(0..u64::MAX);
    let proof = verify::again(&args.output, &plan, &selection, rows, &resources, &layout, signals.cancel(), |event| {
        progress.show(event);
    });
    progress.finish();
    let proof = proof?;
    write!(io::stdout(), "{}", show::proof(&plan, &selection, &proof))?;
    let code = match () {
        () if !checked.problems.is_empty() || !proof.differences.is_empty() => ExitCode::FAILURE,
        () if !selection.unproven.is_empty() => ExitCode::from(BAD_INPUT),
        () => ExitCode::SUCCESS,
    };
    Ok(signals.exit_code().unwrap_or(code))
}

fn plugin(command: &PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List { search: args, isolation: kind } => {
            let plugins = search(args).plugins;
            write!(io::stdout(), "{}", show::plugins(&plugins, &isolation(*kind, args)?))?;
        }
        PluginCommand::Info { name, search: args, isolation: kind } => {
            let plugins = search(args).plugins;
            let known = Known::find(&plugins, name, &isolation(*kind, args)?, Limits::default())?;
            write!(io::stdout(), "{}", show::plugin(known.info()))?;
        }
        PluginCommand::Check { path, device, side } => {
            let size = clr_conformance::DataSize { height: *side, width: *side, ..Default::default() };
            let plugin = Plugin::load(path)?;
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

fn data(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::List { search: args } => write!(io::stdout(), "{}", show::datasets(&search(args).data))?,
        DataCommand::Info { name, search: args } => {
            let Search { data: roots, cache, .. } = search(args);
            let dataset = dataset::open(name, &roots, cache.as_deref())?;
            write!(io::stdout(), "{}", show::dataset(&dataset))?;
        }
        DataCommand::Fetch { name, search } => {
            let root = dataset::places::fetch_root(search.data.as_deref())
                .context("no folder to download to: give --data DIR, or set CLR_DATA or HOME")?;
            let mut bar = show::DownloadBar::new(Terminal::stderr().redraws);
            let folder = dataset::fetch::fetch(name, &root, None, &mut |progress| bar.show(progress))?;
            bar.finish();
            writeln!(io::stdout(), "{name} is in {}", folder.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let weights = |format| -> anyhow::Result<_> {
        let Kept { label, checkpoint } = store::kept(&args.output, &args.trial)?;
        let (count, step) = (counted(checkpoint.weights().count(), "tensor"), checkpoint.step);
        let what = format!("{count} of `{label}` after {}", counted(step as usize, "iteration"));
        Ok((checkpoint.export(&label, format)?, what, label))
    };
    let ((bytes, what, label), extension) = match args.format {
        ExportFormat::Safetensors => (weights(Format::Safetensors)?, "safetensors"),
        ExportFormat::Npz => (weights(Format::Npz)?, "npz"),
        ExportFormat::Csv => {
            let TrialCsv { label, rows, text } = store::csv(&args.output, &args.trial)?;
            ((text.into_bytes(), format!("{} of `{label}`", counted(rows, "row")), label), "csv")
        }
    };
    let file_name = || {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._=-".contains(c) { c } else { '_' };
        PathBuf::from(format!("{}.{extension}", label.chars().map(plain).collect::<String>()))
    };
    let out = args.out.clone().unwrap_or_else(file_name);
    store::write(&out, &bytes)?;
    writeln!(io::stdout(), "{what} in {}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

fn schema() -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", spec::json_schema())?;
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
    let name = path.display().to_string();
    let text = read_text(path, LARGEST_SPEC).with_context(|| name.clone())?;
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
    if Terminal::stderr().colour { spec::render_styled(problems, source) } else { spec::render(problems, source) }
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
    match plan(&spec, &gathered.facts) {
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

/// Prints to standard error. `eprint!` would panic where nobody reads it any more.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn all_trials(plan: &Plan) -> Vec<usize> {
    (0..plan.trials.len()).collect()
}

fn jobs(args: &DeviceArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    args.jobs.map_or_else(cores, |jobs| jobs as usize)
}
