//! A session on an NVIDIA GPU: K lanes in the same kernel launches.
//!
//! A training step is one graph of launches: take the step's row of the tables, gather the images, run the program (these two
//! for each batch, where the gradients of several are accumulated), the gradient's norm, and one update of all parameters of all
//! lanes for each optimizer that they have. It is captured when a batch of its size first comes up,
//! and replayed for every step; the host copies the tables of [`ROWS`] steps at a time, and their metrics back. An evaluation
//! is a graph in the same way. All memory is found when the session is made: `memory` and `tables` have it, and `source` the
//! data set.
//!
//! Every launch computes all lanes. A lane that makes no step, or whose batch has another size, is computed on whatever
//! is there; its state stays as it is. So lanes may pause, end and begin at different steps, and a lane's bits are those
//! that it has alone.

mod executor;
mod graphs;
mod memory;
mod source;
mod tables;

use std::collections::BTreeSet;

use clr_kernels::cuda::{Gpu, GpuError, Precision};
use clr_kernels::optimizer::Descriptor;
use clr_kernels::softmax_cross_entropy::cuda::Total;
use clr_plugin::{
    Augment, Dataset, Error, Evaluate, Footprint, Session, SessionConfig, Split, StepTable, StepTableParts, Tensor,
};

use self::graphs::{GraphKind, Graphs, Sharing};
use self::memory::{Memory, Sizes, Tensors};
use self::source::Source;
use self::tables::{ROWS, Tables, sample_count};
use crate::columns::{HYPERS, MetricsRow};
use crate::lane::Lane;
use crate::model::Model;
use crate::optimizer::LaneOptimizer;
use crate::state::{self, Storage};

/// K networks of one architecture that train side by side on a GPU.
#[derive(Debug)]
pub(crate) struct CudaSession {
    model: Model,
    precision: Precision,
    lanes: Vec<Trial>,
    /// The optimizers that lanes have or had.
    optimizers: Vec<&'static Descriptor>,
    sizes: Sizes,
    graphs: Graphs,
    tables: Tables,
    memory: Memory,
    source: Source,
    /// True if training changes images at random, so that lanes with different seeds see different ones.
    is_random: bool,
    gpu: Gpu,
}

/// The host's part of a lane.
#[derive(Clone, Debug)]
struct Trial {
    optimizer: LaneOptimizer,
    data_seed: u64,
}

/// The memory of a session, without opening the GPU: exactly what it allocates, but for the rounding of each
/// allocation. What the driver takes for itself, some hundred MiB for a process, is not counted.
pub(crate) fn footprint(
    config: &SessionConfig<'_>,
    model: &Model,
    optimizers: &[LaneOptimizer],
    ordinal: usize,
    precision: Precision,
) -> Result<Footprint, Error> {
    let (major, minor) = Gpu::capability_of(ordinal).map_err(failure)?;
    let sizes = sizes(config, model, precision)?;
    let (images, image_allocations) = source::bytes(config.dataset);
    let allocations = sizes.allocations() + image_allocations + tables::ALLOCATIONS;
    Ok(Footprint {
        bytes_shared: images + allocations * ALLOCATION_BYTES,
        bytes_per_lane: sizes.bytes_per_lane(state_count(optimizers))
            + tables::bytes_per_lane(config.batch_size, model.metric_count()),
        numerics: format!("cuda-sm{major}{minor}-{}", precision_name(precision)),
    })
}

/// The multiple that an allocation is rounded up to.
const ALLOCATION_BYTES: u64 = 512;

fn sizes(config: &SessionConfig<'_>, model: &Model, precision: Precision) -> Result<Sizes, Error> {
    // The last batch of an epoch may be a smaller one, for which a convolution may be cut into more parts.
    let last = config.dataset.count(Split::Train) % config.batch_size;
    let batches = model.parts(config.batch_size).chain(model.parts(last)).map(|(_, batch)| batch).collect();
    Sizes::new(model, config.lanes.len(), precision, &batches, config.dataset.is_made_by_host())
}

/// As options name it.
pub(crate) fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 => "f32",
        Precision::Tf32 => "tf32",
        Precision::Bf16 => "bf16",
    }
}

/// A GPU's error as the host is told of it.
pub(crate) fn failure(error: GpuError) -> Error {
    let message = error.to_string();
    match error {
        GpuError::OutOfMemory { .. } => Error::out_of_memory(message),
        // No other process has a newer driver or GPU.
        GpuError::DriverTooOld { .. } | GpuError::GpuTooOld { .. } => Error::unsupported(message),
        GpuError::NoDriver | GpuError::NoSuchGpu { .. } | GpuError::Failed { .. } => Error::device(message),
    }
}

/// Values that the hungriest optimizer keeps for each weight.
fn state_count(optimizers: &[LaneOptimizer]) -> usize {
    optimizers.iter().map(|optimizer| optimizer.state_names().len()).max().unwrap_or(0)
}

