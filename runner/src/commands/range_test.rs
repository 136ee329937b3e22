//! `clr-run range-test`

use std::io::{self, Write};
use std::process::ExitCode;

use clr_terminal::terminal::Terminal;

use super::{Program, output, run};
use crate::cli::RangeTestArgs;
use crate::gather::Data;
use crate::ready::Planned;
use crate::{range_test, show};

/// Trains the range tests of a spec, as far as they are not, and prints what they say; or reads them from an output.
pub fn range_test(args: &RangeTestArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let (folder, code) = match (&args.from, &args.path) {
        (Some(from), _) => (output(from, "range-test --from")?, ExitCode::SUCCESS),
        (None, path) => {
            let path = path.as_deref().unwrap_or("".as_ref());
            let spec = args.train.spec.of_range_tests(&args.sweep.sets());
            let planned = Planned::of_spec(path, &spec, Data::Open, args.train.quiet)?;
            let Ok(trained) = run::train(planned, &args.train, program)? else { return Ok(ExitCode::FAILURE) };
            trained.report();
            (trained.folder().to_owned(), trained.exit_code(program))
        }
    };
    let report = range_test::read(&folder)?;
    match args.json {
        true => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?,
        false => write!(io::stdout(), "{}", show::range_tests(&report, &Terminal::stdout()))?,
    }
    Ok(code)
}
