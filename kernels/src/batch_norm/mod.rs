//! Batch normalisation: statistics of a batch, and each channel brought to mean 0 and variance 1.
//!
//! (Ioffe and Szegedy 2015.) What becomes of the statistics between steps differs between Caffe and PyTorch and is not part
//! of the arithmetic here.

mod cpu;
pub mod cuda;

pub use cpu::{Backward, Forward, backward, forward, statistics};

/// The shapes: a batch of NHWC images is `[rows][channels]`, a row for each pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Images times height times width.
    pub rows: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Rows that are summed in one go: sums of so many keep all but the last bits.
const ROWS_PER_CHUNK: usize = 256;

impl BatchNorm {
    /// Floats of scratch memory that each of the three operations needs at most.
    pub fn scratch_len(&self) -> usize {
        (2 * self.rows.div_ceil(ROWS_PER_CHUNK) + 3) * self.channels
    }

    fn len(&self) -> usize {
        self.rows * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};
    use crate::{Activation, Cpu, Isa, activation};

    /// y, dx, dweight, dbias, mean, variance.
    fn passes(cpu: &Cpu, shape: &BatchNorm, x: &[f32], affine: Option<(&[f32], &[f32])>, dy: &[f32]) -> Vec<f32> {
        activated_passes(cpu, shape, x, affine, Activation::None, dy)
    }

    fn activated_passes(
        cpu: &Cpu,
        shape: &BatchNorm,
        x: &[f32],
        affine: Option<(&[f32], &[f32])>,
        activation: Activation,
        dy: &[f32],
    ) -> Vec<f32> {
        let mut dy = dy.to_vec();
        let [mut y, mut dx] = [(); 2].map(|()| vec![f32::NAN; shape.len()]);
        let [mut mean, mut variance, mut dweight, mut dbias] = [(); 4].map(|()| vec![f32::NAN; shape.channels]);
        // More than is needed, as from a network whose largest layer is another.
        let mut scratch = vec![f32::NAN; shape.scratch_len() + 7];
        statistics(cpu, shape, x, &mut mean, &mut variance, &mut scratch);
        let arrays = Forward { x, mean: &mean, variance: &variance, affine, y: &mut y, scratch: &mut scratch };
        forward(cpu, shape, activation, arrays);
        let arrays = Backward {
            x,
            mean: &mean,
            variance: &variance,
            affine,
            y: &y,
            dy: &mut dy,
            dx: Some(&mut dx),
            dweight: &mut dweight,
            dbias: &mut dbias,
            scratch: &mut scratch,
        };
        backward(cpu, shape, activation, arrays);
        [y, dx, dweight, dbias, mean, variance].concat()
    }

