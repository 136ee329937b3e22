//! `clr-run plan`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clr_plan::json;
use clr_terminal::terminal::Terminal;

use crate::cli::PlanArgs;
use crate::estimate;
use crate::gather::Data;
use crate::ready::Planned;
use crate::show;

pub fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let ready = Planned::of_spec(&args.path, &args.spec, Data::Open, false)?.ready(&args.device)?;
    let estimates = estimate::of_run(&ready, !args.no_probe)?;
    let tests = match ready.plan.is_measured() {
        true => None,
        false => {
            Some(Planned::of_spec(&args.path, &args.spec.of_range_tests(&[]), Data::Open, true)?.ready(&args.device)?)
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        json::write_json(&ready.plan, &estimates, &mut out)?;
    } else {
        write!(out, "{}", show::plan(&ready.plan, &estimates, args.trials, &Terminal::stdout()))?;
        if let Some(tests) = tests {
            let estimates = estimate::of_run(&tests, !args.no_probe)?;
            write!(out, "{}", show::range_tests_ahead(&tests.plan, &estimates))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
