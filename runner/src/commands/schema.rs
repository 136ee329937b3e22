//! `clr-run schema`

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::SchemaArgs;

pub fn schema(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    match args.markdown {
        true => write!(io::stdout(), "{}", clr_spec::reference())?,
        false => writeln!(io::stdout(), "{:#}", clr_spec::json_schema())?,
    }
    Ok(ExitCode::SUCCESS)
}