impl CudaSession {
    pub fn new(
        config: &SessionConfig<'_>,
        model: Model,
        optimizers: Vec<LaneOptimizer>,
        ordinal: usize,
        precision: Precision,
    ) -> Result<CudaSession, Error> {
        let sizes = sizes(config, &model, precision)?;
        let gpu = Gpu::open(ordinal).map_err(failure)?;
        let source = Source::new(&gpu, config.dataset)?;
        let lanes = config.lanes.len();
        let memory = Memory::new(&gpu, &sizes, lanes, state_count(&optimizers)).map_err(failure)?;
        let tables = Tables::new(&gpu, lanes, config.batch_size, model.metric_count()).map_err(failure)?;
        let is_random = source::is_random(config.dataset);
        let trials = config.lanes.iter().zip(&optimizers);
        let trials = trials.map(|(lane, optimizer)| Trial { optimizer: optimizer.clone(), data_seed: lane.data_seed });
        for (index, (lane, optimizer)) in config.lanes.iter().zip(&optimizers).enumerate() {
            let lane = Lane::new(&model.network, optimizer.clone(), lane.init_seed, lane.data_seed);
            memory.put(&gpu, &model, index, &lane).map_err(failure)?;
        }
        let (lanes, graphs) = (trials.collect(), Graphs::default());
        let mut optimizers: Vec<_> = optimizers.iter().map(|optimizer| optimizer.rule.descriptor()).collect();
        optimizers.sort_by_key(|descriptor| descriptor.name);
        optimizers.dedup_by_key(|descriptor| descriptor.name);
        Ok(CudaSession { model, precision, lanes, optimizers, sizes, graphs, tables, memory, source, is_random, gpu })
    }

    /// Launches one step: a graph for each size that batches of the lanes have.
    fn launch_step(&mut self, parts: &StepTableParts<'_>, step: usize, sharing: Sharing) -> Result<(), Error> {
        if matches!(self.source, Source::Streamed) {
            self.stream_step(parts, step, sharing)?;
        }
        let batches: BTreeSet<usize> =
            (0..self.lanes.len()).map(|lane| sample_count(parts, step, lane)).filter(|&count| count > 0).collect();
        for (index, &samples) in batches.iter().enumerate() {
            let is_last = index + 1 == batches.len();
            self.launch(GraphKind::Train { samples, sharing, is_last }).map_err(failure)?;
        }
        Ok(())
    }

    /// The samples that lanes share in a call.
    fn sharing(&self, parts: &StepTableParts<'_>) -> Sharing {
        let seed = self.lanes[0].data_seed;
        match parts.sample_lane_count {
            1 if !self.is_random || self.lanes.iter().all(|lane| lane.data_seed == seed) => Sharing::Images,
            1 => Sharing::Samples,
            _ => Sharing::Nothing,
        }
    }

    /// Makes the images of a step on the host.
    fn stream_step(&mut self, parts: &StepTableParts<'_>, step: usize, sharing: Sharing) -> Result<(), Error> {
        for lane in 0..self.lanes.len() {
            let count = sample_count(parts, step, lane);
            if count == 0 {
                continue;
            }
            let place = if parts.sample_lane_count == 1 { 0 } else { lane };
            let first = (step * parts.sample_lane_count + place) * parts.batch_size;
            let (samples, epochs) = (&parts.samples[first..][..count], &parts.epochs[first..][..count]);
            let augment = Augment { data_seed: self.lanes[lane].data_seed, epochs };
            let target = if sharing == Sharing::Images { 0 } else { lane };
            self.stream(parts.dataset, Split::Train, samples, Some(augment), target)?;
            if sharing == Sharing::Images {
                break;
            }
        }
        Ok(())
    }

    /// Copies a batch that the host makes to lane `lane`.
    fn stream(
        &self,
        dataset: &Dataset<'_>,
        split: Split,
        samples: &[u32],
        augment: Option<Augment<'_>>,
        lane: usize,
    ) -> Result<(), Error> {
        let class_count = self.model.network.class_count();
        let mut images = vec![0.0; samples.len() * self.model.input_len()];
        let mut labels = vec![0; samples.len()];
        dataset.fill_batch(split, samples, augment, &mut images, &mut labels)?;
        // They were checked by nobody yet.
        if let Some(label) = labels.iter().find(|&&label| label < 0 || label as usize >= class_count) {
            return Err(Error::invalid(format!("label {label} in a dataset of {class_count} classes")));
        }
        let Memory { images: to_images, labels: to_labels, .. } = &self.memory;
        self.gpu.upload(&to_images.buffer, lane * to_images.stride, &images).map_err(failure)?;
        self.gpu.upload(&to_labels.buffer, lane * to_labels.stride, &labels).map_err(failure)
    }

