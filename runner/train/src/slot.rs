//! A slot: sessions one after the other, and what becomes of trials whose session failed.
//!
//! Whatever a session's failure says, the trials in it are tried again from their last checkpoints, as long as that may
//! help: as they were, then in halves, until a trial that breaks every session stands alone. Only that one is given up, and
//! what the machine may have done is held against none ([`super::trouble`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_host::{Blame, Death, HostError, PluginInfo, Session};
use clr_plan::Plan;
use clr_spec::Limits;
use clr_terminal::words;
use clr_worker::{Launch, Worker};
use crossbeam_channel::Sender;

use super::lanes::{Driver, FailedSession};
use super::queue::{Queue, Set};
use super::trouble::{CONVICTION, Failure, TRIES, Trouble};
use super::{Isolation, Layout, Resources};

/// A trial that ends its sessions so often in a row, by what only a plugin does, alone and without having got further, has
/// crashed.
const LONE_FAILURES: u32 = 3;

/// After so many tries to start a worker, which nobody can, a slot ends: its own thread may be one too many.
const STUCK: u32 = 3;

/// How soon a slot that waits notices that the run is cancelled.
const GLANCE: Duration = Duration::from_millis(50);

/// A thread that trains sets of trials, one after the other.
pub struct Slot<'a> {
    plan: &'a Plan,
    queue: &'a Queue,
    resources: &'a Resources,
    layout: &'a Layout,
    /// One of the layout's.
    device: &'a str,
    cancel: &'a AtomicBool,
    events: Sender<Event>,
    /// Used again for as long as it lives.
    worker: Option<Worker>,
}

/// A slot's view of the others.
#[derive(Clone, Copy, Debug)]
struct Others {
    /// Calls that brought any trial of this run further.
    advances: u64,
    /// True if some slot is in a session now.
    train: bool,
}

/// The verdict on trials whose session failed.
#[derive(Debug)]
enum Verdict {
    /// These are tried again, after a wait.
    Again(Vec<Set>, Duration),
    /// These are given up, after this.
    Ended(Vec<Work>, Outcome, Trouble),
}

