//! `clr-run check`

use std::io::{self, Write};
use std::process::ExitCode;

use clr_terminal::words::counted;

use crate::cli::CheckArgs;
use crate::gather::Data;
use crate::ready::Planned;
use crate::show;

pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let Planned { plan, gathered, .. } = Planned::of_spec(&args.path, &args.spec, Data::Nothing, false)?;
    let (trials, groups) = (counted(plan.trials.len(), "trial"), counted(plan.groups.len(), "group"));
    let found = match plan.warnings.len() {
        0 => "no problems".to_owned(),
        count => counted(count, "warning"),
    };
    let without = if gathered.facts.absent().next().is_some() { " without the data" } else { "" };
    writeln!(io::stdout(), "{}: {found}{without}; {trials} in {groups}", args.path.display())?;
    write!(io::stdout(), "{}", show::bounds_taken(&plan))?;
    Ok(ExitCode::SUCCESS)
}
