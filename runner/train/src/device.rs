//! Devices: what `--device` asks for, and what a run takes of what there is.

use std::collections::HashSet;
use std::str::FromStr;

use clr_host::HostError;
use clr_plan::{Group, Plan};
use clr_terminal::words;
use clr_worker::Isolation;
use clr_worker::gpu::GpuInfo;

use crate::{Layout, Resources};

/// The value of `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All usable GPUs, where every plugin of the plan can use one; else the CPU.
    Auto,
    Cpu,
    /// GPUs by number; none: all that there are.
    Gpus(Vec<u32>),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let expected = || "expected `auto`, `cpu`, `cuda`, `cuda:0` or `cuda:0,1`".to_owned();
        let numbers = match text {
            "auto" => return Ok(Wanted::Auto),
            "cpu" => return Ok(Wanted::Cpu),
            "cuda" => return Ok(Wanted::Gpus(Vec::new())),
            _ => text.strip_prefix("cuda:").ok_or_else(expected)?,
        };
        let mut wanted = Vec::new();
        for number in numbers.split(',') {
            let number = number.parse().map_err(|_| expected())?;
            if wanted.contains(&number) {
                return Err(format!("GPU {number} is named twice"));
            }
            wanted.push(number);
        }
        Ok(Wanted::Gpus(wanted))
    }
}

/// The devices that a run computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// The CPU; why no GPU, where one was looked for.
    Cpu(Option<String>),
    /// These, of which there is at least one.
    Gpus(Vec<GpuInfo>),
}

impl Devices {
    /// How to spread `trials` of the plan over the devices, with so many CPU threads in all.
    ///
    /// # Errors
    ///
    /// What a plugin has against the configuration of a group, or how it died.
    pub fn layout(
        &self,
        plan: &Plan,
        resources: &Resources,
        trials: &[usize],
        jobs: usize,
        isolation: &Isolation,
    ) -> Result<Layout, HostError> {
        let layout = match self {
            Devices::Cpu(_) => Layout::cpu(jobs, trials.len()),
            Devices::Gpus(gpus) => {
                let alone = Layout { isolation: isolation.clone(), ..Layout::gpus(gpus, jobs, &[], &[]) };
                let footprints = resources.footprints(plan, &alone)?;
                let trials: HashSet<usize> = trials.iter().copied().collect();
                let count = |group: &Group| group.trials.iter().filter(|trial| trials.contains(trial)).count();
                let counts: Vec<usize> = plan.groups.iter().map(count).collect();
                Layout::gpus(gpus, jobs, &footprints, &counts)
            }
        };
        Ok(Layout { isolation: isolation.clone(), ..layout })
    }
}

/// Why the GPUs that were asked for cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--device: {0}")]
pub struct DeviceError(String);

/// The devices for `plan`.
///
/// # Errors
///
/// What is wrong with a GPU that was asked for. With [`Wanted::Auto`] there is none.
pub fn choose(
    wanted: &Wanted,
    plan: &Plan,
    resources: &Resources,
    isolation: &Isolation,
) -> Result<Devices, DeviceError> {
    let ordinals = match wanted {
        Wanted::Cpu => return Ok(Devices::Cpu(None)),
        Wanted::Auto => None,
        Wanted::Gpus(ordinals) => Some(ordinals.as_slice()),
    };
    let without = resources.plugins().values().find(|plugin| !plugin.info().devices.iter().any(|kind| kind == "cuda"));
    let found = match without {
        Some(plugin) => Err(format!("plugin `{}` computes on the CPU only", plugin.info().name)),
        None => clr_worker::gpus(isolation, plan.limits, ordinals.unwrap_or_default()),
    };
    let found = found.and_then(|gpus| has_room(&gpus, plan, resources, isolation).map(|()| gpus));
    match (found, wanted) {
        (Ok(gpus), _) => {
            tracing::info!(?gpus, "training on GPUs");
            Ok(Devices::Gpus(gpus))
        }
        (Err(reason), Wanted::Auto) => {
            tracing::info!(reason, "training on the CPU");
            Ok(Devices::Cpu(Some(reason)))
        }
        (Err(reason), _) => Err(DeviceError(reason)),
    }
}

/// Refuses GPUs one of which has no room for a trial of each group alone.
fn has_room(gpus: &[GpuInfo], plan: &Plan, resources: &Resources, isolation: &Isolation) -> Result<(), String> {
    let alone = Layout { isolation: isolation.clone(), ..Layout::gpus(gpus, 1, &[], &[]) };
    // What a plugin has against a group, it says where the trials are spread.
    let footprints = resources.footprints(plan, &alone).unwrap_or_default();
    for (group, footprint) in plan.groups.iter().zip(&footprints) {
        let needed = footprint.bytes_shared.saturating_add(footprint.bytes_per_lane);
        if let Some(gpu) = gpus.iter().find(|gpu| gpu.free < needed) {
            let (GpuInfo { ordinal, free, total, .. }, model) = (gpu, &group.shape.architecture);
            let [needed, free, total] = [needed, *free, *total].map(words::bytes);
            return Err(format!(
                "GPU {ordinal} is out of memory: a trial of {model} takes {needed}, and {free} of {total} are free"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Wanted, &str>) {
        assert_eq!(text.parse(), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn devices_are_asked_for_by_kind_and_number() {
        check("auto", Ok(Wanted::Auto));
        check("cpu", Ok(Wanted::Cpu));
        check("cuda", Ok(Wanted::Gpus(vec![])));
        check("cuda:0", Ok(Wanted::Gpus(vec![0])));
        check("cuda:2,0", Ok(Wanted::Gpus(vec![2, 0])));
        let expected = "expected `auto`, `cpu`, `cuda`, `cuda:0` or `cuda:0,1`";
        ["", "gpu", "cuda:", "cuda:-1", "cuda:0,", "CUDA"].iter().for_each(|text| check(text, Err(expected)));
        check("cuda:1,1", Err("GPU 1 is named twice"));
    }
}
