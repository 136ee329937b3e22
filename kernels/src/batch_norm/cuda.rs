//! Batch normalisation on a GPU, with what is remembered between steps.

#![allow(unsafe_code)]

use super::BatchNorm;
use crate::Activation;
use crate::cuda::{Buffer, Gpu, GpuError, Lanes, Launch, count, mirror, width};
use crate::step::LaneStep;

const THREADS: usize = 256;

/// Rows that a thread sums in one go.
const ROWS_PER_THREAD: usize = 8;

/// Groups of channels side by side in a block, at most: 8 of 4 floats are the 128 bytes that a warp reads best.
const MOST_COLUMNS: usize = 8;

/// Chunks of rows, at most: every block of the second launch adds them all.
const MOST_CHUNKS: usize = 32;

/// The statistics that are remembered between steps. `running` is `[2][channels]`: means and variances; for Caffe's form one
/// more value, the sum of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Running {
    /// With f the fraction and s the sum of weights, each step makes `s = f s + 1`, and likewise sums of means and of unbiased
    /// variances; evaluation divides those by s.
    Caffe {
        /// The share of the sums that is kept.
        moving_average_fraction: f32,
    },
    /// Means and unbiased variances move by `momentum` of the way.
    Torch {
        /// The part of the way.
        momentum: f32,
    },
}

mirror! {
    /// Mirrors `batch_norm::LaunchShape` in batch_norm.cu.
    struct LaunchShape = "batch_norm::LaunchShape" {
        rows: u32,
        channels: u32,
        chunk_rows: u32,
        chunks: u32,
        columns: u32,
        width: u32,
        epsilon: f32,
        affine: u32,
    }
}

mirror! {
    /// Mirrors `batch_norm::Memory` in batch_norm.cu.
    struct Memory = "batch_norm::Memory" {
        form: u32,
        keep: f32,
        add: f32,
        unbiased: f32,
    }
}

/// Floats of scratch memory that each lane needs for [`forward`] and for [`backward`].
pub fn scratch_len(shape: &BatchNorm) -> usize {
    2 * MOST_CHUNKS * shape.channels
}

/// The arrays of [`forward`].
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// `[lanes]`: the step at hand.
    pub steps: &'a Buffer<LaneStep>,
    /// `[rows][channels]`.
    pub x: Lanes<'a>,
    /// `[2][channels]`: weights and biases, if there are any.
    pub affine: Option<Lanes<'a>>,
    /// `[2][channels]`: mean and variance, written for the backward pass.
    pub moments: Lanes<'a>,
    /// The remembered statistics, of [`Running::running_len`].
    pub running: Lanes<'a>,
    /// `[rows][channels]`.
    pub y: Lanes<'a>,
    /// At least [`scratch_len`] floats.
    pub scratch: Lanes<'a>,
}

/// As [`super::statistics`] and [`super::forward`], in each lane. Lanes whose update has `update` samples take the moments into
/// what is remembered.
///
/// # Errors
/// What the driver says.
pub fn forward(
    gpu: &Gpu,
    lanes: usize,
    shape: &BatchNorm,
    form: Running,
    activation: Activation,
    update: usize,
    arrays: &Forward<'_>,
) -> Result<(), GpuError> {
    let &Forward { steps, x, affine, moments, running, y, scratch } = arrays;
    let (len, channels) = (shape.len(), shape.channels);
    let device = LaunchShape::new(shape, affine.is_some(), [x.is_aligned(), y.is_aligned(), scratch.is_aligned()]);
    let launch = device.begin(gpu, "batch_norm_statistics", lanes).read("x", x, len);
    // SAFETY: the arguments of `batch_norm_statistics`.
    unsafe { launch.write("partial", scratch, device.partial_len()).run()? };
    let launch = device.begin(gpu, "batch_norm_forward", lanes).value("memory", form.memory(shape.rows));
    let launch = launch.value("activation", activation as u32).value("update", count(update));
    let launch = launch.table("steps", steps, lanes).read("x", x, len).read("partial", scratch, device.partial_len());
    let launch = launch.read_optional("affine", affine, 2 * channels).write("moments", moments, 2 * channels);
    let launch = launch.write("running", running, form.running_len(channels)).write("y", y, len);
    // SAFETY: the arguments of `batch_norm_forward`.
    unsafe { launch.run() }
}

/// The arrays of [`evaluate`]: as those of [`Forward`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the same as in `Forward`")]
pub struct Evaluate<'a> {
    pub x: Lanes<'a>,
    pub affine: Option<Lanes<'a>>,
    pub running: Lanes<'a>,
    pub y: Lanes<'a>,
}

