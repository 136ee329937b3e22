//! A slot: sessions one after the other, and what becomes of trials whose session failed.
//!
//! Whatever a session's failure says, the trials in it are tried again from their last checkpoints, as long as that may
//! help: as they were, then in halves, until a trial that breaks every session stands alone. Only that one is given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::engine::Engine;
use super::lanes::Driver;
use super::queue::{Queue, Set};
use super::work::{FailedSession, Work};
use super::{Isolation, Layout, Resources};
use crate::event::{Event, Outcome};
use crate::host::{Death, HostError, PluginInfo};
use crate::limits::Limits;
use crate::plan::Plan;
use crate::worker::{Launch, Worker};

/// A trial whose sessions die so often in a row, alone and without having got further, has crashed.
const LONE_FAILURES: u32 = 3;

/// Before a worker is started again that could not be started: the system may be short of processes for a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// What trains sets of trials, one after the other.
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

/// What becomes of trials whose session failed.
#[derive(Debug)]
enum Verdict {
    /// These are tried again.
    Again(Vec<Set>),
    /// These are given up.
    Ended(Vec<Work>, Outcome),
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
        while let Some((set, mut turn)) = self.queue.take_set(&self.layout.lanes) {
            if self.cancel.load(Ordering::Relaxed) {
                return;
            }
            if let Err(FailedSession { error, in_flight }) = self.train(&set) {
                turn.again = self.settle(&set, error, in_flight);
            }
        }
    }

    /// One session, to its end.
    fn train(&mut self, set: &Set) -> Result<(), FailedSession> {
        let work = set.work.clone();
        let shape = &*self.plan.groups[set.group].shape;
        let (plugin, feed) = (self.resources.plugin(shape), self.resources.feed(shape));
        let trials: Vec<usize> = work.iter().map(|work| work.trial).collect();
        let config = self.resources.session_config(self.plan, &trials, self.layout, self.device);
        let opened = match &self.layout.isolation {
            Isolation::None => plugin.session(config).map(Engine::InProcess),
            Isolation::Process(launch) => living(&mut self.worker, launch, self.plan.limits)
                .map_err(|death| not_started(plugin.info(), death))
                .and_then(|worker| worker.open(plugin.info(), &config, &shape.data))
                .map(Engine::Worker),
        };
        let engine = match opened {
            Ok(engine) => {
                tracing::debug!(group = set.group, lanes = work.len(), "session opened");
                engine
            }
            Err(error) => return Err(FailedSession { error, in_flight: work }),
        };
        let step_by_step = set.goes_step_by_step();
        let queue = (!set.is_suspect && !step_by_step).then_some(self.queue);
        let has_state = plugin.info().has_state;
        let driver = Driver::new(self.plan, set.group, feed, engine, has_state, queue, self.cancel, &self.events);
        driver.drive(work, if step_by_step { 1 } else { self.layout.steps_per_call })
    }

    /// What is to be tried again of a session that failed; the rest is ended.
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
        let cannot_start = matches!(error, HostError::Died { death: Death::NotStarted(_), .. });
        match judge(set, error, in_flight) {
            Verdict::Again(sets) => {
                // Errors do not occur: the receiver outlives every slot.
                let _ = self.events.send(Event::Retried { trials, message });
                if cannot_start {
                    sleep(PAUSE);
                }
                sets
            }
            Verdict::Ended(work, outcome) => {
                self.end(work, &outcome);
                // Without workers every other trial would fare like this one.
                if cannot_start {
                    self.cancel.store(true, Ordering::Relaxed);
                }
                Vec::new()
            }
        }
    }

    fn end(&self, work: Vec<Work>, outcome: &Outcome) {
        if self.plan.limits.stop_after(outcome) {
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

/// What becomes of `in_flight`, the trials that a session held when it failed. It began with those of `set`.
fn judge(set: &Set, error: HostError, in_flight: Vec<Work>) -> Verdict {
    let Set { group, work: ref before, is_suspect, .. } = *set;
    if in_flight.is_empty() {
        return Verdict::Again(Vec::new());
    }
    let [alone] = &in_flight[..] else {
        // Less memory, or a call that one lane's options make impossible: as they are they would fail again.
        let may_pass = !error.is_out_of_memory() && !error.is_refusal();
        let failures = if has_more_rows(before, &in_flight) { 1 } else { set.failures + 1 };
        if may_pass && failures == 1 {
            return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect }]);
        }
        let mut first = in_flight;
        let second = first.split_off(first.len().div_ceil(2));
        // A half is not tried as it was a second time; a lone trial has all its tries before it.
        let half = |work: Vec<Work>| Set { group, failures: u32::from(work.len() > 1), work, is_suspect: true };
        return Verdict::Again([first, second].map(half).into());
    };
    if !error.is_death() {
        let message = error.to_string();
        return Verdict::Ended(in_flight, Outcome::Failed { message });
    }
    let got_further = has_more_rows(before, &in_flight) || has_newer_checkpoint(before, alone);
    let failures = if got_further { 1 } else { set.failures + 1 };
    if failures < LONE_FAILURES && !error.is_out_of_memory() {
        return Verdict::Again(vec![Set { group, work: in_flight, failures, is_suspect }]);
    }
    let message = format!("after step {}: {error}", alone.sent_rows);
    Verdict::Ended(in_flight, Outcome::Crashed { message })
}

/// Whether some trial has more rows than when the session began, or was not in it then.
fn has_more_rows(before: &[Work], after: &[Work]) -> bool {
    let rows_before = |trial| before.iter().find(|work| work.trial == trial).map(|work| work.sent_rows);
    after.iter().any(|work| rows_before(work.trial).is_none_or(|rows| work.sent_rows > rows))
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
        let set = Set { group: 0, work: work(before), failures, is_suspect: false };
        let found = match judge(&set, error, work(after)) {
            Verdict::Again(sets) => {
                let trials = |set: &Set| set.work.iter().map(|work| work.trial).collect::<Vec<_>>();
                let sets = sets.iter().map(|set| (trials(set), set.failures, set.is_suspect));
                format!("{:?}", sets.collect::<Vec<_>>())
            }
            Verdict::Ended(_, outcome) => format!("{outcome:?}"),
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
        check(&[4], 0, call(clr_abi::INTERNAL), &[5], failed);
        let failed = "Failed { message: \"plugin `p`: session_step: no (CLR_OUT_OF_MEMORY)\" }";
        check(&[4], 0, call(clr_abi::OUT_OF_MEMORY), &[5], failed);
    }

    #[test]
    fn a_session_without_trials_leaves_nothing_to_do() {
        check(&[4], 0, call(clr_abi::INTERNAL), &[], "[]");
    }
}
