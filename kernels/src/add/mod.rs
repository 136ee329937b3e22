//! The sum of two values: where a residual branch meets its shortcut, and where two gradients of one value meet.

mod cpu;
pub mod cuda;

pub use cpu::{accumulate, forward};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on_every_cpu, values};
    use crate::{Activation, Cpu, Isa};

    /// More than a chunk, and no multiple of a vector.
    const LEN: usize = 16_391;

    #[test]
    fn sums_are_exact_and_activated() {
        let (a, b) = (values(1, LEN), values(2, LEN));
        for (activation, expected) in [
            (Activation::None, (|sum| sum) as fn(f32) -> f32),
            (Activation::Relu, |sum| if sum > 0.0 { sum } else { 0.0 }),
        ] {
            let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| expected(a + b)).collect();
            for (isa, y) in on_every_cpu(|cpu| {
                let mut y = vec![f32::NAN; LEN];
                forward(cpu, activation, &a, &b, &mut y);
                y
            }) {
                assert_eq!(y, expected, "{isa:?}");
            }
        }
    }

    #[test]
    fn an_activated_sum_is_the_sum_and_then_the_activation() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let (a, b) = (values(1, LEN), values(2, LEN));
        let (mut fused, mut sum) = (vec![f32::NAN; LEN], vec![f32::NAN; LEN]);
        forward(&cpu, Activation::Sigmoid, &a, &b, &mut fused);
        forward(&cpu, Activation::None, &a, &b, &mut sum);
        crate::activation::forward(&cpu, Activation::Sigmoid, &mut sum);
        assert_eq!(fused, sum);
        let mut in_place = a.clone();
        accumulate(&cpu, Activation::Sigmoid, &b, &mut in_place);
        assert_eq!(fused, in_place);
    }

    #[test]
    fn accumulated_values_are_added_to_what_is_there() {
        let (a, b) = (values(1, LEN), values(2, LEN));
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        for (isa, sum) in on_every_cpu(|cpu| {
            let mut sum = a.clone();
            accumulate(cpu, Activation::None, &b, &mut sum);
            sum
        }) {
            assert_eq!(sum, expected, "{isa:?}");
        }
    }
}
