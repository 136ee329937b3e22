//! The logistic function and its slope.

/// `y = 1 / (1 + exp(-y))`, within 2 units in the last place; NaN stays.
#[inline(always)]
pub(super) fn apply(y: &mut [f32]) {
    for y in y {
        *y = 1.0 / (1.0 + exp(-*y));
    }
}

/// The gradient is multiplied by `y (1 - y)`.
#[inline(always)]
pub(super) fn differentiate(y: &[f32], d: &mut [f32]) {
    for (d, &y) in d.iter_mut().zip(y) {
        *d *= y * (1.0 - y);
    }
}

/// exp(x) without branches, so that a loop of it becomes vectors: with n the integer nearest x / ln 2 it is 2^n exp(r), and
/// the polynomial for exp(r), |r| <= ln 2 / 2, is that of Cephes' `expf`. Arguments beyond +-87 count as +-87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 x 2^23 leaves no bits for a fraction: it rounds to an integer, which stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few enough bits that its product with n is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + coefficient;
    }
    let exp_r = p * r * r + r + 1.0;
    let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    exp_r * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_exact_value() {
        let mut worst = 0.0_f64;
        for i in -86_999..87_000 {
            let x = i as f32 * 1e-3;
            let exact = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact / f64::from(f32::EPSILON));
        }
        assert!(worst < 2.0, "{worst} units");
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }
}
