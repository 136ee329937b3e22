//! The logistic function `1 / (1 + exp(-x))`, in place.

mod cpu;

pub(crate) use cpu::{apply, differentiate};
pub use cpu::{backward, forward};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};

    fn passes(cpu: &Cpu, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (x.to_vec(), dy.to_vec());
        forward(cpu, &mut y);
        backward(cpu, &y, &mut dx);
        [y, dx].concat()
    }

    fn reference(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }

    #[test]
    fn passes_agree_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/sigmoid.json")) {
            for (_, result) in on_every_cpu(|cpu| passes(cpu, &golden.input("x"), &golden.input("dy"))) {
                assert_close("y and dx", &result, &[golden.tensor("y"), golden.tensor("dx")].concat(), 2e-7);
            }
        }
    }

    #[test]
    fn passes_agree_with_the_definition_and_its_differences() {
        let x: Vec<f32> = values(1, 203).into_iter().map(|x| 20.0 * x).collect();
        let dy = values(2, x.len());
        for (_, result) in on_every_cpu(|cpu| passes(cpu, &x, &dy)) {
            let (y, dx) = result.split_at(x.len());
            assert_close("y", y, &x.iter().map(|x| reference(f64::from(*x))).collect::<Vec<_>>(), 2e-7);
            assert_gradient("dx", dx, &x, |x| x.iter().zip(&dy).map(|(x, dy)| reference(*x) * f64::from(*dy)).sum());
        }
    }

    #[test]
    fn the_ends_of_the_range_are_reached_and_nan_stays() {
        let x = [f32::NEG_INFINITY, -1e3, -0.0, 1e3, f32::INFINITY, f32::NAN];
        for (_, y) in on_every_cpu(|cpu| {
            let mut y = x.to_vec();
            forward(cpu, &mut y);
            y[5] = f32::from(y[5].is_nan());
            y
        }) {
            assert_close("y", &y, &[0.0, 0.0, 0.5, 1.0, 1.0, 1.0], 1e-37);
        }
    }
}
