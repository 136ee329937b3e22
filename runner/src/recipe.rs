//! A result carries its recipe: what a run was, for the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clr_host::HostError;
use clr_plan::{Facts, Plan, source_file};
use clr_spec::{TableColumn, standalone};
use clr_store::{KeptSpec, RunInfo, table_path};
use clr_system::regular;
use clr_train::{Layout, Resources};

use crate::gather::LARGEST_TABLE;
use crate::ready::Planned;
use crate::verify::Recipe;

/// What was asked for, and where it was found.
pub fn of_spec(Planned { recipe, gathered, .. }: &Planned) -> RunInfo {
    RunInfo {
        spec: kept_spec(recipe, &gathered.facts),
        sets: recipe.sets.clone(),
        data: recipe.data.iter().filter_map(|root| std::path::absolute(root).ok()).collect(),
        ..RunInfo::default()
    }
}

/// The spec as it is kept with its results: with `--set` written into it, and with copies of its tables and of the files that
/// its options name. Where that cannot be, as it is.
fn kept_spec(Recipe { source, sets, folder, .. }: &Recipe, facts: &Facts) -> KeptSpec {
    let absolute = std::path::absolute(folder).unwrap_or_default();
    let read = |TableColumn { file, .. }: &TableColumn| {
        let text = regular::read_text(&folder.join(file), LARGEST_TABLE).ok()?;
        Some((file.clone(), table_path(Path::new(file), &text), text))
    };
    // The text that the plan was made of, whatever the file has become since.
    let files = facts.files.iter().map(|(file, text)| {
        let text = text.as_ref().ok()?;
        Some((file.clone(), table_path(Path::new(&source_file::name(file)), text), text.clone()))
    });
    let whole = || {
        let tables: Vec<(String, String, String)> =
            facts.tables.keys().map(read).chain(files).collect::<Option<_>>()?;
        let renamed = tables.iter().map(|(file, path, _)| (file.clone(), path.clone())).collect();
        let text = standalone(source, sets, &facts.file_options(), &renamed)?;
        let tables = tables.into_iter().map(|(_, path, text)| (path, text)).collect();
        Some(KeptSpec { text, is_whole: true, tables, folder: absolute.clone() })
    };
    whole().unwrap_or_else(|| {
        tracing::warn!(spec = source.name, "kept as it is, without --set and the files of its tables");
        KeptSpec { text: source.text.clone(), folder: absolute.clone(), ..KeptSpec::default() }
    })
}

/// The same, with what it is run by and on.
///
/// # Errors
///
/// What a plugin has against the configuration of a group: an image size that its pooling does not allow, say.
pub fn of_run(asked: RunInfo, plan: &Plan, resources: &Resources, layout: &Layout) -> Result<RunInfo, HostError> {
    let mut versions = BTreeMap::from([("clr-run".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    for plugin in resources.plugins().values() {
        let info = plugin.info();
        versions.insert(format!("plugin {}", info.name), format!("{} blake3:{}", info.version, info.digest));
    }
    Ok(RunInfo {
        command: std::env::args().collect(),
        jobs: layout.slots() * layout.threads_per_session as usize,
        numerics: numerics(plan, resources, layout)?,
        devices: layout.devices.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
        versions,
        builds: plan.groups.iter().map(|group| resources.plugin(&group.shape).info().digest.clone()).collect(),
        ..asked
    })
}

/// For each group of `plan`, what decides its bits besides the plan, such as `cifar/1 cpu-avx2`.
///
/// # Errors
///
/// As [`of_run`].
pub fn numerics(plan: &Plan, resources: &Resources, layout: &Layout) -> Result<Vec<String>, HostError> {
    let footprints = resources.footprints(plan, layout)?;
    let numerics = plan.groups.iter().zip(footprints).map(|(group, footprint)| {
        let info = resources.plugin(&group.shape).info();
        format!("{}/{} {}", info.name, info.numerics_revision, footprint.numerics)
    });
    Ok(numerics.collect())
}