impl<'a> Slot<'a> {
    /// Without a worker yet.
    pub fn new(
        plan: &'a Plan,
        queue: &'a Queue,
        resources: &'a Resources,
        layout: &'a Layout,
        device: &'a str,
        cancel: &'a AtomicBool,
        events: Sender<Event>,
    ) -> Slot<'a> {
        Slot { plan, queue, resources, layout, device, cancel, events, worker: None }
    }

    /// Trains until nothing is left, or the run is cancelled.
    pub fn run(mut self) {
        self.queue.slots.fetch_add(1, Ordering::Relaxed);
        while let Some((set, mut turn)) = self.queue.take_set(&self.layout.lanes) {
            if self.cancel.load(Ordering::Relaxed) {
                self.end(set.work.into_iter().filter(|work| work.started).collect(), &Outcome::Stopped);
                continue;
            }
            self.queue.training.fetch_add(1, Ordering::Relaxed);
            let trained = self.train(&set);
            self.queue.training.fetch_sub(1, Ordering::Relaxed);
            if let Err(FailedSession { error, in_flight }) = trained {
                let has_no_worker = matches!(error, HostError::Died { death: Death::NotStarted(_), .. });
                turn.again = self.settle(&set, error, in_flight);
                let is_stuck = has_no_worker && turn.again.iter().any(|set| set.trouble.tries >= STUCK);
                if is_stuck && self.queue.lets_a_slot_go() {
                    return;
                }
            }
        }
        self.queue.slots.fetch_sub(1, Ordering::Relaxed);
    }

    /// One session, to its end.
    fn train(&mut self, set: &Set) -> Result<(), FailedSession> {
        if set.trouble.tries > 0 {
            // What failed in one process is to be seen in another.
            self.worker = None;
        }
        let from_its_start = |work: &Work| Work { reached: work.step(), ..work.clone() };
        let work: Vec<Work> = set.work.iter().map(from_its_start).collect();
        let shape = &*self.plan.groups[set.group].shape;
        let (plugin, feed) = (self.resources.plugin(shape), self.resources.feed(shape));
        let trials: Vec<usize> = work.iter().map(|work| work.trial).collect();
        let config = self.resources.session_config(self.plan, &trials, self.layout, self.device);
        let opened: Result<Box<dyn Session + '_>, HostError> = match &self.layout.isolation {
            Isolation::None => plugin.session(config).map(boxed),
            Isolation::Process(launch) => living(&mut self.worker, launch, self.plan.limits)
                .map_err(|death| not_started(plugin.info(), death))
                .and_then(|worker| worker.open(plugin.info(), &config, &shape.data))
                .map(boxed),
        };
        let session = match opened {
            Ok(session) => {
                tracing::debug!(group = set.group, lanes = work.len(), "session opened");
                session
            }
            Err(error) => return Err(FailedSession { error, in_flight: work }),
        };
        let step_by_step = set.goes_step_by_step();
        let queue = (!set.is_suspect && !step_by_step).then_some(self.queue);
        let has_state = plugin.info().has_state;
        let advances = &self.queue.advances;
        let driver =
            Driver::new(self.plan, set.group, feed, session, has_state, queue, advances, self.cancel, &self.events);
        driver.drive(work, if step_by_step { 1 } else { self.layout.steps_per_call })
    }

    /// Returns the sets of a failed session that are to be tried again, and ends its other trials.
    fn settle(&mut self, set: &Set, error: HostError, in_flight: Vec<Work>) -> Vec<Set> {
        tracing::warn!(group = set.group, lanes = in_flight.len(), %error, "session failed");
        if !error.is_refusal() {
            // What else may be wrong with a process in which something went wrong, nobody knows.
            self.worker = None;
        }
        if self.cancel.load(Ordering::Relaxed) {
            self.end(in_flight, &Outcome::Stopped);
            return Vec::new();
        }
        let trials = in_flight.iter().map(|work| work.trial).collect();
        let message = error.to_string();
        let others = Others {
            advances: self.queue.advances.load(Ordering::Relaxed),
            train: self.queue.training.load(Ordering::Relaxed) > 0,
        };
        match judge(set, error, in_flight, others) {
            Verdict::Again(sets, wait) => {
                let again = if wait.is_zero() {
                    String::new()
                } else {
                    format!("; again in {}", words::duration(wait.as_secs_f64()))
                };
                // Whoever waits until others have done their work need not say so all the time.
                if sets.iter().all(|set| set.trouble.tries <= TRIES) {
                    // Errors do not occur: the receiver outlives every slot.
                    let _ = self.events.send(Event::Retried { trials, message: message + &again });
                }
                self.wait(wait);
                sets
            }
            Verdict::Ended(work, outcome, trouble) => {
                self.end(work, &outcome);
                let is_interrupted = matches!(outcome, Outcome::Interrupted { .. });
                if is_interrupted && !others.train && !trouble.others_got_further() {
                    // Every other trial would fare like this one.
                    self.cancel.store(true, Ordering::Relaxed);
                }
                Vec::new()
            }
        }
    }

    /// Waits, unless the run is cancelled.
    fn wait(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.cancel.load(Ordering::Relaxed) {
            sleep(GLANCE.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn end(&self, work: Vec<Work>, outcome: &Outcome) {
        if outcome.stops_the_run(&self.plan.limits) {
            self.cancel.store(true, Ordering::Relaxed);
        }
        for work in work {
            // Errors do not occur: the receiver outlives every slot.
            let trial = work.trial;
            if !work.started {
                // Its session could not be opened, and nothing ends that has not begun.
                let _ = self.events.send(Event::Started { trial, step: work.step() });
            }
            let _ = self.events.send(Event::Ended { trial, outcome: outcome.clone(), elapsed: work.elapsed });
        }
    }
}

fn boxed<'s>(session: impl Session + 's) -> Box<dyn Session + 's> {
    Box::new(session)
}

/// The worker, or where it is gone another.
fn living<'w>(worker: &'w mut Option<Worker>, launch: &Launch, limits: Limits) -> Result<&'w mut Worker, Death> {
    let living = match worker.take() {
        Some(worker) if worker.is_alive() => worker,
        _ => Worker::start(launch, limits)?,
    };
    Ok(worker.insert(living))
}

fn not_started(plugin: &PluginInfo, death: Death) -> HostError {
    HostError::Died { plugin: plugin.name.clone(), function: "session_create", death, stderr: String::new() }
}

