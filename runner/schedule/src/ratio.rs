//! Exact fractions, in which time is counted: an epoch of 5,000 images in batches of 32 is 625/4 iterations.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A fraction that is not negative, in lowest terms. What does not fit is no ratio: nothing here is rounded, but where
/// a function says so.
///
/// ```
/// use clr_schedule::ratio::Ratio;
///
/// let epoch = Ratio::new(5000, 32).expect("it fits");
/// assert_eq!(epoch.to_string(), "625/4");
/// assert_eq!(epoch.times("30".parse()?).map(Ratio::ceil), Some(4688));
/// # Ok::<(), clr_schedule::ratio::NoRatio>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: u64,
    denominator: NonZeroU64,
}

/// What is no ratio: neither a decimal, such as `8.2` or `1e-3`, nor a fraction, such as `625/4`, of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRatio;

impl fmt::Display for NoRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no fraction of whole numbers of 64 bits")
    }
}

impl std::error::Error for NoRatio {}

impl Ratio {
    /// Nothing.
    pub const ZERO: Ratio = Ratio { numerator: 0, denominator: NonZeroU64::MIN };

    /// `numerator / denominator`, where it has a value and fits.
    pub fn new(numerator: u128, denominator: u128) -> Option<Ratio> {
        let divisor = greatest_common_divisor(numerator, denominator);
        let numerator = u64::try_from(numerator.checked_div(divisor)?).ok()?;
        let denominator = NonZeroU64::new(u64::try_from(denominator / divisor).ok()?)?;
        Some(Ratio { numerator, denominator })
    }

    /// The decimal that a float is written as: 0.1 is a tenth, not the nearest float to it.
    pub fn of_float(float: f64) -> Option<Ratio> {
        format!("{float:?}").parse().ok()
    }

    /// The upper number.
    pub fn numerator(self) -> u64 {
        self.numerator
    }

    /// The lower number.
    pub fn denominator(self) -> u64 {
        self.denominator.get()
    }

    /// Its value, where that is whole.
    pub fn whole(self) -> Option<u64> {
        (self.denominator.get() == 1).then_some(self.numerator)
    }

    /// The largest whole number that is not above.
    pub fn floor(self) -> u64 {
        self.numerator / self.denominator
    }

    /// The least whole number that is not below.
    pub fn ceil(self) -> u64 {
        self.numerator.div_ceil(self.denominator.get())
    }

    /// The sum, where it fits.
    pub fn plus(self, other: Ratio) -> Option<Ratio> {
        let [a, b, c, d] = self.wide(other);
        Ratio::new((a * d).checked_add(c * b)?, b * d)
    }

    /// The difference, where it is not negative and fits.
    pub fn minus(self, other: Ratio) -> Option<Ratio> {
        let [a, b, c, d] = self.wide(other);
        Ratio::new((a * d).checked_sub(c * b)?, b * d)
    }

    /// The product, where it fits.
    pub fn times(self, other: Ratio) -> Option<Ratio> {
        let [a, b, c, d] = self.wide(other);
        Ratio::new(a * c, b * d)
    }

    /// The quotient, where it has a value and fits.
    pub fn over(self, other: Ratio) -> Option<Ratio> {
        let [a, b, c, d] = self.wide(other);
        Ratio::new(a * d, b * c)
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        let (numerator, denominator) = (u128::from(self.numerator), u128::from(self.denominator.get()));
        // 63 bits of the quotient or more, the last one set where something is left.
        let shift = numerator.leading_zeros() - 1;
        let shifted = numerator << shift.min(126);
        let quotient = (shifted / denominator) | u128::from(!shifted.is_multiple_of(denominator));
        libm::ldexp(quotient as f64, -(shift.min(126) as i32))
    }

    fn wide(self, other: Ratio) -> [u128; 4] {
        [self.numerator, self.denominator.get(), other.numerator, other.denominator.get()].map(u128::from)
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl From<u64> for Ratio {
    fn from(whole: u64) -> Ratio {
        Ratio { numerator: whole, denominator: NonZeroU64::MIN }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Ratio) -> Ordering {
        let [a, b, c, d] = self.wide(*other);
        (a * d).cmp(&(c * b))
    }
}

/// A whole number, or a fraction: `156`, `625/4`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole() {
            Some(whole) => write!(f, "{whole}"),
            None => write!(f, "{}/{}", self.numerator, self.denominator),
        }
    }
}

