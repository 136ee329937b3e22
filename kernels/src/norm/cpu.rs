//! The L2 norm on the CPU.

use crate::Cpu;

/// Elements that are added one after the other; larger sums are of halves.
const BLOCK: usize = 4096;

/// Sums side by side, so that the additions overlap.
const SUMS: usize = 16;

/// The square root of the sum of the squares of all elements of all `slices`.
///
/// Summed in f64, in an order that depends on the lengths alone; the same on every instruction set. NaN if an element is
/// NaN; infinite only if an element is, or the norm is beyond f32.
pub fn l2_norm(cpu: &Cpu, slices: &[&[f32]]) -> f32 {
    slices.iter().map(|slice| sum_of_squares(cpu, slice)).sum::<f64>().sqrt() as f32
}

fn sum_of_squares(cpu: &Cpu, values: &[f32]) -> f64 {
    if values.len() <= BLOCK {
        return cpu.isa().vectorize(
            #[inline(always)]
            || sum_of_block(values),
        );
    }
    let (left, right) = values.split_at((values.len() / BLOCK).div_ceil(2) * BLOCK);
    let (left, right) = cpu.join(|| sum_of_squares(cpu, left), || sum_of_squares(cpu, right));
    left + right
}

#[inline(always)]
fn sum_of_block(values: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value) * f64::from(value);
    let (groups, rest) = values.as_chunks::<SUMS>();
    let mut sums = [0.0; SUMS];
    for group in groups {
        for (sum, value) in sums.iter_mut().zip(group) {
            *sum += square(*value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| square(*value)).sum::<f64>()
}
