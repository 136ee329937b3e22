//! What becomes of trials that share their sessions with one that breaks them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clr_event::Outcome;
use clr_train::Layout;

use crate::prepared::Prepared;
use crate::support::cargo_build_target;

/// Five trials, the first of which is guilty.
const SPEC: &str = r#"
[experiment]
name  = "faults"
seeds = [1, 2, 3, 4]

[model]
plugin       = "faulty"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 30
eval_every = 10

[policies.fixed]
kind    = "fixed"
base_lr = 0.05

[optimizers.guilty]
kind       = "sgd"
fault_step = 12
FAULT

[optimizers.sgd]
kind = "sgd"

[grid]
exclude = [{ optimizer = "guilty", seed = [1, 2, 4] }]

[limits]
call   = "2 s"
memory = "64 MiB"
"#;

const GUILTY: &str = "fixed guilty seed=3";

/// A program that is `clr-run` with faults switched on, which they are not in this process.
fn with_faults(prepared: &Prepared) -> PathBuf {
    let script = prepared.path("clr-run");
    let text = format!(
        "#!/bin/sh\nCLR_FAULTS='{}' exec '{}' \"$@\"\n",
        prepared.path("struck").display(),
        env!("CARGO_BIN_EXE_clr-run")
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn prepared(spec: &str, fault: &str) -> Prepared {
    let plugin = cargo_build_target(&["-p", "clr-faulty"], "faulty");
    Prepared::with_plugin(&spec.replace("FAULT", fault), Some(plugin))
}

/// How often a fault struck.
fn strikes(prepared: &Prepared) -> u64 {
    fs::read_dir(prepared.path("struck")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Trains with the fault in one of `lanes` lanes. Every other trial is as without; returns what became of the guilty one,
/// and how often the fault struck.
#[track_caller]
fn struck(fault: &str, lanes: usize) -> (Outcome, u64) {
    struck_in(SPEC, fault, lanes)
}

#[track_caller]
fn struck_in(spec: &str, fault: &str, lanes: usize) -> (Outcome, u64) {
    let mut prepared = prepared(spec, fault);
    let layout = Layout { devices: vec!["cpu".to_owned(); 2], lanes: vec![lanes], ..Layout::cpu(1, 1) };
    let undisturbed = prepared.train(&layout, false);
    assert_eq!(undisturbed.len(), 5);
    prepared.program = with_faults(&prepared);
    let mut disturbed = prepared.train(&layout, true);
    let guilty = disturbed.insert(GUILTY.to_owned(), undisturbed[GUILTY].clone()).expect("it was trained");
    assert_eq!(disturbed, undisturbed, "{fault}: the healthy trials are as they were");
    let outcome = guilty.outcome.expect("it has ended");
    if outcome == Outcome::Finished {
        assert_eq!(undisturbed[GUILTY].metrics, guilty.metrics, "{fault}: what passed leaves no trace");
    }
    (outcome, strikes(&prepared))
}

#[track_caller]
fn check_crashed(fault: &str, lanes: usize, expected: &str, expected_strikes: u64) {
    match struck(fault, lanes) {
        (Outcome::Crashed { message }, strikes) => {
            assert!(message.contains(expected), "{fault}: {message}");
            assert_eq!(strikes, expected_strikes, "{fault}, with {lanes} lanes");
        }
        other => panic!("{fault}: {other:?}"),
    }
}

#[test]
fn a_lone_trial_is_tried_three_times_without_getting_further() {
    // The second try, a step a call, gets from the evaluation at 10 to the fault at 12.
    let segfault = "after step 12: plugin `faulty`: session_step: the worker was killed by SIGSEGV (signal 11)";
    check_crashed("fault = \"segfault\"", 1, segfault, 4);
    check_crashed("fault = \"exit\"\nexit_code = 9", 1, "the worker exited with code 9", 4);
    check_crashed("fault = \"hang\"", 1, "the call did not return within 2.0s", 4);
    check_crashed("fault = \"segfault\"\nfault_in = \"evaluate\"", 1, "after step 20: ", 3);
    // More memory does not come by itself.
    check_crashed("fault = \"leak\"\nleak_mib = 60_000", 1, "its trials may use 64.0 MiB", 1);
}

#[test]
fn a_session_is_tried_again_and_then_halved_until_the_guilty_trial_stands_alone() {
    // Five lanes twice, three of them once, two of them once, then alone: once more to step 10, thrice to step 12.
    for (fault, expected) in [
        ("fault = \"abort\"", "the worker was killed by SIGABRT (signal 6)"),
        ("fault = \"scribble\"", "the worker's pipe carried what is no answer"),
    ] {
        match struck(fault, 5) {
            (Outcome::Crashed { message }, strikes) => {
                assert!(message.starts_with("after step 12: ") && message.contains(expected), "{fault}: {message}");
                assert_eq!(strikes, 8, "{fault}");
            }
            other => panic!("{fault}: {other:?}"),
        }
    }
}

/// As where a user may have no more processes: starting one fails, and later it does not.
#[test]
fn a_machine_that_lets_no_worker_be_started_for_a_while_costs_no_trial() {
    let mut prepared = prepared(SPEC, "");
    let layout = Layout::cpu(1, 1);
    let undisturbed = prepared.train(&layout, false);
    let (script, count) = (prepared.path("refusing"), prepared.path("count"));
    let text = format!(
        "#!/bin/sh\necho x >> '{0}'\nif [ $(wc -l < '{0}') -le 3 ]; then\n\
         echo 'fork: Resource temporarily unavailable' >&2\nexit 2\nfi\nexec '{1}' \"$@\"\n",
        count.display(),
        env!("CARGO_BIN_EXE_clr-run")
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    prepared.program = script;
    assert_eq!(prepared.train(&layout, true), undisturbed);
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 4, "three refusals, and one worker for all trials");
}

#[test]
fn an_error_fails_the_guilty_trial_alone() {
    for (fault, lanes, expected) in [
        ("fault = \"error\"", 5, "failed on demand (CLR_INTERNAL)"),
        ("fault = \"error\"", 1, "failed on demand (CLR_INTERNAL)"),
        ("fault = \"out_of_memory\"", 5, "out of memory on demand (CLR_OUT_OF_MEMORY)"),
        ("fault = \"device\"", 2, "the device failed on demand (CLR_DEVICE)"),
        ("fault = \"panic\"", 2, "panicked on demand"),
        ("fault = \"break_rules\"", 2, "unheard of"),
        // What its neighbours computed after it in that call is made again.
        ("fault = \"rounding\"", 5, "it left the floating-point environment changed: it rounds toward zero"),
    ] {
        match struck(fault, lanes).0 {
            Outcome::Failed { message } => assert!(message.contains(expected), "{fault}: {message}"),
            other => panic!("{fault}: {other:?}"),
        }
    }
}

#[test]
fn what_passes_and_what_a_plugin_prints_change_nothing() {
    for (fault, lanes, expected_strikes) in [
        ("fault = \"killed\"\nfault_times = 1", 5, 1..=2),
        ("fault = \"segfault\"\nfault_times = 2", 1, 2..=3),
        ("fault = \"exit\"\nfault_in = \"evaluate\"\nfault_times = 1", 3, 1..=9),
        ("fault = \"print\"", 3, 1..=9),
    ] {
        let (outcome, strikes) = struck(fault, lanes);
        assert_eq!(outcome, Outcome::Finished, "{fault}");
        assert!(expected_strikes.contains(&strikes), "{fault}: {strikes} strikes");
    }
}

#[test]
fn a_lane_that_diverges_is_over_and_its_neighbours_do_not_notice() {
    for lanes in [1, 5] {
        match struck("fault = \"nan\"", lanes).0 {
            Outcome::Diverged { iteration } => assert_eq!(iteration, 12, "{lanes} lanes"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_trial_that_takes_too_long_fails() {
    let limits = "call   = \"2 s\"\nmemory = \"64 MiB\"";
    assert!(SPEC.contains(limits));
    let spec = SPEC.replace(limits, "time = \"5 s\"");
    match struck_in(&spec, "fault = \"slow\"\nslow_ms = 1000", 1).0 {
        Outcome::Failed { message } => assert_eq!(message, "took longer than 5.0s (`time` in `[limits]`)"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_run_stops_after_the_first_failure_where_it_is_to() {
    for (on_error, ended) in [("continue", 5), ("stop", 1)] {
        let spec = SPEC.replace("[limits]", &format!("[limits]\non_error = \"{on_error}\""));
        let mut prepared = prepared(&spec, "fault = \"error\"");
        prepared.program = with_faults(&prepared);
        let histories = prepared.train(&Layout::cpu(1, 1), true);
        assert!(matches!(histories[GUILTY].outcome, Some(Outcome::Failed { .. })), "{histories:?}");
        assert_eq!(histories.len(), ended, "{on_error}");
    }
}
