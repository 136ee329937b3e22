//! The global L2 norm of a network's gradients.

mod cpu;
pub mod cuda;

pub use cpu::l2_norm;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on_every_cpu, values};

    #[test]
    fn is_the_norm_of_all_slices_together() {
        for lens in [&[0][..], &[3], &[4096], &[4097, 0, 16], &[100_000, 17, 8192], &[12_289, 12_288]] {
            let slices: Vec<Vec<f32>> = (0..).zip(lens).map(|(seed, len)| values(seed, *len)).collect();
            let slices: Vec<&[f32]> = slices.iter().map(Vec::as_slice).collect();
            let squares = slices.iter().copied().flatten().map(|value| f64::from(*value) * f64::from(*value));
            let expected = squares.sum::<f64>().sqrt();
            let results = on_every_cpu(|cpu| vec![l2_norm(cpu, &slices)]);
            for (isa, actual) in &results {
                assert!((f64::from(actual[0]) - expected).abs() <= 1e-7 * expected, "{isa:?} {lens:?}: {actual:?}");
                assert_eq!(actual, &results[0].1, "{isa:?} {lens:?}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows_and_large_values_do_not_overflow() {
        for (values, expected) in [
            (&[3e30, 4e30][..], 5e30),
            (&[1.0, f32::NEG_INFINITY], f32::INFINITY),
            (&[1.0, f32::NAN], f32::NAN),
            (&[], 0.0),
        ] {
            for (_, actual) in on_every_cpu(|cpu| vec![l2_norm(cpu, &[values])]) {
                assert_eq!(actual[0].to_string(), expected.to_string());
            }
        }
    }
}
