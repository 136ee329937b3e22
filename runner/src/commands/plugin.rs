//! `clr-run plugin`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clr_host::{HostError, Plugin, SearchPath};
use clr_spec::Limits;
use clr_terminal::terminal::Terminal;
use clr_terminal::{suggest, words};
use clr_worker::{Isolation, Known};

use crate::arguments::{self, Place};
use crate::cli::PluginCommand;
use crate::ready::{isolation, search};
use crate::show;

pub fn plugin(command: &PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List { search: args, isolation: kind } => {
            let plugins = search(args).plugins;
            write!(
                io::stdout(),
                "{}",
                show::plugins(&plugins, &isolation(*kind, Path::new(""), args)?, &Terminal::stdout())
            )?;
        }
        PluginCommand::Info { name, search: args, isolation: kind } => {
            let (plugins, isolation) = (search(args).plugins, isolation(*kind, Path::new(""), args)?);
            let path = Path::new(name);
            let known = match Place::of(path) {
                Place::Library => Known::of_file(path, &isolation, Limits::default()),
                _ => Known::find(&plugins, name, &isolation, Limits::default()),
            };
            let known = known.map_err(|error| no_plugin(name, error, &plugins, Some(&isolation)))?;
            write!(io::stdout(), "{}", show::plugin(known.info(), &Terminal::stdout()))?;
        }
        PluginCommand::Check { path, search: args, device, side } => {
            return check(path, &search(args).plugins, device, *side);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the conformance suite on a plugin, by its name or its file.
fn check(path: &Path, plugins: &SearchPath, device: &str, side: u32) -> anyhow::Result<ExitCode> {
    let found = plugins.list().into_iter().find(|found| path.as_os_str() == found.name.as_str());
    let named = found.filter(|_| !path.is_file()).map(|found| found.path);
    let path = named.as_deref().unwrap_or(path);
    let plugin = Plugin::load(path).map_err(|error| no_plugin(&path.display().to_string(), error, plugins, None))?;
    let size = clr_conformance::DataSize { height: side, width: side, ..Default::default() };
    let mut report = clr_conformance::run_on(device, plugin.api(), &size);
    if let Some(left) = plugin.left_by_loading() {
        report.add_failure("loading the library", left);
    }
    writeln!(io::stdout(), "{report}")?;
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why `name` is no plugin: it is something else, or a model of one, or nothing.
fn no_plugin(name: &str, error: HostError, plugins: &SearchPath, isolation: Option<&Isolation>) -> anyhow::Error {
    let is_dataset = clr_dataset::well_known().iter().any(|known| known.name == name);
    if let Some(other) = arguments::other_kind(name, is_dataset, false).filter(|_| !is_library(name)) {
        return anyhow::anyhow!("no plugin `{name}`: {other}");
    }
    let found = plugins.list();
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    if names.contains(&name) {
        // It is there, and something is wrong with it.
        return error.into();
    }
    if Place::of(Path::new(name)) == Place::Nothing && !name.contains(['/', '\\']) {
        let offers = |plugin: &&str| {
            let known = Known::find(plugins, plugin, isolation?, Limits::default()).ok()?;
            known.info().models.iter().any(|model| model.name == name).then_some(())
        };
        if let Some(plugin) = names.iter().find(|plugin| offers(plugin).is_some()) {
            return anyhow::anyhow!(
                "no plugin `{name}`: it is a model of `{plugin}`; `clr-run plugin info {plugin}` shows it"
            );
        }
        let help = suggest::help(name, names.iter().copied());
        return match error {
            HostError::NotFound { .. } if suggest::nearest(name, &names).is_some() => {
                anyhow::anyhow!("{error}; {help}")
            }
            HostError::NotFound { .. } => error.into(),
            _ => anyhow::anyhow!("there is no file and no plugin `{name}`; {help}"),
        };
    }
    let is_folder = matches!(Place::of(Path::new(name)), Place::Folder(_) | Place::Outputs(_));
    if is_folder {
        let inside: Vec<String> =
            SearchPath::new([name.into()]).list().iter().map(|found| found.path.display().to_string()).collect();
        return match inside.is_empty() {
            true => anyhow::anyhow!("{name} is a folder without plugins; name the library of one"),
            false => anyhow::anyhow!("{name} is a folder; name one of its plugins: {}", words::some_of(&inside)),
        };
    }
    error.into()
}

fn is_library(name: &str) -> bool {
    Place::of(Path::new(name)) == Place::Library
}
