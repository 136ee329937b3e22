//! The values of `{ linspace = [first, last, count] }` and `{ logspace = [first, last, count] }`, both ends exact.

/// `numpy.linspace(first, last, count)`, to the last bit: `index * step + first`, and the last value as it was given.
pub fn linear(first: f64, last: f64, count: u32) -> Vec<f64> {
    let parts = f64::from(count.max(2) - 1);
    let step = (last - first) / parts;
    let value = |index: u32| match f64::from(index) {
        index if index == parts => last,
        // A step that underflowed.
        index if step == 0.0 => index / parts * (last - first) + first,
        index => index * step + first,
    };
    (0..count).map(value).collect()
}

/// Values a constant factor apart, between ends above 0: each the nearest to `first^(1 - t) * last^t`, the ends being the
/// decimal numbers that were written. So every decade is what a person would write for it.
///
/// `numpy.geomspace` means the same values, but goes through rounded logarithms, and what its power returns in the last
/// places depends on the machine: there 1e-6 to 1 in seven values has had 9.999999999999999e-06.
pub fn logarithmic(first: f64, last: f64, count: u32) -> Vec<f64> {
    let parts = f64::from(count.max(2) - 1);
    let (log_first, log_last) = (log_of_decimal(first), log_of_decimal(last));
    let (low, high) = (first.min(last), first.max(last));
    let value = |index: u32| match f64::from(index) {
        0.0 => first,
        index if index == parts => last,
        index => {
            let log = log_first.times(parts - index).plus(log_last.times(index)).over(parts);
            log.exp().clamp(low, high)
        }
    };
    (0..count).map(value).collect()
}

/// The natural logarithm of the decimal number that a positive float is read from.
fn log_of_decimal(value: f64) -> Wide {
    const LN_10: Wide = Wide { high: std::f64::consts::LN_10, low: -2.170_756_223_382_249_4e-16 };
    // The shortest digits that read back as the same float: at most 17.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let integer: u64 = format!("{whole}{fraction}").parse().unwrap_or(1);
    let exponent = exponent.parse().unwrap_or(0.0) - fraction.len() as f64;
    let high = integer as f64;
    // Exact: the float is an integer below 2^63 too.
    let low = (i128::from(integer) - high as i128) as f64;
    Wide { high, low }.ln().plus(LN_10.times(exponent))
}

/// A number of 106 bits: the sum of two floats, the second at most half a unit in the last place of the first.
#[derive(Clone, Copy, Debug)]
struct Wide {
    high: f64,
    low: f64,
}

impl Wide {
    const ZERO: Wide = Wide { high: 0.0, low: 0.0 };

    /// The exact sum of two floats. (Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B.)
    fn sum(a: f64, b: f64) -> Wide {
        let high = a + b;
        let part = high - a;
        Wide { high, low: (a - (high - part)) + (b - part) }
    }

    fn plus(self, other: Wide) -> Wide {
        let high = Wide::sum(self.high, other.high);
        let low = Wide::sum(self.low, other.low);
        let sum = Wide::sum(high.high, high.low + low.high);
        Wide::sum(sum.high, sum.low + low.low)
    }

    fn times(self, factor: f64) -> Wide {
        self.times_wide(Wide { high: factor, low: 0.0 })
    }

    fn times_wide(self, other: Wide) -> Wide {
        let high = self.high * other.high;
        let rest = libm::fma(self.high, other.high, -high);
        Wide::sum(high, rest + (self.high * other.low + self.low * other.high))
    }

    fn over(self, divisor: f64) -> Wide {
        let quotient = self.high / divisor;
        let rest = self.plus(Wide { high: divisor, low: 0.0 }.times(-quotient));
        Wide::sum(quotient, rest.high / divisor)
    }

    /// The natural logarithm of a positive number: one step of Halley's method from that of a float.
    fn ln(self) -> Wide {
        let start = Wide { high: libm::log(self.high), low: 0.0 };
        let (power, exponent) = start.exp_parts();
        let power = Wide { high: libm::ldexp(power.high, exponent), low: libm::ldexp(power.low, exponent) };
        let difference = self.plus(power.times(-1.0)).high;
        start.plus(Wide { high: 2.0 * difference / (self.high + power.high), low: 0.0 })
    }

    /// The nearest float to the exponential.
    fn exp(self) -> f64 {
        let (power, exponent) = self.exp_parts();
        libm::ldexp(power.high, exponent)
    }

    /// The exponential as a number near 1 and a power of 2.
    fn exp_parts(self) -> (Wide, i32) {
        const LN_2: Wide = Wide { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
        const HALVINGS: i32 = 9;
        let exponent = (self.high / LN_2.high).round();
        let rest = self.plus(LN_2.times(-exponent));
        let small = Wide { high: libm::ldexp(rest.high, -HALVINGS), low: libm::ldexp(rest.low, -HALVINGS) };
        // exp(x) - 1 by its series, of which the next term is below 2^-110 of the first; then squared back.
        let mut less_one = Wide::ZERO;
        for divisor in (1..=10).rev() {
            less_one = less_one.plus(Wide { high: 1.0, low: 0.0 }).times_wide(small).over(f64::from(divisor));
        }
        for _ in 0..HALVINGS {
            less_one = less_one.times(2.0).plus(less_one.times_wide(less_one));
        }
        (less_one.plus(Wide { high: 1.0, low: 0.0 }), exponent as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `linear` is NumPy's and `logarithmic` mpmath's, by tables that `goldens/make_goldens.py` made with them.
    #[test]
    fn linspace_is_numpys_and_logspace_correctly_rounded_to_the_last_bit() {
        let mut lines = 0;
        for line in include_str!("goldens/spacing.csv").lines() {
            let (name, numbers) = line.split_once(',').expect("a name and values");
            let numbers: Vec<f64> = numbers.split(',').map(|number| number.parse().expect("a number")).collect();
            let [first, last, count, expected @ ..] = numbers.as_slice() else { panic!("{line}") };
            let values = if name == "linspace" { linear } else { logarithmic }(
                *first,
                *last,
                u32::try_from(*count as u64).unwrap(),
            );
            assert_eq!(values.len(), expected.len());
            for (index, (value, expected)) in values.iter().zip(expected).enumerate() {
                assert_eq!(
                    value.to_bits(),
                    expected.to_bits(),
                    "{name} {first} {last} {count}, {index}: {value:e} for {expected:e}"
                );
            }
            lines += 1;
        }
        assert!(lines > 300, "{lines}");
    }

    #[test]
    fn every_decade_of_a_logspace_is_what_a_person_writes() {
        assert_eq!(logarithmic(1e-4, 1e-1, 4), [0.0001, 0.001, 0.01, 0.1]);
        assert_eq!(logarithmic(1.0, 1e-6, 7), [1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6]);
        assert_eq!(logarithmic(0.003, 30.0, 5), [0.003, 0.03, 0.3, 3.0, 30.0]);
        assert_eq!(logarithmic(0.001, 0.032, 6), [0.001, 0.002, 0.004, 0.008, 0.016, 0.032]);
        let decades: Vec<f64> = (-300..=300).map(|exponent| format!("1e{exponent}").parse().unwrap()).collect();
        assert_eq!(logarithmic(1e-300, 1e300, 601), decades);
        assert_eq!(logarithmic(0.1, 0.1, 3), [0.1; 3]);
    }
}
