//! `clr-run data`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clr_dataset::{Dataset, DatasetError, Places};
use clr_spec::{DatasetQuery, Fit};
use clr_terminal::terminal::Terminal;

use crate::cli::{DataCommand, FitArgs, SearchArgs};
use crate::console::{print, tell};
use crate::gather::Search;
use crate::ready::{data_roots, search};
use crate::{arguments, show};

pub fn data(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::List { search: args } => {
            write!(io::stdout(), "{}", show::datasets(&search(args).data, &Terminal::stdout()))?;
        }
        DataCommand::Info { name, png, fit, search } => info(name, png.as_deref(), *fit, search)?,
        DataCommand::Prepare { name, size, fit, search } => prepare(name, *size, *fit, search)?,
        DataCommand::Fetch { name, search } => fetch(name, search)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn info(name: &str, png: Option<&Path>, fit: FitArgs, args: &SearchArgs) -> anyhow::Result<()> {
    let query = query(name, fit);
    let dataset = match open(&query, args) {
        Ok(dataset) => dataset,
        // Images of different sizes are no set, but there is much to say of them.
        Err(error)
            if matches!(error, DatasetError::Images { .. } | DatasetError::Malformed { .. }) && png.is_none() =>
        {
            let source = clr_dataset::search::locate(&query, Path::new(""), &search(args).data)?;
            let survey = source.survey().ok().flatten().filter(|survey| survey.sizes.len() > 1 && query.is_as_it_is());
            let Some(survey) = survey else { return Err(error.into()) };
            write!(io::stdout(), "{}", show::survey(name, &source, &survey, &Terminal::stdout()))?;
            return Ok(());
        }
        Err(error) => {
            let is_plugin = search(args).plugins.list().iter().any(|found| found.name == *name);
            return Err(match arguments::other_kind(name, false, is_plugin) {
                Some(other) => anyhow::anyhow!("no dataset `{name}`: {other}"),
                None => error.into(),
            });
        }
    };
    tell_notes(&dataset);
    write!(io::stdout(), "{}", show::dataset(&dataset, &Terminal::stdout()))?;
    if let Some(path) = png {
        clr_store::write(path, &clr_dataset::contact_sheet(&dataset)?)?;
    }
    Ok(())
}

fn prepare(name: &str, size: Option<u32>, fit: FitArgs, args: &SearchArgs) -> anyhow::Result<()> {
    let fit = FitArgs { resize: fit.resize.or(size), crop: fit.crop.or(size), ..fit };
    let query = query(name, fit);
    let dataset = open(&query, args)?;
    tell_notes(&dataset);
    let cached = dataset.cached.as_deref();
    let cached = cached.context("the cache cannot be written: set CLR_CACHE to a folder that can")?;
    let bytes = std::fs::metadata(cached).with_context(|| cached.display().to_string())?.len();
    Ok(write!(io::stdout(), "{}", show::prepared(&query, &dataset, bytes, cached))?)
}

fn query(name: &str, FitArgs { resize, crop, exif_orientation, test_share }: FitArgs) -> DatasetQuery {
    DatasetQuery { name: name.to_owned(), fit: Fit { exif_orientation, resize, crop }, test_share }
}

fn open(query: &DatasetQuery, args: &SearchArgs) -> Result<Dataset, DatasetError> {
    let Search { data: roots, cache, .. } = search(args);
    let places = Places { folder: Path::new(""), roots: &roots, cache: cache.as_deref() };
    clr_dataset::open_query(query, places, clr_dataset::Check::All)
}

/// Of damage that was mended. Remarks on images stand in what is printed.
fn tell_notes(dataset: &Dataset) {
    let is_remark = |note: &str| dataset.remarks.iter().any(|remark| note.ends_with(remark.as_str()));
    dataset.notes.iter().filter(|note| !is_remark(note)).for_each(|note| tell("note", note));
}

fn fetch(name: &str, args: &SearchArgs) -> anyhow::Result<()> {
    let root = clr_dataset::places::fetch_root(args.data.as_deref())
        .context("no folder to download to: give --data DIR, or set CLR_DATA or HOME")?;
    let is_published = clr_dataset::fetch::names().any(|published| published == name);
    if let Some(found) = clr_dataset::search::find(name, &data_roots(args)).ok().filter(|_| is_published) {
        return Ok(print(&format!("{name} is there already: {found}; delete that to download it again\n"))?);
    }
    let mut bar = show::DownloadBar::new(Terminal::stderr().redraws);
    let folder = clr_dataset::fetch::fetch(name, &root, None, &mut |progress| bar.show(progress))?;
    bar.finish();
    Ok(writeln!(io::stdout(), "{name} is in {}", folder.display())?)
}
