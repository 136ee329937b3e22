//! `clr-run report`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clr_store::files;
use clr_system::contain::contain;
use clr_terminal::words::{self, counted};

use super::output;
use crate::cli::{ReportArgs, ReportFormat};
use crate::console::print;
use crate::report;

pub fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let mut seen = BTreeSet::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    // One that is named twice is one.
    for path in &args.outputs {
        let folder = output(path, "report")?;
        if seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            folders.push(folder);
        }
    }
    let report = report::read(&folders)?;
    let beside = |name: &str| match &folders[..] {
        [folder] => folder.join(name),
        _ => PathBuf::from(name),
    };
    let missing: usize = report.outputs.iter().map(|output| output.missing.len()).sum();
    let lacks = if missing > 0 { format!("; {} missing", counted(missing, "thing")) } else { String::new() };
    let trials = counted(report.trials.len(), "trial");
    let (files, ending) = match args.format {
        ReportFormat::Html => {
            let out = args.out.clone().unwrap_or_else(|| beside(report::NAME));
            let page = clr_report::html(&report);
            clr_store::write(&out, &page)?;
            print(&format!("{trials} in {}, {}{lacks}\n", out.display(), words::bytes(page.len() as u64)))?;
            return Ok(ExitCode::SUCCESS);
        }
        ReportFormat::Csv => (clr_report::tables::csv(&report), "csv"),
        ReportFormat::Md => (clr_report::tables::markdown(&report), "md"),
    };
    let folder = args.out.clone().unwrap_or_else(|| beside(report::FOLDER));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in &files {
        clr_store::write(&folder.join(format!("{name}.{ending}")), text.as_bytes())?;
    }
    let names: Vec<String> = files.iter().map(|(name, _)| format!("{name}.{ending}")).collect();
    print(&format!("{trials} in {} of {}{lacks}\n", words::some_of(&names), folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page into the folder of an output whose results are written.
///
/// # Errors
///
/// Why it could not, whatever that is: it is no result, so nothing of it may fail a run.
pub fn beside(folder: &Path) -> Result<(), String> {
    let written = contain(|| {
        let report = report::read(&[folder.to_owned()])?;
        files::write_atomically(&folder.join(report::NAME), &clr_report::html(&report))
    });
    let written = written.ok_or("a fault of the program, which the log has")?;
    written.map_err(|error| words::chain(&error))
}