/// The verdict on `in_flight`, the trials that a session held when it failed. It began with those of `set`.
fn judge(set: &Set, error: HostError, in_flight: Vec<Work>, others: Others) -> Verdict {
    let Set { group, work: ref before, is_suspect, .. } = *set;
    if in_flight.is_empty() {
        return Verdict::Again(Vec::new(), Duration::ZERO);
    }
    let got_further =
        has_more_rows(before, &in_flight) || in_flight.len() == 1 && has_newer_checkpoint(before, &in_flight[0]);
    let blame = error.blame();
    let trouble = match blame {
        Blame::Plugin => Trouble::default(),
        Blame::Unclear | Blame::Machine => set.trouble.after(Failure {
            got_further,
            made_steps: in_flight.iter().any(|work| made_steps(before, work)),
            step: in_flight[0].reached,
            others: others.advances.saturating_sub(in_flight.iter().map(|work| work.calls).sum()),
        }),
    };
    if blame == Blame::Machine {
        // What the machine lacks, others may have, who give it back when they are done.
        if trouble.tries >= TRIES && !others.train && !trouble.others_advance {
            let message = format!("{error}; tried {} times", trouble.tries);
            return Verdict::Ended(in_flight, Outcome::Interrupted { message }, trouble);
        }
        let failures = set.failures;
        return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect, trouble }], trouble.wait());
    }
    let wait = if blame == Blame::Unclear { trouble.wait() } else { Duration::ZERO };
    let [alone] = &in_flight[..] else {
        // Less memory, or a call that one lane's options make impossible: as they are they would fail again.
        let may_pass = !error.is_out_of_memory() && !error.is_refusal();
        let failures = if got_further { 1 } else { set.failures + 1 };
        if may_pass && failures == 1 {
            return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect, trouble }], wait);
        }
        let mut first = in_flight;
        let second = first.split_off(first.len().div_ceil(2));
        // A half is not tried as it was a second time; a lone trial has all its tries before it.
        let half = |work: Vec<Work>| Set {
            group,
            failures: u32::from(work.len() > 1),
            work,
            is_suspect: true,
            trouble: Trouble::default(),
        };
        // Halves need less memory than the whole did, so they need not wait for more.
        let wait = if error.is_out_of_memory() { Duration::ZERO } else { wait };
        return Verdict::Again([first, second].map(half).into(), wait);
    };
    if blame == Blame::Unclear {
        if trouble.same_step < CONVICTION && trouble.tries < TRIES {
            let failures = if got_further { 0 } else { set.failures };
            return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect, trouble }], wait);
        }
        let outcome = match trouble.same_step {
            CONVICTION.. if error.is_death() => Outcome::Crashed {
                message: format!("after step {}, each of {CONVICTION} times: {error}", alone.reached),
            },
            CONVICTION.. => Outcome::Failed { message: error.to_string() },
            _ => Outcome::Interrupted {
                message: format!("after step {}: {error}; tried {} times", alone.reached, trouble.tries),
            },
        };
        return Verdict::Ended(in_flight, outcome, trouble);
    }
    if !error.is_death() {
        // The step is to be known in which it fails, so that the rows before are the same however often it is tried.
        if !set.goes_step_by_step() && !error.is_refusal() && !error.is_out_of_memory() {
            return Verdict::Again(vec![Set { group, work: in_flight, failures: 1, is_suspect, trouble }], wait);
        }
        let message = error.to_string();
        return Verdict::Ended(in_flight, Outcome::Failed { message }, trouble);
    }
    let failures = if got_further { 1 } else { set.failures + 1 };
    if failures < LONE_FAILURES && !error.is_out_of_memory() {
        return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect, trouble }], wait);
    }
    let message = format!("after step {}: {error}", alone.sent_rows);
    Verdict::Ended(in_flight, Outcome::Crashed { message }, trouble)
}

/// True if some trial has more rows than when the session began, or was not in it then.
fn has_more_rows(before: &[Work], after: &[Work]) -> bool {
    let rows_before = |trial| before.iter().find(|work| work.trial == trial).map(|work| work.sent_rows);
    after.iter().any(|work| rows_before(work.trial).is_none_or(|rows| work.sent_rows > rows))
}

/// True if its session made steps, be they such as were made before.
fn made_steps(before: &[Work], after: &Work) -> bool {
    before.iter().find(|work| work.trial == after.trial).is_none_or(|work| after.reached > work.step())
}

