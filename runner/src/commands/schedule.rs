//! `clr-run schedule`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clr_terminal::terminal::Terminal;

use crate::cli::ScheduleArgs;
use crate::console::print_note;
use crate::gather::Data;
use crate::plot;
use crate::ready::Planned;
use crate::show;

/// The width of a plot that goes into a file.
const PLOT_WIDTH: usize = 100;

pub fn schedule(args: &ScheduleArgs) -> anyhow::Result<ExitCode> {
    let Planned { plan, .. } = Planned::of_spec(&args.path, &args.spec, Data::Sizes, false)?;
    if !plan.is_measured() {
        print_note(&show::bounds_taken(&plan));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if args.csv {
        plot::csv(&plan, args.every, &mut out)?;
    } else {
        let width = Terminal::stdout().width.unwrap_or(PLOT_WIDTH);
        write!(out, "{}", plot::plot(&plan, &args.hyper, width, args.limit))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
