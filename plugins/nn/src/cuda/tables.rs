//! The tables of many steps: samples and hyper-parameters, which go to a GPU, and metrics, which come back.

use clr_kernels::cuda::{Buffer, Gpu, GpuError};
use clr_kernels::input::cuda::Batches;
use clr_kernels::softmax_cross_entropy::cuda::Total;
use clr_kernels::step::cuda::Tables as StepTables;
use clr_kernels::step::{LaneStep, Metrics, StepRow};
use clr_plugin::StepTableParts;

use crate::columns::{HYPERS, Hypers};

/// Steps, or batches of an evaluation, that the GPU makes without the host. In between the host copies tables and sees
/// whether it is to stop: some 50 microseconds, so 0.2 for each of them.
pub(super) const ROWS: usize = 256;

/// The tables of [`ROWS`] steps of K lanes.
#[derive(Debug)]
pub(super) struct Tables {
    lanes: usize,
    batch_size: usize,
    /// Of a row of metrics.
    columns: usize,
    /// `[ROWS][K]`.
    rows: Buffer<StepRow>,
    /// `[K]`.
    first_steps: Buffer<u64>,
    /// `[1]`: the row at hand.
    row: Buffer<u32>,
    /// `[K]`: the step at hand.
    pub steps: Buffer<LaneStep>,
    /// `[ROWS][K or 1][batch]`.
    samples: Buffer<u32>,
    epochs: Buffer<u32>,
    /// `[ROWS][K][columns]`.
    metrics: Buffer<f32>,
    /// `[K]`: what an evaluation has summed up.
    pub totals: Buffer<Total>,
}

/// Bytes that each lane adds to [`Tables`].
pub(super) fn bytes_per_lane(batch_size: usize, columns: usize) -> u64 {
    let row = size_of::<StepRow>() + 2 * batch_size * size_of::<u32>() + columns * size_of::<f32>();
    (ROWS * row + size_of::<u64>() + size_of::<LaneStep>() + size_of::<Total>()) as u64
}

/// Allocations that [`Tables`] are.
pub(super) const ALLOCATIONS: u64 = 8;

impl Tables {
    pub fn new(gpu: &Gpu, lanes: usize, batch_size: usize, columns: usize) -> Result<Tables, GpuError> {
        Ok(Tables {
            lanes,
            batch_size,
            columns,
            rows: gpu.alloc(ROWS * lanes)?,
            first_steps: gpu.alloc(lanes)?,
            row: gpu.alloc(1)?,
            steps: gpu.alloc(lanes)?,
            samples: gpu.alloc(ROWS * lanes * batch_size)?,
            epochs: gpu.alloc(ROWS * lanes * batch_size)?,
            metrics: gpu.alloc(ROWS * lanes * columns)?,
            totals: gpu.alloc(lanes)?,
        })
    }

    /// The tables of the first launch of a step.
    pub fn of_steps(&self) -> StepTables<'_> {
        let Tables { rows, first_steps, row, steps, .. } = self;
        StepTables { rows, row_count: ROWS, first_steps, row, steps }
    }

    /// The table of metrics.
    pub fn metrics(&self) -> Metrics<'_> {
        Metrics { values: &self.metrics, rows: ROWS, columns: self.columns }
    }

    /// The samples, of each lane or of all; in training the lanes' seeds too.
    pub fn batches<'a>(&'a self, lane_count: usize, data_seeds: Option<&'a Buffer<u64>>) -> Batches<'a> {
        let Tables { samples, epochs, batch_size, .. } = self;
        Batches { samples, epochs, rows: ROWS, lane_count, batch_size: *batch_size, first: 0, data_seeds }
    }

    /// Copies `count` steps of a call to the GPU, from number `first` on.
    pub fn upload_steps(
        &self,
        gpu: &Gpu,
        parts: &StepTableParts<'_>,
        first: usize,
        count: usize,
    ) -> Result<(), GpuError> {
        let in_table = parts.sample_lane_count * self.batch_size;
        let samples = first * in_table..(first + count) * in_table;
        gpu.upload(&self.samples, 0, &parts.samples[samples.clone()])?;
        gpu.upload(&self.epochs, 0, &parts.epochs[samples])?;
        let steps = (first..first + count).flat_map(|step| (0..self.lanes).map(move |lane| (step, lane)));
        let rows: Vec<StepRow> = steps.map(|(step, lane)| row(parts, step, lane)).collect();
        gpu.upload(&self.rows, 0, &rows)?;
        let first_steps: Vec<u64> = parts.first_steps.iter().map(|step| step + first as u64).collect();
        gpu.upload(&self.first_steps, 0, &first_steps)?;
        gpu.upload(&self.row, 0, &[0])
    }

    /// Copies the places of samples to the GPU that an evaluation sees, batch by batch.
    pub fn upload_samples(&self, gpu: &Gpu, samples: &[u32]) -> Result<(), GpuError> {
        gpu.upload(&self.samples, 0, samples)?;
        gpu.upload(&self.row, 0, &[0])
    }

    /// Waits for `count` steps and appends `[count][K][columns]` to `metrics`.
    pub fn download_metrics(&self, gpu: &Gpu, count: usize, metrics: &mut Vec<f32>) -> Result<(), GpuError> {
        let start = metrics.len();
        metrics.resize(start + count * self.lanes * self.columns, 0.0);
        gpu.download(&self.metrics, 0, &mut metrics[start..])
    }
}

/// Samples of a lane's batch in a step of a call; 0 if it makes no such step.
pub(super) fn sample_count(parts: &StepTableParts<'_>, step: usize, lane: usize) -> usize {
    if step >= parts.lane_steps[lane] as usize {
        return 0;
    }
    let lane = if parts.sample_lane_count == 1 { 0 } else { lane };
    parts.sample_counts[step * parts.sample_lane_count + lane] as usize
}

fn row(parts: &StepTableParts<'_>, step: usize, lane: usize) -> StepRow {
    let mut hypers = [0.0; HYPERS.len()];
    hypers.copy_from_slice(&parts.hypers[(step * parts.lane_count + lane) * HYPERS.len()..][..HYPERS.len()]);
    StepRow { samples: sample_count(parts, step, lane) as u32, hypers: Hypers::from(hypers) }
}
