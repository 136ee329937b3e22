//! The transforms of one line of a tile.
//!
//! The points are 0, pairs +p and -p, and infinity. Then rows of the matrices for +p and -p share their even and odd parts:
//! with `E(x^2)` the product of `x^2 - q^2` over the other pairs, and `F(x^2)` that over all,
//!
//! ```text
//! B^T d   at +p, -p:  sum of E_k d[2k + 2]  +-  p sum of E_k d[2k + 1];   at 0: sum of F_k d[2k];   at infinity: sum of F_k d[2k + 1]
//! G g     at +p, -p:  (sum of p^k g[k], even k  +-  odd k) / (2 p^2 E(p^2));   at 0: g[0] / F(0);   at infinity: g[r - 1]
//! A^T m   y[i] = [i = 0] m(0) + sum over pairs of p^i (m(p) +- m(-p)) + [i = m - 1] m(infinity)
//! ```
//!
//! Rounding depends on the points. With 3/4 and 3/2 the error of F(4, 3) is half of that with the usual 1 and 2, and twice
//! that of a plain sum; with 1/2, 1 and 2 that of F(4, 5) is 4 to 5 times that of a plain sum (root mean square, 32
//! channels).

#![allow(unsafe_code)]

use crate::cpu::fused_simd::FusedSimd;

/// Positions of the largest tile's side.
pub(super) const MAX_TILE: usize = 8;

/// One vector for each position of a line. Transforms of shorter lines leave the rest as it is.
pub(super) type Line<S> = [<S as FusedSimd>::Vector; MAX_TILE];

/// The points of a transform: 0, plus and minus those listed, and infinity.
pub(crate) trait Points {
    /// One of each pair.
    const PAIRS: &'static [f32];
    /// How many points there are.
    const TILE: usize = 2 + 2 * Self::PAIRS.len();
    /// Coefficients that follow from the points.
    const COEFFICIENTS: Coefficients = Coefficients::new(Self::PAIRS);
}

/// 6 points: 4 outputs of 3 taps, 3 outputs of 4 taps.
pub(crate) struct SixPoints;

/// 8 points: 4 outputs of 5 taps, 5 outputs of 4 taps.
pub(crate) struct EightPoints;

impl Points for SixPoints {
    const PAIRS: &'static [f32] = &[0.75, 1.5];
}

impl Points for EightPoints {
    const PAIRS: &'static [f32] = &[0.5, 1.0, 2.0];
}

/// Coefficients that follow from the points alone.
#[derive(Clone, Copy)]
pub(crate) struct Coefficients {
    /// `F`, lowest power first.
    all: [f32; 4],
    /// `E` of each pair.
    others: [[f32; 4]; 3],
    /// `p^i` of each pair.
    powers: [[f32; 5]; 3],
    /// `1 / (2 p^2 E(p^2))` of each pair.
    scales: [f32; 3],
}

impl Coefficients {
    const fn new(pairs: &[f32]) -> Self {
        let mut this = Self {
            all: [1.0, 0.0, 0.0, 0.0],
            others: [[1.0, 0.0, 0.0, 0.0]; 3],
            powers: [[1.0; 5]; 3],
            scales: [0.0; 3],
        };
        let mut j = 0;
        while j < pairs.len() {
            let square = pairs[j] * pairs[j];
            this.all = times_root(this.all, square);
            let mut scale = 2.0 * square;
            let mut other = 0;
            while other < pairs.len() {
                if other != j {
                    this.others[j] = times_root(this.others[j], pairs[other] * pairs[other]);
                    scale *= square - pairs[other] * pairs[other];
                }
                other += 1;
            }
            this.scales[j] = 1.0 / scale;
            let mut i = 1;
            while i < 5 {
                this.powers[j][i] = this.powers[j][i - 1] * pairs[j];
                i += 1;
            }
            j += 1;
        }
        this
    }
}

/// `polynomial(z) * (z - root)`, lowest power first.
const fn times_root(polynomial: [f32; 4], root: f32) -> [f32; 4] {
    let [a, b, c, d] = polynomial;
    [-root * a, a - root * b, b - root * c, c - root * d]
}

/// The sum of `polynomial[k] * d[first + 2 k]`. The highest coefficient is 1.
#[inline(always)]
unsafe fn every_other<S: FusedSimd>(polynomial: &[f32; 4], degree: usize, d: &Line<S>, first: usize) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = d[first + 2 * degree];
        for k in 0..degree {
            sum = S::mul_add(S::splat(polynomial[k]), d[first + 2 * k], sum);
        }
        sum
    }
}

/// The sum of `scale * powers[k] * g[k]` over every other k.
#[inline(always)]
unsafe fn every_other_tap<S: FusedSimd, const TAPS: usize>(
    powers: &[f32; 5],
    scale: f32,
    g: &Line<S>,
    first: usize,
) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = S::mul(S::splat(powers[first] * scale), g[first]);
        for k in (first + 2..TAPS).step_by(2) {
            sum = S::mul_add(S::splat(powers[k] * scale), g[k], sum);
        }
        sum
    }
}

