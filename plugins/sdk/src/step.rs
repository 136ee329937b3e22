//! A step is a table in and a table out: what the host passes to [`crate::Session::step`] and `evaluate`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Dataset, Error, Split};

/// Many steps of all lanes. In: samples and hyper-parameters for each step and lane. Out: metrics and steps done.
///
/// [`StepTable::lanes`] is the usual way in: it hands out one [`LaneSteps`] for each lane that has steps to make, which
/// may go to different threads and advance at different speeds. The tables can also be read as a whole.
#[derive(Debug)]
pub struct StepTable<'a> {
    parts: StepTableParts<'a>,
}

/// The tables. `S` is the number of steps, `K` of lanes, `B` the batch size, `L` is K, or 1 where all lanes see the
/// same samples.
#[derive(Debug)]
pub struct StepTableParts<'a> {
    /// The dataset that holds the samples.
    pub dataset: &'a Dataset<'a>,
    /// S, the steps of the call.
    pub step_count: usize,
    /// K, the lanes of the session.
    pub lane_count: usize,
    /// B, the samples of a full batch.
    pub batch_size: usize,
    /// Columns of `hypers`: hyper-parameters of a step.
    pub hyper_count: usize,
    /// Columns of `metrics`: values measured of a step.
    pub metric_count: usize,
    /// `[K]`: updates that each lane has behind it.
    pub first_steps: &'a [u64],
    /// `[K]`: steps to make, at most S. A lane with 0 is left alone.
    pub lane_steps: &'a [u32],
    /// L: K, or 1 where all lanes see the same samples in the same epochs.
    pub sample_lane_count: usize,
    /// `[S][L]`: samples of each batch, 1 to B.
    pub sample_counts: &'a [u32],
    /// `[S][L][B]`: indices into the train split; those beyond the batch's count mean nothing.
    pub samples: &'a [u32],
    /// `[S][L][B]`: the epoch in which each sample is seen, which keys its augmentation.
    pub epochs: &'a [u32],
    /// `[S][K][hyper_count]`.
    pub hypers: &'a [f32],
    /// Raised by the host at any time; none: never.
    pub cancel: Option<&'a AtomicBool>,
    /// Out, `[K]`: starts at 0.
    pub steps_done: &'a mut [u32],
    /// Out, `[S][K][metric_count]`: only rows of steps done are written.
    pub metrics: &'a mut [f32],
}

impl<'a> StepTable<'a> {
    /// Checks that the tables have the sizes they say. The host's tables come checked; this is for tests too.
    pub fn new(parts: StepTableParts<'a>) -> Result<StepTable<'a>, Error> {
        let StepTableParts { step_count, lane_count, batch_size, sample_lane_count, .. } = parts;
        if lane_count == 0 || batch_size == 0 {
            return Err(Error::invalid(format!("{lane_count} lanes of {batch_size} samples: neither may be 0")));
        }
        if sample_lane_count != lane_count && sample_lane_count != 1 {
            return Err(Error::invalid(format!(
                "samples for {sample_lane_count} of {lane_count} lanes: neither 1 nor all"
            )));
        }
        let batches = step_count.saturating_mul(sample_lane_count);
        let rows = step_count.saturating_mul(lane_count);
        for (name, found, expected) in [
            ("first_steps", parts.first_steps.len(), lane_count),
            ("lane_steps", parts.lane_steps.len(), lane_count),
            ("steps_done", parts.steps_done.len(), lane_count),
            ("sample_counts", parts.sample_counts.len(), batches),
            ("samples", parts.samples.len(), batches.saturating_mul(batch_size)),
            ("epochs", parts.epochs.len(), batches.saturating_mul(batch_size)),
            ("hypers", parts.hypers.len(), rows.saturating_mul(parts.hyper_count)),
            ("metrics", parts.metrics.len(), rows.saturating_mul(parts.metric_count)),
        ] {
            if found != expected {
                return Err(Error::invalid(format!("table {name} has {found} elements, expected {expected}")));
            }
        }
        for (lane, &steps) in parts.lane_steps.iter().enumerate() {
            if steps as usize > step_count {
                return Err(Error::invalid(format!("lane {lane} has {steps} steps to make, the table {step_count}")));
            }
        }
        let sample_total = parts.dataset.count(Split::Train) as u64;
        for step in 0..step_count {
            for batch in 0..sample_lane_count {
                if sample_lane_count > 1 && step >= parts.lane_steps[batch] as usize {
                    continue;
                }
                let index = step * sample_lane_count + batch;
                let count = parts.sample_counts[index] as usize;
                if count == 0 || count > batch_size {
                    return Err(Error::invalid(format!("a batch of {count} samples; the batch size is {batch_size}")));
                }
                let samples = &parts.samples[index * batch_size..][..count];
                if let Some(sample) = samples.iter().find(|&&sample| u64::from(sample) >= sample_total) {
                    return Err(Error::invalid(format!("sample {sample} of a train split of {sample_total}")));
                }
            }
        }
        parts.steps_done.fill(0);
        Ok(StepTable { parts })
    }

    /// The tables themselves, for a device that takes them whole. Metrics and steps done are written through
    /// [`StepTable::lanes`].
    pub fn parts(&self) -> &StepTableParts<'a> {
        &self.parts
    }

