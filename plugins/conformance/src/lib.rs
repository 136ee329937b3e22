//! The suite that any plugin must pass: what `clr_plugin.h` promises, tried out.
//!
//! [`run`] knows nothing of the plugin beyond its table of functions. It trains a few tiny trials on random images in
//! many ways that must make no difference (alone, among others, in one call, in many, on two threads, interrupted, from
//! saved state, ...) and compares every bit.
//!
//! - `driver.rs` makes the calls, with `padded.rs` and `offer.rs`, and `surroundings.rs` and `threads.rs` see what they leave
//!   changed;
//!   `history.rs` says what each trial is fed;
//! - `training.rs`, `groups.rs`, `state.rs` and `refusals.rs` hold the checks.

mod driver;
mod groups;
mod history;
mod inputs;
mod offer;
mod padded;
mod refusals;
mod report;
mod state;
mod surroundings;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod threads;
mod training;

pub use inputs::DataSize;
pub use report::{Check, Outcome, Report};

use crate::driver::Rig;
use crate::history::Bench;
use crate::report::Verdict;

/// Runs every check. The plugin's functions are called with arguments as the header has them, so a plugin that keeps to
/// the header does nothing undefined; one that does not may crash the process.
pub fn run(api: &clr_abi::Api, size: &DataSize) -> Report {
    run_on("cpu", api, size)
}

/// As [`run`], on a device such as "cuda:0".
pub fn run_on(device: &str, api: &clr_abi::Api, size: &DataSize) -> Report {
    run_of(device, api, size, |_| true)
}

/// As [`run_on`], with some of the models alone: large ones take their time.
pub fn run_of(device: &str, api: &clr_abi::Api, size: &DataSize, is_tried: impl Fn(&str) -> bool) -> Report {
    let mut report = Report::default();
    let rig = match Rig::new(api) {
        Ok(rig) => rig,
        Err(problem) => {
            report.add("describe", Verdict::Failed(problem));
            return report;
        }
    };
    report.plugin = rig.offer().name.clone();
    report.add("describe", Verdict::Passed);
    report.add("describe: newer and malformed hosts", refusals::describe_sizes(&rig));
    report.add("destroying no session", refusals::destroy_null(&rig));
    for (index, model) in rig.offer().models.iter().enumerate().filter(|(_, model)| is_tried(&model.name)) {
        let name = |check: &str| format!("{}: {check}", model.name);
        let bench = match Bench::new(&rig, device, index, size) {
            Ok(bench) => bench,
            Err(verdict) => {
                report.add(name("trials alone"), verdict);
                continue;
            }
        };
        report.add(name("trials alone"), bench.sanity());
        // A whole network takes its time: all that does not depend on the model is checked with the first.
        for (check, function, with_every_model) in CHECKS {
            if index == 0 || *with_every_model {
                report.add(name(check), function(&bench).into());
            }
        }
    }
    report
}

type CheckFunction = fn(&Bench<'_>) -> Result<(), Verdict>;

const CHECKS: &[(&str, CheckFunction, bool)] = &[
    ("footprint", refusals::footprint, true),
    ("lanes alone and among others", training::among_others, true),
    ("many steps in one call or one by one", training::one_by_one, false),
    ("lanes at different steps, and lanes left alone", training::different_steps, true),
    ("samples shared by all lanes", training::shared_samples, false),
    ("one thread and two", training::two_threads, false),
    ("its own threads compute as the caller does", training::own_threads, false),
    ("two sessions at once", training::two_sessions, false),
    ("evaluation changes nothing", training::evaluation, false),
    ("a lane that is reset", training::reset, true),
    ("cancelling", training::cancel, false),
    ("divergence is data", training::divergence, false),
    ("precision f32 is the default", training::precision, false),
    ("streamed images", training::streamed, false),
    ("accumulated gradients", training::accumulated, false),
    ("tensors", state::tensors, true),
    ("saved and loaded elsewhere", state::continue_elsewhere, true),
    ("groups of parameters", groups::groups, false),
    ("a newer host", refusals::newer_host, false),
    ("malformed configurations", refusals::malformed_configs, false),
    ("malformed resets", refusals::malformed_resets, false),
];
