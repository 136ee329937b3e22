//! Failures that may be the machine's: how often and how long a set of trials is tried again, and when that convicts a trial.
//!
//! A worker that SIGKILL ended may be a victim of the out-of-memory killer, of an administrator, of a script; or its plugin
//! has killed itself. A plugin without memory may have asked for too much, or others have it all. One such failure says
//! nothing, and neither do many in a row, while the machine is in trouble. So a lone trial is tried again after waits that
//! grow, and is held guilty only where all of these are so:
//!
//! - it failed [`CONVICTION`] times in a row, alone, each time in another worker;
//! - at exactly the same step, going a step a call: what strikes from outside does not know steps;
//! - and each time the machine was seen to be well since the failure before: the trial itself was brought further on its way
//!   to that step, or others were.
//!
//! Without that, after [`TRIES`] it is interrupted, and another command tries again.

use std::time::Duration;

use clr_worker::patience;
pub use clr_worker::patience::TRIES;

/// Failures at one step, on a machine that is well, that are the trial's own. The waits before the last add up to 3.75 s.
pub const CONVICTION: u32 = 5;

/// The failures of a set of trials since it last got further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Failures that may be the machine's.
    pub tries: u32,
    /// Of those the last ones at one step, each but the first after the machine was seen to be well.
    pub same_step: u32,
    step: u64,
    /// Calls by which others had got further: at the first failure, and at the last.
    others: (u64, u64),
    /// True if others got further between the last failure and the one before.
    pub others_advance: bool,
}

/// A failure of a set of trials.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// True if the set got further than ever before.
    pub got_further: bool,
    /// True if this attempt made a step at all.
    pub made_steps: bool,
    pub step: u64,
    /// Calls by which others have got further in this run.
    pub others: u64,
}

impl Failure {
    /// Before a trial was begun.
    pub const WITHOUT_A_WORD: Failure = Failure { got_further: false, made_steps: false, step: 0, others: 0 };
}

impl Trouble {
    /// After one more failure.
    pub fn after(self, failure: Failure) -> Trouble {
        let Failure { got_further, made_steps, step, others } = failure;
        if self.tries == 0 || got_further {
            return Trouble { tries: 1, same_step: 1, step, others: (others, others), others_advance: false };
        }
        let others_advance = others > self.others.1;
        let is_same = step == self.step && (made_steps || others_advance);
        Trouble {
            tries: self.tries + 1,
            same_step: if is_same { self.same_step + 1 } else { 1 },
            step,
            others: (self.others.0, others),
            others_advance,
        }
    }

    /// True if others got further while this set did not.
    pub fn others_got_further(&self) -> bool {
        self.others.1 > self.others.0
    }

    /// Before the next try.
    pub fn wait(&self) -> Duration {
        patience::wait(self.tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUCK: Failure = Failure { got_further: false, made_steps: false, step: 3, others: 0 };

    /// `same_step` after each of these failures.
    #[track_caller]
    fn check(failures: &[Failure], expected: &[u32]) {
        let mut trouble = Trouble::default();
        let counts: Vec<u32> = failures
            .iter()
            .map(|&failure| {
                trouble = trouble.after(failure);
                trouble.same_step
            })
            .collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_failure_counts_against_a_trial_at_the_same_step_of_a_machine_that_is_well() {
        let made_steps = Failure { made_steps: true, ..STUCK };
        check(&[made_steps; 4], &[1, 2, 3, 4]);
        // Killed before its first step, with nobody else to see: nothing is known.
        check(&[STUCK; 4], &[1, 1, 1, 1]);
        let others = |others| Failure { others, ..STUCK };
        check(&[others(7), others(9), others(10), others(10)], &[1, 2, 3, 1]);
        let at = |step| Failure { step, ..made_steps };
        check(&[at(3), at(3), at(4), at(3), at(3)], &[1, 2, 1, 1, 2]);
        check(&[at(3), at(3), Failure { got_further: true, ..at(4) }, at(4)], &[1, 2, 1, 2]);
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let wait = |tries| Trouble { tries, ..Trouble::default() }.wait().as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 100].map(wait), [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!((1..TRIES).map(wait).sum::<u128>(), 15_750);
        assert_eq!((1..CONVICTION).map(wait).sum::<u128>(), 3_750);
    }
}