    /// The dataset that holds the samples.
    pub fn dataset(&self) -> &'a Dataset<'a> {
        self.parts.dataset
    }

    /// The samples, step and hyper-parameters of step `step` of this call in lane `lane`.
    pub fn row(&self, step: usize, lane: usize) -> Row<'_> {
        self.parts.tables().row(step, lane)
    }

    /// True if the host wants the call to end after the step at hand.
    pub fn cancelled(&self) -> bool {
        cancelled(self.parts.cancel)
    }

    /// True if every lane has made its steps.
    pub(crate) fn is_complete(&self) -> bool {
        *self.parts.steps_done == *self.parts.lane_steps
    }

    /// One cursor for each lane that has steps left to make, in order of lanes.
    pub fn lanes(&mut self) -> Vec<LaneSteps<'_>> {
        let StepTableParts { lane_count, metric_count, cancel, .. } = self.parts;
        let tables = self.parts.tables();
        let lane_steps = self.parts.lane_steps;
        let mut rows: Vec<Vec<&mut [f32]>> =
            lane_steps.iter().map(|&steps| Vec::with_capacity(steps as usize)).collect();
        if metric_count > 0 {
            for (index, row) in self.parts.metrics.chunks_exact_mut(metric_count).enumerate() {
                if index / lane_count < lane_steps[index % lane_count] as usize {
                    rows[index % lane_count].push(row);
                }
            }
        }
        rows.into_iter()
            .zip(self.parts.steps_done.iter_mut())
            .enumerate()
            .filter(|(lane, (_, done))| **done < lane_steps[*lane])
            .map(|(lane, (metrics, done))| LaneSteps {
                lane,
                step_count: lane_steps[lane],
                tables,
                metrics,
                done,
                cancel,
            })
            .collect()
    }
}

impl<'a> StepTableParts<'a> {
    fn tables(&self) -> Tables<'a> {
        Tables {
            lane_count: self.lane_count,
            batch_size: self.batch_size,
            hyper_count: self.hyper_count,
            sample_lane_count: self.sample_lane_count,
            first_steps: self.first_steps,
            sample_counts: self.sample_counts,
            samples: self.samples,
            epochs: self.epochs,
            hypers: self.hypers,
        }
    }
}

/// The read-only half of a step table.
#[derive(Clone, Copy, Debug)]
struct Tables<'a> {
    lane_count: usize,
    batch_size: usize,
    hyper_count: usize,
    sample_lane_count: usize,
    first_steps: &'a [u64],
    sample_counts: &'a [u32],
    samples: &'a [u32],
    epochs: &'a [u32],
    hypers: &'a [f32],
}

impl<'a> Tables<'a> {
    fn row(&self, step: usize, lane: usize) -> Row<'a> {
        let batch = step * self.sample_lane_count + if self.sample_lane_count == 1 { 0 } else { lane };
        let count = self.sample_counts[batch] as usize;
        let row = step * self.lane_count + lane;
        Row {
            step: self.first_steps[lane] + step as u64,
            samples: &self.samples[batch * self.batch_size..][..count],
            epochs: &self.epochs[batch * self.batch_size..][..count],
            hypers: &self.hypers[row * self.hyper_count..][..self.hyper_count],
        }
    }
}

/// The steps of one lane: take a row, train on it, finish it with its metrics, until there are no more.
///
/// ```
/// # fn train(row: clr_plugin::Row<'_>) -> [f32; 2] { [0.0, 1.0] }
/// # fn step(table: &mut clr_plugin::StepTable<'_>) {
/// for mut lane in table.lanes() {
///     while let Some(row) = lane.next_row() {
///         let metrics = train(row);
///         lane.finish_row(&metrics);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct LaneSteps<'a> {
    lane: usize,
    step_count: u32,
    tables: Tables<'a>,
    metrics: Vec<&'a mut [f32]>,
    done: &'a mut u32,
    cancel: Option<&'a AtomicBool>,
}

/// The inputs of one update of one lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Updates before this one, from the trial's start.
    pub step: u64,
    /// Indices into the train split: 1 to batch-size of them.
    pub samples: &'a [u32],
    /// The epoch in which each sample is seen.
    pub epochs: &'a [u32],
    /// One value for each of the model's hypers.
    pub hypers: &'a [f32],
}

impl<'a> LaneSteps<'a> {
    /// The number of the lane.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// The row to train on now; none when all are done or the host has cancelled. It stays the same row until
    /// [`LaneSteps::finish_row`].
    pub fn next_row(&self) -> Option<Row<'a>> {
        if *self.done == self.step_count || cancelled(self.cancel) {
            return None;
        }
        Some(self.tables.row(*self.done as usize, self.lane))
    }

    /// Writes the metrics of the row at hand (one for each of the model's metrics) and goes on to the next. Does
    /// nothing once all rows are done.
    pub fn finish_row(&mut self, metrics: &[f32]) {
        if *self.done == self.step_count {
            return;
        }
        if let Some(row) = self.metrics.get_mut(*self.done as usize) {
            row.copy_from_slice(metrics);
        }
        *self.done += 1;
    }
}

