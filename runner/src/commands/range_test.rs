//! `clr-run range-test`

use std::io::{self, Write};
use std::process::ExitCode;

use clr_terminal::terminal::Terminal;

use super::output;
use crate::cli::RangeTestArgs;
use crate::{range_test, show};

pub fn range_test(args: &RangeTestArgs) -> anyhow::Result<ExitCode> {
    let report = range_test::read(&output(&args.from, "range-test --from")?)?;
    match args.json {
        true => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?,
        false => write!(io::stdout(), "{}", show::range_tests(&report, &Terminal::stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}