/// As [`super::forward`], in each lane, with the statistics that are remembered.
///
/// # Errors
/// What the driver says.
pub fn evaluate(
    gpu: &Gpu,
    lanes: usize,
    shape: &BatchNorm,
    form: Running,
    activation: Activation,
    arrays: &Evaluate<'_>,
) -> Result<(), GpuError> {
    let &Evaluate { x, affine, running, y } = arrays;
    let (len, channels) = (shape.len(), shape.channels);
    let device = LaunchShape::new(shape, affine.is_some(), [x.is_aligned(), y.is_aligned(), true]);
    let launch = device.begin(gpu, "batch_norm_evaluate", lanes).value("memory", form.memory(shape.rows));
    let launch = launch.value("activation", activation as u32).read("x", x, len);
    let launch = launch.read_optional("affine", affine, 2 * channels);
    let launch = launch.read("running", running, form.running_len(channels)).write("y", y, len);
    // SAFETY: the arguments of `batch_norm_evaluate`.
    unsafe { launch.run() }
}

/// The arrays of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// `[rows][channels]`.
    pub x: Lanes<'a>,
    /// `[2][channels]`: what [`forward`] wrote.
    pub moments: Lanes<'a>,
    /// `[2][channels]`: weights and biases, if there are any.
    pub affine: Option<Lanes<'a>>,
    /// `[rows][channels]`: read for the sigmoid alone, and needed there.
    pub y: Option<Lanes<'a>>,
    /// `[rows][channels]`: the gradient of the output, which stays as it is.
    pub dy: Lanes<'a>,
    /// `[2][channels]`: the gradients of weights and biases; as many as there are of these.
    pub daffine: Option<Lanes<'a>>,
    /// `[rows][channels]`: the gradient of the input, where it is asked for.
    pub dx: Option<Lanes<'a>>,
    /// At least [`scratch_len`] floats.
    pub scratch: Lanes<'a>,
}

/// As [`super::backward`], in each lane.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If the activation is the sigmoid and there is no `y`, or there are weights without gradients.
pub fn backward(
    gpu: &Gpu,
    lanes: usize,
    shape: &BatchNorm,
    activation: Activation,
    arrays: &Backward<'_>,
) -> Result<(), GpuError> {
    let &Backward { x, moments, affine, y, dy, daffine, dx, scratch } = arrays;
    let y = y.filter(|_| activation == Activation::Sigmoid);
    assert!(y.is_some() || activation != Activation::Sigmoid, "the sigmoid's slope follows from its output");
    assert_eq!(affine.is_some(), daffine.is_some(), "weights and their gradients");
    let (len, channels) = (shape.len(), shape.channels);
    let others = y.is_none_or(|y| y.is_aligned()) && dx.is_none_or(|dx| dx.is_aligned()) && dy.is_aligned();
    let device = LaunchShape::new(shape, affine.is_some(), [x.is_aligned(), others, scratch.is_aligned()]);
    let begin = |kernel| {
        let launch = device.begin(gpu, kernel, lanes).value("activation", activation as u32).read("x", x, len);
        let launch = launch.read("moments", moments, 2 * channels).read_optional("affine", affine, 2 * channels);
        launch.read_optional("y", y, len).read("dy", dy, len)
    };
    let launch = begin("batch_norm_sums").write("partial", scratch, device.partial_len());
    // SAFETY: the arguments of `batch_norm_sums`.
    unsafe { launch.run()? };
    let mut launch = begin("batch_norm_backward").read("partial", scratch, device.partial_len());
    if dx.is_none() {
        // The blocks of the first chunk, for the gradients of the weights.
        launch = launch.blocks([1, device.tiles(), lanes]);
    }
    let launch = launch.write_optional("daffine", daffine, 2 * channels).write_optional("dx", dx, len);
    // SAFETY: the arguments of `batch_norm_backward`.
    unsafe { launch.run() }
}

impl Running {
    /// Floats of what is remembered.
    pub fn running_len(self, channels: usize) -> usize {
        match self {
            Running::Caffe { .. } => 2 * channels + 1,
            Running::Torch { .. } => 2 * channels,
        }
    }

    fn memory(self, rows: usize) -> Memory {
        // With a single row there is no unbiased variance; PyTorch refuses it, Caffe divides by 1.
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        match self {
            Running::Caffe { moving_average_fraction: keep } => Memory { form: 0, keep, add: 1.0, unbiased },
            Running::Torch { momentum } => Memory { form: 1, keep: 1.0 - momentum, add: momentum, unbiased },
        }
    }
}

