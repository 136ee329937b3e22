//! What a run prints besides its progress and its results.

use clr_store::{Status, TrialResult};
use clr_terminal::words::counted;

/// `clr-run SPEC.toml`, where no trial is left that would be run.
pub fn nothing_to_run<'m>(results: impl Iterator<Item = TrialResult<'m>> + Clone) -> String {
    let count = |is: fn(Status) -> bool| results.clone().filter(|result| is(result.status)).count();
    let (all, over, failed) = (count(|_| true), count(Status::is_done), count(Status::is_failure));
    match (all, failed) {
        (1, 0) => "the trial is finished already; nothing to run\n".to_owned(),
        (_, 0) => format!("all {all} trials are finished already; nothing to run\n"),
        _ => {
            let them = if failed == 1 { "it" } else { "them" };
            format!(
                "nothing to run: of {}, {over} finished and {failed} failed before; --retry-failed runs {them} again, from \
                 the last checkpoint\n",
                counted(all, "trial")
            )
        }
    }
}

/// The line after a run in which the machine interrupted `count` trials.
pub fn interrupted(count: usize) -> String {
    let trials = counted(count, "trial");
    format!(
        "error: the machine, not the spec, interrupted {trials} (see above): nothing is held against them, and the same \
         command goes on with them\n"
    )
}
