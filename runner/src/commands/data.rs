//! `clr-run data`

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clr_terminal::terminal::Terminal;

use crate::cli::{DataCommand, SearchArgs};
use crate::console::{print, tell};
use crate::gather::Search;
use crate::ready::{data_roots, search};
use crate::{arguments, show};

pub fn data(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::List { search: args } => {
            write!(io::stdout(), "{}", show::datasets(&search(args).data, &Terminal::stdout()))?;
        }
        DataCommand::Info { name, search } => info(name, search)?,
        DataCommand::Fetch { name, search } => fetch(name, search)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn info(name: &str, args: &SearchArgs) -> anyhow::Result<()> {
    let Search { data: roots, cache, plugins } = search(args);
    let dataset = clr_dataset::open(name, &roots, cache.as_deref()).map_err(|error| {
        let is_plugin = plugins.list().iter().any(|found| found.name == *name);
        match arguments::other_kind(name, false, is_plugin) {
            Some(other) => anyhow::anyhow!("no dataset `{name}`: {other}"),
            None => error.into(),
        }
    })?;
    dataset.notes.iter().for_each(|note| tell("note", note));
    Ok(write!(io::stdout(), "{}", show::dataset(&dataset, &Terminal::stdout()))?)
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
