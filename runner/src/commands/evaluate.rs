//! `clr-run evaluate`

use std::io::{self, Write};
use std::process::ExitCode;

use clr_host::Split;
use clr_store::Snapshots;
use clr_terminal::terminal::Terminal;
use clr_train::device;

use super::{Program, output};
use crate::cli::{self, DeviceArgs, EvaluateArgs, EvaluateSplit, IsolationArgs};
use crate::console::print;
use crate::ensemble::{self, EnsembleError};
use crate::ready::Planned;
use crate::show;

/// In this process, on the CPU.
pub fn evaluate(args: &EvaluateArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let signals = program.signals()?;
    let output = output(&args.output, "evaluate")?;
    let planned = Planned::of_output(&output, &args.search, IsolationArgs { isolation: cli::Isolation::None })?;
    let snapshots = Snapshots::open(&output)?;
    let trials = ensemble::trials(&snapshots, &planned.plan, &args.trials)?;
    let ready = planned.ready(&DeviceArgs { device: device::Wanted::Cpu, jobs: args.jobs, lanes: None })?;
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
        match ensemble::evaluate(&snapshots, &ready, trial, wanted, signals.cancel()) {
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
