//! `clr-run report`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clr_store::files;
use clr_system::contain::contain;
use clr_terminal::words::{self, counted};

use super::output;
use crate::cli::ReportArgs;
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
    let beside = || match &folders[..] {
        [folder] => folder.join(report::NAME),
        _ => PathBuf::from(report::NAME),
    };
    let out = args.out.clone().unwrap_or_else(beside);
    let page = clr_report::html(&report);
    clr_store::write(&out, &page)?;
    let missing: usize = report.outputs.iter().map(|output| output.missing.len()).sum();
    let lacks =
        if missing > 0 { format!("; it says {} that is missing", counted(missing, "thing")) } else { String::new() };
    let (trials, size) = (counted(report.trials.len(), "trial"), words::bytes(page.len() as u64));
    print(&format!("{trials} in {}, {size}{lacks}\n", out.display()))?;
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
