//! The queue of trials: the one thing that slots share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use clr_event::work::Work;
use clr_event::{Event, Outcome};
use clr_plan::Plan;

use super::trouble::Trouble;

/// The trials that nobody has taken yet.
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Calls that brought a trial further, of all slots.
    pub advances: AtomicU64,
    /// Slots that are in a session now.
    pub training: AtomicUsize,
    /// Slots that take sets.
    pub slots: AtomicUsize,
}

/// Trials that are to share a session.
#[derive(Debug)]
pub struct Set {
    pub group: usize,
    /// One for each lane.
    pub work: Vec<Work>,
    /// How often a session of just these failed without having got further than the one before.
    pub failures: u32,
    /// One of them is suspected of having broken a larger session: others stay away from them.
    pub is_suspect: bool,
    /// The failures so far of sessions of just these.
    pub trouble: Trouble,
}

impl Set {
    /// True if this is a lone trial that has failed alone: it goes a step a call, so that the step after which it fails
    /// is known, and the same whenever the run was stopped in between.
    pub fn goes_step_by_step(&self) -> bool {
        self.work.len() == 1 && (self.failures > 0 || self.trouble.tries > 0)
    }
}

struct Waiting {
    /// The trials of each group of the plan, in its order.
    groups: Vec<VecDeque<usize>>,
    /// Those of them that do not start from the beginning: few, where a grid has many.
    begun: HashMap<usize, Work>,
    /// Sets that failed and are to be tried again.
    sets: VecDeque<Set>,
    /// Sets that slots are training. Each may come back.
    running: usize,
}

impl Queue {
    /// Holds the trials of `unfinished`, by group.
    pub fn new(plan: &Plan, unfinished: Vec<Work>) -> Queue {
        let mut is_wanted = vec![false; plan.trials.len()];
        unfinished.iter().for_each(|work| is_wanted[work.trial] = true);
        let begun = unfinished.into_iter().filter(|work| !work.is_new()).map(|work| (work.trial, work)).collect();
        let of = |trials: &[usize]| trials.iter().copied().filter(|&trial| is_wanted[trial]).collect();
        let groups = plan.groups.iter().map(|group| of(&group.trials)).collect();
        let waiting = Waiting { groups, begun, sets: VecDeque::new(), running: 0 };
        let (advances, training, slots) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Queue { waiting: Mutex::new(waiting), changed: Condvar::new(), advances, training, slots }
    }

    /// A set to train: one that failed, or trials of the first group that has any, at most as many as `lanes` says for
    /// that group. Waits while there is none but others are training, since what they train may come back.
    pub fn take_set(&self, lanes: &[usize]) -> Option<(Set, Turn<'_>)> {
        let mut waiting = self.lock();
        loop {
            if let Some(set) = waiting.next(lanes) {
                waiting.running += 1;
                return Some((set, Turn { queue: self, again: Vec::new() }));
            }
            if waiting.running == 0 {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next trial of `group`, for a lane that has become free.
    pub fn take(&self, group: usize) -> Option<Work> {
        self.lock().take(group)
    }

    /// True if a slot that can start no worker is to end, and leave its thread to others: not the last, and not where some
    /// slot trains, which will give back what it has.
    pub fn lets_a_slot_go(&self) -> bool {
        let one_less = |slots: usize| (slots > 1).then(|| slots - 1);
        let relaxed = Ordering::Relaxed;
        self.training.load(relaxed) == 0 && self.slots.fetch_update(relaxed, relaxed, one_less).is_ok()
    }

    /// Takes the first trial that waits and ends it as interrupted.
    pub fn interrupt_first(&self, message: &str) -> Vec<Event> {
        let Some(work) = self.lock().next(&[]).and_then(|set| set.work.into_iter().next()) else { return Vec::new() };
        let (trial, elapsed) = (work.trial, work.elapsed);
        let outcome = Outcome::Interrupted { message: message.to_owned() };
        vec![Event::Started { trial, step: work.step() }, Event::Ended { trial, outcome, elapsed }]
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A slot that panicked while holding the lock had finished its change: the queue is sound.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A set is being trained, until this is dropped.
pub struct Turn<'q> {
    queue: &'q Queue,
    /// The parts of it that are to be tried again.
    pub again: Vec<Set>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.running -= 1;
        waiting.sets.extend(self.again.drain(..));
        self.queue.changed.notify_all();
    }
}

impl Waiting {
    fn next(&mut self, lanes: &[usize]) -> Option<Set> {
        if let Some(set) = self.sets.pop_front() {
            return Some(set);
        }
        let group = self.groups.iter().position(|trials| !trials.is_empty())?;
        let count = lanes.get(group).copied().unwrap_or(1);
        let work = (0..count).map_while(|_| self.take(group)).collect();
        Some(Set { group, work, failures: 0, is_suspect: false, trouble: Trouble::default() })
    }

    fn take(&mut self, group: usize) -> Option<Work> {
        let trial = self.groups[group].pop_front()?;
        Some(self.begun.remove(&trial).unwrap_or_else(|| Work::new(trial)))
    }
}

#[cfg(test)]
mod tests {
    use clr_plan::example::Grid;

    use super::*;

    #[test]
    fn slots_that_can_start_no_worker_go_but_for_the_last() {
        let grid = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1], max_lrs: &[], iterations: 1 };
        let queue = Queue::new(&grid.plan(), Vec::new());
        queue.slots.store(3, Ordering::Relaxed);
        queue.training.store(1, Ordering::Relaxed);
        assert!(!queue.lets_a_slot_go(), "another trains");
        queue.training.store(0, Ordering::Relaxed);
        assert_eq!([0; 3].map(|_| queue.lets_a_slot_go()), [true, true, false]);
    }
}