impl LaunchShape {
    fn new(shape: &BatchNorm, affine: bool, aligned: [bool; 3]) -> LaunchShape {
        let width = width(shape.channels, aligned);
        let columns = (shape.channels / width).next_power_of_two().min(MOST_COLUMNS);
        // Chunks are cut by the shape alone: their sums' order, and so the bits, are those of every number of lanes.
        let sweep = ROWS_PER_THREAD * THREADS / columns;
        let chunk_rows = shape.rows.div_ceil(MOST_CHUNKS).next_multiple_of(sweep).max(sweep);
        LaunchShape {
            rows: count(shape.rows),
            channels: count(shape.channels),
            chunk_rows: count(chunk_rows),
            chunks: count(shape.rows.div_ceil(chunk_rows)),
            columns: count(columns),
            width: width as u32,
            epsilon: shape.epsilon,
            affine: u32::from(affine),
        }
    }

    fn begin<'a>(&self, gpu: &'a Gpu, kernel: &'static str, lanes: usize) -> Launch<'a> {
        let launch = gpu.launch(kernel, lanes).blocks([self.chunks as usize, self.tiles(), lanes]).threads(THREADS);
        launch.value("shape", *self)
    }

    fn tiles(&self) -> usize {
        self.channels.div_ceil(self.columns * self.width) as usize
    }

    /// Floats of what each lane's chunks sum up.
    fn partial_len(&self) -> usize {
        2 * self.chunks as usize * self.channels as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};
    use crate::{Cpu, batch_norm};

    const BATCH: usize = 2;

