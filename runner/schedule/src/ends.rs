//! Where cycles end: the moments at which the weights of a trial are worth keeping. (Huang et al. 2017, snapshot ensembles.)

use super::{Cyclic, OneCycle, OneCycleForm, Schedule, cosine};

impl Schedule {
    /// The least number of updates above `after` at which a cycle is over; `None` where no cycle ends any more, as in
    /// schedules that have none.
    ///
    /// ```
    /// use clr_schedule::ratio::Ratio;
    /// use clr_schedule::UNKNOWN::Schedule;
    /// let sgdr = Schedule::Sgdr { max: 0.1, min: 0.0, first_cycle: Ratio::from(10), mult: 2 };
    /// assert_eq!([0, 9, 10, 30].map(|after| sgdr.next_cycle_end(after)), [Some(10), Some(10), Some(30), Some(70)]);
    /// ```
    pub fn next_cycle_end(&self, after: u64) -> Option<u64> {
        match self {
            Schedule::Cyclic(cyclic) => cyclic.next_end(after),
            Schedule::Sgdr { first_cycle, mult, .. } => {
                let (since_restart, length) = cosine::cycle(*first_cycle, *mult, after);
                let left = (length - since_restart).div_ceil(u128::from(first_cycle.denominator()));
                Some(after.saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
            }
            Schedule::OneCycle(one_cycle) => Some(one_cycle.end()).filter(|end| *end > after),
            Schedule::Cosine { steps, .. } => Some(*steps).filter(|end| *end > after),
            Schedule::Sequence(stages) => {
                let mut begun: u64 = 0;
                for (index, stage) in stages.iter().enumerate() {
                    let end = if index + 1 == stages.len() { u64::MAX } else { begun.saturating_add(stage.steps) };
                    if after < end {
                        let inner = stage.schedule.next_cycle_end(after.saturating_sub(begun));
                        let inner = inner.map(|inner| inner.saturating_add(begun)).filter(|inner| *inner <= end);
                        if inner.is_some() {
                            return inner;
                        }
                    }
                    begun = end;
                }
                None
            }
            Schedule::PerEpoch { iterations_per_epoch, first_epoch, inner } => {
                let epoch = |step: u64| first_epoch.saturating_add(iterations_per_epoch.count(step));
                let end = inner.next_cycle_end(epoch(after))?;
                // The first iteration of that epoch: epochs only rise.
                let (mut low, mut high) = (after, u64::MAX);
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if epoch(middle) >= end { high = middle } else { low = middle }
                }
                Some(high)
            }
            Schedule::Constant(_)
            | Schedule::Step { .. }
            | Schedule::MultiStep { .. }
            | Schedule::Exp { .. }
            | Schedule::Inv { .. }
            | Schedule::Poly { .. }
            | Schedule::Sigmoid { .. }
            | Schedule::Decay { .. }
            | Schedule::Linear { .. }
            | Schedule::RangeTest { .. }
            | Schedule::Table(_)
            | Schedule::Points { .. } => None,
        }
    }
}

impl Cyclic {
    fn next_end(&self, after: u64) -> Option<u64> {
        let period = self.up + self.down;
        if !(period >= 1.0 && period.is_finite()) {
            return None;
        }
        // A period is a quotient of whole numbers, rounded: what is whole but for that is whole.
        let whole = |end: f64| if (end - end.round()).abs() <= 1e-9 * end { end.round() } else { end.ceil() };
        let mut cycle = (after as f64 / period).floor();
        loop {
            cycle += 1.0;
            let end = whole(cycle * period);
            if self.cycles.is_some_and(|cycles| cycle > cycles) || end >= u64::MAX as f64 {
                return None;
            }
            if end as u64 > after {
                return Some(end as u64);
            }
        }
    }
}

impl OneCycle {
    /// The updates at which the cycle is over.
    fn end(&self) -> u64 {
        match self.form {
            OneCycleForm::Smith { step_size } => (2.0 * step_size.to_f64()).ceil() as u64,
            OneCycleForm::TwoPhase { .. } | OneCycleForm::ThreePhase { .. } | OneCycleForm::Fraction { .. } => {
                self.steps
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stage;
    use crate::cyclic::tests::triangular;
    use crate::ratio::Ratio;

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
        check(Schedule::Cyclic(triangular(0.001, 0.006, 2000.0)), 12_500, &[4000, 8000, 12_000]);
        // 8.2 epochs of 390.625 iterations up and down: 6406.25 a cycle.
        check(Schedule::Cyclic(triangular(0.1, 0.3, 8.2 * 390.625)), 20_000, &[6407, 12_813, 19_219]);
        check(Schedule::Cyclic(Cyclic { cycles: Some(2.0), ..triangular(0.0, 1.0, 5.0) }), 100, &[10, 20]);
        let sgdr = |mult| Schedule::Sgdr { max: 1.0, min: 0.0, first_cycle: Ratio::from(10), mult };
        check(sgdr(1), 45, &[10, 20, 30, 40]);
        check(sgdr(2), 200, &[10, 30, 70, 150]);
        check(Schedule::Cosine { max: 1.0, min: 0.0, steps: 30 }, 100, &[30]);
        check(Schedule::Constant(0.1), 100, &[]);
    }

    #[test]
    fn stages_and_epochs_end_cycles_too() {
        let stage = |steps, size| Stage { steps, schedule: Schedule::Cyclic(triangular(0.0, 1.0, size)) };
        let table2 = Schedule::Sequence(vec![stage(160, 20.0), stage(60, 10.0), stage(30, 5.0)]);
        check(table2, 250, &[40, 80, 120, 160, 180, 200, 220, 230, 240, 250]);
        let warmup = Stage { steps: 7, schedule: Schedule::Linear { from: 0.0, to: 1.0, steps: 7 } };
        check(Schedule::Sequence(vec![warmup, stage(1, 20.0)]), 100, &[47, 87]);
        let inner = Box::new(Schedule::Cyclic(triangular(0.0, 1.0, 1.0)));
        let iterations_per_epoch = Ratio::new(625, 4).unwrap().into();
        // Two epochs a cycle: the first iterations of epochs 2, 4, 6.
        check(Schedule::PerEpoch { iterations_per_epoch, first_epoch: 0, inner }, 1000, &[313, 625, 938]);
    }
}
