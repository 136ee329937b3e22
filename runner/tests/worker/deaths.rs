//! Workers that end, are ended, or should end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clr_host::{Completion, Death, HostError, Session, Split, StepCall};
use clr_spec::Limits;
use clr_worker::{Launch, Worker};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::prepared::Prepared;
use crate::world::{BOWL, World};

/// A bowl so wide that steps take long.
const WIDE: [(&str, &str); 1] = [("noise        = 0.5", "noise        = 0.5\ndimension    = 65_536")];

fn wide() -> Prepared {
    Prepared::new(&WIDE.iter().fold(BOWL.to_owned(), |spec, (from, to)| spec.replace(from, to)))
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32).unwrap()
}

/// A call that takes minutes, unless something comes between.
fn long_call(session: &mut dyn Session, prepared: &Prepared, cancel: &AtomicBool) -> Result<Completion, HostError> {
    let (steps, shape) = (4096, prepared.shape());
    let batch_size = shape.data.batch_size as usize;
    let call = StepCall {
        step_count: steps as u32,
        first_steps: &[0],
        lane_steps: &[steps as u32],
        shared_samples: true,
        sample_counts: &vec![batch_size as u32; steps],
        samples: &vec![1; steps * batch_size],
        epochs: &vec![0; steps * batch_size],
        hypers: &vec![0.001; steps * shape.hypers.len()],
    };
    session.step(&call, &mut [0], &mut vec![0.0; steps * shape.metrics.len()], cancel)
}

/// Calls, and meanwhile does something to the worker.
fn disturbed(
    prepared: &Prepared,
    limits: Limits,
    disturb: impl FnOnce(Pid, &AtomicBool) + Send,
) -> (Result<Completion, HostError>, bool) {
    let mut worker = Worker::start(&prepared.launch(), limits).unwrap();
    let id = pid(worker.process_id().unwrap());
    let cancel = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let mut session = prepared.there(&mut worker, 1).unwrap();
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            disturb(id, &cancel);
        });
        long_call(&mut session, prepared, &cancel)
    });
    assert_eq!(test_kill_process(id).is_ok(), worker.is_alive(), "a worker that is given up is gone");
    (result, worker.is_alive())
}

#[track_caller]
fn check_death(result: (Result<Completion, HostError>, bool), expected: &Death) {
    let (Err(HostError::Died { plugin, function, death, .. }), false) = &result else { panic!("{result:?}") };
    assert_eq!((plugin.as_str(), *function, death), ("quadratic", "session_step", expected));
}

#[test]
fn a_worker_that_is_killed_is_reported_with_the_signal() {
    let prepared = wide();
    // Not SIGSEGV: Rust ignores one that no instruction caused. The plugin `faulty` causes one.
    for signal in [Signal::ABORT, Signal::KILL, Signal::ILL, Signal::FPE] {
        let result = disturbed(&prepared, Limits::default(), |id, _| kill_process(id, signal).unwrap());
        check_death(result, &Death::Signal(signal.as_raw()));
    }
}