    fn reference(shape: &BatchNorm, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; x.len()];
        for c in 0..shape.channels {
            let column = || x.iter().skip(c).step_by(shape.channels);
            let mean = column().sum::<f64>() / shape.rows as f64;
            let variance = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / shape.rows as f64;
            for (y, x) in y.iter_mut().skip(c).step_by(shape.channels).zip(column()) {
                *y = (x - mean) / (variance + f64::from(shape.epsilon)).sqrt() * weight[c] + bias[c];
            }
        }
        y
    }

    #[test]
    fn passes_agree_with_the_definition_and_its_differences() {
        // One row, one chunk, and two chunks; 29 channels are vectors of 16, 8 and 4, and a single one.
        for (rows, channels) in [(1, 3), (7, 29), (300, 2)] {
            let shape = BatchNorm { rows, channels, epsilon: 0.01 };
            let (x, dy) = (values(1, shape.len()), values(2, shape.len()));
            let (weight, bias) = (values(3, channels), values(4, channels));
            let exact = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            let [exact_x, exact_weight, exact_bias] = [&x, &weight, &bias].map(|values| exact(values));
            let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
                reference(&shape, x, weight, bias).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
            };
            for (isa, result) in on_every_cpu(|cpu| passes(cpu, &shape, &x, Some((&weight, &bias)), &dy)) {
                let what = format!("{shape:?} {isa:?}");
                let (y, rest) = result.split_at(shape.len());
                let (dx, rest) = rest.split_at(shape.len());
                let (dweight, rest) = rest.split_at(channels);
                assert_close(&what, y, &reference(&shape, &exact_x, &exact_weight, &exact_bias), 1e-5);
                assert_gradient(&what, dx, &x, |x| loss(x, &exact_weight, &exact_bias));
                assert_gradient(&what, dweight, &weight, |weight| loss(&exact_x, weight, &exact_bias));
                assert_gradient(&what, &rest[..channels], &bias, |bias| loss(&exact_x, &exact_weight, bias));
            }
            let ones = vec![1.0; channels];
            for (isa, result) in on_every_cpu(|cpu| passes(cpu, &shape, &x, None, &dy)) {
                let dx = &result[shape.len()..2 * shape.len()];
                assert_gradient(&format!("{shape:?} {isa:?} plain"), dx, &x, |x| loss(x, &ones, &vec![0.0; channels]));
            }
        }
    }

    /// Fused operations have the bits of one operation after the other.
    #[test]
    fn activations_change_no_bit() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let shape = BatchNorm { rows: 600, channels: 21, epsilon: 0.01 };
        let (x, dy) = (values(1, shape.len()), values(2, shape.len()));
        let (weight, bias) = (values(3, shape.channels), values(4, shape.channels));
        let affine = Some((&weight[..], &bias[..]));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let cpu = Cpu::with_isa(1, isa).unwrap();
            for activation in [Activation::Relu, Activation::Sigmoid] {
                let (mut y, mut dy_then) = (passes(&cpu, &shape, &x, affine, &dy)[..shape.len()].to_vec(), dy.clone());
                activation::forward(&cpu, activation, &mut y);
                activation::backward(&cpu, activation, &y, &mut dy_then);
                let then = passes(&cpu, &shape, &x, affine, &dy_then);
                let fused = activated_passes(&cpu, &shape, &x, affine, activation, &dy);
                assert_eq!(bits(&fused), bits(&[&y, &then[shape.len()..]].concat()), "{isa:?} {activation:?}");
            }
        }
    }

    /// Values near 1000 with a deviation of 0.5: E x² - (E x)² would keep no digit of the variance in f32.
    #[test]
    fn a_large_mean_costs_no_digits_of_the_variance() {
        let shape = BatchNorm { rows: 5000, channels: 1, epsilon: 0.0 };
        let x: Vec<f32> = (0..shape.rows).map(|i| if i % 2 == 0 { 1000.5 } else { 999.5 }).collect();
        for (_, result) in on_every_cpu(|cpu| passes(cpu, &shape, &x, None, &x)) {
            assert_eq!(result[result.len() - 2..], [1000.0, 0.25]);
        }
    }

    #[test]
    fn passes_agree_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/batch_norm.json")) {
            let channels = golden.size("channels");
            let rows = golden.size("batch") * golden.size("height") * golden.size("width");
            let shape = BatchNorm { rows, channels, epsilon: golden.input("epsilon")[0] };
            let affine = golden.has("weight").then(|| (golden.input("weight"), golden.input("bias")));
            let affine = affine.as_ref().map(|(weight, bias)| (&weight[..], &bias[..]));
            let inputs = (golden.input("x"), golden.input("dy"));
            for (_, result) in on_every_cpu(|cpu| passes(cpu, &shape, &inputs.0, affine, &inputs.1)) {
                let mut expected = [golden.tensor("y"), golden.tensor("dx")].concat();
                if affine.is_some() {
                    expected.extend([golden.tensor("dweight"), golden.tensor("dbias")].concat());
                }
                assert_close(&format!("{shape:?}"), &result[..expected.len()], &expected, 2e-6);
            }
        }
    }
}
