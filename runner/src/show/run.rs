//! What a run prints besides its progress and its results.

use clr_plan::{Measurement, Plan, range_test_name_of};
use clr_store::{Status, TrialResult};
use clr_terminal::words::{self, counted, rounded, thousands};

/// Digits of learning rates.
const DIGITS: usize = 3;

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

/// The line before range tests that are made for a plan.
pub fn range_tests_first(plan: &Plan) -> String {
    format!(
        "bounds are \"auto\": {} first, into the output `{}`\n",
        tests(&plan.range_tests.iter().filter(|test| test.bounds.is_none()).collect::<Vec<_>>()),
        range_test_name_of(&plan.name)
    )
}

/// So many range tests, of so many iterations.
fn tests(tests: &[&Measurement]) -> String {
    let trials = tests.iter().map(|test| test.trials.len()).sum();
    let mut lengths: Vec<String> = tests.iter().map(|test| thousands(u128::from(test.iterations))).collect();
    lengths.dedup();
    format!("{} of {} iterations", counted(trials, "range test"), words::some_of(&lengths))
}

/// The bounds that a plan takes from range tests: a line for each test.
pub fn bounds_taken(plan: &Plan) -> String {
    let line = |test: &Measurement| {
        let policies: Vec<&str> = test.policies.iter().map(|policy| &**policy).collect();
        let of = format!("{} with {}", words::some_of(&policies), test.optimizer);
        let seeds = tests(&[test]);
        match test.bounds {
            Some(bounds) => {
                let [base, max] = [bounds.base, bounds.max].map(|rate| rounded(rate, DIGITS));
                format!("measured for {of}: base_lr = {base}, max_lr = {max} (by {seeds})\n")
            }
            None => format!("to be measured for {of}: base_lr and max_lr, by {seeds}\n"),
        }
    };
    plan.range_tests.iter().map(line).collect()
}
