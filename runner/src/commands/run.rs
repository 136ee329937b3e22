//! `clr-run SPEC.toml`

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clr_spec::Keep;
use clr_store::journal::{Ending, Journal};
use clr_store::{RunInfo, Store, Summary};
use clr_terminal::terminal::Terminal;
use clr_terminal::words;

use super::Program;
use crate::cli::RunArgs;
use crate::console::{print_note, tell};
use crate::gather::Data;
use crate::progress::{Progress, Style};
use crate::ready::{Planned, Ready};
use crate::recipe;
use crate::show;

pub fn run(args: &RunArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let signals = program.signals()?;
    let path = args.path.as_deref().context("no spec given")?;
    let planned = Planned::of_spec(path, &args.spec, Data::Open, args.quiet)?;
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
    let mut store = Store::open(&args.outputs, plan, info)?;
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
    print_results(&summary)?;
    let is_of_interest = !nothing_to_do || plan.checkpointing.keep != Keep::Nothing;
    if let Some(note) = show::weights(&summary).filter(|_| without_state.is_empty() && is_of_interest && !args.quiet) {
        tell("note", &note);
    }
    let interrupted = summary.results().filter(|result| result.is_interrupted()).count();
    if interrupted > 0 {
        print_note(&show::interrupted(interrupted));
    }
    let failed = interrupted > 0 || summary.results().any(|result| result.status.is_failure());
    Ok(signals.exit_code().unwrap_or(ExitCode::from(u8::from(failed))))
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