/// A measurement of lanes on samples of a split.
#[derive(Debug)]
pub struct Evaluate<'a> {
    /// The dataset that holds the samples.
    pub dataset: &'a Dataset<'a>,
    /// The part of the dataset.
    pub split: Split,
    /// Place of the first sample in the split.
    pub first: usize,
    /// How many samples; at least 1.
    pub count: usize,
    /// `[K]`: which lanes to measure.
    pub active: &'a [bool],
    metric_count: usize,
    cancel: Option<&'a AtomicBool>,
    written: Vec<bool>,
    metrics: &'a mut [f32],
}

impl<'a> Evaluate<'a> {
    /// Checks that the samples are there and that `metrics` has a row for each lane. The host's calls come checked; this
    /// is for tests too.
    pub fn new(
        dataset: &'a Dataset<'a>,
        split: Split,
        samples: Range<usize>,
        active: &'a [bool],
        cancel: Option<&'a AtomicBool>,
        metrics: &'a mut [f32],
    ) -> Result<Evaluate<'a>, Error> {
        check_samples(dataset, split, &samples)?;
        if active.is_empty() || !metrics.len().is_multiple_of(active.len()) {
            return Err(Error::invalid(format!("{} metrics for {} lanes", metrics.len(), active.len())));
        }
        let (metric_count, written) = (metrics.len() / active.len(), vec![false; active.len()]);
        Ok(Evaluate {
            dataset,
            split,
            first: samples.start,
            count: samples.len(),
            active,
            metric_count,
            cancel,
            written,
            metrics,
        })
    }

    /// The active lanes, in order.
    pub fn active_lanes(&self) -> impl Iterator<Item = usize> + use<'a> {
        let active = self.active;
        (0..active.len()).filter(move |&lane| active[lane])
    }

    /// Writes the metrics of a lane: means over the samples. A lane that is not active is left alone.
    pub fn set(&mut self, lane: usize, metrics: &[f32]) {
        if self.active[lane] {
            self.metrics[lane * self.metric_count..][..self.metric_count].copy_from_slice(metrics);
            self.written[lane] = true;
        }
    }

    /// True if the host no longer wants the result: return `Ok` then, at once.
    pub fn cancelled(&self) -> bool {
        cancelled(self.cancel)
    }

    /// True if every active lane was measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.active.iter().zip(&self.written).all(|(active, written)| !active || *written)
    }
}

/// A request for one lane's logits of samples of a split, each by itself.
#[derive(Debug)]
pub struct Scores<'a> {
    /// The dataset that holds the samples.
    pub dataset: &'a Dataset<'a>,
    /// The part of the dataset.
    pub split: Split,
    /// Place of the first sample in the split.
    pub first: usize,
    /// How many samples; at least 1.
    pub count: usize,
    /// The lane whose weights score the samples.
    pub lane: usize,
    cancel: Option<&'a AtomicBool>,
    written: usize,
    logits: &'a mut [f32],
}

impl<'a> Scores<'a> {
    /// Checks that the samples are there and that `logits` has a row of `class_count` for each. The host's calls come checked;
    /// this is for tests too.
    pub fn new(
        dataset: &'a Dataset<'a>,
        split: Split,
        samples: Range<usize>,
        lane: usize,
        cancel: Option<&'a AtomicBool>,
        logits: &'a mut [f32],
    ) -> Result<Scores<'a>, Error> {
        check_samples(dataset, split, &samples)?;
        let (first, count) = (samples.start, samples.len());
        if logits.len() != count * dataset.class_count() {
            return Err(Error::invalid(format!("{} logits for {count} samples", logits.len())));
        }
        Ok(Scores { dataset, split, first, count, lane, cancel, written: 0, logits })
    }

    /// Writes the logits of the next samples: `[samples][classes]`, whose softmax are probabilities.
    pub fn push(&mut self, logits: &[f32]) {
        self.logits[self.written..][..logits.len()].copy_from_slice(logits);
        self.written += logits.len();
    }

    /// True if the host no longer wants the result: return `Ok` then, at once.
    pub fn cancelled(&self) -> bool {
        cancelled(self.cancel)
    }

    /// True if every sample has its logits.
    pub(crate) fn is_complete(&self) -> bool {
        self.written == self.logits.len()
    }
}

/// True if a split has these samples, and there are any.
fn check_samples(dataset: &Dataset<'_>, split: Split, samples: &Range<usize>) -> Result<(), Error> {
    let total = dataset.count(split);
    if samples.is_empty() || samples.end > total {
        let Range { start, end } = samples;
        return Err(Error::invalid(format!("samples {start}..{end} of a split of {total}")));
    }
    Ok(())
}

/// Relaxed: the flag carries no data, and the host does not mind one step more.
fn cancelled(cancel: Option<&AtomicBool>) -> bool {
    cancel.is_some_and(|flag| flag.load(Ordering::Relaxed))
}
