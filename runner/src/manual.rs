//! Completions for shells, and manual pages: both are made from the definition of the command line.

use std::io;
use std::path::Path;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Cli, LogArgs, RunArgs};

/// The script that teaches `shell` to complete the words of a command line.
pub fn completions(shell: Shell) -> Vec<u8> {
    // The generators would offer hidden commands too.
    let program = Cli::command();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let arguments = LogArgs::augment_args(RunArgs::augment_args(Command::new("clr-run")));
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments.subcommands(commands), "clr-run", &mut script);
    script
}

/// The manual page of the program, as roff text.
///
/// # Errors
///
/// Never: writing to memory does not fail.
pub fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    Ok(page)
}

/// Writes the pages of the program and of each of its commands into `folder`, which is made if it is not there.
///
/// # Errors
///
/// Where a file cannot be written.
pub fn write_pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
