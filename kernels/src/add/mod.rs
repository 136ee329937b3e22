//! The sum of two values: where a residual branch meets its shortcut, and where two gradients of one value meet.

mod cpu;
pub mod cuda;

pub use cpu::{Term, accumulate, accumulate_scaled, forward, forward_scaled, scale, scale_in_place};

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
    fn terms_are_multiplied_by_their_scales() {
        let (a, b) = (values(1, LEN), values(2, LEN));
        for (scale_a, scale_b) in [(1.0, 1.0), (1.0, 0.25), (0.5, 1.0), (0.0, 0.5), (1.0, 0.0)] {
            let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (scale_a * a + scale_b * b).max(0.0)).collect();
            for (isa, result) in on_every_cpu(|cpu| {
                let (mut y, mut sum) = (vec![f32::NAN; LEN], b.clone());
                let (a, b) = (Term { values: &a, scale: scale_a }, Term { values: &b, scale: scale_b });
                forward_scaled(cpu, Activation::Relu, a, b, &mut y);
                accumulate_scaled(cpu, Activation::Relu, a, scale_b, &mut sum);
                [y, sum].concat()
            }) {
                assert_eq!(result, [&expected[..], &expected].concat(), "{scale_a} {scale_b} {isa:?}");
            }
        }
    }

    #[test]
    fn values_are_scaled_where_they_are_as_elsewhere() {
        let mut x = values(1, LEN);
        for scale_x in [1.0, 0.75, 0.0] {
            x[3] = if scale_x == 0.0 { f32::NAN } else { 0.5 };
            for (isa, [y, over]) in on_every_cpu(|cpu| {
                let (mut y, mut over) = (vec![f32::NAN; LEN], x.clone());
                scale(cpu, Term { values: &x, scale: scale_x }, &mut y);
                scale_in_place(cpu, scale_x, &mut over);
                [y, over].concat()
            })
            .into_iter()
            .map(|(isa, result)| (isa, [result[..LEN].to_vec(), result[LEN..].to_vec()]))
            {
                let expected: Vec<f32> = x.iter().map(|x| if scale_x == 0.0 { 0.0 } else { scale_x * x }).collect();
                assert!(y == expected && over == expected, "{scale_x} {isa:?}");
            }
        }
    }

    #[test]
    fn a_term_of_scale_1_changes_no_bit_and_one_of_0_is_not_seen() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let (a, b) = (values(1, LEN), values(2, LEN));
        let one = |values| Term { values, scale: 1.0 };
        let (mut plain, mut scaled) = (vec![f32::NAN; LEN], vec![f32::NAN; LEN]);
        forward(&cpu, Activation::Sigmoid, &a, &b, &mut plain);
        forward_scaled(&cpu, Activation::Sigmoid, one(&a), one(&b), &mut scaled);
        assert_eq!(plain, scaled);
        let nothing = vec![f32::NAN; LEN];
        let left_out = Term { values: &nothing, scale: 0.0 };
        forward_scaled(&cpu, Activation::None, one(&a), left_out, &mut scaled);
        assert_eq!(a, scaled);
        let mut sum = nothing.clone();
        accumulate_scaled(&cpu, Activation::None, one(&a), 0.0, &mut sum);
        assert_eq!(a, sum);
        scale(&cpu, left_out, &mut sum);
        assert_eq!(sum, vec![0.0; LEN]);
    }

    #[test]
    fn gradients_of_scaled_terms_are_scaled() {
        let dy = values(3, LEN);
        let expected: Vec<f32> = dy.iter().map(|dy| 0.75 * dy).collect();
        for (isa, dx) in on_every_cpu(|cpu| {
            let mut dx = vec![f32::NAN; LEN];
            scale(cpu, Term { values: &dy, scale: 0.75 }, &mut dx);
            dx
        }) {
            assert_eq!(dx, expected, "{isa:?}");
        }
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