impl FromStr for Ratio {
    type Err = NoRatio;

    /// Reads `8.2`, `1_000`, `1e-3` and `625/4`.
    fn from_str(text: &str) -> Result<Ratio, NoRatio> {
        if let Some((numerator, denominator)) = text.split_once('/') {
            let (numerator, denominator) = (numerator.parse(), denominator.parse());
            let (numerator, denominator): (u64, u64) = numerator.ok().zip(denominator.ok()).ok_or(NoRatio)?;
            return Ratio::new(numerator.into(), denominator.into()).ok_or(NoRatio);
        }
        decimal(text).ok_or(NoRatio)
    }
}

fn decimal(text: &str) -> Option<Ratio> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = part.trim_end_matches('0');
    let digits: String = [whole, part].concat().chars().filter(|&digit| digit != '_').collect();
    let has_digits = mantissa.bytes().any(|byte| byte.is_ascii_digit());
    if !has_digits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let decimals = part.bytes().filter(u8::is_ascii_digit).count();
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(decimals).ok()?)?;
    if digits == 0 {
        return Some(Ratio::ZERO);
    }
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 { Ratio::new(digits, power) } else { Ratio::new(digits.checked_mul(power)?, 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u64, u64)>) {
        let found = text.parse::<Ratio>().ok().map(|ratio| (ratio.numerator(), ratio.denominator()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (text, expected) in [("8.2", (41, 5)), ("0.1", (1, 10)), ("1_000", (1000, 1)), ("25e3", (25_000, 1))] {
            check(text, Some(expected));
        }
        for (text, expected) in [("2.50", (5, 2)), (".5", (1, 2)), ("5.", (5, 1)), ("1.5e-3", (3, 2000)), ("0", (0, 1))]
        {
            check(text, Some(expected));
        }
        check("625/4", Some((625, 4)));
        check("18446744073709551615", Some((u64::MAX, 1)));
        for text in
            ["", ".", "-1", "1/0", "0/0", "nan", "inf", "1e400", "1e-400", "18446744073709551616", "1.2.3", "e5", "1e"]
        {
            check(text, None);
        }
    }

    #[test]
    fn a_float_is_the_decimal_that_it_is_written_as() {
        assert_eq!(Ratio::of_float(0.1), Ratio::new(1, 10));
        assert_eq!(Ratio::of_float(1.5), Ratio::new(3, 2));
        assert_eq!(Ratio::of_float(1e-7), Ratio::new(1, 10_000_000));
        for float in [f64::NAN, f64::INFINITY, -1.0, 1e300, 1e-300] {
            assert_eq!(Ratio::of_float(float), None);
        }
    }

    fn any_ratio() -> impl Strategy<Value = Ratio> {
        let number = || prop_oneof![any::<u64>(), 0..1000_u64];
        (number(), number()).prop_filter_map("a value", |(n, d)| Ratio::new(n.into(), d.into()))
    }

    proptest! {
        /// As a division of floats, which rounds once where both numbers are floats.
        #[test]
        fn the_float_is_the_nearest(numerator in 0..1_u64 << 53, denominator in 1..1_u64 << 53) {
            let ratio = Ratio::new(numerator.into(), denominator.into()).unwrap();
            prop_assert_eq!(ratio.to_f64(), numerator as f64 / denominator as f64);
        }

        #[test]
        fn text_reads_back(ratio in any_ratio()) {
            prop_assert_eq!(ratio.to_string().parse::<Ratio>(), Ok(ratio));
        }

        #[test]
        fn arithmetic_undoes_itself(a in any_ratio(), b in any_ratio()) {
            prop_assert!(a.floor() <= a.ceil() && a.ceil() - a.floor() <= 1);
            if let Some(sum) = a.plus(b) {
                prop_assert_eq!(sum.minus(b), Some(a));
                prop_assert!(sum >= a);
            }
            if let Some(product) = a.times(b) && b > Ratio::ZERO {
                prop_assert_eq!(product.over(b), Some(a));
            }
        }
    }
}