/// Data at the points: `B^T d`.
#[inline(always)]
pub(super) unsafe fn data<S: FusedSimd, P: Points>(d: &Line<S>) -> Line<S> {
    let pairs = P::PAIRS.len();
    let Coefficients { all, others, .. } = P::COEFFICIENTS;
    // SAFETY: the caller's.
    unsafe {
        let mut points = [S::splat(0.0); MAX_TILE];
        points[0] = every_other::<S>(&all, pairs, d, 0);
        for j in 0..pairs {
            let even = every_other::<S>(&others[j], pairs - 1, d, 2);
            let odd = every_other::<S>(&others[j], pairs - 1, d, 1);
            points[1 + 2 * j] = S::mul_add(S::splat(P::PAIRS[j]), odd, even);
            points[2 + 2 * j] = S::mul_add(S::splat(-P::PAIRS[j]), odd, even);
        }
        points[1 + 2 * pairs] = every_other::<S>(&all, pairs, d, 1);
        points
    }
}

/// Taps at the points: `G g`.
#[inline(always)]
pub(super) unsafe fn taps<S: FusedSimd, P: Points, const TAPS: usize>(g: &Line<S>) -> Line<S> {
    let pairs = P::PAIRS.len();
    let Coefficients { all, powers, scales, .. } = P::COEFFICIENTS;
    // SAFETY: the caller's.
    unsafe {
        let mut points = [S::splat(0.0); MAX_TILE];
        points[0] = S::mul(S::splat(1.0 / all[0]), g[0]);
        for j in 0..pairs {
            let even = every_other_tap::<S, TAPS>(&powers[j], scales[j], g, 0);
            let odd = every_other_tap::<S, TAPS>(&powers[j], scales[j], g, 1);
            points[1 + 2 * j] = S::add(even, odd);
            points[2 + 2 * j] = S::sub(even, odd);
        }
        points[1 + 2 * pairs] = g[TAPS.saturating_sub(1)];
        points
    }
}

/// Outputs from their points: `A^T m`.
#[inline(always)]
pub(super) unsafe fn outputs<S: FusedSimd, P: Points, const OUTPUTS: usize>(m: &Line<S>) -> [S::Vector; OUTPUTS] {
    let pairs = P::PAIRS.len();
    let Coefficients { powers, .. } = P::COEFFICIENTS;
    // SAFETY: the caller's.
    unsafe {
        let (mut sums, mut differences) = ([S::splat(0.0); 3], [S::splat(0.0); 3]);
        for j in 0..pairs {
            sums[j] = S::add(m[1 + 2 * j], m[2 + 2 * j]);
            differences[j] = S::sub(m[1 + 2 * j], m[2 + 2 * j]);
        }
        let mut y = [S::splat(0.0); OUTPUTS];
        for i in 0..OUTPUTS {
            let terms = if i % 2 == 0 { &sums } else { &differences };
            let mut sum = match i {
                0 => S::add(m[0], terms[0]),
                _ => S::mul(S::splat(powers[0][i]), terms[0]),
            };
            for j in 1..pairs {
                sum = S::mul_add(S::splat(powers[j][i]), terms[j], sum);
            }
            y[i] = if i == OUTPUTS - 1 { S::add(sum, m[1 + 2 * pairs]) } else { sum };
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fused_simd::Portable;
    use super::*;

    /// A correlation of `TAPS` taps is the outputs of points of data times points of taps.
    #[track_caller]
    fn check<P: Points, const OUTPUTS: usize, const TAPS: usize>() {
        assert_eq!(P::TILE, OUTPUTS + TAPS - 1);
        let value = |i: usize| ((i * 7) % 11) as f32 - 5.0;
        let line = |seed: usize| -> Line<Portable> {
            std::array::from_fn(|i| std::array::from_fn(|lane| value(seed + 4 * i + lane)))
        };
        let (d, g) = (line(0), line(3));
        // SAFETY: the portable vectors need no instruction set.
        let (data, taps) = unsafe { (data::<Portable, P>(&d), taps::<Portable, P, TAPS>(&g)) };
        let products = std::array::from_fn(|i| std::array::from_fn(|lane| data[i][lane] * taps[i][lane]));
        // SAFETY: as above.
        let y = unsafe { outputs::<Portable, P, OUTPUTS>(&products) };
        for i in 0..OUTPUTS {
            for lane in 0..4 {
                let expected: f32 = (0..TAPS).map(|k| d[i + k][lane] * g[k][lane]).sum();
                assert!((y[i][lane] - expected).abs() < 1e-3, "output {i}: {} instead of {expected}", y[i][lane]);
            }
        }
    }

    #[test]
    fn outputs_are_the_correlation() {
        check::<SixPoints, 4, 3>();
        check::<SixPoints, 3, 4>();
        check::<EightPoints, 4, 5>();
        check::<EightPoints, 5, 4>();
    }
}
