//! The tables of a call: what they hold, and how long they must be.

use super::config::SessionConfig;
use super::info::ModelInfo;
use crate::Split;

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
    /// Samples of each split.
    pub split_counts: [u64; 3],
}

impl CallSizes {
    /// Those of a session.
    pub fn new(model: &ModelInfo, config: &SessionConfig) -> CallSizes {
        CallSizes {
            lane_count: config.lanes.len(),
            batch_size: config.batch_size as usize,
            hyper_count: model.hypers.len(),
            metric_count: model.metrics.len(),
            split_counts: [0, 1, 2].map(|split: usize| config.dataset.splits[split].count),
        }
    }

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

    /// That each batch that a lane will see has samples, and only such as there are: a plugin may rely on it.
    pub fn check_batches(&self, call: &StepCall<'_>) -> Result<(), String> {
        let batch_size = self.batch_size;
        let sample_lanes = if call.shared_samples { 1 } else { self.lane_count };
        let most_steps = call.lane_steps.iter().copied().max().unwrap_or(0) as usize;
        for step in 0..most_steps {
            for batch in 0..sample_lanes {
                if !call.shared_samples && step >= call.lane_steps[batch] as usize {
                    continue;
                }
                let index = step * sample_lanes + batch;
                let count = call.sample_counts[index] as usize;
                if count == 0 || count > batch_size {
                    return Err(format!("a batch of {count} samples, expected 1 to {batch_size}"));
                }
                self.check_train_samples(&call.samples[index * batch_size..][..count])?;
            }
        }
        Ok(())
    }

    /// That the train split has these samples.
    pub fn check_train_samples(&self, samples: &[u32]) -> Result<(), String> {
        let total = self.split_counts[Split::Train as usize];
        match samples.iter().find(|&&sample| u64::from(sample) >= total) {
            Some(sample) => Err(format!("sample {sample} of a train split of {total}")),
            None => Ok(()),
        }
    }

    /// That a split has these samples, and there are any.
    pub fn check_samples(&self, split: Split, first: u64, count: u64) -> Result<(), String> {
        let total = self.split_counts[split as usize];
        if count == 0 || first.checked_add(count).is_none_or(|end| end > total) {
            return Err(format!("{count} samples from {first} of a split of {total}"));
        }
        Ok(())
    }

    pub fn check_evaluate(
        &self,
        split: Split,
        first: u64,
        count: u64,
        active: &[bool],
        metrics: &[f32],
    ) -> Result<(), String> {
        self.check_samples(split, first, count)?;
        if active.len() == self.lane_count && metrics.len() == self.lane_count * self.metric_count {
            return Ok(());
        }
        Err(format!("{} active and {} metrics for {} lanes", active.len(), metrics.len(), self.lane_count))
    }

    /// The number of a lane that there is.
    pub fn check_lane(&self, lane: usize) -> Result<u32, String> {
        if lane < self.lane_count { Ok(lane as u32) } else { Err(format!("lane {lane} of {}", self.lane_count)) }
    }
}
