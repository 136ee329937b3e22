//! `clr-run schema`

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::SchemaArgs;
use crate::spec;

pub fn schema(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    match args.markdown {
        true => write!(io::stdout(), "{}", spec::reference())?,
        false => writeln!(io::stdout(), "{:#}", spec::json_schema())?,
    }
    Ok(ExitCode::SUCCESS)
}
