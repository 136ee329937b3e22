//! `clr-run status`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clr_terminal::terminal::Terminal;

use super::output;
use crate::cli::StatusArgs;
use crate::{show, status};

pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let report = status::read(&output(&args.output, "status")?)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", show::status(&report, args.trials, &Terminal::stdout()))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
