//! Activations: functions of each value by itself, done in the pass over memory of the operation before them, or in place.

mod cpu;
pub mod cuda;
mod sigmoid;

pub use cpu::{backward, forward};

/// A function of each value by itself, whose slope follows from its output.
///
/// Kernels know them by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// No function: the value itself.
    #[default]
    None = 0,
    /// `max(x, 0)`; NaN stays, so that divergence shows. The gradient passes where the output is positive.
    Relu = 1,
    /// The logistic function `1 / (1 + exp(-x))`.
    Sigmoid = 2,
}

impl Activation {
    /// [`forward`] within a thread, to the bit, for operations that end in it.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => values.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y }),
            Activation::Sigmoid => sigmoid::apply(values),
        }
    }

    /// [`backward`] within a thread: gradients of the outputs `y` become gradients of the inputs.
    #[inline(always)]
    pub(crate) fn differentiate(self, y: &[f32], gradients: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => {
                for (gradient, &y) in gradients.iter_mut().zip(y) {
                    *gradient = if y > 0.0 { *gradient } else { 0.0 };
                }
            }
            Activation::Sigmoid => sigmoid::differentiate(y, gradients),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};
    use crate::{Cpu, Isa};

    fn passes(cpu: &Cpu, activation: Activation, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (x.to_vec(), dy.to_vec());
        forward(cpu, activation, &mut y);
        backward(cpu, activation, &y, &mut dx);
        [y, dx].concat()
    }

    fn logistic(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }

    #[test]
    fn passes_agree_with_pytorch() {
        for (activation, text, tolerance) in [
            (Activation::Relu, include_str!("../../goldens/relu.json"), 1e-7),
            (Activation::Sigmoid, include_str!("../../goldens/sigmoid.json"), 2e-7),
        ] {
            for golden in goldens(text) {
                for (_, result) in on_every_cpu(|cpu| passes(cpu, activation, &golden.input("x"), &golden.input("dy")))
                {
                    let expected = [golden.tensor("y"), golden.tensor("dx")].concat();
                    assert_close(&format!("y and dx of {activation:?}"), &result, &expected, tolerance);
                }
            }
        }
    }

    #[test]
    fn relu_makes_negative_values_and_their_gradients_zero() {
        // More than a chunk, and no multiple of a vector.
        let (x, dy) = (values(1, 16_391), values(2, 16_391));
        for (_, result) in on_every_cpu(|cpu| passes(cpu, Activation::Relu, &x, &dy)) {
            let (y, dx) = result.split_at(x.len());
            for i in 0..x.len() {
                let expected = if x[i] > 0.0 { [x[i], dy[i]] } else { [0.0; 2] };
                assert_eq!([y[i], dx[i]], expected, "of {}", x[i]);
            }
        }
    }

    #[test]
    fn nan_stays() {
        let cpu = Cpu::with_isa(1, Isa::Portable).unwrap();
        for activation in [Activation::None, Activation::Relu, Activation::Sigmoid] {
            let mut y = [f32::NAN, -1.0];
            forward(&cpu, activation, &mut y);
            assert!(y[0].is_nan() && !y[1].is_nan(), "{activation:?}");
        }
    }

    #[test]
    fn the_sigmoid_agrees_with_its_definition_and_its_differences() {
        let x: Vec<f32> = values(1, 203).into_iter().map(|x| 20.0 * x).collect();
        let dy = values(2, x.len());
        for (_, result) in on_every_cpu(|cpu| passes(cpu, Activation::Sigmoid, &x, &dy)) {
            let (y, dx) = result.split_at(x.len());
            assert_close("y", y, &x.iter().map(|x| logistic(f64::from(*x))).collect::<Vec<_>>(), 2e-7);
            assert_gradient("dx", dx, &x, |x| x.iter().zip(&dy).map(|(x, dy)| logistic(*x) * f64::from(*dy)).sum());
        }
    }

    #[test]
    fn the_sigmoid_reaches_the_ends_of_its_range() {
        let x = [f32::NEG_INFINITY, -1e3, -0.0, 1e3, f32::INFINITY];
        for (_, y) in on_every_cpu(|cpu| passes(cpu, Activation::Sigmoid, &x, &x)[..x.len()].to_vec()) {
            assert_close("y", &y, &[0.0, 0.0, 0.5, 1.0, 1.0], 1e-37);
        }
    }
}