#[test]
fn interrupts_are_for_the_supervisor_and_a_cancel_ends_the_call() {
    let prepared = wide();
    let (result, is_alive) = disturbed(&prepared, Limits::default(), |id, cancel| {
        kill_process(id, Signal::INT).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!((result.unwrap(), is_alive), (Completion::Cancelled, true));
}

#[test]
fn a_call_that_does_not_return_is_ended() {
    let prepared = wide();
    let limits = Limits { call: Duration::from_millis(1500), ..Limits::default() };
    // A stopped process neither computes nor answers.
    let result = disturbed(&prepared, limits, |id, _| kill_process(id, Signal::STOP).unwrap());
    check_death(result, &Death::Hung(limits.call));
}

#[test]
fn too_much_memory_is_noticed() {
    let prepared = wide();
    let limits = Limits { memory: Some(1 << 16), ..Limits::default() };
    let mut worker = Worker::start(&prepared.launch(), limits).unwrap();
    // On a busy machine it is noticed before there is a session.
    let result = prepared
        .there(&mut worker, 1)
        .and_then(|mut session| long_call(&mut session, &prepared, &AtomicBool::new(false)));
    let is_alive = worker.is_alive();
    if !std::path::Path::new("/proc/self/statm").exists() {
        eprintln!("SKIPPED: no /proc here");
        return;
    }
    let Err(error @ HostError::Died { death: Death::Memory { used, limit: 0x10000 }, .. }) = &result else {
        panic!("{result:?}")
    };
    assert!(*used > 1 << 16 && error.is_out_of_memory() && !is_alive, "{error}");
}

#[test]
fn after_a_death_there_is_no_session_and_another_worker_helps() {
    let prepared = Prepared::new(BOWL);
    let mut worker = prepared.worker();
    let id = pid(worker.process_id().unwrap());
    let mut session = prepared.there(&mut worker, 1).unwrap();
    kill_process(id, Signal::KILL).unwrap();
    let cancel = AtomicBool::new(false);
    let mut evaluate = || session.evaluate(Split::Test, 0, 20, &[true], &mut [0.0; 3], &cancel);
    let first = evaluate().unwrap_err();
    assert!(first.is_death() && first.to_string().contains("killed by SIGKILL (signal 9)"), "{first}");
    assert!(matches!(evaluate().unwrap_err(), HostError::Broken { .. }));
    drop(session);
    assert!(!worker.is_alive() && worker.process_id().is_none());
    let mut worker = prepared.worker();
    let mut session = prepared.there(&mut worker, 1).unwrap();
    session.evaluate(Split::Test, 0, 20, &[true], &mut [0.0; 3], &cancel).unwrap();
}

#[track_caller]
fn check_not_started(program: &str, expected: &str) {
    let (folder, roots, checked) = (PathBuf::new(), Vec::new(), Vec::new());
    let launch = Launch { program: program.into(), folder, roots, cache: None, checked };
    let Err(Death::NotStarted(problem)) = Worker::start(&launch, Limits::default()) else { panic!("it started") };
    assert!(problem.contains(expected), "{problem}");
}

#[test]
fn a_program_that_is_no_worker_is_noticed() {
    check_not_started("/no/such/program", "No such file");
    check_not_started("/bin/true", "the worker exited with code 0");
    // Prints its argument and ends.
    check_not_started("/bin/echo", "not a frame");
}

#[test]
fn a_worker_ends_when_its_pipe_closes() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_clr-run"))
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_worker_is_no_command_for_people() {
    let world = World::new(BOWL);
    let help = world.run(&["--help"]);
    assert!(!help.stdout.contains("worker  "), "{}", help.stdout);
    let garbage = world.command(&["worker"]).stdin(Stdio::null()).output().unwrap();
    assert!(garbage.status.success(), "no supervisor: {garbage:?}");
}

/// A worker that lives on, of a supervisor that a script was made to wait for with a lock or a pipe, must not hold those.
#[test]
fn a_worker_keeps_nothing_open_that_it_inherits() {
    let prepared = Prepared::new(BOWL);
    let (script, held) = (prepared.path("with-a-lock"), prepared.path("held"));
    let program = env!("CARGO_BIN_EXE_clr-run");
    fs::write(&script, format!("#!/bin/sh\nexec 3>'{0}' 9>'{0}'\nexec '{program}' \"$@\"\n", held.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let launch = Launch { program: script, ..prepared.launch() };
    let mut worker = Worker::start(&launch, Limits::default()).unwrap();
    assert!(held.exists(), "the script ran");
    let Ok(open) = fs::read_dir(format!("/proc/{}/fd", worker.process_id().unwrap())) else {
        eprintln!("SKIPPED: no /proc here");
        return;
    };
    let open: Vec<PathBuf> = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(open.len() >= 5 && !open.contains(&held), "{open:?}");
    prepared.there(&mut worker, 1).expect("a worker like any other");
}

/// The workers of a process; none where nobody tells.
fn children(of: u32) -> Vec<Pid> {
    let Ok(output) = Command::new("pgrep").args(["-P", &of.to_string()]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter_map(|id| Some(pid(id.parse().ok()?))).collect()
}

/// A supervisor that is killed cannot end its workers: they notice, also in the middle of a call.
#[test]
fn no_worker_outlives_its_supervisor() {
    let spec = WIDE.iter().fold(BOWL.to_owned(), |spec, (from, to)| spec.replace(from, to));
    let world = World::new(&spec);
    let mut running =
        world.start(&["--set", "train.iterations=10_000_000", "--set", "train.eval_every=0", "--jobs", "2"]);
    running.wait_for("started");
    let workers = children(running.id());
    if workers.is_empty() {
        eprintln!("SKIPPED: no command `pgrep` here");
        return;
    }
    std::thread::sleep(Duration::from_millis(200));
    running.signal("KILL");
    running.finish();
    let started = Instant::now();
    while workers.iter().any(|&worker| test_kill_process(worker).is_ok()) {
        assert!(started.elapsed() < Duration::from_secs(60), "{workers:?} are still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
