//! When a trial is saved: soon after it starts, then as often as it costs next to nothing.

use std::time::Duration;

use clr_spec::Every;
use clr_spec::duration::Period;

/// A trial is saved for the first time after so long, so that a run that is killed every few seconds gets on, and a
/// trial that is shorter pays nothing.
const FIRST: Duration = Duration::from_secs(2);

/// Saving takes at most this part of the time: 0.5%.
const TIME_PER_COST: u32 = 200;

/// While a run is young, an interruption loses about this part of it: a tenth.
const TIME_PER_AGE: u32 = 10;

/// Decides when the trials of a session are saved.
#[derive(Debug)]
pub struct Pace {
    every: Every,
    /// The time that saving one trial took, the last time.
    cost: Duration,
}

/// A trial's progress, and its last save.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub step: u64,
    /// After how many updates it is to be saved, where that goes by them.
    pub every: Period,
    /// The step of its last checkpoint; 0 without one.
    pub saved_step: u64,
    /// Time since it was given its lane.
    pub age: Duration,
    /// Time since it was saved in this lane.
    pub since_saved: Option<Duration>,
}

impl Pace {
    /// As the spec asks.
    pub fn new(every: Every) -> Pace {
        Pace { every, cost: Duration::ZERO }
    }

    /// Takes note of what it took to save a trial.
    pub fn note_cost(&mut self, cost: Duration) {
        self.cost = cost;
    }

    /// True if a trial, one of `trial_count` in the session, is to be saved now.
    pub fn is_due(&self, standing: Standing, trial_count: usize) -> bool {
        let Standing { step, every, saved_step, age, since_saved } = standing;
        let is_time = match (self.every, since_saved) {
            (Every::Never, _) => false,
            (Every::Training(_), _) => every.is_due(step),
            (Every::Time(longest), None) => age >= FIRST.min(longest),
            (Every::Time(longest), Some(since)) => {
                let affordable = self.cost.saturating_mul(TIME_PER_COST.saturating_mul(trial_count as u32));
                let wanted = (age / TIME_PER_AGE).max(FIRST).min(longest);
                since >= affordable.max(wanted)
            }
        };
        is_time && step > saved_step
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use clr_schedule::ratio::Ratio;
    use clr_spec::duration::{self, Unit};

    use super::*;

    /// Ages at which a trial is saved that is looked at every half second, a step each.
    fn saves(every: Every, cost_ms: u64, trial_count: usize, seconds: u64) -> Vec<f64> {
        let mut pace = Pace::new(every);
        let mut saved: Vec<(u64, Duration)> = Vec::new();
        for step in 0..=2 * seconds {
            let age = Duration::from_millis(500 * step);
            let (saved_step, since_saved) = saved.last().map_or((0, None), |&(step, at)| (step, Some(age - at)));
            if pace.is_due(Standing { step, every: *BY_ITERATIONS, saved_step, age, since_saved }, trial_count) {
                saved.push((step, age));
                pace.note_cost(Duration::from_millis(cost_ms));
            }
        }
        saved.iter().map(|(_, age)| age.as_secs_f64()).collect()
    }

    #[track_caller]
    fn check(every: Every, cost_ms: u64, trial_count: usize, seconds: u64, expected: &[f64]) {
        assert_eq!(saves(every, cost_ms, trial_count, seconds), expected);
    }

    /// A fraction, as an epoch may be.
    static BY_ITERATIONS: LazyLock<Period> = LazyLock::new(|| Period::new(Ratio::new(5, 2).unwrap()));

    const HALF_A_MINUTE: Every = Every::Time(Duration::from_secs(30));

    #[test]
    fn the_first_comes_after_two_seconds() {
        check(HALF_A_MINUTE, 0, 1, 1, &[]);
        check(HALF_A_MINUTE, 0, 1, 7, &[2.0, 4.0, 6.0]);
        check(Every::Time(Duration::from_secs(1)), 0, 1, 4, &[1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_young_run_loses_a_tenth_and_an_old_one_half_a_minute() {
        let saves = saves(HALF_A_MINUTE, 1, 1, 3600);
        let longest = saves.windows(2).map(|pair| (pair[1] - pair[0]) / pair[0].min(300.0)).fold(0.0, f64::max);
        assert!(longest <= 1.0, "{longest}");
        let late: Vec<f64> = saves.windows(2).filter(|pair| pair[0] > 300.0).map(|pair| pair[1] - pair[0]).collect();
        assert!(late.len() > 100 && late.iter().all(|&gap| gap == 30.0), "{late:?}");
        assert!(saves.iter().filter(|&&age| age < 300.0).count() < 50);
    }

    #[test]
    fn costly_ones_are_rarer() {
        // 20 ms are 0.5% of 4 s; of 8 s for two trials; half a second of 100 s.
        check(HALF_A_MINUTE, 20, 1, 15, &[2.0, 6.0, 10.0, 14.0]);
        check(HALF_A_MINUTE, 20, 2, 20, &[2.0, 10.0, 18.0]);
        check(HALF_A_MINUTE, 500, 1, 210, &[2.0, 102.0, 202.0]);
    }

    #[test]
    fn by_iterations_they_come_exactly_there() {
        let every = Every::Training(duration::Duration { count: BY_ITERATIONS.iterations(), unit: Unit::Iterations });
        // After 3, 5, 8 and 10 of them: a step is half a second.
        check(every, 1000, 8, 5, &[1.5, 2.5, 4.0, 5.0]);
    }

    #[test]
    fn nothing_is_saved_twice_or_where_it_is_off() {
        check(Every::Never, 0, 1, 100, &[]);
        let pace = Pace::new(HALF_A_MINUTE);
        let age = Duration::from_secs(100);
        assert!(!pace.is_due(Standing { step: 7, every: Period::NEVER, saved_step: 7, age, since_saved: None }, 1));
        assert!(pace.is_due(Standing { step: 8, every: Period::NEVER, saved_step: 7, age, since_saved: None }, 1));
    }
}
