//! The tables of a call: what they hold, and how long they must be.

/// Many steps of all lanes. S is `step_count`, K the number of lanes, B the batch size, L is 1 where samples are shared
/// and K otherwise.
#[derive(Clone, Copy, Debug)]
pub struct StepCall<'a> {
    /// S; at least 1.
    pub step_count: u32,
    /// `[K]`: updates that each lane has behind it.
    pub first_steps: &'a [u64],
    /// `[K]`: updates to make, at most S. 0 leaves a lane alone.
    pub lane_steps: &'a [u32],
    /// True if all lanes see the same samples in the same epochs.
    pub shared_samples: bool,
    /// `[S][L]`: samples of each batch, 1 to B. Lanes at different steps of an epoch may differ here.
    pub sample_counts: &'a [u32],
    /// `[S][L][B]`: indices into the train split.
    pub samples: &'a [u32],
    /// `[S][L][B]`: the epoch in which each sample is seen. A batch may run over the end of one.
    pub epochs: &'a [u32],
    /// `[S][K][hypers of the model]`.
    pub hypers: &'a [f32],
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    Complete,
    /// The cancel flag was raised before.
    Cancelled,
}

impl Completion {
    /// That each lane made as many steps as this says, of those it was asked to make.
    pub fn check_steps(self, done: &[u32], asked: &[u32]) -> Result<(), String> {
        let wrong =
            |(_, (done, asked)): &(usize, (&u32, &u32))| done > asked || (self == Completion::Complete && done < asked);
        match done.iter().zip(asked).enumerate().find(wrong) {
            Some((lane, (done, asked))) => Err(format!("lane {lane} made {done} of {asked} steps, with {self:?}")),
            None => Ok(()),
        }
    }
}

/// The dimensions of a session's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSizes {
    /// K, the number of lanes.
    pub lane_count: usize,
    /// B, the samples of a batch.
    pub batch_size: usize,
    /// Hyper-parameter columns of the model.
    pub hyper_count: usize,
    /// Metric columns of the model.
    pub metric_count: usize,
}

impl CallSizes {
    /// Elements of `sample_counts`, of `samples` and of `epochs`, of `hypers`, and of `metrics`.
    pub fn of_step(&self, step_count: usize, shared_samples: bool) -> [usize; 4] {
        let batches = step_count.saturating_mul(if shared_samples { 1 } else { self.lane_count });
        let rows = step_count.saturating_mul(self.lane_count);
        [
            batches,
            batches.saturating_mul(self.batch_size),
            rows.saturating_mul(self.hyper_count),
            rows.saturating_mul(self.metric_count),
        ]
    }

    pub fn check_step(&self, call: &StepCall<'_>, steps_done: &[u32], metrics: &[f32]) -> Result<(), String> {
        let [batches, samples, hypers, rows] = self.of_step(call.step_count as usize, call.shared_samples);
        for (name, found, expected) in [
            ("first_steps", call.first_steps.len(), self.lane_count),
            ("lane_steps", call.lane_steps.len(), self.lane_count),
            ("steps_done", steps_done.len(), self.lane_count),
            ("sample_counts", call.sample_counts.len(), batches),
            ("samples", call.samples.len(), samples),
            ("epochs", call.epochs.len(), samples),
            ("hypers", call.hypers.len(), hypers),
            ("metrics", metrics.len(), rows),
        ] {
            if found != expected {
                return Err(format!("{name} has {found} elements, expected {expected}"));
            }
        }
        if call.step_count == 0 || call.lane_steps.iter().any(|&asked| asked > call.step_count) {
            return Err(format!("a table of {} steps for lane steps of {:?}", call.step_count, call.lane_steps));
        }
        Ok(())
    }

    pub fn check_evaluate(&self, active: &[bool], metrics: &[f32]) -> Result<(), String> {
        if active.len() == self.lane_count && metrics.len() == self.lane_count * self.metric_count {
            return Ok(());
        }
        Err(format!("{} active and {} metrics for {} lanes", active.len(), metrics.len(), self.lane_count))
    }
}
