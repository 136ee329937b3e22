//! ReLU, in place.

mod cpu;

pub(crate) use cpu::{apply, differentiate};
pub use cpu::{backward, forward};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, goldens, on_every_cpu, values};
    use crate::{Cpu, Isa};

    fn passes(cpu: &Cpu, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (x.to_vec(), dy.to_vec());
        forward(cpu, &mut y);
        backward(cpu, &y, &mut dx);
        [y, dx].concat()
    }

    #[test]
    fn passes_agree_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/relu.json")) {
            for (_, result) in on_every_cpu(|cpu| passes(cpu, &golden.input("x"), &golden.input("dy"))) {
                assert_close("y and dx", &result, &[golden.tensor("y"), golden.tensor("dx")].concat(), 1e-7);
            }
        }
    }

    #[test]
    fn negative_values_and_their_gradients_become_zero() {
        // More than a chunk, and no multiple of a vector.
        let (x, dy) = (values(1, 16_391), values(2, 16_391));
        for (_, result) in on_every_cpu(|cpu| passes(cpu, &x, &dy)) {
            let (y, dx) = result.split_at(x.len());
            for i in 0..x.len() {
                let expected = if x[i] > 0.0 { [x[i], dy[i]] } else { [0.0; 2] };
                assert_eq!([y[i], dx[i]], expected, "of {}", x[i]);
            }
        }
    }

    #[test]
    fn nan_stays() {
        let mut y = [f32::NAN, -1.0];
        forward(&Cpu::with_isa(1, Isa::Portable).unwrap(), &mut y);
        assert!(y[0].is_nan() && y[1] == 0.0);
    }
}