    /// y, dx, daffine, moments, running statistics, and y of evaluation.
    #[track_caller]
    fn check(shape: &BatchNorm, form: Running, has_affine: bool, activation: Activation) {
        let (cpu, len, channels) = (Cpu::new(1).unwrap(), shape.len(), shape.channels);
        let running_len = form.running_len(channels);
        // Lane 1 has no batch: all is computed, and nothing remembered.
        let samples = |lane: u64| if lane == 1 { 0 } else { BATCH as u32 };
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let [x, dy] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
            let affine = Tensors::new(gpu, placing, &lane_values(lanes, 3, 2 * channels));
            let running = Tensors::new(gpu, placing, &vec![vec![0.5; running_len]; count]);
            let unwritten = |len| Tensors::<f32>::unwritten(gpu, placing, count, len);
            let [y, dx, evaluated] = [len; 3].map(unwritten);
            let [moments, daffine] = [2 * channels; 2].map(unwritten);
            let scratch = unwritten(scratch_len(shape));
            let steps = lanes.iter().map(|&lane| LaneStep { samples: samples(lane), ..LaneStep::default() });
            let steps = gpu.alloc_from(&steps.collect::<Vec<_>>()).unwrap();
            let (x, y, dy) = (x.lanes(), y.lanes(), dy.lanes());
            let weights = has_affine.then(|| affine.lanes());
            let (kept, sums) = (moments.lanes(), scratch.lanes());
            let (affine, running_lanes) = (weights, running.lanes());
            let arrays = Forward { steps: &steps, x, affine, moments: kept, running: running_lanes, y, scratch: sums };
            forward(gpu, count, shape, form, activation, BATCH, &arrays).unwrap();
            let daffine_lanes = has_affine.then(|| daffine.lanes());
            let all = Backward {
                x,
                moments: kept,
                affine,
                y: Some(y),
                dy,
                daffine: daffine_lanes,
                dx: Some(dx.lanes()),
                scratch: sums,
            };
            backward(gpu, count, shape, activation, &all).unwrap();
            let arrays = Evaluate { x, affine, running: running_lanes, y: evaluated.lanes() };
            evaluate(gpu, count, shape, form, activation, &arrays).unwrap();
            let dx_values = dx.read(gpu);
            if has_affine {
                let before = daffine.read(gpu);
                backward(gpu, count, shape, activation, &Backward { dx: None, ..all }).unwrap();
                assert_eq!(daffine.read(gpu), before, "with and without dx");
            }
            let daffine = if has_affine { daffine.read(gpu) } else { vec![Vec::new(); count] };
            let y = read_lanes(gpu, y, count, len);
            join([y, dx_values, daffine, moments.read(gpu), running.read(gpu), evaluated.read(gpu)])
        }) {
            let [x, mut dy] = [1, 2].map(|seed| values(1000 * lane + seed, len));
            let affine = values(1000 * lane + 3, 2 * channels);
            let affine = has_affine.then(|| affine.split_at(channels));
            let [mut y, mut dx, mut evaluated] = [(); 3].map(|()| vec![f32::NAN; len]);
            let [mut mean, mut variance, mut dweight, mut dbias] = [(); 4].map(|()| vec![f32::NAN; channels]);
            let mut scratch = vec![0.0; shape.scratch_len()];
            batch_norm::statistics(&cpu, shape, &x, &mut mean, &mut variance, &mut scratch);
            let mut forward = |mean: &[f32], variance: &[f32], y: &mut [f32]| {
                let arrays = batch_norm::Forward { x: &x, mean, variance, affine, y, scratch: &mut scratch };
                batch_norm::forward(&cpu, shape, activation, arrays);
            };
            forward(&mean, &variance, &mut y);
            let arrays = batch_norm::Backward {
                x: &x,
                mean: &mean,
                variance: &variance,
                affine,
                y: &y,
                dy: &mut dy,
                dx: Some(&mut dx),
                dweight: &mut dweight,
                dbias: &mut dbias,
                scratch: &mut vec![0.0; shape.scratch_len()],
            };
            batch_norm::backward(&cpu, shape, activation, arrays);
            let mut running = vec![0.5; running_len];
            if samples(lane) > 0 {
                let Memory { keep, add, unbiased, .. } = form.memory(shape.rows);
                for channel in 0..channels {
                    running[channel] = keep * 0.5 + add * mean[channel];
                    running[channels + channel] = keep * 0.5 + add * unbiased * variance[channel];
                }
                running.iter_mut().skip(2 * channels).for_each(|weights| *weights = keep * 0.5 + 1.0);
            }
            let scale = running.get(2 * channels).map_or(1.0, |weights| 1.0 / weights);
            let remembered: Vec<f32> = running[..2 * channels].iter().map(|value| scale * value).collect();
            let (means, variances) = remembered.split_at(channels);
            forward(means, variances, &mut evaluated);
            let daffine = if has_affine { [dweight, dbias].concat() } else { Vec::new() };
            let expected = widened(&[y, dx, daffine, mean, variance, running, evaluated].concat());
            assert_close(&format!("{shape:?} {form:?} {activation:?} {placing:?}"), &result, &expected, 1e-5);
        }
    }

    fn read_lanes(gpu: &Gpu, lanes: Lanes<'_>, count: usize, len: usize) -> Vec<Vec<f32>> {
        let read = |lane: usize| {
            let mut values = vec![0.0; len];
            gpu.download(lanes.buffer, lanes.offset + lane * lanes.stride, &mut values).unwrap();
            values
        };
        (0..count).map(read).collect()
    }

    #[test]
    fn passes_are_those_of_the_cpu() {
        let caffe = Running::Caffe { moving_average_fraction: 0.5 };
        let torch = Running::Torch { momentum: 0.1 };
        // One row; channels by fours and not, more than a tile of them; several sweeps and several chunks of rows.
        for (rows, channels, form, has_affine, activation) in [
            (2, 3, caffe, false, Activation::Sigmoid),
            (7, 36, torch, true, Activation::Relu),
            (300, 9, torch, true, Activation::None),
            (600, 32, caffe, false, Activation::None),
            (1100, 8, torch, true, Activation::Sigmoid),
        ] {
            check(&BatchNorm { rows, channels, epsilon: 0.01 }, form, has_affine, activation);
        }
    }

    /// Values near 1000 with a deviation of 0.5, as on the CPU, in several chunks.
    #[test]
    fn a_large_mean_costs_no_digits_of_the_variance() {
        let Some(gpu) = crate::testing::gpu() else { return };
        let shape = BatchNorm { rows: 5000, channels: 1, epsilon: 0.0 };
        let x: Vec<f32> = (0..shape.rows).map(|i| if i % 2 == 0 { 1000.5 } else { 999.5 }).collect();
        let x = gpu.alloc_from(&x).unwrap();
        let [y, scratch, kept, running] = [shape.rows, scratch_len(&shape), 2, 2].map(|len| gpu.alloc(len).unwrap());
        let steps = gpu.alloc(1).unwrap();
        let (x, y, scratch) = (x.shared(), y.shared(), scratch.shared());
        let (form, none) = (Running::Torch { momentum: 1.0 }, Activation::None);
        let (moments, running) = (kept.shared(), running.shared());
        let arrays = Forward { steps: &steps, x, affine: None, moments, running, y, scratch };
        forward(&gpu, 1, &shape, form, none, 1, &arrays).unwrap();
        assert_eq!(read_lanes(&gpu, kept.shared(), 1, 2), [[1000.0, 0.25]]);
    }
}
