//! A result carries its recipe: what a run was, for the manifest.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::HostError;
use crate::plan::Plan;
use crate::store::RunInfo;
use crate::train::{Layout, Resources};

/// The recipe of a run of `plan`, whose spec read `spec_text`.
///
/// # Errors
///
/// What a plugin has against the configuration of a group: an image size that its pooling does not allow, say.
pub fn of_run(
    spec_text: &str,
    plan: &Plan,
    resources: &Resources,
    layout: &Layout,
    rerun_other_numerics: bool,
) -> Result<RunInfo, HostError> {
    let mut versions = BTreeMap::from([("clr-run".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    for plugin in resources.plugins().values() {
        let info = plugin.info();
        versions.insert(format!("plugin {}", info.name), format!("{} blake3:{}", info.version, info.digest));
    }
    Ok(RunInfo {
        spec_text: spec_text.to_owned(),
        command: std::env::args().collect(),
        jobs: layout.slots() * layout.threads_per_session as usize,
        numerics: numerics(plan, resources, layout)?,
        devices: layout.devices.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
        versions,
        rerun_other_numerics,
        ..RunInfo::default()
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
