//! Where cycles end: the moments at which the weights of a trial are worth keeping. (Huang et al. 2017, snapshot ensembles.)

use super::{Cycle, Schedule};

impl Schedule {
    /// The least number of updates above `after` at which a cycle is over; `None` where no cycle ends any more, as in
    /// schedules that have none.
    ///
    /// ```
    /// use clr_schedule::{Schedule, Sgdr};
    /// let sgdr = Schedule::Sgdr(Sgdr::new(0.1, 0.0, 10, 2));
    /// assert_eq!([0, 9, 10, 30].map(|after| sgdr.next_cycle_end(after)), [Some(10), Some(10), Some(30), Some(70)]);
    /// ```
    pub fn next_cycle_end(&self, after: u64) -> Option<u64> {
        self.formula().next_cycle_end(after)
    }

    /// The cycle that a step is in, of a schedule that itself has cycles; `None` where none is left. Stages and epochs
    /// have those of what they hold.
    pub fn cycle(&self, step: u64) -> Option<Cycle> {
        self.formula().cycle(step)
    }
}

#[cfg(test)]
mod tests {
    use crate::ratio::Ratio;
    use crate::*;

    #[track_caller]
    fn check(schedule: Schedule, steps: u64, expected: &[u64]) {
        let ends = std::iter::successors(schedule.next_cycle_end(0), |end| schedule.next_cycle_end(*end));
        let ends: Vec<u64> = ends.take_while(|end| *end <= steps).collect();
        assert_eq!(ends, expected, "{schedule:?}");
        for after in 0..steps.min(500) {
            let next = ends.iter().copied().find(|end| *end > after);
            assert_eq!(schedule.next_cycle_end(after).filter(|end| *end <= steps), next, "{schedule:?} after {after}");
        }
    }

    /// Ends by hand: with a step size of 2,000 a cycle has 4,000 iterations (Smith 2017, section 3).
    #[test]
    fn cycles_end_where_the_rate_is_back_at_its_lowest() {
        check(Schedule::Cyclic(Cyclic::new(0.001, 0.006, 2000.0)), 12_500, &[4000, 8000, 12_000]);
        // 8.2 epochs of 390.625 iterations up and down: 6406.25 a cycle.
        check(Schedule::Cyclic(Cyclic::new(0.1, 0.3, 8.2 * 390.625)), 20_000, &[6407, 12_813, 19_219]);
        check(Schedule::Cyclic(Cyclic { cycles: Some(2.0), ..Cyclic::new(0.0, 1.0, 5.0) }), 100, &[10, 20]);
        let sgdr = |mult| Schedule::Sgdr(Sgdr { mult: Ratio::of_float(mult).unwrap(), ..Sgdr::new(1.0, 0.0, 10, 1) });
        check(sgdr(1.0), 45, &[10, 20, 30, 40]);
        check(sgdr(2.0), 200, &[10, 30, 70, 150]);
        check(Schedule::Cosine(Cosine { max: 1.0, min: 0.0, steps: 30 }), 100, &[30]);
        check(Schedule::Constant(0.1), 100, &[]);
    }

    #[test]
    fn stages_and_epochs_end_cycles_too() {
        let stage = |steps, size| Stage { steps, schedule: Schedule::Cyclic(Cyclic::new(0.0, 1.0, size)) };
        let table2 = Schedule::Sequence(vec![stage(160, 20.0), stage(60, 10.0), stage(30, 5.0)]);
        check(table2, 250, &[40, 80, 120, 160, 180, 200, 220, 230, 240, 250]);
        let warmup = Stage { steps: 7, schedule: Schedule::Linear(Linear { from: 0.0, to: 1.0, steps: 7 }) };
        check(Schedule::Sequence(vec![warmup, stage(1, 20.0)]), 100, &[47, 87]);
        let inner = Box::new(Schedule::Cyclic(Cyclic::new(0.0, 1.0, 1.0)));
        let iterations_per_epoch = Ratio::new(625, 4).unwrap().into();
        // Two epochs a cycle: the first iterations of epochs 2, 4, 6.
        check(Schedule::PerEpoch(PerEpoch { iterations_per_epoch, first_epoch: 0, inner }), 1000, &[313, 625, 938]);
    }
}
