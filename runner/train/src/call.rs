//! The tables of one call: samples and hyper-parameters in, metrics out. Allocated once for a session and used again.

use std::sync::atomic::AtomicBool;

use clr_dataset::order::Sampler;
use clr_host::{Completion, HostError, Session, StepCall};
use clr_plan::{Shape, Trial};
use clr_schedule::Schedule;

/// No table of samples is longer than this, whatever the batch size: 16 MiB of indices and epochs.
const SAMPLES_PER_CALL: u64 = 2 << 20;

/// Room for one call of [`clr_host::Session::step`]. The layout is that of `clr_step` in `clr_plugin.h`.
pub struct Tables {
    batch_size: usize,
    /// The model's hyper-parameter columns.
    hyper_names: Vec<String>,
    metric_count: usize,
    lane_count: usize,
    step_count: usize,
    first_steps: Vec<u64>,
    lane_steps: Vec<u32>,
    sample_counts: Vec<u32>,
    samples: Vec<u32>,
    epochs: Vec<u32>,
    hypers: Vec<f32>,
    steps_done: Vec<u32>,
    metrics: Vec<f32>,
}

impl Tables {
    /// For trials of `shape`.
    pub fn new(shape: &Shape) -> Tables {
        Tables {
            batch_size: shape.data.update_size() as usize,
            hyper_names: shape.hypers.clone(),
            metric_count: shape.metrics.len(),
            lane_count: 0,
            step_count: 0,
            first_steps: Vec::new(),
            lane_steps: Vec::new(),
            sample_counts: Vec::new(),
            samples: Vec::new(),
            epochs: Vec::new(),
            hypers: Vec::new(),
            steps_done: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// The most steps that a call's tables may hold.
    pub fn most_steps(&self) -> u64 {
        (SAMPLES_PER_CALL / (self.batch_size * self.lane_count.max(1)) as u64).max(1)
    }

    /// Makes room for `step_count` steps of `lane_count` lanes, none of which has steps to make yet.
    pub fn clear(&mut self, lane_count: usize, step_count: usize) {
        (self.lane_count, self.step_count) = (lane_count, step_count);
        let rows = lane_count * step_count;
        refill(&mut self.first_steps, lane_count, 0);
        refill(&mut self.lane_steps, lane_count, 0);
        refill(&mut self.steps_done, lane_count, 0);
        refill(&mut self.sample_counts, rows, 0);
        refill(&mut self.samples, rows * self.batch_size, 0);
        refill(&mut self.epochs, rows * self.batch_size, 0);
        refill(&mut self.hypers, rows * self.hyper_names.len(), 0.0);
        refill(&mut self.metrics, rows * self.metric_count, f32::NAN);
    }

    /// The batches from `first_step` on: those of `lane`, or with none those of all lanes.
    pub fn samples(&mut self, lane: Option<usize>, first_step: u64, sampler: &mut Sampler) {
        let (stride, offset) = lane.map_or((1, 0), |lane| (self.lane_count, lane));
        for step in 0..self.step_count {
            let batch = step * stride + offset;
            let range = batch * self.batch_size..(batch + 1) * self.batch_size;
            self.sample_counts[batch] =
                sampler.fill(first_step + step as u64, &mut self.samples[range.clone()], &mut self.epochs[range]);
        }
    }

    /// The hyper-parameters of `lane` from `first_step` on, written as f32 and returned as f64, a column a schedule.
    pub fn hypers(&mut self, lane: usize, first_step: u64, trial: &Trial) -> Vec<Vec<f64>> {
        self.first_steps[lane] = first_step;
        self.lane_steps[lane] = self.step_count as u32;
        let column = |(name, schedule): (&str, &Schedule)| {
            let hyper = self.hyper_names.iter().position(|hyper| hyper == name);
            let values: Vec<f64> = (0..self.step_count as u64).map(|step| schedule.at(first_step + step)).collect();
            if let Some(hyper) = hyper {
                for (step, &value) in values.iter().enumerate() {
                    self.hypers[(step * self.lane_count + lane) * self.hyper_names.len() + hyper] = value as f32;
                }
            }
            values
        };
        trial.schedules().map(column).collect()
    }

    /// Makes the call. `shared`: all lanes see the same samples.
    pub fn call(
        &mut self,
        session: &mut dyn Session,
        shared: bool,
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        let batches = if shared { self.step_count } else { self.step_count * self.lane_count };
        let call = StepCall {
            step_count: self.step_count as u32,
            first_steps: &self.first_steps,
            lane_steps: &self.lane_steps,
            shared_samples: shared,
            sample_counts: &self.sample_counts[..batches],
            samples: &self.samples[..batches * self.batch_size],
            epochs: &self.epochs[..batches * self.batch_size],
            hypers: &self.hypers,
        };
        session.step(&call, &mut self.steps_done, &mut self.metrics, cancel)
    }

    /// How many steps of the last call `lane` has made.
    pub fn steps_done(&self, lane: usize) -> usize {
        self.steps_done[lane] as usize
    }

    /// The metrics of the steps that `lane` has made, a column a metric.
    pub fn metrics(&self, lane: usize) -> Vec<Vec<f32>> {
        let value = |step, metric| self.metrics[(step * self.lane_count + lane) * self.metric_count + metric];
        let column = |metric| (0..self.steps_done(lane)).map(|step| value(step, metric)).collect();
        (0..self.metric_count).map(column).collect()
    }
}

fn refill<T: Clone>(table: &mut Vec<T>, len: usize, value: T) {
    table.clear();
    table.resize(len, value);
}
