//! `clr-run SPEC.toml`

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clr_spec::Keep;
use clr_store::journal::{Ending, Journal};
use clr_store::{RunInfo, Store, Summary};
use clr_terminal::terminal::Terminal;
use clr_terminal::words;

use super::Program;
use crate::cli::{RunArgs, TrainArgs};
use crate::console::{print_note, tell};
use crate::gather::Data;
use crate::progress::{Progress, Style};
use crate::ready::{Planned, Ready};
use crate::recipe;
use crate::show;

pub fn run(args: &RunArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let path = args.path.as_deref().context("no spec given")?;
    let args = &args.train;
    let signals = program.signals()?;
    let mut planned = Planned::of_spec(path, &args.spec, Data::Open, args.quiet)?;
    if !planned.plan.is_measured() {
        if !args.quiet {
            print_note(&show::range_tests_first(&planned.plan));
        }
        let tests = Planned::of_spec(path, &args.spec.of_range_tests(&[]), Data::Open, true)?;
        let Ok(tested) = train(tests, args, program)? else { return Ok(ExitCode::FAILURE) };
        tested.report();
        if tested.is_interrupted(program) {
            return Ok(signals.exit_code().unwrap_or(ExitCode::FAILURE));
        }
        planned = Planned::of_spec(path, &args.spec, Data::Open, true)?;
    }
    if !args.quiet && !planned.plan.range_tests.is_empty() {
        print_note(&show::bounds_taken(&planned.plan));
    }
    let Ok(trained) = train(planned, args, program)? else { return Ok(ExitCode::FAILURE) };
    let Trained { summary, .. } = &trained;
    print_results(summary)?;
    trained.report();
    if let Some(note) = show::weights(summary).filter(|_| trained.says_weights && !args.quiet) {
        tell("note", &note);
    }
    Ok(trained.exit_code(program))
}

/// What became of trials.
pub struct Trained {
    summary: Summary,
    /// Whether it is of interest which weights were kept.
    says_weights: bool,
    /// Whether a report is to be written.
    reports: bool,
}

/// The results could not be written, which was said.
pub struct NotWritten;

impl Trained {
    /// True if it has to go on before it means something.
    pub fn is_interrupted(&self, program: &Program) -> bool {
        let is_stopped = program.signals.as_ref().is_some_and(|signals| signals.exit_code().is_some());
        let interrupted = self.summary.results().filter(|result| result.is_interrupted()).count();
        if interrupted > 0 {
            print_note(&show::interrupted(interrupted));
        }
        is_stopped || interrupted > 0
    }

    /// Says how many trials the machine interrupted, and gives the code of that or of failures.
    pub fn exit_code(&self, program: &Program) -> ExitCode {
        let failed = self.is_interrupted(program) || self.summary.results().any(|result| result.status.is_failure());
        let stopped = program.signals.as_ref().and_then(|signals| signals.exit_code());
        stopped.unwrap_or(ExitCode::from(u8::from(failed)))
    }

    /// Writes the report, if one is to be written. It is no result: where that fails, a note says so.
    pub fn report(&self) {
        if self.reports
            && let Err(why) = super::report::beside(self.folder())
        {
            tell("note", &format!("report.html could not be written, and the results are: {why}"));
        }
    }

    pub fn folder(&self) -> &Path {
        &self.summary.folder
    }
}

/// Trains what has no finished rows yet.
pub fn train(planned: Planned, args: &TrainArgs, program: &Program) -> anyhow::Result<Result<Trained, NotWritten>> {
    let signals = program.signals()?;
    let asked = RunInfo {
        retry_failed: args.retry_failed,
        rerun_other_numerics: args.rerun_other_numerics,
        rerun_other_builds: args.rerun_other_builds,
        ..recipe::of_spec(&planned)
    };
    let ready = planned.ready(&args.device)?;
    let Ready { plan, resources, layout, .. } = &ready;
    let info = recipe::of_run(asked, plan, resources, layout)?;

    signals.begin_run();
    let mut store = Store::open(&args.spec.outputs, plan, info)?;
    let work = store.unfinished();
    let unfinished: Vec<usize> = work.iter().map(|work| work.trial).collect();
    let nothing_to_do = unfinished.is_empty();
    let without_state = plugins_without_state(&ready);
    if !args.quiet {
        store.notes().iter().chain(&without_state).for_each(|note| tell("note", note));
        if nothing_to_do {
            print_note(&show::nothing_to_run(store.results()));
        }
    }

    let mut journal = store.is_writing().then(|| {
        let attempts = store.results().map(|result| result.attempts).collect();
        Journal::start(store.folder(), plan, unfinished.len(), attempts)
    });
    let is_quiet = args.quiet || nothing_to_do;
    let mut progress = Progress::new(plan, &unfinished, Style::for_stderr(is_quiet, program.log.is_on_stderr()));
    let layout = ready.layout_of(&unfinished)?;
    let trained = clr_train::run_with_pauses(plan, work, resources, &layout, signals.cancel(), |event| {
        let Some(event) = event else { return store.commit_if_due() };
        progress.show(&event);
        journal.iter_mut().for_each(|journal| journal.record(&event));
        store.record(&event)
    });
    progress.finish();
    let finished = trained.and_then(|()| store.finish());
    let reports = journal.is_some() && !args.no_report;
    if let Some(journal) = journal {
        match &finished {
            Ok(_) if signals.exit_code().is_some() => journal.finish(Ending::Stopped, None),
            Ok(_) => journal.finish(Ending::Finished, None),
            Err(error) => journal.finish(Ending::Failed, Some(&words::chain(error))),
        }
    }
    let is_of_interest = !nothing_to_do || plan.checkpointing.keep != Keep::Nothing;
    let says_weights = without_state.is_empty() && is_of_interest;
    Ok(match finished {
        Ok(summary) => Ok(Trained { summary, says_weights, reports }),
        Err(error) => {
            let error = words::chain(&error);
            tell(
                "error",
                &format!("the results could not be written: {error}\nfinished trials are kept; run again to go on"),
            );
            Err(NotWritten)
        }
    })
}

fn print_results(summary: &Summary) -> anyhow::Result<()> {
    match write!(io::stdout(), "{}", show::results(summary, &Terminal::stdout())) {
        // The results are in the tables: a reader that went away changes no exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot print the results, which are written")
        }
        _ => Ok(()),
    }
}

/// A note for each plugin in use whose trials cannot be saved.
fn plugins_without_state(Ready { plan, resources, .. }: &Ready) -> Vec<String> {
    let used = plan.groups.iter().map(|group| resources.plugin(&group.shape).info());
    let lacking: BTreeSet<&str> = used.filter(|info| !info.has_state).map(|info| info.name.as_str()).collect();
    let note = |name| format!("the plugin `{name}` cannot save trials; one that is interrupted starts over");
    lacking.into_iter().map(note).collect()
}