    /// Loss and accuracy of every lane on the samples that are asked for. None if the host has cancelled.
    fn measure(&mut self, request: &Evaluate<'_>) -> Result<Option<Vec<Total>>, Error> {
        let batch_size = self.model.batch_size;
        let samples: Vec<u32> = (request.first..request.first + request.count).map(|sample| sample as u32).collect();
        let mut totals = vec![Total::default(); self.lanes.len()];
        self.gpu.upload(&self.tables.totals, 0, &totals).map_err(failure)?;
        for samples in samples.chunks(ROWS * batch_size) {
            if request.cancelled() {
                return Ok(None);
            }
            self.tables.upload_samples(&self.gpu, samples).map_err(failure)?;
            for batch in samples.chunks(batch_size) {
                if matches!(self.source, Source::Streamed) {
                    self.stream(request.dataset, request.split, batch, None, 0)?;
                }
                self.launch(GraphKind::Evaluate { batch: batch.len(), split: request.split }).map_err(failure)?;
            }
            self.gpu.download(&self.tables.totals, 0, &mut totals).map_err(failure)?;
        }
        Ok(Some(totals))
    }

    /// Sees to it that a lane can have this optimizer from now on.
    fn make_room_for(&mut self, optimizer: &LaneOptimizer) -> Result<(), Error> {
        let descriptor = optimizer.rule.descriptor();
        if self.optimizers.iter().any(|known| known.name == descriptor.name) {
            return Ok(());
        }
        for state in &mut self.memory.state[..descriptor.state.len()] {
            if state.is_none() {
                *state = Some(Tensors::new(&self.gpu, self.lanes.len(), self.sizes.parameters).map_err(failure)?);
            }
        }
        self.optimizers.push(descriptor);
        // They were captured without it.
        self.graphs.clear();
        Ok(())
    }

    /// The values of tensor number `tensor` in the list of [`Session::tensors`]: where they begin, and how many there
    /// are.
    fn tensor(&self, lane: usize, tensor: usize) -> Result<(&Tensors, usize, usize), Error> {
        let place = state::place(&self.model.network, &self.lanes[lane].optimizer, tensor);
        let found = place.and_then(|place| {
            let tensors = match place.storage {
                Storage::Weights => &self.memory.weights,
                Storage::Optimizer(index) => self.memory.state.get(index)?.as_ref()?,
                Storage::Buffers => &self.memory.buffers,
            };
            Some((tensors, lane * tensors.stride + place.range.start, place.range.len()))
        });
        found.ok_or_else(|| Error::invalid(format!("no tensor {tensor} in lane {lane}")))
    }
}

impl Session for CudaSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        let parts = table.parts();
        if parts.hyper_count != HYPERS.len() {
            return Err(Error::internal("a row of hyper-parameters of another length"));
        }
        let lane_steps = parts.lane_steps;
        let sharing = self.sharing(parts);
        let step_count = lane_steps.iter().max().map_or(0, |&steps| steps as usize);
        let columns = self.model.metric_count();
        let mut metrics = Vec::with_capacity(step_count * self.lanes.len() * columns);
        let mut done = 0;
        while done < step_count && !table.cancelled() {
            let count = ROWS.min(step_count - done);
            self.tables.upload_steps(&self.gpu, parts, done, count).map_err(failure)?;
            for step in done..done + count {
                self.launch_step(parts, step, sharing)?;
            }
            self.tables.download_metrics(&self.gpu, count, &mut metrics).map_err(failure)?;
            done += count;
        }
        for mut steps in table.lanes() {
            let rows = metrics.chunks_exact(columns).skip(steps.lane()).step_by(self.lanes.len());
            rows.take(lane_steps[steps.lane()] as usize).for_each(|row| steps.finish_row(row));
        }
        Ok(())
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let Some(totals) = self.measure(evaluate)? else { return Ok(()) };
        let count = evaluate.count as f64;
        for lane in evaluate.active_lanes() {
            let Total { loss, correct, top5 } = totals[lane];
            let mean = |sum: f64| (sum / count) as f32;
            // There is no gradient here.
            let metrics: MetricsRow = [mean(loss), mean(correct as f64), f32::NAN, mean(top5 as f64)];
            evaluate.set(lane, &metrics[..self.model.metric_count()]);
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &clr_plugin::Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        let optimizer = LaneOptimizer::parse(trial.options, &self.model.network)?;
        self.make_room_for(&optimizer)?;
        let state = Lane::new(&self.model.network, optimizer.clone(), trial.init_seed, trial.data_seed);
        self.memory.put(&self.gpu, &self.model, lane, &state).map_err(failure)?;
        self.lanes[lane] = Trial { optimizer, data_seed: trial.data_seed };
        Ok(())
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        state::tensors(&self.model.network, &self.lanes[lane].optimizer)
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        let (tensors, first, len) = self.tensor(lane, tensor)?;
        check_len(tensor, values.len(), len)?;
        self.gpu.download(&tensors.buffer, first, values).map_err(failure)
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        let (tensors, first, len) = self.tensor(lane, tensor)?;
        check_len(tensor, values.len(), len)?;
        self.gpu.upload(&tensors.buffer, first, values).map_err(failure)
    }
}

fn check_len(tensor: usize, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::internal(format!("{found} values for tensor {tensor}, which has {expected}")))
}
