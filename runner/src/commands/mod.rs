//! The commands: a file each, and a function that takes its arguments and gives its exit code.

mod again;
mod check;
mod compare;
mod data;
mod evaluate;
mod export;
mod man;
mod plan;
mod plugin;
mod range_test;
mod report;
mod run;
mod schedule;
mod schema;
mod status;
mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::arguments;
use crate::cli::{Cli, Command, LogArgs};
use crate::console::{Refused, tell};
use crate::signals::Signals;

/// The exit code for bad input, and for nothing that could run.
pub const BAD_INPUT: u8 = 2;

/// What a command may use besides its arguments.
pub struct Program {
    pub log: LogArgs,
    /// None in a worker, which leaves them to its supervisor.
    pub signals: Option<Signals>,
}

impl Program {
    fn signals(&self) -> anyhow::Result<&Signals> {
        self.signals.as_ref().context("a worker does not train by itself")
    }
}

/// Does what the command line says.
pub fn execute(cli: Cli, signals: Option<Signals>) -> ExitCode {
    let program = Program { log: cli.log, signals };
    let result = match cli.command {
        None => run::run(&cli.run, &program),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Plan(args)) => plan::plan(&args),
        Some(Command::Schedule(args)) => schedule::schedule(&args),
        Some(Command::Status(args)) => status::status(&args),
        Some(Command::Verify(args)) => verify::verify(&args, &program),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Compare(args)) => compare::compare(&args),
        Some(Command::Plugin(command)) => plugin::plugin(&command),
        Some(Command::Data(command)) => data::data(&command),
        Some(Command::Export(args)) => export::export(&args, &program),
        Some(Command::Evaluate(args)) => evaluate::evaluate(&args, &program),
        Some(Command::RangeTest(args)) => range_test::range_test(&args, &program),
        Some(Command::Schema(args)) => schema::schema(&args),
        Some(Command::Completions { shell }) => man::completions(shell),
        Some(Command::Man { dir }) => man::man(dir.as_deref()),
        Some(Command::Worker) => worker(),
    };
    result.unwrap_or_else(|error| {
        // A reader that has seen enough (`clr-run schedule SPEC --csv | head`) is no failure.
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        if !error.is::<Refused>() {
            tell("error", &format!("{error:#}"));
        }
        ExitCode::from(BAD_INPUT)
    })
}

fn worker() -> anyhow::Result<ExitCode> {
    match clr_worker::serve()? {}
}

/// The output that is meant. Where that is not what was typed, says which.
fn output(path: &Path, command: &str) -> anyhow::Result<PathBuf> {
    let output = arguments::output(path, command).map_err(anyhow::Error::msg)?;
    if output != path {
        tell("note", &format!("this is about {}", output.display()));
    }
    Ok(output)
}
