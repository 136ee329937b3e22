//! `clr-run verify`

use std::process::ExitCode;

use clr_spec::Keep;

use super::again::Again;
use super::{BAD_INPUT, Program, output};
use crate::cli::VerifyArgs;
use crate::console::print;
use crate::show;
use crate::verify::{self, Wanted};

/// Files first; what they show to be sound is trained again.
pub fn verify(args: &VerifyArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let signals = program.signals()?;
    let output = output(&args.output, "verify")?;
    let checked = verify::quick(&output)?;
    print(&show::checked(&output, &checked))?;
    if args.quick {
        return Ok(ExitCode::from(u8::from(!checked.problems.is_empty())));
    }
    let again = Again::new(&output, &args.trials, &checked, &args.again)?;
    let wanted = Wanted { rows: args.rows.clone().unwrap_or(0..u64::MAX), keep: Keep::Nothing };
    let proof = again.train(&output, wanted, program, args.again.quiet, |_| {})?;
    print(&show::proof(&again.ready.plan, &again.selection, &proof))?;
    let code = match () {
        () if !checked.problems.is_empty() || !proof.differences.is_empty() => ExitCode::FAILURE,
        // Stopped by the machine, where no signal came.
        () if !again.selection.unproven.is_empty() || proof.stopped > 0 => ExitCode::from(BAD_INPUT),
        () => ExitCode::SUCCESS,
    };
    Ok(signals.exit_code().unwrap_or(code))
}
