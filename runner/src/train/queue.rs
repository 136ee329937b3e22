//! Which trial is next: the one thing that slots share.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::plan::Plan;

/// The trials of each group that nobody has taken yet, in the plan's order.
pub struct Queue {
    groups: Mutex<Vec<VecDeque<usize>>>,
}

impl Queue {
    /// Holds the trials of `unfinished`, by group.
    pub fn new(plan: &Plan, unfinished: &[usize]) -> Queue {
        let mut wanted = vec![false; plan.trials.len()];
        unfinished.iter().for_each(|&trial| wanted[trial] = true);
        let of = |group: &crate::plan::Group| group.trials.iter().copied().filter(|&trial| wanted[trial]).collect();
        Queue { groups: Mutex::new(plan.groups.iter().map(of).collect()) }
    }

    /// Up to `count` trials of the first group that has any, and that group's index.
    pub fn take_group(&self, count: usize) -> Option<(usize, Vec<usize>)> {
        let mut groups = self.lock();
        let (index, trials) = groups.iter_mut().enumerate().find(|(_, trials)| !trials.is_empty())?;
        let count = count.min(trials.len());
        Some((index, trials.drain(..count).collect()))
    }

    /// The next trial of `group`, for a lane that has become free.
    pub fn take(&self, group: usize) -> Option<usize> {
        self.lock()[group].pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<VecDeque<usize>>> {
        // A slot that panicked while holding the lock had finished its `drain` or `pop`: the queue is sound.
        self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
