//! `clr-run compare`

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clr_host::Split;
use clr_store::reader;
use clr_terminal::terminal::Terminal;
use clr_terminal::words;

use super::output;
use crate::cli::{CompareArgs, EvaluateSplit};
use crate::compare::trials::Trials;
use crate::compare::{Asked, compare as compared};
use crate::console::tell;
use crate::show;

pub fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let folders: Vec<PathBuf> =
        args.outputs.iter().map(|path| output(path, "compare")).collect::<anyhow::Result<_>>()?;
    let mut outputs = Vec::new();
    let mut seen = BTreeSet::new();
    // One that is named twice is one.
    for folder in
        folders.iter().filter(|folder| seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf())))
    {
        let output = reader::read(folder)?;
        for what in output.unreadable.values() {
            tell("warning", &format!("{what}; how soon the trials in it reach an accuracy is not known"));
        }
        let settings = reader::settings(folder)?;
        outputs.push((output, settings));
    }
    let asked = Asked {
        by: args.by.clone(),
        reference: args.reference.clone(),
        beside_best: false,
        split: args.split.map(|split| match split {
            EvaluateSplit::Validation => Split::Validation,
            EvaluateSplit::Test => Split::Test,
        }),
        target: args.target,
    };
    let shown: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let comparison =
        compared(&Trials::of(outputs), &asked).map_err(|why| anyhow::anyhow!("{}: {why}", words::some_of(&shown)))?;
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &comparison)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", show::comparison(&comparison, &Terminal::stdout()))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
