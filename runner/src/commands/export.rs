//! `clr-run export`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clr_event::Event;
use clr_event::checkpoint::{Checkpoint, Format};
use clr_spec::Keep;
use clr_store::names::file_name_of;
use clr_store::{CsvRows, Excerpt, Kept, Status, TrialCsv, Written};
use clr_terminal::words::{bytes, counted};

use super::again::Again;
use super::{Program, output};
use crate::cli::{ExportArgs, ExportFormat, ExportRows};
use crate::console::{print, tell};
use crate::verify::{Checked, Wanted};

pub fn export(args: &ExportArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let output = output(&args.output, "export")?;
    match (args.format, args.trial.as_deref()) {
        (ExportFormat::Csv, None) => rows_of_all(args, &output),
        (ExportFormat::Csv, Some(_)) if args.rows == ExportRows::Evals => {
            anyhow::bail!(
                "the evaluations of one trial are not written as CSV; leave --trial out, or take `--format jsonl`"
            )
        }
        (ExportFormat::Csv, trial) => {
            let TrialCsv { label, rows, text } = clr_store::csv(&output, trial)?;
            let what = format!("{} of `{label}`", counted(rows as usize, "row"));
            write(args, &text, &label, "csv", &what)
        }
        (ExportFormat::Jsonl, trial) => json_lines(args, &output, trial),
        (ExportFormat::Tensorboard, trial) => tensorboard(args, &output, trial),
        (ExportFormat::Excerpt, None) => excerpt(args, &output),
        (ExportFormat::Excerpt, Some(_)) => anyhow::bail!("an excerpt is of all trials; leave --trial out"),
        (ExportFormat::Safetensors, _) => weights(args, program, &output, Format::Safetensors, "safetensors"),
        (ExportFormat::Npz, _) => weights(args, program, &output, Format::Npz, "npz"),
    }
}

/// The weights that were kept, or those of training again.
fn weights(
    args: &ExportArgs,
    program: &Program,
    output: &Path,
    format: Format,
    extension: &str,
) -> anyhow::Result<ExitCode> {
    let kept = clr_store::kept(output, args.trial.as_deref())?;
    let Kept { handle, label, status, best_iteration, checkpoint, .. } = &kept;
    let is_wanted = |checkpoint: &&Checkpoint| !args.best || *best_iteration == Some(checkpoint.step);
    let mut trained = None;
    let checkpoint = match checkpoint.as_ref().filter(is_wanted) {
        Some(checkpoint) => checkpoint,
        None if !status.is_done() => anyhow::bail!(
            "`{label}` is {}, and has no weights {}; the same command that trained it goes on with it",
            status.name(),
            if args.best { "of a best evaluation yet" } else { "saved" }
        ),
        None if *status == Status::Diverged && !args.best => {
            anyhow::bail!("`{label}` diverged, and has no last weights; `--best` gives those of its best evaluation")
        }
        None => {
            if !args.again.quiet {
                tell("note", &format!("the weights of {handle} ({label}) were not kept, so it is trained again"));
            }
            match train_again(args, program, output, &kept)? {
                Ok(found) => &trained.insert(found).0,
                Err(code) => return Ok(code),
            }
        }
    };
    let (count, step) =
        (counted(checkpoint.weights().count(), "tensor"), counted(checkpoint.step as usize, "iteration"));
    let bytes = checkpoint.export(label, format)?;
    let code = write(args, &bytes, label, extension, &format!("{count} of `{label}` after {step}"))?;
    if let Some((_, rows)) = &trained {
        print(&format!("trained again, it gave the stored rows, bit for bit: {rows}\n"))?;
    }
    Ok(code)
}

