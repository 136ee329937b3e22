//! The program `clr-run`.

use std::process::ExitCode;

use clr_run::arguments::{self, Mistake};
use clr_run::cli::Command;
use clr_run::commands::{self, BAD_INPUT};
use clr_run::console::tell;
use clr_run::logs;
use clr_run::signals::Signals;

fn main() -> ExitCode {
    // Before anything else, so that none of these ends the command without a word. A worker leaves them to its supervisor.
    let is_worker = std::env::args_os().nth(1).is_some_and(|command| command == "worker");
    let signals = match (!is_worker).then(Signals::install).transpose() {
        Ok(signals) => signals,
        Err(error) => return refused(&format!("signals cannot be handled: {error}")),
    };
    let cli = match arguments::read(std::env::args_os().skip(1)) {
        Ok(cli) => cli,
        Err(Mistake::Usage(error)) => error.exit(),
        Err(Mistake::Explained(error)) => return refused(&error),
    };
    // A worker closes all that is open, so that it keeps nothing that it inherits: it must not have opened anything.
    let is_worker = matches!(cli.command, Some(Command::Worker));
    if let Some(filter) = cli.log.filter().filter(|_| !is_worker)
        && let Err(error) = logs::install(filter, cli.log.log_file.as_deref())
    {
        return refused(&error.to_string());
    }
    commands::execute(cli, signals)
}

fn refused(error: &str) -> ExitCode {
    tell("error", error);
    ExitCode::from(BAD_INPUT)
}
