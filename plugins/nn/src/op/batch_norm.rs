//! Batch normalisation, in Caffe's form and in PyTorch's.

use clr_kernels::batch_norm::cuda::Running;
use clr_kernels::cuda::{GpuError, Precision};
use clr_kernels::{Activation, batch_norm};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Needs, Pass, Passes, Uses};
use crate::parameter::Parameter;
use crate::shape::Shape;

/// The form of the normalisation. Training normalises by the batch's own mean and biased variance in both forms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchNorm {
    /// Caffe's: no weights. With f the fraction and s a sum of weights, each step makes `s = f s + 1`, and likewise sums
    /// of means and of unbiased variances, and evaluation divides those by s: an average without a start to forget.
    Caffe {
        /// The share of the sums that is kept; 0.999 in Caffe.
        moving_average_fraction: f32,
        /// Added to the variance; 1e-5 in Caffe.
        epsilon: f32,
    },
    /// Caffe's with a Scale layer of its own after it, as its networks have them: running sums as in [`BatchNorm::Caffe`], and
    /// a weight and a bias for each channel.
    CaffeScale {
        /// The share of the sums that is kept; 0.999 in Caffe.
        moving_average_fraction: f32,
        /// Added to the variance; 1e-5 in Caffe.
        epsilon: f32,
        /// `[channels]`.
        weight: Parameter,
        /// `[channels]`.
        bias: Parameter,
    },
    /// PyTorch's: a weight and a bias for each channel, and running means and unbiased variances that start at 0 and 1 and
    /// move by `momentum` of the way.
    Torch {
        momentum: f32,
        epsilon: f32,
        /// `[channels]`.
        weight: Parameter,
        /// `[channels]`.
        bias: Parameter,
    },
}