/// The weights of a trial that is over, by training it again and comparing its rows with those stored, which are counted. The
/// error is the exit code, where what is wrong was printed.
fn train_again(
    args: &ExportArgs,
    program: &Program,
    output: &Path,
    kept: &Kept,
) -> anyhow::Result<Result<(Checkpoint, String), ExitCode>> {
    let again = Again::new(output, &[kept.id.to_string()], &Checked::default(), &args.again)?;
    if let Some((label, why)) = again.selection.unproven.first() {
        anyhow::bail!("`{label}` cannot be trained again to its weights: {why}");
    }
    let wanted = Wanted { rows: 0..u64::MAX, keep: if args.best { Keep::Best } else { Keep::Last } };
    let mut found = None;
    let proof = again.train(output, wanted, program, args.again.quiet, |event| {
        if let Event::Saved { checkpoint, .. } = event
            && (!args.best || kept.best_iteration == Some(checkpoint.step))
        {
            found = Some(checkpoint.clone());
        }
    })?;
    if let Some((label, what)) = proof.differences.first() {
        tell("error", &format!("`{label}` does not come out as it is stored, so its weights are lost: {what}"));
        return Ok(Err(ExitCode::FAILURE));
    }
    match (found, program.signals()?.exit_code()) {
        (_, Some(code)) => Ok(Err(code)),
        (Some(checkpoint), None) => {
            let (rows, evaluations) = (proof.rows as usize, proof.evaluations as usize);
            let rows = format!("{} and {}", counted(rows, "row"), counted(evaluations, "evaluation"));
            Ok(Ok((Checkpoint::clone(&checkpoint), rows)))
        }
        (None, None) => anyhow::bail!("it was trained again, and its plugin cannot save its state"),
    }
}

/// Writes a file of a trial and says so.
fn write(args: &ExportArgs, bytes: &[u8], label: &str, extension: &str, what: &str) -> anyhow::Result<ExitCode> {
    let file_name = || PathBuf::from(format!("{}.{extension}", file_name_of(label)));
    let out = args.out.clone().unwrap_or_else(file_name);
    clr_store::write(&out, bytes)?;
    print(&format!("{what} in {}\n", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The rows of all trials as one file.
fn rows_of_all(args: &ExportArgs, output: &Path) -> anyhow::Result<ExitCode> {
    let (rows, name) = match args.rows {
        ExportRows::Metrics => (CsvRows::Metrics, "metrics"),
        ExportRows::Evals => (CsvRows::Evals, "evals"),
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{name}.csv", name_of(output))));
    told(clr_store::csv_of_all(output, rows, &out)?, &out)
}

/// The rows of all trials, or of one, as lines of JSON.
fn json_lines(args: &ExportArgs, output: &Path, trial: Option<&str>) -> anyhow::Result<ExitCode> {
    let (rows, name) = match args.rows {
        ExportRows::Metrics => (CsvRows::Metrics, "metrics"),
        ExportRows::Evals => (CsvRows::Evals, "evals"),
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{name}.jsonl", name_of(output))));
    told(clr_store::json_lines(output, rows, trial, &out)?, &out)
}

/// The rows of all trials, or of one, as files of events.
fn tensorboard(args: &ExportArgs, output: &Path, trial: Option<&str>) -> anyhow::Result<ExitCode> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-tensorboard", name_of(output))));
    told(clr_store::tensorboard(output, trial, args.every, &out)?, &out)
}

fn told(written: Written, out: &Path) -> anyhow::Result<ExitCode> {
    let (rows, trials) = (counted(written.rows as usize, "row"), counted(written.trials, "trial"));
    writeln!(io::stdout(), "{rows} of {trials} in {}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// The output without its rows of metrics.
fn excerpt(args: &ExportArgs, output: &Path) -> anyhow::Result<ExitCode> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-excerpt", name_of(output))));
    let Excerpt { trials, evaluations, bytes: kept, left_out } = clr_store::excerpt(output, &out)?;
    let evaluations = counted(evaluations as usize, "evaluation");
    let (kept, left_out) = (bytes(kept), bytes(left_out));
    print(&format!(
        "{} with {evaluations} in {}: {kept}, without {left_out}\n",
        counted(trials, "trial"),
        out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The name of an output's folder.
fn name_of(output: &Path) -> String {
    let folder = output.canonicalize().unwrap_or_else(|_| output.to_owned());
    folder.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}