fn has_newer_checkpoint(before: &[Work], after: &Work) -> bool {
    before.iter().find(|work| work.trial == after.trial).is_none_or(|work| after.step() > work.step())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died(death: Death) -> HostError {
        HostError::Died { plugin: "p".into(), function: "session_step", death, stderr: String::new() }
    }

    fn call(status: i32) -> HostError {
        HostError::Call { plugin: "p".into(), function: "session_step", status, message: "no".into() }
    }

    fn work(sent_rows: &[u64]) -> Vec<Work> {
        let work = |(trial, &sent_rows)| Work { trial, sent_rows, ..Work::default() };
        sent_rows.iter().enumerate().map(work).collect()
    }

    /// A session that began with the rows of `before` and `failures` behind it failed with the rows of `after`. Sets to
    /// try again as (trials, failures, is_suspect), or the outcome's text.
    #[track_caller]
    fn check(before: &[u64], failures: u32, error: HostError, after: &[u64], expected: &str) {
        let trouble = Trouble::default();
        let set = Set { group: 0, work: work(before), failures, is_suspect: false, trouble };
        let found = match judge(&set, error, work(after), Others { advances: 0, train: false }) {
            Verdict::Again(sets, wait) => {
                assert_eq!(wait, Duration::ZERO, "the plugin did it");
                let trials = |set: &Set| set.work.iter().map(|work| work.trial).collect::<Vec<_>>();
                let sets = sets.iter().map(|set| (trials(set), set.failures, set.is_suspect));
                format!("{:?}", sets.collect::<Vec<_>>())
            }
            Verdict::Ended(_, outcome, _) => format!("{outcome:?}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_set_is_tried_again_as_it_was_and_then_in_halves() {
        let segfault = || died(Death::Signal(11));
        check(&[0, 0, 0], 0, segfault(), &[0, 0, 0], "[([0, 1, 2], 1, false)]");
        check(&[0, 0, 0], 1, segfault(), &[0, 0, 0], "[([0, 1], 1, true), ([2], 0, true)]");
        // It got further than ever before: whatever this was, it was not the same again.
        check(&[5, 5, 5], 1, segfault(), &[5, 6, 5], "[([0, 1, 2], 1, false)]");
        // A status may pass as well as a death.
        check(&[0, 0], 0, call(clr_abi::INTERNAL), &[0, 0], "[([0, 1], 1, false)]");
        check(&[0, 0], 1, call(clr_abi::DEVICE), &[0, 0], "[([0], 0, true), ([1], 0, true)]");
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again_as_it_was() {
        let halves = "[([0], 0, true), ([1], 0, true)]";
        check(&[0, 0], 0, call(clr_abi::OUT_OF_MEMORY), &[9, 9], halves);
        check(&[0, 0], 0, died(Death::Memory { used: 2, limit: 1 }), &[9, 9], halves);
        check(&[0, 0], 0, call(clr_abi::UNSUPPORTED), &[0, 0], halves);
    }

    #[test]
    fn a_lone_trial_crashes_after_three_deaths_without_getting_further() {
        let hung = || died(Death::Hung(Duration::from_secs(9)));
        check(&[4], 0, hung(), &[4], "[([0], 1, false)]");
        check(&[4], 1, hung(), &[4], "[([0], 2, false)]");
        check(&[4], 2, hung(), &[5], "[([0], 1, false)]");
        let crashed = "Crashed { message: \"after step 4: plugin `p`: session_step: the call did not return within 9.0s (`call` in `[limits]`)\" }";
        check(&[4], 2, hung(), &[4], crashed);
    }

    #[test]
    fn a_lone_trial_with_an_error_has_failed() {
        let failed = "Failed { message: \"plugin `p`: session_step: no (CLR_INTERNAL)\" }";
        check(&[4], 0, call(clr_abi::INTERNAL), &[5], "[([0], 1, false)]");
        check(&[4], 1, call(clr_abi::INTERNAL), &[5], failed);
    }

    /// A lone trial, one try after the other: where each ended, by how many calls others got further meanwhile, and whether
    /// they still train. The waits in milliseconds, and the outcome.
    #[track_caller]
    fn check_tries(error: &HostError, tries: &[(u64, u64, bool)], expected_waits: &[u128], expected: &str) {
        let trouble = Trouble::default();
        let mut set = Set { group: 0, work: work(&[0]), failures: 0, is_suspect: false, trouble };
        let (mut waits, mut advances, mut outcome) = (Vec::new(), 0, String::new());
        for &(reached, others, train) in tries {
            assert_eq!(outcome, "", "it ended before");
            let before = set.work[0].clone();
            let calls = before.calls + reached;
            advances += reached + others;
            let after = Work { reached, calls, sent_rows: before.sent_rows.max(reached), ..before };
            match judge(&set, error.clone(), vec![after], Others { advances, train }) {
                Verdict::Again(mut sets, wait) => {
                    waits.push(wait.as_millis());
                    set = sets.remove(0);
                    assert!(set.goes_step_by_step());
                }
                Verdict::Ended(_, ended, _) => outcome = format!("{ended:?}"),
            }
        }
        assert_eq!((&waits[..], outcome.as_str()), (expected_waits, expected));
    }

    #[test]
    fn a_kill_from_outside_convicts_no_trial_and_interrupts_it_when_it_does_not_end() {
        let killed = died(Death::Signal(9));
        let interrupted = "Interrupted { message: \"after step 0: plugin `p`: session_step: the worker was killed by \
                           SIGKILL (signal 9), as the system's out-of-memory killer does; tried 7 times\" }";
        // Before it does anything, and nobody else is there.
        check_tries(&killed, &[(0, 0, false); 7], &[250, 500, 1000, 2000, 4000, 8000], interrupted);
        // Here and there, and getting further in between: waits begin anew, and it goes on.
        let anywhere = [(3, 0, true), (1, 9, true), (2, 9, true), (3, 9, true), (4, 9, true), (2, 9, true)];
        check_tries(&killed, &anywhere, &[250, 500, 1000, 2000, 250, 500], "");
        check_tries(&died(Death::Signal(15)), &[(0, 0, false); 3], &[250, 500, 1000], "");
    }

    #[test]
    fn a_trial_that_kills_itself_at_one_step_of_a_machine_that_is_well_has_crashed() {
        let killed = died(Death::Signal(9));
        let crashed = |step| {
            format!(
                "Crashed {{ message: \"after step {step}, each of 5 times: plugin `p`: session_step: the worker was killed \
                 by SIGKILL (signal 9), as the system's out-of-memory killer does\" }}"
            )
        };
        // It trains up to there each time, so workers live.
        let waits = [250, 250, 500, 1000, 2000];
        check_tries(
            &killed,
            &[(9, 0, false), (12, 0, false), (12, 0, false), (12, 0, false), (12, 0, false), (12, 0, false)],
            &waits,
            &crashed(12),
        );
        // At once, while others get further.
        check_tries(&killed, &[(0, 1, true); 5], &waits[1..], &crashed(0));
        let failed = "Failed { message: \"plugin `p`: session_step: no (CLR_OUT_OF_MEMORY)\" }";
        check_tries(&call(clr_abi::OUT_OF_MEMORY), &[(4, 0, false); 5], &waits[1..], failed);
    }

    #[test]
    fn where_no_worker_can_be_started_a_trial_waits_for_others_and_is_interrupted_without_them() {
        let refused = died(Death::NotStarted("EAGAIN".into()));
        let interrupted = "Interrupted { message: \"plugin `p`: session_step: the machine let no worker be started: EAGAIN; tried 7 times\" }";
        let waits = [250, 500, 1000, 2000, 4000, 8000, 8000, 8000, 8000];
        check_tries(&refused, &[(0, 0, false); 7], &waits[..6], interrupted);
        check_tries(&refused, &[(0, 0, true); 9], &waits, "");
        check_tries(&refused, &[(0, 3, false); 9], &waits, "");
    }

    #[test]
    fn words_of_a_system_without_room_are_no_proof_against_a_trial() {
        let blame = |error: HostError| error.blame();
        let last_words = |death, words: &str| {
            let (plugin, function) = ("p".into(), "session_step");
            HostError::Died { plugin, function, death, stderr: words.into() }
        };
        assert_eq!(blame(last_words(Death::Signal(6), "memory allocation of 64 bytes failed")), Blame::Unclear);
        assert_eq!(blame(last_words(Death::Exit(1), "fork: Resource temporarily unavailable")), Blame::Unclear);
        assert_eq!(blame(last_words(Death::Signal(6), "index out of bounds")), Blame::Plugin);
        for signal in [4, 6, 7, 8, 11] {
            assert_eq!(blame(died(Death::Signal(signal))), Blame::Plugin, "{signal}");
        }
        for signal in [1, 2, 9, 15, 24, 25] {
            assert_eq!(blame(died(Death::Signal(signal))), Blame::Unclear, "{signal}");
        }
        assert_eq!(blame(died(Death::Memory { used: 2, limit: 1 })), Blame::Plugin);
        assert_eq!(blame(call(clr_abi::INTERNAL)), Blame::Plugin);
        assert_eq!(blame(HostError::Data { dataset: "d".into(), problem: "gone".into() }), Blame::Machine);
    }

    #[test]
    fn a_session_without_trials_leaves_nothing_to_do() {
        check(&[4], 0, call(clr_abi::INTERNAL), &[], "[]");
    }
}