impl BatchNorm {
    /// Weight and bias, where there are any.
    pub(crate) fn affine(self) -> Option<(Parameter, Parameter)> {
        match self {
            BatchNorm::Caffe { .. } => None,
            BatchNorm::CaffeScale { weight, bias, .. } | BatchNorm::Torch { weight, bias, .. } => Some((weight, bias)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct BatchNormOp {
    form: BatchNorm,
    shape: Shape,
    /// The activation at the end of the forward pass.
    pub activation: Activation,
    /// The activation whose slope begins the backward pass.
    pub slope: Activation,
}

impl BatchNormOp {
    pub fn new(form: BatchNorm, input: Shape) -> Result<BatchNormOp, String> {
        Ok(BatchNormOp { form, shape: input, activation: Activation::None, slope: Activation::None })
    }

    /// Name, length and initial value of what it remembers.
    pub fn buffers(&self) -> Vec<(&'static str, usize, f32)> {
        let channels = self.shape.channels;
        match self.form {
            BatchNorm::Caffe { .. } | BatchNorm::CaffeScale { .. } => {
                vec![("mean_sum", channels, 0.0), ("variance_sum", channels, 0.0), ("scale_factor", 1, 0.0)]
            }
            BatchNorm::Torch { .. } => vec![("running_mean", channels, 0.0), ("running_variance", channels, 1.0)],
        }
    }

    fn geometry(&self, batch: usize) -> batch_norm::BatchNorm {
        let (BatchNorm::Caffe { epsilon, .. }
        | BatchNorm::CaffeScale { epsilon, .. }
        | BatchNorm::Torch { epsilon, .. }) = self.form;
        let Shape { height, width, channels } = self.shape;
        batch_norm::BatchNorm { rows: batch * height * width, channels, epsilon }
    }

    fn affine<'a>(&self, weights: &'a [f32]) -> Option<(&'a [f32], &'a [f32])> {
        self.form.affine().map(|_| weights.split_at(self.shape.channels))
    }

    /// How statistics are remembered.
    fn running(&self) -> Running {
        match self.form {
            BatchNorm::Caffe { moving_average_fraction, .. }
            | BatchNorm::CaffeScale { moving_average_fraction, .. } => Running::Caffe { moving_average_fraction },
            BatchNorm::Torch { momentum, .. } => Running::Torch { momentum },
        }
    }

    fn has_weights(&self) -> bool {
        self.form.affine().is_some()
    }

    /// Takes a batch's statistics into what is remembered, which is a plain average over batches where `averaged` says how
    /// many came before.
    fn remember(&self, rows: usize, mean: &[f32], variance: &[f32], buffers: &mut [f32], averaged: Option<u32>) {
        // With a single row there is no unbiased variance; PyTorch refuses it, Caffe divides by 1.
        let unbiased = rows as f32 / (rows - 1).max(1) as f32;
        let (means, rest) = buffers.split_at_mut(self.shape.channels);
        let (variances, rest) = rest.split_at_mut(self.shape.channels);
        let (keep, add) = match (self.running(), averaged) {
            (Running::Caffe { moving_average_fraction }, None) => {
                rest[0] = moving_average_fraction * rest[0] + 1.0;
                (moving_average_fraction, 1.0)
            }
            (Running::Torch { momentum }, None) => (1.0 - momentum, momentum),
            (form, Some(before)) => {
                if let Running::Caffe { .. } = form {
                    rest[0] = 1.0;
                }
                let share = 1.0 / (before + 1) as f32;
                // Not 0 times what was there, which need not be finite.
                if before == 0 {
                    means.fill(0.0);
                    variances.fill(0.0);
                }
                (1.0 - share, share)
            }
        };
        for (running, &mean) in means.iter_mut().zip(mean) {
            *running = keep * *running + add * mean;
        }
        for (running, &variance) in variances.iter_mut().zip(variance) {
            *running = keep * *running + add * unbiased * variance;
        }
    }

    /// The mean and variance that evaluation normalises by.
    fn recall(&self, mean: &mut [f32], variance: &mut [f32], buffers: &[f32]) {
        let (means, rest) = buffers.split_at(self.shape.channels);
        let (variances, rest) = rest.split_at(self.shape.channels);
        let scale = match self.running() {
            // As Caffe: before the first step all is 0.
            Running::Caffe { .. } if rest[0] == 0.0 => 0.0,
            Running::Caffe { .. } => 1.0 / rest[0],
            Running::Torch { .. } => 1.0,
        };
        for (mean, &running) in mean.iter_mut().zip(means) {
            *mean = scale * running;
        }
        for (variance, &running) in variance.iter_mut().zip(variances) {
            *variance = scale * running;
        }
    }
}

impl Passes for BatchNormOp {
    fn uses(&self) -> Uses {
        // ReLU's slope follows from the input.
        let is_sigmoid = self.slope == Activation::Sigmoid;
        Uses { reads_x: true, reads_y: is_sigmoid, writes_dy: is_sigmoid, ..Uses::default() }
    }

    fn needs(&self, batch: usize, _thread_count: usize) -> Needs {
        let sums = 2 * self.shape.channels;
        // The gradients of weight and bias are computed in either form; Caffe's has no other place for them.
        Needs { scratch: self.geometry(batch).scratch_len() + sums, kept: sums, choices: 0 }
    }

    fn forward(&self, pass: &Pass<'_>, arrays: Forward<'_>) {
        let Forward { x, y, weights, buffers, kept, scratch, .. } = arrays;
        let geometry = self.geometry(pass.batch);
        let (mean, variance) = kept.split_at_mut(self.shape.channels);
        if pass.training {
            batch_norm::statistics(pass.cpu, &geometry, x, mean, variance, scratch);
            self.remember(geometry.rows, mean, variance, buffers, pass.averaged);
        } else {
            self.recall(mean, variance, buffers);
        }
        let arrays = batch_norm::Forward { x, mean, variance, affine: self.affine(weights), y, scratch };
        batch_norm::forward(pass.cpu, &geometry, self.activation, arrays);
    }

    fn backward(&self, pass: &Pass<'_>, arrays: Backward<'_>) {
        let Backward { x, y, dy, dx, weights, dweights, kept, scratch, .. } = arrays;
        let channels = self.shape.channels;
        let (mean, variance) = kept.split_at(channels);
        let (sums, scratch) = scratch.split_at_mut(2 * channels);
        let affine = self.affine(weights);
        let (dweight, dbias) = if affine.is_some() { dweights } else { sums }.split_at_mut(channels);
        let arrays = batch_norm::Backward { x, mean, variance, affine, y, dy, dx, dweight, dbias, scratch };
        batch_norm::backward(pass.cpu, &self.geometry(pass.batch), self.slope, arrays);
    }

    fn scratch_len_on_gpu(&self, batch: usize, _precision: Precision) -> Result<usize, GpuError> {
        Ok(batch_norm::cuda::scratch_len(&self.geometry(batch)))
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, y, weights, buffers, kept, scratch, .. } = tensors;
        let &GpuPass { gpu, lanes, part, steps, .. } = pass;
        let (geometry, form, activation) = (self.geometry(pass.batch), self.running(), self.activation);
        let affine = self.has_weights().then_some(weights);
        if pass.training {
            let (moments, running) = (kept, buffers);
            let arrays = batch_norm::cuda::Forward { steps, x, affine, moments, running, y, scratch };
            batch_norm::cuda::forward(gpu, lanes, &geometry, form, activation, part.of, &arrays)
        } else {
            let arrays = batch_norm::cuda::Evaluate { x, affine, running: buffers, y };
            batch_norm::cuda::evaluate(gpu, lanes, &geometry, form, activation, &arrays)
        }
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { x, y, dy, dx, weights, dweights, kept, scratch, .. } = tensors;
        let (&GpuPass { gpu, lanes, .. }, geometry) = (pass, self.geometry(pass.batch));
        let (affine, daffine) = (self.has_weights().then_some(weights), self.has_weights().then_some(dweights));
        let arrays = batch_norm::cuda::Backward { x, moments: kept, affine, y: Some(y), dy, daffine, dx, scratch };
        batch_norm::cuda::backward(gpu, lanes, &geometry, self.slope, &arrays)
    }
}

#[cfg(test)]
mod tests {
    use clr_kernels::step::Part;
    use clr_kernels::{Cpu, Isa};

    use super::*;
    use crate::initializer::Initializer;

    /// Trains on two batches of one channel with means 2 and 4 and biased variances 1 and 4, then evaluates 3.0.
    fn remembered(form: BatchNorm) -> (Vec<f32>, f32) {
        let op = BatchNormOp::new(form, Shape { height: 1, width: 1, channels: 1 }).unwrap();
        let cpu = Cpu::with_isa(1, Isa::Portable).unwrap();
        let Needs { scratch, kept, .. } = op.needs(2, 1);
        let (mut kept, mut scratch) = (vec![0.0; kept], vec![0.0; scratch]);
        let mut buffers: Vec<f32> = op.buffers().iter().map(|(_, _, initial)| *initial).collect();
        let weights: &[f32] = if op.affine(&[1.0, 0.0]).is_some() { &[3.0, 0.5] } else { &[] };
        let mut y = [0.0; 2];
        for (x, training) in [([1.0, 3.0], true), ([2.0, 6.0], true), ([3.0, 3.0], false)] {
            let part = Part::whole(2);
            let pass =
                Pass { cpu: &cpu, batch: 2, part, update_size: 2, training, averaged: None, init_seed: 0, step: 0 };
            let (kept, scratch, buffers) = (&mut kept, &mut scratch[..], &mut buffers[..]);
            let (x, x2, y, choices) = (&x, &[], &mut y, &mut []);
            op.forward(&pass, Forward { input: 0, x, x2, y, weights, buffers, kept, choices, scratch });
        }
        (buffers, y[0])
    }

    #[track_caller]
    fn assert_close(actual: &[f32], expected: &[f32]) {
        let close = actual.iter().zip(expected).all(|(actual, expected)| (actual - expected).abs() < 1e-5);
        assert!(actual.len() == expected.len() && close, "{actual:?} instead of {expected:?}");
    }

    #[test]
    fn caffe_divides_decaying_sums_by_the_sum_of_their_weights() {
        let (buffers, y) = remembered(BatchNorm::Caffe { moving_average_fraction: 0.5, epsilon: 0.0 });
        // Unbiased variances are 2 and 8.
        assert_close(&buffers, &[0.5 * 2.0 + 4.0, 0.5 * 2.0 + 8.0, 1.5]);
        assert_close(&[y], &[(3.0 - 5.0 / 1.5) / (9.0_f32 / 1.5).sqrt()]);
    }

    #[test]
    fn torch_moves_running_statistics_by_a_tenth() {
        let parameter = Parameter::new(Initializer::Constant { value: 1.0 });
        let (buffers, y) =
            remembered(BatchNorm::Torch { momentum: 0.1, epsilon: 0.0, weight: parameter, bias: parameter });
        let (mean, variance) = (0.9 * 0.2 + 0.4, 0.9 * (0.9 + 0.2) + 0.8);
        assert_close(&buffers, &[mean, variance]);
        assert_close(&[y], &[3.0 * (3.0 - mean) / f32::sqrt(variance) + 0.5]);
    }

    /// As `torch.optim.swa_utils.update_bn` of the two batches: the plain means of their means, 2 and 4, and of their
    /// unbiased variances, 2 and 8, whatever was there before.
    #[test]
    fn statistics_can_be_plain_averages_over_batches() {
        let parameter = || Parameter::new(Initializer::Constant { value: 1.0 });
        let torch = BatchNorm::Torch { momentum: 0.1, epsilon: 1e-5, weight: parameter(), bias: parameter() };
        let caffe = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-5 };
        for form in [torch, caffe] {
            let op = BatchNormOp::new(form, Shape { height: 1, width: 1, channels: 1 }).unwrap();
            let mut buffers = vec![f32::NAN; op.buffers().iter().map(|(_, len, _)| len).sum()];
            op.remember(2, &[2.0], &[1.0], &mut buffers, Some(0));
            op.remember(2, &[4.0], &[4.0], &mut buffers, Some(1));
            let (mut mean, mut variance) = ([0.0], [0.0]);
            op.recall(&mut mean, &mut variance, &buffers);
            assert_eq!((mean, variance), ([3.0], [5.0]), "{form:?}");
        }
    }
}
